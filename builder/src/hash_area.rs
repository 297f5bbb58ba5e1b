//! What lies in a verity partition: superblock, tree, parity.

use graven_verity::dm::{Params, Salt};
use graven_verity::fec::{self, Roots};
use graven_verity::hash::Algorithm;

use crate::error::{Error, Result};

/// Bytes of a block, of the file system as of the tree: the one size that every kernel takes.
pub const BLOCK: u32 = 4096;

/// What lies where in the verity partition, in bytes: superblock, tree, parity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashArea {
    /// First byte of the tree.
    pub tree_start: u64,
    /// Length of the tree.
    pub tree_bytes: u64,
    /// Parity after it.
    pub parity: Option<Parity>,
}

/// Forward error correction of data and tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parity {
    /// Parity bytes a code word.
    pub roots: Roots,
    /// Data and hash blocks that it covers.
    pub blocks: u64,
    /// First byte in the verity partition.
    pub start: u64,
    /// Length in bytes.
    pub bytes: u64,
}

impl HashArea {
    /// The area for a tree of these parameters.
    pub(crate) fn of(params: &Params, fec_roots: u8) -> Result<Self> {
        let tree_start = u64::from(params.hash_block_size());
        let tree_bytes = params.tree_bytes();
        let parity = match fec_roots {
            0 => None,
            roots => {
                let roots = Roots::new(u32::from(roots)).map_err(|error| Error::Limit(error.to_string()))?;
                let blocks = params.data_blocks() + params.tree_blocks();
                let bytes = fec::parity_bytes(blocks, BLOCK, roots)
                    .ok_or_else(|| Error::Limit("the root is too large for parity".into()))?;
                Some(Parity { roots, blocks, start: tree_start + tree_bytes, bytes })
            }
        };
        Ok(Self { tree_start, tree_bytes, parity })
    }

    /// Length of the whole area in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.parity.map_or(self.tree_start + self.tree_bytes, |parity| parity.start + parity.bytes)
    }
}

/// The parameters of every tree of ours over `bytes` of data, a multiple of a block.
pub(crate) fn tree_params(bytes: u64, salt: Salt) -> Result<Params> {
    Params::new(Algorithm::Sha256, BLOCK, BLOCK, bytes / u64::from(BLOCK), salt)
        .map_err(|error| Error::Limit(error.to_string()))
}
