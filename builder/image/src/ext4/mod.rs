//! Reading ext4 as `mke2fs` writes it, without trust in a single byte of it.
//!
//! Ours, since `ext4-view` gives no extended attributes, and file capabilities are some. Read are file systems of blocks of
//! 4,096 bytes with extents, that were never mounted: no journal to be replayed, no inline data, no encryption. Facts from
//! Linux 7.3: `fs/ext4/ext4.h`, `ext4_extents.h`, `xattr.h`. Memory is bounded by the image's length and 256 MiB
//! for attributes: no block belongs to two files, what attributes repeat to is counted. Contents may have holes, no more in all than
//! 1 TiB, or 256 times the image's length, which bounds the work of whoever reads them.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod contents;
mod directory;
mod extents;
mod inode;
mod superblock;
#[cfg(test)]
mod tests;
mod walk;
mod xattrs;

use std::io;
use std::sync::Arc;

use graven_verity::io::ReadAt;
use uuid::Uuid;

pub use crate::damage::ReadError;
use crate::tree::Tree;
use superblock::Facts;

/// Bytes of a block; the only size that is read here.
const BLOCK: u64 = 4096;

/// An ext4 image whose superblock and group descriptors have been found good.
#[derive(Debug)]
pub struct Reader<R> {
    image: Arc<R>,
    facts: Facts,
}

/// What is wrong with an inode, whatever its path.
enum Refusal {
    Io(io::Error),
    Bad(&'static str),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Refusal {
    fn at(self, path: &str, number: u32) -> ReadError {
        match self {
            Self::Io(source) => ReadError::Io { what: "an inode", source },
            Self::Bad(problem) => ReadError::File { file: format!("`{path}` (inode {number})"), problem },
        }
    }
}

impl<R: ReadAt + 'static> Reader<R> {
    /// Reads and checks the superblock and the places of the inodes.
    ///
    /// # Errors
    /// [`ReadError`]: no ext4, features that are not read here, an image cut short.
    pub fn open(image: R) -> Result<Self, ReadError> {
        let facts = Facts::read(&image)?;
        Ok(Self { image: Arc::new(image), facts })
    }

    /// Length of the file system in bytes.
    pub fn bytes(&self) -> u64 {
        self.facts.blocks.saturating_mul(BLOCK)
    }

    /// Identity of the file system.
    pub fn uuid(&self) -> Uuid {
        self.facts.uuid
    }

    /// Everything that the image holds, `lost+found` included. Contents of files stay in the image and are read through it.
    ///
    /// # Errors
    /// [`ReadError`] with the path and what is wrong with it.
    pub fn tree(&self) -> Result<Tree, ReadError> {
        walk::tree(self)
    }

    /// A block, which must be one of the file system.
    fn block(&self, number: u64) -> Result<Vec<u8>, Refusal> {
        if number == 0 || number >= self.facts.blocks {
            return Err(Refusal::Bad("it refers to a block outside of the file system"));
        }
        let mut block = vec![0; BLOCK as usize];
        self.image.read_exact_at(&mut block, number.saturating_mul(BLOCK))?;
        Ok(block)
    }
}

/// Numbers in bytes, all little-endian; what lies past the end reads as zero.
struct Bytes<'b>(&'b [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.0.get(offset..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
    }

    fn u8(&self, offset: usize) -> u8 {
        u8::from_le_bytes(self.array(offset))
    }

    fn u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.array(offset))
    }

    fn u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.array(offset))
    }

    /// Two halves that lie apart.
    fn wide(&self, low: usize, high: usize) -> u64 {
        u64::from(self.u32(low)) | u64::from(self.u32(high)).wrapping_shl(32)
    }
}
