//! The boot artefact of a U-Boot: a FIT of kernel, initramfs and the board's device trees, each of which carries the
//! command line.

use graven_boot::fdt::Tree;
use graven_boot::fit::{
    self, Address, Compression, ConfigurationParts, Hash, ImageParts, Kind, SignOptions, Signed,
};
use graven_recipe::Recipe;

use super::link_error;
use crate::assemble::Rootfs;
use crate::error::{Error, Result};
use crate::plan::{DeviceTree, Plan};
use crate::seal::Station;
use crate::signers::Signers;

/// `key-name-hint`: what U-Boot's control device tree calls the key.
pub const KEY_NAME: &str = "fit";
/// U-Boot refuses to check a FIT of more bytes (`CONFIG_FIT_SIGNATURE_MAX_SIZE`, its default).
const MOST_BYTES: usize = 256 << 20;
const KERNEL: &str = "kernel";
const INITRAMFS: &str = "initramfs";

/// Makes and signs a FIT: one configuration a device tree, all of the same kernel and initramfs.
pub(super) fn make(
    inputs: &Plan,
    rootfs: &Rootfs,
    line: &str,
    initramfs: Vec<u8>,
    signers: &Signers,
) -> Result<Station<Vec<u8>>> {
    let recipe = &inputs.recipe;
    let target = &recipe.target;
    let load = target.kernel_address.ok_or_else(|| {
        Error::Limit(format!(
            "target {} says nowhere where U-Boot puts the kernel (`kernel-address`)",
            target.name
        ))
    })?;
    let kernel = rootfs.kernel.image.decompressed(&inputs.kernel.image).map_err(link_error)?;
    let kernel = kernel.ok_or_else(|| {
        Error::Link(
            "the kernel decompresses itself, which U-Boot does not let it: give the flat image".into(),
        )
    })?;
    let kernel = ImageParts::new(KERNEL, Kind::Kernel(Address { load, entry: load }), kernel);
    let mut images = vec![
        kernel.compressed(Compression::Gzip).map_err(link_error)?,
        ImageParts::new(INITRAMFS, Kind::Ramdisk, initramfs),
    ];
    let mut configurations = Vec::new();
    for (number, DeviceTree { name, bytes }) in (1..).zip(&inputs.device_trees) {
        let with = |error: &dyn std::fmt::Display| Error::Link(format!("device tree {name}: {error}"));
        let mut tree = Tree::parse(bytes).map_err(|error| with(&error))?;
        tree.set_bootargs(line).map_err(|error| with(&error))?;
        let image = format!("fdt-{number}");
        images.push(ImageParts::new(
            &image,
            Kind::DeviceTree,
            tree.to_bytes().map_err(|error| with(&error))?,
        ));
        configurations.push(ConfigurationParts {
            name: format!("conf-{number}"),
            description: name.clone(),
            kernel: KERNEL.into(),
            ramdisk: Some(INITRAMFS.into()),
            fdt: vec![image],
            ..ConfigurationParts::default()
        });
    }
    let timestamp = u32::try_from(rootfs.source_date).unwrap_or(u32::MAX);
    let unsigned = fit::build(&fit::Parts {
        description: &description(recipe),
        timestamp,
        hash: Hash::Sha256,
        arch: target.arch,
        images,
        configurations,
    })?;
    match fit::sign(&unsigned, &SignOptions::new(KEY_NAME, timestamp), &*signers.boot)? {
        Signed::Pending(requests) => Ok(Station::Pending(requests)),
        Signed::Whole(bytes) if bytes.len() > MOST_BYTES => Err(Error::Limit(format!(
            "the FIT has {} bytes, and U-Boot checks none of more than {MOST_BYTES} (CONFIG_FIT_SIGNATURE_MAX_SIZE)",
            bytes.len()
        ))),
        Signed::Whole(bytes) => Ok(Station::Done(bytes)),
    }
}

/// `NAME VERSION (PROFILE)`: U-Boot prints it, and a verifier reads the profile from it.
fn description(recipe: &Recipe) -> String {
    format!("{} {} ({})", recipe.name, recipe.version, recipe.profile)
}
