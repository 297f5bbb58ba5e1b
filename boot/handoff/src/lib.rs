//! The contract between the builder and stage0: one set of types, rendered on one side, parsed on the other.
//!
//! The builder writes an initramfs whose names are in [`initramfs`], a kernel command line whose own words are a
//! [`Binding`], and a [`Plan`] of everything else that stage0 has to do. stage0 reads the three back with the same
//! code and stops with a [`Code`] at the first thing that is not as written. There are no dependencies, so that all that
//! the device trusts before its root is verified can be read here.
//!
//! ```
//! use graven_handoff::{Binding, PolicySource, RootHash};
//!
//! let binding = Binding {
//!     root_hash: RootHash::from_hex(&"5a".repeat(32)).unwrap(),
//!     policy: PolicySource::Sha256([7; 32]),
//! };
//! let line = format!("console=ttyS0 {} ipe.enforce=1", binding.words());
//! assert_eq!(Binding::parse(&line).unwrap(), binding);
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod base64;
mod cmdline;
mod code;
pub mod hex;
mod identity;
pub mod initramfs;
mod plan;
pub mod seed;
pub mod sparse;

pub use cmdline::{
    Addition, Binding, CommandLineError, Mismatch, PolicySource, compare, value, word_policy,
    word_policy_sha256, word_root_hash, words,
};
pub use code::Code;
pub use identity::{IdentityError, PartUuid, PolicyVersion, RootHash};
pub use plan::{
    Algorithm, Contents, Enforcement, Fec, Hardening, IfDamaged, Init, KernelLockdown, ModuleParameter,
    Mount, MountSource, OnCorruption, OnDamage, OnFailure, Plan, PlanError, PolicyIdentity, Problem,
    Programs, Relaxation, Relaxed, SecureBoot, Seed, SeedTime, State, StateSize, Verified, Verity,
    VerityDevices, Volume,
};
