//! Building a tree in one pass over the data.

use std::io;

use super::{Params, RootHash};
use crate::geometry::Geometry;
use crate::io::{ReadAt, WriteAt};
use crate::leaves;
use crate::merkle::{Accumulator, HashBlocks};
use crate::progress::{Progress, Silent};
use crate::stream::Consumer;

/// Builds a tree while the data goes by, and writes each hash block as soon as it is known.
///
/// As a [`Consumer`] it takes the data from offset 0 on; what lies past the data blocks of its parameters is passed over.
/// Offset 0 of `tree` is the first hash block: the top level, after which the lower ones follow. Memory is one hash
/// block a level and the digests of one window, whatever the size of the data.
pub struct TreeBuilder<W> {
    params: Params,
    geometry: Geometry,
    tree: W,
    accumulator: Accumulator,
    position: u64,
}

impl<W: WriteAt> TreeBuilder<W> {
    /// A builder that has seen no data.
    pub fn new(params: Params, tree: W) -> Self {
        let geometry = params.geometry();
        let accumulator = params.accumulator();
        Self { params, geometry, tree, accumulator, position: 0 }
    }

    /// Writes what is left of the tree.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when fewer data blocks came than the parameters have; errors of the tree's writer.
    pub fn finish(self) -> io::Result<RootHash> {
        let Self { params, geometry, tree, accumulator, .. } = self;
        let (expected, found) = (params.data_blocks(), accumulator.data_blocks());
        let root = accumulator.finish(&mut |blocks| write(&tree, &geometry, &blocks))?;
        match root {
            Some(root) if found == expected => RootHash::new(root).map_err(io::Error::other),
            _ => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("dm-verity tree: the data ended after {found} of {expected} data blocks"),
            )),
        }
    }
}

impl<W: WriteAt + Send> Consumer for TreeBuilder<W> {
    fn window(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset != self.position {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "dm-verity tree: expected the data from byte {} on, got byte {offset}",
                    self.position
                ),
            ));
        }
        self.position += bytes.len() as u64;
        let left = self.params.data_bytes().saturating_sub(offset);
        let ours = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (tree, geometry) = (&self.tree, &self.geometry);
        self.accumulator.update(&bytes[..ours], &mut |blocks| write(tree, geometry, &blocks))
    }
}

fn write(tree: &dyn WriteAt, geometry: &Geometry, blocks: &HashBlocks<'_>) -> io::Result<()> {
    let offset = geometry
        .offset(blocks.level, blocks.first)
        .ok_or_else(|| io::Error::other("dm-verity tree: a hash block outside of the tree"))?;
    tree.write_all_at(blocks.bytes, offset)
}

/// Builds the tree over `data` into `tree` and returns its root. Reads the data once.
///
/// To do more in the same pass give a [`TreeBuilder`] to [`stream::run`](crate::stream::run).
///
/// # Errors
/// Those of reading `data`, which must have at least the data blocks of `params`, and of writing `tree`.
pub fn build(data: &dyn ReadAt, params: &Params, tree: &dyn WriteAt) -> io::Result<RootHash> {
    build_with(data, params, tree, &Silent)
}

/// The same, telling `progress` of the bytes of data that were hashed.
///
/// # Errors
/// Those of [`build`].
pub fn build_with(
    data: &dyn ReadAt,
    params: &Params,
    tree: &dyn WriteAt,
    progress: &dyn Progress,
) -> io::Result<RootHash> {
    let mut builder = TreeBuilder::new(params.clone(), tree);
    let (leaf, slot) = (params.leaf_hasher(), params.slots().slot);
    leaves::digests(data, params.data_blocks(), &leaf, slot, progress, |digests| {
        let (tree, geometry) = (&builder.tree, &builder.geometry);
        builder.accumulator.update_digests(digests, &mut |blocks| write(tree, geometry, &blocks))
    })?;
    builder.finish()
}
