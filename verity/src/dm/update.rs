//! Bringing a tree up to date with data of which little has changed.

use std::io;
use std::ops::Range;

use rayon::prelude::*;

use super::{Params, RootHash};
use crate::geometry::Geometry;
use crate::hash::{BlockHasher, Digest};
use crate::io::{ReadAt, ReadWriteAt};
use crate::leaves::Buffers;

/// Rehashes the data blocks `changed` and the paths from them to the top of `tree`, in place, and returns the new root.
///
/// The rest of the tree is taken as it is: it is as good as it was, and the new root vouches for it. Where it may have
/// been tampered with, [`verify`](super::verify) it against the old root first.
///
/// ```
/// use graven_verity::dm::{self, Params, Salt};
/// use graven_verity::hash::Algorithm;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut data = vec![7u8; 1000 * 4096];
/// let params = Params::new(Algorithm::Sha256, 4096, 4096, 1000, Salt::default())?;
/// let (tree, fresh) = (tempfile::tempfile()?, tempfile::tempfile()?);
/// dm::build(&data, &params, &tree)?;
///
/// data[123 * 4096] = 8;
/// let root = dm::update(&data, &params, &tree, &[123..124])?;
/// assert_eq!(root, dm::build(&data, &params, &fresh)?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of reading and writing; [`io::ErrorKind::InvalidInput`] for blocks that are not there.
pub fn update(
    data: &dyn ReadAt,
    params: &Params,
    tree: &dyn ReadWriteAt,
    changed: &[Range<u64>],
) -> io::Result<RootHash> {
    if let Some(range) = changed.iter().find(|range| range.end > params.data_blocks()) {
        let what =
            format!("blocks {} to {} of {} data blocks", range.start, range.end - 1, params.data_blocks());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let paths = Paths {
        params,
        geometry: params.geometry(),
        data,
        tree,
        leaf: params.leaf_hasher(),
        node: params.node_hasher(),
        buffers: Buffers::default(),
    };
    let mut changed = joined(changed);
    for level in 0..paths.geometry.height() {
        changed = paths.raise(level, &changed)?;
    }
    RootHash::new(paths.top()?).map_err(io::Error::other)
}

/// `ranges` in order, those that overlap as one: so each hash block is renewed once, by one thread.
fn joined(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = ranges.iter().filter(|range| !range.is_empty()).cloned().collect();
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, last| {
        let overlap = next.start < last.end;
        if overlap {
            last.end = last.end.max(next.end);
        }
        overlap
    });
    ranges
}

struct Paths<'a> {
    params: &'a Params,
    geometry: Geometry,
    data: &'a dyn ReadAt,
    tree: &'a dyn ReadWriteAt,
    leaf: BlockHasher,
    node: BlockHasher,
    buffers: Buffers,
}

impl Paths<'_> {
    /// Puts the digests of the `changed` blocks below `level` into its hash blocks; returns which ones these are.
    fn raise(&self, level: usize, changed: &[Range<u64>]) -> io::Result<Vec<Range<u64>>> {
        let per_block = self.params.slots().per_block as u64;
        // For each hash block what is new below it, in order.
        let pieces: Vec<(u64, Range<u64>)> = changed
            .iter()
            .flat_map(|range| {
                (range.start / per_block..range.end.div_ceil(per_block)).map(|parent| {
                    let below = parent * per_block..(parent + 1) * per_block;
                    (parent, range.start.max(below.start)..range.end.min(below.end))
                })
            })
            .collect();
        let by_parent: Vec<&[(u64, Range<u64>)]> = pieces.chunk_by(|a, b| a.0 == b.0).collect();
        by_parent.par_iter().try_for_each(|pieces| self.renew(level, pieces))?;
        Ok(by_parent.iter().map(|pieces| pieces[0].0..pieces[0].0 + 1).collect())
    }

    /// Renews the digests of some blocks below one hash block.
    fn renew(&self, level: usize, pieces: &[(u64, Range<u64>)]) -> io::Result<()> {
        let slots = self.params.slots();
        let hasher = if level == 0 { &self.leaf } else { &self.node };
        let offset = self.offset(level, pieces[0].0)?;
        self.buffers.lend(slots.block_size, |block| {
            self.tree.read_exact_at(block, offset)?;
            for (parent, blocks) in pieces {
                let first = (blocks.start - parent * slots.per_block as u64) as usize * slots.slot;
                let count = (blocks.end - blocks.start) as usize;
                self.buffers.lend(count * hasher.block_size(), |bytes| {
                    match level.checked_sub(1) {
                        Some(below) => self.tree.read_exact_at(bytes, self.offset(below, blocks.start)?)?,
                        None => self.data.read_exact_at(bytes, blocks.start * hasher.block_size() as u64)?,
                    }
                    hasher.digest_run(bytes, slots.slot, &mut block[first..first + count * slots.slot]);
                    io::Result::Ok(())
                })?;
            }
            self.tree.write_all_at(block, offset)
        })
    }

    /// The digest of the one block at the top.
    fn top(&self) -> io::Result<Digest> {
        let top = self.geometry.height().checked_sub(1);
        let hasher = if top.is_some() { &self.node } else { &self.leaf };
        self.buffers.lend(hasher.block_size(), |block| {
            match top {
                Some(level) => self.tree.read_exact_at(block, self.offset(level, 0)?)?,
                None => self.data.read_exact_at(block, 0)?,
            }
            Ok(Digest::from_hash(&hasher.digests(block, hasher.digest_size())))
        })
    }

    fn offset(&self, level: usize, index: u64) -> io::Result<u64> {
        self.geometry.offset(level, index).ok_or_else(|| io::Error::other("a hash block outside of the tree"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_overlap_are_joined_and_those_that_touch_need_not_be() {
        assert_eq!(joined(&[175..200, 165..184, 7..7, 200..201, 170..171]), [165..200, 200..201]);
    }
}
