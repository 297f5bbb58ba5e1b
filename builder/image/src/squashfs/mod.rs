//! Reading squashfs 4, without trust in a single byte of it.
//!
//! Ours, since `backhand` reads no extended attributes, and file capabilities are some. Facts from Linux 7.3:
//! `fs/squashfs/squashfs_fs.h` and the files beside it. Memory is bounded by four times the image's
//! length and 16 MiB, for each kind of metadata; contents, holes included, by 1 TiB, or 256 times the image's length.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod contents;
mod format;
mod inode;
mod metadata;
mod tables;
#[cfg(test)]
mod tests;
mod walk;
mod xattrs;

use std::sync::Arc;

use graven_verity::io::ReadAt;
use zerocopy::FromBytes;

pub use crate::damage::ReadError;
use crate::damage::check;
use crate::tree::Tree;
use crate::unpack::{Algorithm, Cache};
use format::Superblock;
use tables::Tables;

/// A squashfs image whose superblock and tables have been found good.
#[derive(Debug)]
pub struct Reader<R> {
    source: Arc<Source<R>>,
    superblock: Superblock,
    tables: Tables,
}

/// The image and how its blocks are compressed.
#[derive(Debug)]
struct Source<R> {
    image: R,
    algorithm: Algorithm,
    block_size: u32,
    bytes: u64,
    cache: Cache,
}

impl<R: ReadAt + 'static> Reader<R> {
    /// Reads and checks the superblock, and the tables of owners, fragments and attributes.
    ///
    /// # Errors
    /// [`ReadError`]: no squashfs 4, a compressor that is not read here, tables outside of the image.
    pub fn open(image: R) -> Result<Self, ReadError> {
        let mut bytes = [0; size_of::<Superblock>()];
        let io = |source| ReadError::Io { what: "the superblock", source };
        image.read_exact_at(&mut bytes, 0).map_err(io)?;
        let size = image.size().map_err(io)?;
        let superblock = Superblock::read_from_bytes(&bytes)
            .map_err(|_| ReadError::Table { what: "superblock", problem: "it is cut short" })?;
        let Superblock { magic, block_size, block_log, major, minor, bytes_used, compression, .. } =
            &superblock;
        check(magic.get() == format::MAGIC, "s_magic", magic.get(), "0x73717368")?;
        check(major.get() == 4 && minor.get() == 0, "s_major", major.get(), "4, minor 0")?;
        let good = (12..=20).contains(&block_log.get())
            && block_size.get() == 1u32.wrapping_shl(block_log.get().into());
        check(good, "block_size", block_size.get(), "4 KiB to 1 MiB, and its logarithm")?;
        check(bytes_used.get() <= size, "bytes_used", bytes_used.get(), "no more than the image has")?;
        let algorithm = match compression.get() {
            1 => Algorithm::Zlib,
            4 => Algorithm::Xz,
            5 => Algorithm::Lz4,
            6 => Algorithm::Zstd,
            other => {
                let expected = "gzip (1), xz (4), lz4 (5) or zstd (6)";
                return Err(ReadError::Superblock { field: "compression", found: other.into(), expected });
            }
        };
        let source = Arc::new(Source {
            image,
            algorithm,
            block_size: block_size.get(),
            bytes: bytes_used.get(),
            cache: Cache::default(),
        });
        let tables = Tables::read(&source, &superblock)?;
        Ok(Self { source, superblock, tables })
    }

    /// Length of the file system in bytes, as its superblock has it.
    pub fn bytes(&self) -> u64 {
        self.source.bytes
    }

    /// Everything that the image holds. Contents of files stay in the image and are read through it.
    ///
    /// # Errors
    /// [`ReadError`] with the path and what is wrong with it.
    pub fn tree(&self) -> Result<Tree, ReadError> {
        walk::tree(self)
    }
}
