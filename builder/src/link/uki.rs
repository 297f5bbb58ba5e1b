//! The boot artefact of a UEFI: systemd's stub with kernel, initramfs and command line.

use graven_boot::sign::Answer;
use graven_boot::{authenticode, uki};
use graven_recipe::Recipe;

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
    let unsigned = uki::build(&uki::Parts {
        stub,
        os_release: &os_release(&inputs.recipe),
        cmdline: line,
        uname: &rootfs.kernel.image.release,
        initrd: initramfs,
        linux: &inputs.kernel.image,
    })
    .map_err(link_error)?;
    Ok(match authenticode::sign(&unsigned, &*signers.boot)? {
        Answer::Pending(request) => Station::Pending(vec![request]),
        Answer::Signed(bytes) => Station::Done(bytes),
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
