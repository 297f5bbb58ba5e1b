//! The boot artefact of a UEFI: systemd's stub with kernel, initramfs and command line.

use graven_boot::authenticode;
use graven_boot::sign::Answer;
use graven_boot::uki::{self, DeviceTrees};
use graven_recipe::Recipe;
use graven_targets::DeviceTreeSection;

use super::link_error;
use crate::assemble::Rootfs;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::seal::Station;
use crate::signers::Signers;

/// Makes and signs a UKI.
pub(super) fn make(
    inputs: &Plan,
    rootfs: &Rootfs,
    line: &str,
    initramfs: &[u8],
    signers: &Signers,
) -> Result<Station<Vec<u8>>> {
    let stub = inputs.stub.as_deref().ok_or_else(|| Error::Link("a UKI without its stub".into()))?;
    let trees: Vec<&[u8]> = inputs.device_trees.iter().map(|tree| tree.bytes.as_slice()).collect();
    let unsigned = uki::build(&uki::Parts {
        stub,
        os_release: &os_release(&inputs.recipe),
        cmdline: line,
        uname: &rootfs.kernel.image.release,
        initrd: initramfs,
        linux: &inputs.kernel.image,
        device_trees: device_trees(inputs, &trees)?,
    })
    .map_err(link_error)?;
    Ok(match authenticode::sign(&unsigned, &*signers.boot)? {
        Answer::Pending(request) => Station::Pending(vec![request]),
        Answer::Signed(bytes) => Station::Done(bytes),
    })
}

/// The board's device trees, in the section that the board file wants.
fn device_trees<'a>(inputs: &Plan, trees: &'a [&'a [u8]]) -> Result<DeviceTrees<'a>> {
    let target = &inputs.recipe.target;
    Ok(match (target.device_tree_section, trees) {
        (None, _) => DeviceTrees::None,
        (Some(DeviceTreeSection::Dtb), [one]) => DeviceTrees::Always(one),
        (Some(DeviceTreeSection::Dtb), several) => {
            return Err(Error::Limit(format!(
                "target {} has {} device trees for one section .dtb: say with [boot] device-trees which it is, or let the \
                 board file say device-tree-section = \"dtbauto\"",
                target.name,
                several.len()
            )));
        }
        (Some(DeviceTreeSection::Dtbauto), several) => DeviceTrees::Matching(several),
    })
}

/// `.osrel`: boot menus show it, and a verifier reads the profile from it.
fn os_release(recipe: &Recipe) -> String {
    let (name, version, profile) = (&recipe.name, recipe.version, recipe.profile);
    format!(
        "ID={}\nNAME=\"{name}\"\nVERSION_ID={version}\nIMAGE_ID={name}\nIMAGE_VERSION={version}\n\
         PRETTY_NAME=\"{name} {version}\"\nVARIANT_ID={profile}\n",
        name.to_lowercase()
    )
}
