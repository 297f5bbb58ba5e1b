//! Unified kernel images: systemd-stub with kernel, initramfs and command line as further PE sections.
//!
//! UAPI group, «Unified Kernel Image» 1.0; layout as `ukify` of systemd writes it.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod build;
mod read;

pub use build::{DeviceTrees, Parts, build, stub_version};
pub use read::Uki;

use thiserror::Error;

use crate::fdt::FdtError;
use crate::pe::PeError;

/// Why no UKI was made, or bytes are none.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UkiError {
    /// An input or the image is no PE image that can be used.
    #[error("{part}: {source}")]
    Pe {
        /// `stub`, `kernel` or `UKI`.
        part: &'static str,
        /// What is wrong.
        source: PeError,
    },
    /// The stub is not an untouched systemd-stub.
    #[error("stub: {reason}; expected linux<arch>.efi.stub of systemd as its package brings it")]
    Stub {
        /// What is wrong.
        reason: String,
    },
    /// Stub and kernel are for different machines.
    #[error("the stub is for machine {stub:#06x}, the kernel for {kernel:#06x}")]
    Machine {
        /// Machine of the stub.
        stub: u16,
        /// Machine of the kernel.
        kernel: u16,
    },
    /// The stub's headers have no room for the new sections.
    #[error(
        "the stub's headers have room for {room} more sections, {wanted} are needed; take a newer systemd-stub"
    )]
    HeaderRoom {
        /// Section headers that fit.
        room: usize,
        /// Section headers that are needed.
        wanted: usize,
    },
    /// A part is empty.
    #[error("the section {name} would be empty")]
    Empty {
        /// The section.
        name: &'static str,
    },
    /// The command line has a byte that the boot would change or stop at.
    #[error(
        "the command line has a control character at byte {offset}: the kernel's EFI stub would cut it there"
    )]
    ControlCharacter {
        /// Offset in the line.
        offset: usize,
    },
    /// A device tree that the stub or the kernel could not use, or that says what only the command line may.
    #[error("section {section}: device tree {number}: {reason}")]
    DeviceTree {
        /// `.dtb` or `.dtbauto`.
        section: &'static str,
        /// Which of that section, from 1.
        number: usize,
        /// What is wrong.
        reason: DeviceTreeProblem,
    },
    /// The image would not fit its 32-bit fields.
    #[error("the image would be {length} bytes in memory, a PE image holds less than 4 GiB")]
    TooLong {
        /// Bytes in memory.
        length: u64,
    },
    /// A section occurs twice.
    #[error("UKI: section {name} occurs twice; which one boots cannot be told")]
    Twice {
        /// The section.
        name: String,
    },
    /// A section is missing.
    #[error("UKI: there is no section {name}")]
    Missing {
        /// The section.
        name: &'static str,
    },
    /// Profiles would replace parts at boot.
    #[error(
        "UKI: it has profiles (section .profile), which can replace its command line at boot; expected none"
    )]
    Profiles,
    /// Sections overlap in memory or leave the image.
    #[error(
        "UKI: section {name} is loaded at {found:#x}, expected {expected:#x} or more, on a multiple of SectionAlignment, within SizeOfImage"
    )]
    Memory {
        /// The section.
        name: String,
        /// Its address.
        found: u64,
        /// Where memory is free.
        expected: u64,
    },
    /// A text section is no text.
    #[error("UKI: section {name} is not UTF-8 text, at byte {offset}")]
    Text {
        /// The section.
        name: &'static str,
        /// First byte that is no text.
        offset: usize,
    },
}

/// What is wrong with a device tree of a UKI.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeviceTreeProblem {
    /// It is none.
    #[error(transparent)]
    Fdt(#[from] FdtError),
    /// The stub picks by the root's `compatible`.
    #[error("its root says no `compatible`, by which the stub would pick it")]
    NoCompatible,
    /// The command line has a section of its own.
    #[error("it has a command line in /chosen/bootargs; expected none beside .cmdline")]
    Bootargs,
}
