//! What a board is: architecture, boot chain, kernel command line limits, drivers, disk layout.
//!
//! Each board is one TOML file. The ones that ship lie under `boards/` and are compiled in; a user's own file is
//! read by path and may inherit from either kind.
//!
//! ```
//! use graven_targets::{Arch, BootChain, Target};
//!
//! let target = Target::named("qemu-x86_64")?;
//! assert_eq!(target.arch, Arch::X86_64);
//! assert_eq!(target.boot_chain, BootChain::Uki);
//! assert_eq!(target.command_line.budget(), 2048 - 200 - 1);
//! assert_eq!(target.consoles, ["ttyS0"]);
//! # Ok::<(), graven_targets::TargetError>(())
//! ```
#![forbid(unsafe_code)]

mod arch;
mod board;
mod target;

pub use arch::{Arch, PartitionTypes};
pub use board::TargetError;
pub use target::{
    Blob, BlobPartition, BootChain, CommandLineLimit, DeviceTreeSection, DiskRules, Drivers, ModuleName,
    Proof, SECTOR_BYTES, Target,
};
