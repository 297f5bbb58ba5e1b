//! What whole-system tests stand on: oracles, inputs, and machines to talk to.
//!
//! `tests/setup.sh` installs everything that is used here; what is missing makes a test fail, never skip.
#![forbid(unsafe_code)]
#![expect(clippy::missing_panics_doc, reason = "a test ends where something is wrong, with the reason")]

pub mod accounts;
pub mod archive;
pub mod attacker;
pub mod audit;
mod bare;
pub mod console;
pub mod decisions;
pub mod edge;
pub mod elsewhere;
pub mod emulated;
pub mod fit;
pub mod forge;
pub mod guest;
pub mod image;
pub mod inputs;
pub mod judge;
pub mod network;
pub mod oracle;
pub mod plain;
pub mod policies;
pub mod program;
pub mod random;
pub mod refusal;
pub mod tampering;
pub mod token;
