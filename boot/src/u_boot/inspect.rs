//! An inspection, from bytes to refusals.

use crate::refusal::Refusal;
use crate::x509::Certificate;

use super::judge::{Judgement, judge};
use super::locate::{TooMuch, programs};

/// What a U-Boot was found to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Its version, as its banner has it; of several all that differ.
    pub versions: Vec<String>,
    /// What speaks against it, in alphabetical order of names.
    pub refusals: Vec<Refusal>,
    /// What could not be judged, in the same order.
    pub open: Vec<Open>,
}

/// A question that the bytes leave open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The name of the refusal that it would be.
    pub name: &'static str,
    /// Why it cannot be told.
    pub why: String,
}

/// Inspects the U-Boot in `firmware` for a board that starts FITs of `signer`'s; any bytes are taken. Where there are
/// several, as where a board keeps two copies, all are judged and the worst counts.
pub fn inspect(firmware: &[u8], signer: Option<&Certificate>) -> Inspection {
    let mut found = Judgement::default();
    let mut versions = Vec::new();
    match programs(firmware) {
        Ok(programs) if programs.is_empty() => found.refuse(
            "u-boot-not-found",
            "no U-Boot is found in it: there is no version string, neither plain nor in gzip, xz or zstd",
            "give u-boot.bin, u-boot.itb or the firmware image that holds it, not encrypted",
        ),
        Ok(programs) => {
            for program in &programs {
                if !versions.contains(&program.version) {
                    versions.push(program.version.clone());
                }
                judge(program, signer, &mut found);
            }
        }
        Err(TooMuch) => found.refuse(
            "u-boot-not-found",
            "it holds more device trees or compressed parts than any firmware does, and was not looked through",
            "give u-boot.bin, u-boot.itb or the firmware image that holds it",
        ),
    }
    let (refusals, open) = found.finish();
    Inspection { versions, refusals, open }
}
