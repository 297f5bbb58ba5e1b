//! What can be wrong with an image of ext4 or squashfs.

use std::io;

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What holds the image failed, or a compressed block is damaged.
    #[error("reading {what} failed")]
    Io {
        /// What was read.
        what: &'static str,
        /// What was said.
        source: io::Error,
    },
    /// The superblock.
    #[error("superblock: {field} is {found:#x}, expected {expected}")]
    Superblock {
        /// Its name in Linux's header.
        field: &'static str,
        /// Its value.
        found: u64,
        /// What is possible.
        expected: &'static str,
    },
    /// Something behind the superblock.
    #[error("the {what} is damaged: {problem}")]
    Table {
        /// Which.
        what: &'static str,
        /// How.
        problem: &'static str,
    },
    /// A file.
    #[error("{file}: {problem}")]
    File {
        /// Its path, and its inode where that has a number.
        file: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// More metadata than an honest image of this length unpacks to.
    #[error("its metadata unpacks to more than {0} bytes")]
    Metadata(u64),
}

/// For fields of a superblock: that one is `good`.
pub(crate) fn check(
    good: bool,
    field: &'static str,
    found: impl Into<u64>,
    expected: &'static str,
) -> Result<(), ReadError> {
    match good {
        true => Ok(()),
        false => Err(ReadError::Superblock { field, found: found.into(), expected }),
    }
}
