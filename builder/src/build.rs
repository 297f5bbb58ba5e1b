//! The whole build, top to bottom.

use graven_boot::sign::Request;
use graven_finish::Ids;
use graven_recipe::Profile;
use graven_verify::manifest::Manifest;
use graven_verity::progress::Progress;

use crate::assemble::assemble;
use crate::deliver::{DISK, Extras, deliver};
use crate::error::{Error, Result};
use crate::firmware::{self, UBoot};
use crate::link::link;
use crate::output::Staging;
use crate::plan::Plan;
use crate::root;
use crate::seal::{Station, seal};
use crate::signers::Signers;

/// What a build came to.
#[derive(Debug)]
pub enum Built {
    /// The image lies in the output folder.
    Image(Box<Manifest>),
    /// Nothing lies there: these signatures are missing.
    Pending(Vec<Request>),
}

/// Builds an image into `staging` and makes it the output. `number` is told what numbers users and groups have, may refuse
/// them, and answers with the text of the lock that has them, where there is one.
///
/// # Errors
/// Whatever cannot be made or proved; nothing lies under the output's name then.
pub fn build(
    mut plan: Plan,
    stage0: &[u8],
    signers: &Signers,
    extras: &Extras,
    staging: Staging,
    number: &mut dyn FnMut(&Ids) -> Result<Option<String>>,
    progress: &dyn Progress,
) -> Result<Built> {
    refuse_mixed_keys(&plan, signers)?;
    let u_boot = firmware::inspect(&plan, Some(signers))?.map(UBoot::refuse).transpose()?;
    let mut rootfs = assemble(&mut plan, signers)?;
    rootfs.lock = number(&rootfs.ids)?;
    let image = root::write(&plan, &rootfs, &staging.folder().join(DISK), progress)?;
    let (sealed, policy) = match seal(&plan, &rootfs, image, signers)? {
        Station::Done(done) => done,
        Station::Pending(requests) => return Ok(Built::Pending(requests)),
    };
    let boot = match link(&plan, &rootfs, sealed, policy, stage0, signers)? {
        Station::Done(boot) => boot,
        Station::Pending(requests) => return Ok(Built::Pending(requests)),
    };
    let manifest = deliver(&plan, &rootfs, &boot, u_boot.as_ref(), signers, extras, &staging)?;
    staging.publish()?;
    Ok(Built::Image(Box::new(manifest)))
}

/// A development image never carries a release key's signature: it would run wherever the release does.
fn refuse_mixed_keys(plan: &Plan, signers: &Signers) -> Result<()> {
    match plan.recipe.profile {
        Profile::Development if signers.any_release() => Err(Error::Limit(
            "the development profile refuses release keys: what they sign runs wherever the release does. Use keys of \
             `graven keys new --development`, or the release profile"
                .into(),
        )),
        _ => Ok(()),
    }
}
