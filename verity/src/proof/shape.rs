//! How digests are put together to those above.

use std::sync::Arc;

use crate::dm::Params;
use crate::hash::{Algorithm, BlockHasher, Digest, Salting};
use crate::merkle::Slots;

/// What a tree is a function of, besides its leaves.
#[derive(Clone)]
pub struct Shape {
    algorithm: Algorithm,
    slots: Slots,
    unfilled: Unfilled,
    /// Of whole nodes.
    hasher: Arc<BlockHasher>,
}

/// What becomes of the last node of a level that has fewer children than the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unfilled {
    /// dm-verity: zeros take their place.
    Padded,
    /// Others: the hash is over those there are, and a single one takes the node's place.
    Short,
}

/// A tree that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Not an arity.
    #[error("a Merkle tree of arity {found}: expected 2 to 65536")]
    Arity {
        /// The one asked for.
        found: usize,
    },
    /// A leaf of another hash function.
    #[error("leaf {index} has {found} bytes, a digest of {algorithm} has {expected}")]
    Leaf {
        /// Which.
        index: u64,
        /// Its length.
        found: usize,
        /// Of the tree.
        algorithm: Algorithm,
        /// Its digests' length.
        expected: usize,
    },
}

impl Shape {
    /// The tree that dm-verity has with these parameters; its leaves are the digests of data blocks.
    #[must_use]
    pub fn of(params: &Params) -> Self {
        Self {
            algorithm: params.algorithm(),
            slots: params.slots(),
            unfilled: Unfilled::Padded,
            hasher: Arc::new(params.node_hasher()),
        }
    }

    /// A plain tree: a node is the hash of its children's digests one after the other, `arity` of them; where a level ends
    /// with fewer, of those, and a single one takes the node's place. At arity 2 this is the tree of the `rs_merkle` crate.
    ///
    /// # Errors
    /// When the arity is not in 2..=65536.
    pub fn plain(algorithm: Algorithm, arity: usize) -> Result<Self, ShapeError> {
        if !(2..=65536).contains(&arity) {
            return Err(ShapeError::Arity { found: arity });
        }
        let slot = algorithm.digest_size();
        // At most 4 MiB.
        let block_size = arity.saturating_mul(slot);
        let hasher = BlockHasher::new(algorithm, Salting::Before(&[]), block_size);
        let slots = Slots { per_block: arity, slot, block_size };
        Ok(Self { algorithm, slots, unfilled: Unfilled::Short, hasher: Arc::new(hasher) })
    }

    /// The hash function.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Children a node.
    #[must_use]
    pub fn arity(&self) -> u64 {
        self.slots.per_block as u64
    }

    /// Bytes of a digest.
    pub(super) fn digest_size(&self) -> usize {
        self.algorithm.digest_size()
    }

    /// How many nodes each level has over `leaves` leaves, from the leaves up to the root.
    pub(super) fn levels(&self, leaves: u64) -> Vec<u64> {
        let mut levels = vec![leaves];
        let mut count = leaves;
        while count > 1 {
            count = count.div_ceil(self.arity());
            levels.push(count);
        }
        levels
    }

    /// The digests of the nodes over `children`, digests one after the other that begin with the first child of a node. Only
    /// the last node may have fewer than all, and then it must be the last of its level.
    pub(super) fn above(&self, children: &[u8]) -> Vec<u8> {
        let size = self.digest_size();
        let whole = self.slots.per_block.saturating_mul(size);
        let rest = children.len().checked_rem(whole).unwrap_or(0);
        let (full, short) = match self.unfilled {
            Unfilled::Padded => (children, &[][..]),
            Unfilled::Short => children.split_at(children.len().saturating_sub(rest)),
        };
        let mut above = self.hasher.digests(&self.slots.blocks(&self.spread(full)), size);
        match short.len() {
            0 => {}
            single if single == size => above.extend_from_slice(short),
            _ => above.extend_from_slice(self.algorithm.digest(short).as_bytes()),
        }
        above
    }

    /// Digests in the slots that nodes have for them.
    fn spread<'a>(&self, digests: &'a [u8]) -> std::borrow::Cow<'a, [u8]> {
        let (size, slot) = (self.digest_size(), self.slots.slot);
        if size == slot {
            return digests.into();
        }
        let mut spread = Vec::with_capacity(digests.len().saturating_mul(2));
        for digest in digests.chunks(size) {
            spread.extend_from_slice(digest);
            spread.resize(spread.len().next_multiple_of(slot), 0);
        }
        spread.into()
    }

    /// The digests of leaves, one after the other.
    pub(super) fn packed(&self, leaves: &[Digest]) -> Result<Vec<u8>, ShapeError> {
        let expected = self.digest_size();
        let mut packed = Vec::with_capacity(leaves.len().saturating_mul(expected));
        for (index, leaf) in leaves.iter().enumerate() {
            let found = leaf.as_bytes().len();
            if found != expected {
                let algorithm = self.algorithm;
                return Err(ShapeError::Leaf { index: index as u64, found, algorithm, expected });
            }
            packed.extend_from_slice(leaf.as_bytes());
        }
        Ok(packed)
    }
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shape")
            .field("algorithm", &self.algorithm)
            .field("slots", &self.slots)
            .field("unfilled", &self.unfilled)
            .finish_non_exhaustive()
    }
}

/// The digests of whole data blocks, one after the other, as leaves of the dm-verity tree with these parameters. Bytes after
/// the last whole block do not count.
#[must_use]
pub fn leaf_digests(params: &Params, blocks: &[u8]) -> Vec<Digest> {
    let (hasher, size) = (params.leaf_hasher(), params.algorithm().digest_size());
    let rest = blocks.len().checked_rem(hasher.block_size()).unwrap_or(0);
    let (whole, _) = blocks.split_at(blocks.len().saturating_sub(rest));
    hasher.digests(whole, size).chunks(size).map(Digest::from_hash).collect()
}
