//! Making a proof: the digests beside the paths, from wherever the tree is.

use std::io;
use std::ops::Range;

use super::{Proof, Shape, beside, normal, parents};
use crate::dm::Params;
use crate::io::ReadAt;

/// The proof for `leaves`, data blocks by their positions, from a dm-verity tree as it lies on its device. Offset 0 of `tree`
/// is the first hash block; only those on the paths are read.
///
/// The tree is believed: a proof from a bad one does not hold.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] when a leaf is past the data's end, or there is none; those of reading.
pub fn prove(tree: &dyn ReadAt, params: &Params, leaves: &[Range<u64>]) -> io::Result<Proof> {
    let (shape, geometry, slots) = (Shape::of(params), params.geometry(), params.slots());
    let outside = || io::Error::other("a hash block outside of the tree");
    let mut read: Option<(usize, u64)> = None;
    let mut block = vec![0; slots.block_size];
    collect(&shape, params.data_blocks(), leaves, &mut |level, index, siblings| {
        // The digests of a level lie in the hash blocks of the next.
        let parent = index.checked_div(shape.arity()).ok_or_else(outside)?;
        if read != Some((level, parent)) {
            let offset = geometry.offset(level, parent).ok_or_else(outside)?;
            tree.read_exact_at(&mut block, offset)?;
            read = Some((level, parent));
        }
        let place = index.checked_rem(shape.arity()).and_then(|slot| usize::try_from(slot).ok());
        let start = place.and_then(|slot| slot.checked_mul(slots.slot)).ok_or_else(outside)?;
        let digest = block.get(start..).and_then(|rest| rest.get(..shape.digest_size()));
        siblings.extend_from_slice(digest.ok_or_else(outside)?);
        Ok(())
    })
}

/// Adds the digest of a node, by level and position, to the siblings.
pub(super) type Node<'a> = dyn FnMut(usize, u64, &mut Vec<u8>) -> io::Result<()> + 'a;

/// Puts a proof together of what `digest` knows.
pub(super) fn collect(
    shape: &Shape,
    leaf_count: u64,
    leaves: &[Range<u64>],
    digest: &mut Node<'_>,
) -> io::Result<Proof> {
    let leaves = normal(leaves);
    if leaves.last().is_none_or(|last| last.end > leaf_count) {
        let problem = format!("a proof for leaves {leaves:?} of a tree of {leaf_count}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    let mut siblings = Vec::new();
    let mut known = leaves.clone();
    for (level, count) in shape.levels(leaf_count).into_iter().enumerate() {
        if count <= 1 {
            break;
        }
        let above = parents(&known, shape.arity());
        for index in beside(&above, &known, shape.arity(), count).into_iter().flatten() {
            digest(level, index, &mut siblings)?;
        }
        known = above;
    }
    Ok(Proof { leaves, digest_size: shape.digest_size(), siblings })
}
