//! FAT16 and FAT32 (Microsoft's «FAT32 File System Specification» 1.03): a formatter that writes a whole EFI system
//! partition once, and a reader that trusts nothing.
//!
//! The formatter is ours because `fatfs` writes `.` and `..` entries that `fsck.fat` rejects, no free cluster count and
//! no dates. The reader is ours because a verifier must see *every* name that firmware could open a file by, and
//! must end on any input.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod geometry;
mod name;
mod ondisk;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::io;

use graven_verity::io::ReadAt;

pub use self::geometry::Kind;
pub use self::read::{Entry, EntryKind, Reader};
pub use self::write::{needed_bytes, write};

/// Bytes of a sector. Other sizes are neither written nor read.
pub const SECTOR: u64 = 512;
/// Largest file, in bytes.
pub const MAX_FILE_BYTES: u64 = u32::MAX as u64;

/// What a new file system is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// Length in bytes, a multiple of [`SECTOR`]. It decides the kind: see [`Kind::for_bytes`].
    pub bytes: u64,
    /// Volume serial number.
    pub volume_id: u32,
    /// Volume label: 1 to 11 characters that a short name may have, upper case.
    pub label: String,
    /// Seconds since 1970 UTC, for every date in it; FAT holds 1980 to 2107 in steps of two seconds, what is outside
    /// is moved to the nearest.
    pub timestamp: i64,
}

/// A file to be put into a new file system.
#[derive(Clone, Copy)]
pub struct File<'a> {
    /// Path from the root, parts separated by `/`; folders are made as needed.
    pub path: &'a str,
    /// At most [`MAX_FILE_BYTES`].
    pub contents: &'a dyn ReadAt,
}

/// Why a file system cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The medium or a file's contents could not be read or written.
    #[error("FAT: {doing}")]
    Io {
        /// What was being done to what.
        doing: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A name that FAT cannot hold.
    #[error("FAT: `{path}`: {problem}")]
    Name {
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A label that FAT cannot hold.
    #[error("FAT: label `{0}`: it must be 1 to 11 upper-case letters, digits, blanks or `-_`")]
    Label(String),
    /// Two files of one name: case does not count in FAT.
    #[error("FAT: `{path}` is there twice (upper and lower case are the same in FAT)")]
    Duplicate {
        /// The path.
        path: String,
    },
    /// A file over 4 GiB.
    #[error("FAT: `{path}` has {bytes} bytes; a file holds at most {MAX_FILE_BYTES}")]
    FileTooLarge {
        /// The path.
        path: String,
        /// Its length.
        bytes: u64,
    },
    /// More entries than a folder can hold.
    #[error("FAT: folder `{path}` would have {entries} directory entries; it holds at most {limit}")]
    FolderFull {
        /// The path.
        path: String,
        /// How many it would need; a long name takes several.
        entries: u64,
        /// How many there may be.
        limit: u64,
    },
    /// A length that no FAT16 or FAT32 file system can have.
    #[error("FAT: {bytes} bytes cannot be a FAT16 or FAT32 file system: {problem}")]
    Size {
        /// The length.
        bytes: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The files do not fit.
    #[error(
        "FAT: the files need {needed} clusters of {cluster_bytes} bytes and there are {available}: make the \
         partition larger"
    )]
    NoSpace {
        /// How many clusters files and folders need.
        needed: u64,
        /// How many there are.
        available: u64,
        /// Size of each.
        cluster_bytes: u64,
    },
    /// The boot sector describes no FAT file system that can be.
    #[error("FAT: boot sector: {field}: expected {expected}, found {found}")]
    BootSector {
        /// Which field.
        field: &'static str,
        /// What may be there.
        expected: String,
        /// What is there.
        found: u64,
    },
    /// The copies of the allocation table differ, so that two readers may see different files.
    #[error("FAT: allocation tables 1 and {copy} differ at byte {offset} of the table")]
    TablesDiffer {
        /// Which copy, counted from 1.
        copy: u8,
        /// Where in the table they were found to differ; a multiple of 64 KiB.
        offset: u64,
    },
    /// A chain of clusters that cannot be.
    #[error("FAT: `{path}`: its cluster chain {problem} (cluster {cluster})")]
    Chain {
        /// The file or folder.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
        /// Where.
        cluster: u32,
    },
    /// A directory entry that cannot be.
    #[error("FAT: folder `{path}`, entry {entry}: {problem}")]
    Directory {
        /// The folder.
        path: String,
        /// The entry, counted from 0.
        entry: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Error {
    fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
