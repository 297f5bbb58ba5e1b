//! What a file's digest is a function of, besides its bytes.

use std::fmt;
use std::sync::Arc;

use crate::geometry::Geometry;
use crate::hash::{Algorithm, BlockHasher, Salting};
use crate::merkle::Slots;

/// Hash function, block size and salt. The default is the tools' own: SHA-256, 4096 bytes, no salt.
///
/// Cheap to clone, and to be shared: the hash states after the salt are computed once for all the files.
#[derive(Clone)]
pub struct Params {
    algorithm: Algorithm,
    block_size: u32,
    salt: Vec<u8>,
    hasher: Arc<BlockHasher>,
}

/// Parameters that no file can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// fs-verity knows two hash functions.
    #[error("fs-verity has no {found}: expected sha256 or sha512")]
    Algorithm {
        /// The one asked for.
        found: Algorithm,
    },
    /// Not a power of two in 1024 … 65536.
    #[error(
        "fs-verity block size {found}: expected a power of two from 1024 to 65536 bytes (4096 suits every kernel)"
    )]
    BlockSize {
        /// Bytes.
        found: u32,
    },
    /// Longer than the descriptor has room for.
    #[error("an fs-verity salt has at most 32 bytes, found {found}")]
    SaltLength {
        /// Bytes.
        found: usize,
    },
}

impl Params {
    /// The longest salt, in bytes.
    pub const MAX_SALT: usize = 32;

    /// `block_size` is bytes; a file system takes no more than its own, and no more than the page size.
    ///
    /// # Errors
    /// When `algorithm` is neither SHA-256 nor SHA-512, `block_size` no power of two from 1024 to 65536, or `salt` longer
    /// than 32 bytes.
    pub fn new(algorithm: Algorithm, block_size: u32, salt: &[u8]) -> Result<Self, ParamsError> {
        if !matches!(algorithm, Algorithm::Sha256 | Algorithm::Sha512) {
            return Err(ParamsError::Algorithm { found: algorithm });
        }
        if !block_size.is_power_of_two() || !(1024..=64 * 1024).contains(&block_size) {
            return Err(ParamsError::BlockSize { found: block_size });
        }
        if salt.len() > Self::MAX_SALT {
            return Err(ParamsError::SaltLength { found: salt.len() });
        }
        // The tree's salt is padded so that the hash function has taken it in whole before the block comes.
        let mut padded = salt.to_vec();
        padded.resize(salt.len().next_multiple_of(algorithm.input_block_size()), 0);
        let hasher = Arc::new(BlockHasher::new(algorithm, Salting::Before(&padded), block_size as usize));
        Ok(Self { algorithm, block_size, salt: salt.to_vec(), hasher })
    }

    /// The hash function.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Bytes of a block, of the file and of the tree.
    #[must_use]
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// The salt, without padding.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// Bytes of the tree of a file of `data_size` bytes; 0 for one of a single block or none. `None` past 2^64.
    #[must_use]
    pub fn tree_bytes(&self, data_size: u64) -> Option<u64> {
        Some(self.geometry(data_size)?.bytes())
    }

    pub(super) fn geometry(&self, data_size: u64) -> Option<Geometry> {
        Geometry::new(data_size.div_ceil(u64::from(self.block_size)), &self.slots())
    }

    pub(super) fn hasher(&self) -> &Arc<BlockHasher> {
        &self.hasher
    }

    pub(super) fn slots(&self) -> Slots {
        let block_size = self.block_size as usize;
        let slot = self.algorithm.digest_size();
        Slots { per_block: block_size / slot, slot, block_size }
    }
}

impl Default for Params {
    fn default() -> Self {
        Self::new(Algorithm::Sha256, 4096, &[]).expect("the tools' defaults are within the limits")
    }
}

impl PartialEq for Params {
    fn eq(&self, other: &Self) -> bool {
        let key = |params: &Self| (params.algorithm, params.block_size);
        key(self) == key(other) && self.salt == other.salt
    }
}

impl Eq for Params {}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Params")
            .field("algorithm", &self.algorithm)
            .field("block_size", &self.block_size)
            .field("salt", &self.salt)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_parameters_are_refused() {
        let new = Params::new;
        let sha1 = ParamsError::Algorithm { found: Algorithm::Sha1 };
        assert_eq!(new(Algorithm::Sha1, 4096, &[]), Err(sha1));
        for found in [0, 512, 4095, 1 << 17] {
            assert_eq!(new(Algorithm::Sha256, found, &[]), Err(ParamsError::BlockSize { found }));
        }
        assert_eq!(new(Algorithm::Sha256, 4096, &[0; 33]), Err(ParamsError::SaltLength { found: 33 }));
        assert!(new(Algorithm::Sha512, 65536, &[0; 32]).is_ok());
    }
}
