//! What a tree is a function of, besides the data.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::sync::Arc;

use super::Salt;
use crate::geometry::Geometry;
use crate::hash::{Algorithm, BlockHasher, Salting};
use crate::merkle::{Accumulator, Slots};

/// The two ways to salt and pack; superblock and table line call them version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HashType {
    /// 0, the original Chrome OS format: salt after the block, digests packed.
    ChromeOs,
    /// 1: salt before the block, digests in slots of a power of two.
    #[default]
    Normal,
}

impl HashType {
    /// 0 or 1.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::ChromeOs => 0,
            Self::Normal => 1,
        }
    }
}

/// The parameters of a tree, within what veritysetup and the kernel accept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Params {
    hash_type: HashType,
    algorithm: Algorithm,
    data_block_size: u32,
    hash_block_size: u32,
    data_blocks: u64,
    salt: Salt,
}

/// Parameters that no tree can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// Not a power of two in 512 … 524288.
    #[error(
        "{which} block size {found}: expected a power of two from 512 to 524288 bytes (4096 suits every kernel)"
    )]
    BlockSize {
        /// `data` or `hash`.
        which: &'static str,
        /// Bytes.
        found: u32,
    },
    /// A tree over nothing.
    #[error("a dm-verity tree needs at least one data block")]
    NoData,
    /// Larger than a block device can be.
    #[error(
        "{data_blocks} data blocks of {data_block_size} bytes are more than a block device holds (2^63 bytes)"
    )]
    TooLarge {
        /// Blocks.
        data_blocks: u64,
        /// Bytes.
        data_block_size: u32,
    },
}

impl Params {
    /// Parameters of hash type 1. Block sizes are bytes, `data_blocks` counts data blocks; whatever follows them on the
    /// device is not protected.
    ///
    /// # Errors
    /// When a block size is no power of two from 512 to 524288, or there are no data blocks or too many.
    pub fn new(
        algorithm: Algorithm,
        data_block_size: u32,
        hash_block_size: u32,
        data_blocks: u64,
        salt: Salt,
    ) -> Result<Self, ParamsError> {
        for (which, found) in [("data", data_block_size), ("hash", hash_block_size)] {
            if !found.is_power_of_two() || !(512..=512 * 1024).contains(&found) {
                return Err(ParamsError::BlockSize { which, found });
            }
        }
        if data_blocks == 0 {
            return Err(ParamsError::NoData);
        }
        let params = Self {
            hash_type: HashType::default(),
            algorithm,
            data_block_size,
            hash_block_size,
            data_blocks,
            salt,
        };
        // The tree is at most as long as 64-byte digests of 512-byte blocks make it; leave room for both.
        let data_bytes = data_blocks.checked_mul(u64::from(data_block_size)).filter(|bytes| *bytes < 1 << 63);
        let tree_bytes =
            data_bytes.and_then(|_| Geometry::new(data_blocks, &params.slots())).map(|tree| tree.bytes());
        match tree_bytes {
            Some(bytes) if bytes < 1 << 63 => Ok(params),
            _ => Err(ParamsError::TooLarge { data_blocks, data_block_size }),
        }
    }

    /// The same with another hash type.
    ///
    /// # Errors
    /// When the tree of that type would be too large.
    pub fn with_hash_type(self, hash_type: HashType) -> Result<Self, ParamsError> {
        let params = Self { hash_type, ..self };
        match Geometry::new(params.data_blocks, &params.slots()) {
            Some(tree) if tree.bytes() < 1 << 63 => Ok(params),
            _ => Err(ParamsError::TooLarge {
                data_blocks: params.data_blocks,
                data_block_size: params.data_block_size,
            }),
        }
    }

    /// How salt and digests are laid out.
    #[must_use]
    pub fn hash_type(&self) -> HashType {
        self.hash_type
    }

    /// The hash function.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Bytes of a data block.
    #[must_use]
    pub fn data_block_size(&self) -> u32 {
        self.data_block_size
    }

    /// Bytes of a hash block.
    #[must_use]
    pub fn hash_block_size(&self) -> u32 {
        self.hash_block_size
    }

    /// Data blocks covered.
    #[must_use]
    pub fn data_blocks(&self) -> u64 {
        self.data_blocks
    }

    /// The salt.
    #[must_use]
    pub fn salt(&self) -> &Salt {
        &self.salt
    }

    /// Bytes of data covered: blocks times their size.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.data_blocks.saturating_mul(u64::from(self.data_block_size))
    }

    /// Bytes of the tree, without superblock: whole hash blocks; 0 for a single data block.
    #[must_use]
    pub fn tree_bytes(&self) -> u64 {
        self.geometry().bytes()
    }

    /// Hash blocks of the tree, without superblock.
    #[must_use]
    pub fn tree_blocks(&self) -> u64 {
        self.geometry().blocks()
    }

    pub(crate) fn geometry(&self) -> Geometry {
        Geometry::new(self.data_blocks, &self.slots()).expect("checked when the parameters were made")
    }

    /// Digests in a hash block.
    pub(crate) fn slots(&self) -> Slots {
        let digest = self.algorithm.digest_size();
        let block_size = self.hash_block_size as usize;
        // A digest has at least 20 bytes and a block at least 512: neither is zero, and two digests always fit.
        let per_block = 1usize << block_size.checked_div(digest).and_then(usize::checked_ilog2).unwrap_or(1);
        let slot = match self.hash_type {
            HashType::ChromeOs => digest,
            HashType::Normal => digest.next_power_of_two(),
        };
        Slots { per_block, slot, block_size }
    }

    /// Hashes data blocks.
    pub(crate) fn leaf_hasher(&self) -> BlockHasher {
        BlockHasher::new(self.algorithm, self.salting(), self.data_block_size as usize)
    }

    /// Hashes hash blocks.
    pub(crate) fn node_hasher(&self) -> BlockHasher {
        BlockHasher::new(self.algorithm, self.salting(), self.hash_block_size as usize)
    }

    pub(super) fn accumulator(&self) -> Accumulator {
        Accumulator::new(Arc::new(self.leaf_hasher()), Arc::new(self.node_hasher()), self.slots())
    }

    fn salting(&self) -> Salting<'_> {
        match self.hash_type {
            HashType::ChromeOs => Salting::After(self.salt.as_bytes()),
            HashType::Normal => Salting::Before(self.salt.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(data: u32, hash: u32, blocks: u64) -> Result<Params, ParamsError> {
        Params::new(Algorithm::Sha256, data, hash, blocks, Salt::default())
    }

    #[test]
    fn impossible_parameters_are_refused() {
        assert_eq!(params(256, 4096, 1), Err(ParamsError::BlockSize { which: "data", found: 256 }));
        assert_eq!(params(4096, 3000, 1), Err(ParamsError::BlockSize { which: "hash", found: 3000 }));
        assert_eq!(params(4096, 1 << 20, 1), Err(ParamsError::BlockSize { which: "hash", found: 1 << 20 }));
        assert_eq!(params(4096, 4096, 0), Err(ParamsError::NoData));
        for blocks in [1 << 51, u64::MAX] {
            let error = ParamsError::TooLarge { data_blocks: blocks, data_block_size: 4096 };
            assert_eq!(params(4096, 4096, blocks), Err(error));
        }
        assert!(params(4096, 4096, (1 << 51) - 1).is_ok());
        assert!(params(512, 512 * 1024, (1 << 54) - 1).is_ok());
    }
}
