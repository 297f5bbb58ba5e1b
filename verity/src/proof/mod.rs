//! Inclusion proofs: that some blocks are those of a tree, shown by its root and a few digests.
//!
//! The tree may be dm-verity's ([`Shape::of`]), on its device ([`prove`]) or in memory ([`MerkleTree`]), or a plain Merkle
//! tree of any arity ([`Shape::plain`]); at arity 2 and without salt roots and proofs' hashes are those of the `rs_merkle`
//! crate. A proof holds the positions of its leaves and the digests beside the paths to the root, nothing that the checker
//! knows or can compute. Checking one costs no more than its own length, whoever made it.
//!
//! With the feature `serde` a [`Proof`] is read and written in the format that `docs/formats/merkle-proof.md` describes.
//!
//! ```
//! use graven_verity::dm::{Params, Salt};
//! use graven_verity::hash::Algorithm;
//! use graven_verity::progress::Silent;
//! use graven_verity::proof::{MerkleTree, Shape};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Somebody has the whole device …
//! let data: Vec<u8> = (0..300 * 4096u32).map(|i| (i / 4096) as u8).collect();
//! let params = Params::new(Algorithm::Sha256, 4096, 4096, 300, "c0ffee".parse::<Salt>()?)?;
//! let tree = MerkleTree::of_data(&data, &params, &Silent)?;
//! let (root_hash, proof) = (tree.root_hash()?, tree.proof_of_bytes(40_000..50_000)?);
//!
//! // … and somebody else the root hash, the parameters and these blocks.
//! assert_eq!(proof.leaves(), [9..13]);
//! proof.verify_blocks(&params, &root_hash, &data[9 * 4096..13 * 4096])?;
//! assert!(proof.verify_blocks(&params, &root_hash, &data[8 * 4096..12 * 4096]).is_err());
//!
//! // Leaves may be anything that has a digest.
//! let leaves: Vec<_> = ["a", "b", "c"].map(|leaf| Algorithm::Sha256.digest(leaf.as_bytes())).into();
//! let plain = Shape::plain(Algorithm::Sha256, 2)?;
//! let tree = MerkleTree::from_leaves(&plain, &leaves)?;
//! let root = tree.root().ok_or("a tree of nothing has no root")?;
//! tree.proof(&[2..3])?.verify(&plain, 3, &leaves[2..], &root)?;
//! # Ok(())
//! # }
//! ```
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod collect;
#[cfg(feature = "serde")]
mod serialized;
mod shape;
#[cfg(test)]
mod tests;
mod tree;
mod verify;

use std::ops::Range;

pub use self::collect::prove;
pub use self::shape::{Shape, ShapeError, leaf_digests};
pub use self::tree::{Builder, MerkleTree};
pub use self::verify::ProofError;

/// That some leaves are in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "serialized::Wire", into = "serialized::Wire"))]
pub struct Proof {
    /// In order, none empty, and none touching another.
    leaves: Vec<Range<u64>>,
    /// Bytes of a digest.
    digest_size: usize,
    /// The digests beside the paths to the root: level by level from the leaves up, each level from left to right.
    siblings: Vec<u8>,
}

impl Proof {
    /// The leaves that it is about, as ranges of their positions.
    #[must_use]
    pub fn leaves(&self) -> &[Range<u64>] {
        &self.leaves
    }

    /// How many leaves those are; `None` past 2^64.
    #[must_use]
    pub fn leaf_count(&self) -> Option<u64> {
        self.leaves
            .iter()
            .try_fold(0u64, |count, range| count.checked_add(range.end.checked_sub(range.start)?))
    }

    /// How many digests it holds.
    #[must_use]
    pub fn siblings(&self) -> usize {
        self.siblings.len().checked_div(self.digest_size).unwrap_or(0)
    }
}

/// Positions as ranges: in order, none empty, joined where they touch or overlap.
fn normal(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut ranges: Vec<_> = ranges.iter().filter(|range| range.start < range.end).cloned().collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// The nodes above `children`, as ranges in the same manner.
fn parents(children: &[Range<u64>], arity: u64) -> Vec<Range<u64>> {
    let above = |child: u64| child.checked_div(arity).unwrap_or(0);
    let ranges: Vec<_> = children
        .iter()
        .map(|range| above(range.start)..above(range.end.saturating_sub(1)).saturating_add(1))
        .collect();
    normal(&ranges)
}

/// What lies under `parents` in a level of `count` nodes, and is not in `known`.
fn beside(parents: &[Range<u64>], known: &[Range<u64>], arity: u64, count: u64) -> Vec<Range<u64>> {
    let mut beside = Vec::new();
    let mut known = known.iter();
    let mut next = known.next();
    for parents in parents {
        let mut at = parents.start.saturating_mul(arity);
        let end = parents.end.saturating_mul(arity).min(count);
        while at < end {
            match next {
                Some(range) if range.start <= at => {
                    at = at.max(range.end.min(end));
                    if range.end <= at {
                        next = known.next();
                    }
                }
                Some(range) if range.start < end => {
                    beside.push(at..range.start);
                    at = range.start;
                }
                _ => {
                    beside.push(at..end);
                    at = end;
                }
            }
        }
    }
    beside
}
