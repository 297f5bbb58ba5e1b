//! A verified device on the disk: data in one partition, superblock, tree and parity in the next.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;

use graven_image::gpt::{Partition, Table};
use graven_verity::dm::{Params, RootHash, Superblock, TreeBuilder};
use graven_verity::fec;
use graven_verity::fsverity::Stretch;
use graven_verity::io::{Concat, Window, WriteAt, flushing};
use graven_verity::progress::Progress;
use graven_verity::stream::Consumer;

use crate::hash_area::{BLOCK, HashArea};
use crate::identity;
use crate::layout::Parts;

/// Bytes written between two flushes.
const FLUSHED: NonZeroU64 = NonZeroU64::new(128 << 20).unwrap();

/// A device that lies on the disk, but for its signature.
#[derive(Debug)]
pub struct Device {
    /// Its entries in the table.
    pub parts: Parts,
    /// What its superblock says.
    pub superblock: Superblock,
    /// The root of its tree.
    pub root_hash: RootHash,
    /// The tree's place in its partition, and the parity's.
    pub hash_area: HashArea,
    /// What is known of the data partition's bytes, from its start on: the disk's digest needs no second look at them.
    pub stretch: Stretch,
}

impl Device {
    /// Writes a device. `fill` writes the data to its place and shows every byte of it to the consumer; what it answers with
    /// is handed on.
    ///
    /// # Errors
    /// Those of `fill` and of the disk.
    pub(crate) fn write<T>(
        disk: &File,
        table: &Table,
        parts: Parts,
        params: Params,
        hash_area: HashArea,
        fill: impl FnOnce(&dyn WriteAt, &mut dyn Consumer) -> io::Result<(T, Stretch)>,
        progress: &dyn Progress,
    ) -> io::Result<(Self, T)> {
        let (data, verity) = (&table.partitions[parts.data], &table.partitions[parts.verity]);
        let (written, flushed) = flushing(disk, FLUSHED, |disk| {
            let tree = Window::new(within(disk, verity), hash_area.tree_start, hash_area.tree_bytes);
            let mut builder = TreeBuilder::new(params.clone(), tree);
            let filled = fill(&within(disk, data), &mut builder)?;
            Ok::<_, io::Error>((filled, builder.finish()?))
        });
        let ((answer, stretch), root_hash) = written?;
        flushed?;

        let superblock = Superblock { uuid: identity::uuid("superblock", &[&root_hash.to_string()]), params };
        let verity = within(disk, verity);
        verity.write_all_at(&superblock.to_bytes(), 0)?;
        if let Some(parity) = &hash_area.parity {
            let data = within(disk, data);
            let tree = Window::new(&verity, hash_area.tree_start, hash_area.tree_bytes);
            let message =
                Concat::new().then(&data, superblock.params.data_bytes()).then(&tree, hash_area.tree_bytes);
            let out = Window::new(&verity, parity.start, parity.bytes);
            fec::encode(&message, parity.blocks, BLOCK, parity.roots, &out, progress)?;
        }
        Ok((Self { parts, superblock, root_hash, hash_area, stretch }, answer))
    }
}

fn within<T>(disk: T, partition: &Partition) -> Window<T> {
    Window::new(disk, partition.start, partition.len)
}
