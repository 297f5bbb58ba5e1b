//! Checking a proof. Whoever made it may have meant ill: nothing is allocated that its length does not pay for.

use std::ops::Range;

use super::{Proof, Shape, ShapeError, beside, parents};
use crate::dm::{Params, RootHash};
use crate::hash::{Algorithm, Digest};

/// Why a proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not about as many leaves as are given.
    #[error("the proof is about {expected} leaves, {found} were given")]
    LeafCount {
        /// Of the proof; `None` for more than there can be.
        expected: ShownCount,
        /// Given.
        found: u64,
    },
    /// About leaves that the tree does not have.
    #[error("the proof is about leaf {found}, the tree has {leaf_count}")]
    Outside {
        /// The last leaf of the proof.
        found: u64,
        /// Leaves of the tree.
        leaf_count: u64,
    },
    /// About no leaves at all.
    #[error("the proof is about no leaves at all")]
    Empty,
    /// Of another hash function.
    #[error("the proof's digests have {found} bytes, those of {algorithm} have {expected}")]
    DigestSize {
        /// Of the tree.
        algorithm: Algorithm,
        /// Bytes of its digests.
        expected: usize,
        /// Bytes of the proof's.
        found: usize,
    },
    /// A leaf of another hash function.
    #[error(transparent)]
    Leaf(#[from] ShapeError),
    /// Not as many digests as the paths need.
    #[error("the proof holds {found} digests, its leaves need {expected}")]
    Siblings {
        /// Needed, as far as it was counted.
        expected: u64,
        /// There.
        found: u64,
    },
    /// Not whole blocks.
    #[error("{found} bytes were given for {blocks} blocks of {block_size}")]
    Blocks {
        /// Blocks of the proof.
        blocks: u64,
        /// Their size.
        block_size: u32,
        /// Bytes given.
        found: u64,
    },
    /// The digests lead elsewhere.
    #[error("the leaves are not those of the root: they lead to {found}, not to {expected}")]
    Root {
        /// The root.
        expected: Box<Digest>,
        /// Where the proof leads.
        found: Box<Digest>,
    },
}

/// A number of leaves that may be past all counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownCount(pub Option<u64>);

impl std::fmt::Display for ShownCount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(count) => count.fmt(f),
            None => f.write_str("more than 2^64"),
        }
    }
}

impl Proof {
    /// Proves that `leaves`, in the order of [`Proof::leaves`], are those of the tree of `leaf_count` leaves with this `root`.
    ///
    /// # Errors
    /// [`ProofError`], whatever the proof is: that it does not hold.
    pub fn verify(
        &self,
        shape: &Shape,
        leaf_count: u64,
        leaves: &[Digest],
        root: &Digest,
    ) -> Result<(), ProofError> {
        self.verify_packed(shape, leaf_count, shape.packed(leaves)?, root)
    }

    /// Proves that `blocks`, one after the other in the order of [`Proof::leaves`], are data blocks of the dm-verity device
    /// with these parameters and this root hash.
    ///
    /// # Errors
    /// [`ProofError`], whatever the proof is: that it does not hold.
    pub fn verify_blocks(
        &self,
        params: &Params,
        root_hash: &RootHash,
        blocks: &[u8],
    ) -> Result<(), ProofError> {
        let (block_size, found) = (params.data_block_size(), blocks.len() as u64);
        let count = self.leaf_count().ok_or(self.miscounted(found))?;
        if count.checked_mul(block_size.into()) != Some(found) {
            return Err(ProofError::Blocks { blocks: count, block_size, found });
        }
        let digests = params.leaf_hasher().digests(blocks, params.algorithm().digest_size());
        self.verify_packed(&Shape::of(params), params.data_blocks(), digests, &root_hash.digest())
    }

    fn verify_packed(
        &self,
        shape: &Shape,
        leaf_count: u64,
        leaves: Vec<u8>,
        root: &Digest,
    ) -> Result<(), ProofError> {
        let size = shape.digest_size();
        let last = self.leaves.last().ok_or(ProofError::Empty)?;
        if last.end > leaf_count {
            return Err(ProofError::Outside { found: last.end.saturating_sub(1), leaf_count });
        }
        let given = leaves.len().checked_div(size).unwrap_or(0) as u64;
        if self.leaf_count() != Some(given) {
            return Err(self.miscounted(given));
        }
        if self.digest_size != size {
            let (algorithm, expected) = (shape.algorithm(), size);
            return Err(ProofError::DigestSize { algorithm, expected, found: self.digest_size });
        }
        let mut siblings = Digests { left: &self.siblings, size, taken: 0 };
        let (mut known, mut digests) = (self.leaves.clone(), leaves);
        for count in shape.levels(leaf_count) {
            if count <= 1 {
                break;
            }
            let above = parents(&known, shape.arity());
            let missing = beside(&above, &known, shape.arity(), count);
            let missing = siblings.take(&missing).ok_or_else(|| ProofError::Siblings {
                expected: missing.iter().fold(siblings.taken, |sum, range| {
                    sum.saturating_add(range.end.saturating_sub(range.start))
                }),
                found: self.siblings() as u64,
            })?;
            digests = node_by_node(shape, &above, count, &merge(&known, &digests, missing, size));
            known = above;
        }
        if !siblings.left.is_empty() {
            let (expected, found) = (siblings.taken, self.siblings() as u64);
            return Err(ProofError::Siblings { expected, found });
        }
        match Digest::new(&digests) {
            Ok(found) if found == *root => Ok(()),
            Ok(found) => Err(ProofError::Root { expected: Box::new(*root), found: Box::new(found) }),
            Err(_) => Err(ProofError::Empty),
        }
    }

    fn miscounted(&self, found: u64) -> ProofError {
        ProofError::LeafCount { expected: ShownCount(self.leaf_count()), found }
    }
}

/// The digests of a proof that have not been used.
struct Digests<'a> {
    left: &'a [u8],
    size: usize,
    taken: u64,
}

impl<'a> Digests<'a> {
    /// Those of some nodes, with the nodes' positions; `None` when there are not so many.
    fn take(&mut self, nodes: &[Range<u64>]) -> Option<Vec<(u64, &'a [u8])>> {
        let mut taken = Vec::new();
        for range in nodes {
            let count = range.end.checked_sub(range.start)?;
            let bytes = usize::try_from(count).ok()?.checked_mul(self.size)?;
            let (digests, left) = self.left.split_at_checked(bytes)?;
            taken.push((range.start, digests));
            self.left = left;
            self.taken = self.taken.saturating_add(count);
        }
        Some(taken)
    }
}

/// Two lists of runs of digests, each by the position of its first, as one list of digests in order.
fn merge(known: &[Range<u64>], digests: &[u8], missing: Vec<(u64, &[u8])>, size: usize) -> Vec<u8> {
    let mut runs: Vec<(u64, &[u8])> = missing;
    let mut rest = digests;
    for range in known {
        let count = range.end.saturating_sub(range.start);
        let bytes = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(size).min(rest.len());
        let (run, left) = rest.split_at(bytes);
        runs.push((range.start, run));
        rest = left;
    }
    runs.sort_unstable_by_key(|(start, _)| *start);
    runs.into_iter().flat_map(|(_, run)| run).copied().collect()
}

/// The digests of nodes whose children are all there, run by run: a run ends whole, or with its level.
fn node_by_node(shape: &Shape, nodes: &[Range<u64>], children: u64, digests: &[u8]) -> Vec<u8> {
    let size = shape.digest_size();
    let mut above = Vec::new();
    let mut rest = digests;
    for range in nodes {
        let first = range.start.saturating_mul(shape.arity());
        let end = range.end.saturating_mul(shape.arity()).min(children);
        let count = usize::try_from(end.saturating_sub(first)).unwrap_or(usize::MAX);
        let (run, left) = rest.split_at(count.saturating_mul(size).min(rest.len()));
        above.extend(shape.above(run));
        rest = left;
    }
    above
}
