//! Trees in memory.

use std::io;
use std::ops::Range;

use super::collect::collect;
use super::{Proof, Shape, ShapeError};
use crate::dm::{Params, RootHash};
use crate::hash::{BlockHasher, Digest};
use crate::io::ReadAt;
use crate::leaves;
use crate::progress::Progress;
use crate::stream::Consumer;

/// A tree with all its digests, from which proofs are made.
///
/// Over dm-verity's blocks that is about a hundredth of the data; [`prove`](super::prove) does with the tree on its device.
#[derive(Debug, Clone)]
pub struct MerkleTree {
    shape: Shape,
    /// Digests one after the other: the leaves, and so on up to the root.
    levels: Vec<Vec<u8>>,
    leaf_count: u64,
    /// Bytes of data below a leaf, where that is known.
    block_size: Option<u64>,
}

impl MerkleTree {
    /// The tree over these leaves.
    ///
    /// # Errors
    /// When a leaf is no digest of the tree's hash function.
    pub fn from_leaves(shape: &Shape, leaves: &[Digest]) -> Result<Self, ShapeError> {
        Ok(Self::from_packed(shape.clone(), shape.packed(leaves)?, None))
    }

    /// The dm-verity tree over `data`, read once by all threads of rayon's current pool. `progress` counts its bytes.
    ///
    /// # Errors
    /// Those of reading `data`, which must have all data blocks of `params`.
    pub fn of_data(data: &dyn ReadAt, params: &Params, progress: &dyn Progress) -> io::Result<Self> {
        let size = params.algorithm().digest_size();
        let mut packed = Vec::new();
        leaves::digests(data, params.data_blocks(), &params.leaf_hasher(), size, progress, |digests| {
            packed.extend(digests);
            Ok(())
        })?;
        Ok(Self::from_packed(Shape::of(params), packed, Some(params.data_block_size().into())))
    }

    fn from_packed(shape: Shape, leaves: Vec<u8>, block_size: Option<u64>) -> Self {
        let leaf_count = leaves.len().checked_div(shape.digest_size()).unwrap_or(0) as u64;
        let mut levels = vec![leaves];
        while let Some(top) = levels.last()
            && top.len() > shape.digest_size()
        {
            let above = shape.above(top);
            levels.push(above);
        }
        Self { shape, levels, leaf_count, block_size }
    }

    /// The root; `None` for a tree of no leaves.
    #[must_use]
    pub fn root(&self) -> Option<Digest> {
        self.levels.last().and_then(|top| Digest::new(top).ok())
    }

    /// The root as dm-verity has it.
    ///
    /// # Errors
    /// When there are no leaves.
    pub fn root_hash(&self) -> io::Result<RootHash> {
        let root = self.root().ok_or_else(|| io::Error::other("a tree of no leaves has no root hash"))?;
        RootHash::new(root).map_err(io::Error::other)
    }

    /// How many leaves it has.
    #[must_use]
    pub fn leaf_count(&self) -> u64 {
        self.leaf_count
    }

    /// The proof for leaves by their positions.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when there are none, or none there.
    pub fn proof(&self, leaves: &[Range<u64>]) -> io::Result<Proof> {
        let size = self.shape.digest_size();
        collect(&self.shape, self.leaf_count, leaves, &mut |level, index, siblings| {
            let start = usize::try_from(index).ok().and_then(|index| index.checked_mul(size));
            let digest = self
                .levels
                .get(level)
                .zip(start)
                .and_then(|(digests, start)| digests.get(start..)?.get(..size))
                .ok_or_else(|| io::Error::other("a node outside of the tree"))?;
            siblings.extend_from_slice(digest);
            Ok(())
        })
    }

    /// The proof for the blocks that hold these bytes of the data.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when there are none, or the tree was not made from data.
    pub fn proof_of_bytes(&self, bytes: Range<u64>) -> io::Result<Proof> {
        let block = self.block_size.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "the leaves of this tree are no blocks of a known size",
            )
        })?;
        let blocks = bytes.start.checked_div(block).unwrap_or(0)..bytes.end.div_ceil(block);
        self.proof(&[if bytes.is_empty() { 0..0 } else { blocks }])
    }
}

/// Makes a tree while its leaves, or the data below them, go by.
pub struct Builder {
    shape: Shape,
    leaves: Vec<u8>,
    /// Of the data, where there is some.
    blocks: Option<BlockHasher>,
    /// The start of a block whose end has not come yet.
    partial: Vec<u8>,
}

impl Builder {
    /// For leaves that are given as digests.
    #[must_use]
    pub fn new(shape: &Shape) -> Self {
        Self { shape: shape.clone(), leaves: Vec::new(), blocks: None, partial: Vec::new() }
    }

    /// For the data of a dm-verity tree: the builder is a [`Consumer`] of it. All data counts, whatever number of blocks the
    /// parameters have.
    #[must_use]
    pub fn of_data(params: &Params) -> Self {
        Self { blocks: Some(params.leaf_hasher()), ..Self::new(&Shape::of(params)) }
    }

    /// Takes the next leaf.
    ///
    /// # Errors
    /// When it is no digest of the tree's hash function.
    pub fn push(&mut self, leaf: &Digest) -> Result<(), ShapeError> {
        self.leaves.extend(self.shape.packed(std::slice::from_ref(leaf))?);
        Ok(())
    }

    /// The tree over what came; a block that is not whole is left out.
    #[must_use]
    pub fn finish(self) -> MerkleTree {
        let block_size = self.blocks.map(|hasher| hasher.block_size() as u64);
        MerkleTree::from_packed(self.shape, self.leaves, block_size)
    }
}

impl Consumer for Builder {
    fn window(&mut self, _offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        let hasher = self.blocks.as_ref().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "this tree is made of digests, not of data")
        })?;
        let (block, size) = (hasher.block_size(), self.shape.digest_size());
        if !self.partial.is_empty() {
            let missing = block.saturating_sub(self.partial.len()).min(bytes.len());
            let (end, rest) = bytes.split_at(missing);
            self.partial.extend_from_slice(end);
            bytes = rest;
            if self.partial.len() < block {
                return Ok(());
            }
            self.leaves.extend(hasher.digests(&self.partial, size));
            self.partial.clear();
        }
        let rest = bytes.len().checked_rem(block).unwrap_or(0);
        let (whole, rest) = bytes.split_at(bytes.len().saturating_sub(rest));
        self.leaves.extend(hasher.digests(whole, size));
        self.partial.extend_from_slice(rest);
        Ok(())
    }
}
