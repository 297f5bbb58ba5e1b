//! Write: the root file system goes into its final place in the disk image and is hashed on its way there.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::path::Path;

use graven_image::erofs::{self, FileRecord, Written};
use graven_image::gpt::{Partition, Table};
use graven_recipe::Recipe;
use graven_verity::dm::{RootHash, Salt, Superblock, TreeBuilder};
use graven_verity::fec;
use graven_verity::fsverity::Stretch;
use graven_verity::io::{Concat, Window, WriteAt, flushing};
use graven_verity::progress::Progress;

use crate::assemble::Rootfs;
use crate::error::{Error, Result};
use crate::hash_area::{BLOCK, HashArea, Parity, tree_params};
use crate::identity;
use crate::layout::{self, Places};

/// Bytes written between two flushes.
const FLUSHED: NonZeroU64 = NonZeroU64::new(128 << 20).unwrap();

/// A root file system that lies on the disk, and the tree over it.
#[derive(Debug)]
pub struct RootImage {
    /// The disk image; so far it holds the root file system and its tree.
    pub disk: File,
    /// Where everything lies.
    pub table: Table,
    /// Which entries of the table are what.
    pub places: Places,
    /// What the tree's superblock says.
    pub superblock: Superblock,
    /// The root of the tree.
    pub root_hash: RootHash,
    /// The tree's place in its partition, and the parity's.
    pub hash_area: HashArea,
    /// Every regular file, hashed.
    pub files: Vec<FileRecord>,
    /// What is known of the root partition's bytes, from its start on: the disk's digest needs no second look at them.
    pub stretch: Stretch,
}

/// Writes `rootfs` to a new disk image at `path`: each source byte is read once, each output byte written once.
///
/// # Errors
/// A tree that EROFS cannot hold, a root that does not fit its partition, a source that changed while it was read, and
/// whatever the file system says.
pub fn write(recipe: &Recipe, rootfs: &Rootfs, path: &Path, progress: &dyn Progress) -> Result<RootImage> {
    let named = [recipe.name.as_str(), &recipe.version.to_string(), &recipe.target.name];
    let options = erofs::Options {
        uuid: identity::uuid("erofs", &named),
        build_time: rootfs.source_date,
        volume_name: String::new(),
    };
    let image = erofs::Image::plan(&rootfs.tree, &options)?;
    let salt = match &recipe.verity.salt {
        Some(bytes) => Salt::new(bytes),
        None => identity::salt(&named),
    };
    let salt = salt.map_err(|error| Error::Limit(error.to_string()))?;
    let params = tree_params(image.len(), salt)?;
    let hash_area = HashArea::of(&params, recipe.verity.fec_roots)?;
    let (table, places) = layout::plan(recipe, &named, image.len(), &params)?;

    let writing = |source| Error::io(path, source);
    let disk = File::options().read(true).write(true).create_new(true).open(path).map_err(writing)?;
    disk.set_len(table.disk_bytes).map_err(writing)?;
    let slot = &places.slots[0];
    let (root, verity) = (&table.partitions[slot.root], &table.partitions[slot.verity]);
    let (written, flushed) = flushing(&disk, FLUSHED, |disk| -> io::Result<_> {
        let tree = Window::new(within(disk, verity), hash_area.tree_start, hash_area.tree_bytes);
        let mut builder = TreeBuilder::new(params.clone(), tree);
        let written = erofs::write(&image, &within(disk, root), &mut [&mut builder], progress)?;
        Ok((written, builder.finish()?))
    });
    let (Written { files, image: stretch }, root_hash) =
        written.map_err(|source| Error::root(path, source))?;
    flushed.map_err(writing)?;

    let superblock = Superblock { uuid: identity::uuid("superblock", &[&root_hash.to_string()]), params };
    let verity = within(&disk, verity);
    verity.write_all_at(&superblock.to_bytes(), 0).map_err(writing)?;
    if let Some(parity) = &hash_area.parity {
        let data = within(&disk, root);
        let tree = Window::new(&verity, hash_area.tree_start, hash_area.tree_bytes);
        let message =
            Concat::new().then(&data, superblock.params.data_bytes()).then(&tree, hash_area.tree_bytes);
        let out = Window::new(&verity, parity.start, parity.bytes);
        write_parity(parity, &message, &out, progress).map_err(writing)?;
    }
    Ok(RootImage { disk, table, places, superblock, root_hash, hash_area, files, stretch })
}

fn within<T>(disk: T, partition: &Partition) -> Window<T> {
    Window::new(disk, partition.start, partition.len)
}

fn write_parity(
    parity: &Parity,
    message: &Concat<'_>,
    out: &dyn WriteAt,
    progress: &dyn Progress,
) -> io::Result<()> {
    fec::encode(message, parity.blocks, BLOCK, parity.roots, out, progress)
}
