//! Debian repositories: signed indexes, what of them can be installed together, and what it takes to fetch that.
//!
//! Trust runs one way: a keyring signs `InRelease`, which holds the size and SHA-256 of each index, which holds those of
//! each package. Nothing is parsed before its digest or signature has been seen to be right.

mod architecture;
mod date;
mod error;
mod hosts;
mod index;
mod kernel;
mod keyring;
mod record;
mod relation;
mod release;
mod repository;
mod solve;
mod universe;
mod words;

pub use architecture::Architecture;
pub use error::Error;
pub use hosts::{AptSource, apt_sources};
pub use index::Index;
pub use kernel::{kernel, pick};
pub use keyring::Keyring;
pub use record::Record;
pub use release::Release;
pub use repository::{Opened, Repository};
pub use solve::{Choice, Pin, Request, Wanted, solve};
pub use universe::{Origin, Universe};
