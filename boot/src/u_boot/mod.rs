//! What a U-Boot is and can do, read from the firmware that holds it: the key that its control device tree requires, its
//! configuration where that is compiled in, and otherwise what the program itself shows. And what the builder refuses in one.
//!
//! `docs/u-boot.md` says why of each refusal. What cannot be judged is left open, and never good: a text that is not there
//! proves nothing, since another version may have other words for the same thing.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod control;
mod environment;
mod inspect;
mod judge;
mod locate;
mod signs;

pub use inspect::{Inspection, Open, inspect};
pub use judge::NAMES;

use std::collections::BTreeMap;

use crate::refusal::{self, AcceptError, Judged, Refusal};

/// Takes from `refusals` what the recipe accepts by name; `accepted` maps names to reasons.
pub fn accept(refusals: Vec<Refusal>, accepted: &BTreeMap<String, String>) -> Result<Judged, AcceptError> {
    refusal::accept(&NAMES, refusals, accepted)
}
