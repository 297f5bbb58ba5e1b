//! Reading EROFS, ours and others', compressed or not, without trust in a single byte of it.
//!
//! What the kernel would refuse or not find is refused here too; so is what no honest writer makes: structures
//! that share bytes, but for the blocks of files where the superblock says that files are lists of chunks, directories in two
//! places, names out of order. Work and memory are bounded by the image's
//! length.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod chunks;
mod compressed;
mod contents;
mod dirents;
mod inode;
mod lookup;
mod problem;
mod superblock;
mod walk;
mod xattrs;

pub use lookup::{Found, LookupError};
pub use problem::{Owner, Problem, ReadError};

use std::sync::Arc;

use graven_verity::io::ReadAt;
use uuid::Uuid;

use super::format::{BLOCK, SLOT};
use crate::tree::Tree;
use crate::unpack::Cache;
use superblock::Facts;

/// An EROFS image whose superblock has been found good.
#[derive(Debug)]
pub struct Reader<R> {
    image: Arc<R>,
    facts: Facts,
    /// Compressed contents that were read lately.
    unpacked: Arc<Cache>,
}

impl<R: ReadAt + 'static> Reader<R> {
    /// Reads and checks the superblock. What lies behind the file system's last block is not looked at.
    ///
    /// # Errors
    /// [`ReadError`]: no EROFS, a damaged superblock, features that are not read here, an image cut short.
    pub fn open(image: R) -> Result<Self, ReadError> {
        let facts = Facts::read(&image)?;
        Ok(Self { image: Arc::new(image), facts, unpacked: Arc::default() })
    }

    /// What holds the image.
    pub fn image(&self) -> Arc<R> {
        self.image.clone()
    }

    /// Length of the file system in bytes.
    pub fn bytes(&self) -> u64 {
        self.facts.bytes
    }

    /// Number of inodes that the superblock tells.
    pub fn inodes(&self) -> u64 {
        self.facts.inodes
    }

    /// Identity of the file system.
    pub fn uuid(&self) -> Uuid {
        self.facts.uuid
    }

    /// Up to the first NUL.
    pub fn volume_name(&self) -> &[u8] {
        &self.facts.volume_name
    }

    /// Seconds since 1970.
    pub fn build_time(&self) -> i64 {
        self.facts.build_time
    }

    /// Everything that the image holds. Contents of files stay in the image and are read through it; fractions
    /// of a second of times are dropped.
    ///
    /// # Errors
    /// [`ReadError`] with the path and what is wrong with it.
    pub fn tree(&self) -> Result<Tree, ReadError> {
        walk::tree(self)
    }

    /// `wanted` bytes from `offset` on, which callers have checked to lie inside the image.
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        self.image.read_exact_at(buf, offset).map_err(|source| ReadError::Io {
            offset,
            wanted: buf.len() as u64,
            source,
        })
    }

    /// Whether `len` bytes at `offset` lie inside the image.
    fn holds(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.facts.bytes)
    }

    /// First byte of an inode.
    fn inode_offset(&self, nid: u64) -> Option<u64> {
        nid.checked_mul(SLOT)?.checked_add(self.facts.meta_block.checked_mul(BLOCK)?)
    }
}
