//! Boots an image in QEMU as a machine with UEFI Secure Boot would, or one with a U-Boot that requires a key.
//!
//! The firmware is Debian's OVMF with SMM, or its AAVMF for arm64; its variable store is a fresh one with our
//! certificates enrolled for each run. The image is opened as a snapshot: a run never changes it unless [`Machine::writable`] asks.

mod machine;
mod platform;
mod u_boot;
mod variables;

use std::io;
use std::path::PathBuf;

use graven_targets::Arch;

pub use self::machine::{Bus, Machine, Running};
pub use self::platform::Platform;
pub use self::variables::{Enrolment, blank, enrol};

/// Why no machine runs.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A program or file of another package is missing.
    #[error("{what} is not here; install it: apt-get install {packages}")]
    Missing {
        /// The program or file.
        what: String,
        /// Debian packages that bring it.
        packages: &'static str,
    },
    /// An architecture that no machine here has.
    #[error("QEMU has no {0} machine with UEFI Secure Boot that graven knows to start")]
    NoMachine(Arch),
    /// A bus that the firmware starts nothing from.
    #[error("the firmware for arm64 (AAVMF) has no driver for SATA disks: --bus virtio or --bus nvme")]
    NoSata,
    /// The firmware's variable store is not as EDK2 has it.
    #[error("variable store {}: {problem}", .path.display())]
    Variables {
        /// The store's template.
        path: PathBuf,
        /// What is wrong with it.
        problem: VariablesError,
    },
    /// U-Boot's control device tree cannot be made.
    #[error("U-Boot's control device tree: {0}")]
    ControlTree(#[source] graven_boot::fit::FitError),
    /// The image cannot be used.
    #[error("{}: {source}", .path.display())]
    Image {
        /// Its path.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something of the machine's own could not be made or started.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

/// What is wrong with a variable store.
#[derive(Debug, thiserror::Error)]
pub enum VariablesError {
    /// A field is not what EDK2 writes.
    #[error("{field}: expected {expected}, found {found}; it must be an EDK2 store such as OVMF_VARS_4M.fd")]
    Field {
        /// Which.
        field: &'static str,
        /// What must be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// It ends too early.
    #[error("it ends at byte {0}, before its header does")]
    Short(usize),
    /// Variables are in it already.
    #[error("it holds variables already; give the empty template of the package")]
    NotEmpty,
    /// The variables do not fit.
    #[error("the variables take {needed} bytes; it holds {available}")]
    Full {
        /// Bytes of the variables.
        needed: usize,
        /// Bytes that there are.
        available: usize,
    },
}
