//! IPE policies: parse, render, bind, evaluate, lint. No cryptography: signing is `graven-boot`'s.
//!
//! [`Policy::parse`] accepts and refuses exactly what the kernel's `security/ipe/policy_parser.c` (7.3) accepts and
//! refuses, with the same errno, and [`Policy::load`] what a write to `new_policy` does; [`lint`](lint::lint) finds what
//! the kernel takes silently but no one can have meant.
//!
//! ```
//! use graven_ipe::{APPLIANCE_OPS, Action, Algorithm, Digest, Facts, Op, Policy, PolicyName};
//!
//! let root = Digest::from_hex(Algorithm::Sha256, &"5a".repeat(32))?;
//! let policy = Policy::appliance(PolicyName::new("acme-fw")?, "2.4.1".parse()?, root.clone(), &APPLIANCE_OPS);
//! assert_eq!(Policy::parse(&policy.render())?, policy);
//!
//! let on_the_root = Facts { dmverity_roothash: Some(root), ..Facts::default() };
//! assert_eq!(policy.evaluate(Op::Execute, &on_the_root).action, Action::Allow);
//! assert_eq!(policy.evaluate(Op::Execute, &Facts::default()).action, Action::Deny);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::unwrap_used))]

mod digest;
mod errno;
mod evaluate;
mod kernel;
pub mod lint;
mod parse;
mod place;
mod policy;
mod version;

pub use digest::{Algorithm, Digest, DigestError};
pub use errno::Errno;
pub use evaluate::{Facts, Hook, Matched, Providers, Verdict};
pub use kernel::{Kernel, Release, ReleaseError};
pub use parse::{ParseError, Span, lines};
pub use place::Place;
pub use policy::{APPLIANCE_OPS, Action, NameError, Op, Policy, PolicyName, Property, Rule};
pub use version::{PolicyVersion, VersionError};
