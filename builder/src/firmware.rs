//! The U-Boot that will start a FIT: inspected as the kernel is, and refused where it would start anything else.

use std::borrow::Cow;
use std::collections::BTreeMap;

use graven_boot::u_boot::{self, Inspection};
use graven_targets::BootChain;
use graven_verify::manifest::{self, sha256_hex};

use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::signers::Signers;

/// A U-Boot as the recipe gives it, inspected.
#[derive(Debug)]
pub struct UBoot {
    /// What it was found to be; without what the recipe accepts.
    pub inspection: Inspection,
    /// Refusals that the recipe accepts, with its reasons.
    pub accepted: BTreeMap<String, String>,
    /// It is what the disk carries, so that an offline proof sees the same bytes.
    pub on_disk: bool,
    sha256: String,
}

impl UBoot {
    /// As the manifest lists it.
    pub(crate) fn listed(&self) -> manifest::UBoot {
        manifest::UBoot {
            versions: self.inspection.versions.clone(),
            sha256: self.sha256.clone(),
            on_disk: self.on_disk,
            open: self.inspection.open.iter().map(|open| open.name.to_owned()).collect(),
        }
    }
}

/// The U-Boot of a FIT target, held against the FIT's signer where that is settled; none where the recipe gives none.
/// Refusals that the recipe does not accept are still in it: the build refuses them.
///
/// # Errors
/// Names that no refusal has, and accepted ones that nothing gives occasion for.
pub fn inspect(plan: &Plan, signers: Option<&Signers>) -> Result<Option<UBoot>> {
    let recipe = &plan.recipe;
    if recipe.target.boot_chain != BootChain::Fit {
        return Ok(None);
    }
    let reasons: BTreeMap<_, _> =
        recipe.firmware.accept.iter().map(|(name, reason)| (name.clone(), reason.value.clone())).collect();
    let on_disk = plan.u_boot.is_none();
    let bytes = match &plan.u_boot {
        Some(bytes) => Cow::Borrowed(bytes.as_slice()),
        // Loader and U-Boot can be two pieces: they lie in the order of their offsets.
        None => Cow::Owned(plan.firmware.iter().flat_map(|piece| piece.bytes.iter().copied()).collect()),
    };
    if bytes.is_empty() {
        return match reasons.keys().next() {
            None => Ok(None),
            Some(name) => Err(Error::Limit(format!(
                "firmware.accept.{name}: no U-Boot is given that could give occasion for it; name it with [firmware] \
                 u-boot = \"u-boot.bin\", or take the line out"
            ))),
        };
    }
    let mut inspection = u_boot::inspect(&bytes, signers.map(|signers| signers.boot.certificate()));
    let judged = u_boot::accept(inspection.refusals, &reasons)
        .map_err(|error| Error::Limit(format!("firmware.accept: {error}")))?;
    // Whose key it must be is not settled before the signers are.
    let settled = |name: &&&str| signers.is_some() || **name != "key-foreign";
    if let Some(name) = judged.idle.iter().find(settled) {
        return Err(Error::Limit(format!(
            "firmware.accept.{name}: this U-Boot gives no occasion for it; take the line out"
        )));
    }
    inspection.refusals = judged.remaining;
    let accepted = judged.accepted.into_iter().map(|one| (one.refusal.name.to_owned(), one.reason)).collect();
    Ok(Some(UBoot { inspection, accepted, on_disk, sha256: sha256_hex(&bytes) }))
}

impl UBoot {
    /// An error where anything speaks against it that the recipe does not accept.
    ///
    /// # Errors
    /// All of it.
    pub(crate) fn refuse(self) -> Result<Self> {
        match self.inspection.refusals.is_empty() {
            true => Ok(self),
            false => Err(Error::UBootRefused(self.inspection.refusals)),
        }
    }
}
