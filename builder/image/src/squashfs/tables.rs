//! What inodes refer to by number: owners, fragments, attributes.

use graven_verity::io::ReadAt;
use zerocopy::FromBytes;
use zerocopy::little_endian::{U32, U64};

use super::format::{Fragment, METADATA, NO_TABLE, Superblock, XattrId, XattrTable};
use super::{ReadError, Source};

/// The tables, all of them.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) ids: Vec<u32>,
    pub(super) fragments: Vec<Fragment>,
    pub(super) xattrs: Vec<XattrId>,
    /// Where attributes lie.
    pub(super) xattr_start: u64,
}

impl Tables {
    pub(super) fn read<R: ReadAt>(source: &Source<R>, superblock: &Superblock) -> Result<Self, ReadError> {
        let ids: Vec<U32> =
            table(source, "table of owners", superblock.id_table.get(), u32::from(superblock.ids.get()))?;
        let fragments = match superblock.fragment_table.get() {
            NO_TABLE => Vec::new(),
            start => table(source, "table of fragments", start, superblock.fragments.get())?,
        };
        let (xattrs, xattr_start) = match superblock.xattr_table.get() {
            NO_TABLE => (Vec::new(), 0),
            start => {
                const WHAT: &str = "table of attributes";
                let io = |source| ReadError::Io { what: WHAT, source };
                let head = source.read(start, size_of::<XattrTable>()).map_err(io)?;
                let head = XattrTable::read_from_bytes(&head)
                    .map_err(|_| ReadError::Table { what: WHAT, problem: "it is cut short" })?;
                let list = start.saturating_add(size_of::<XattrTable>() as u64);
                (table(source, WHAT, list, head.ids.get())?, head.start.get())
            }
        };
        Ok(Self { ids: ids.into_iter().map(U32::get).collect(), fragments, xattrs, xattr_start })
    }
}

/// A table of `count` entries: at `start` the places of its blocks.
fn table<T: FromBytes, R: ReadAt>(
    source: &Source<R>,
    what: &'static str,
    start: u64,
    count: u32,
) -> Result<Vec<T>, ReadError> {
    let io = |source| ReadError::Io { what, source };
    let damaged = |problem| ReadError::Table { what, problem };
    let entry = size_of::<T>();
    let bytes = u64::from(count).saturating_mul(entry as u64);
    if bytes > source.room() {
        return Err(ReadError::Metadata(source.room()));
    }
    let blocks = usize::try_from(bytes.div_ceil(METADATA as u64)).map_err(|_| damaged("it is too long"))?;
    let places = source.read(start, blocks.saturating_mul(8)).map_err(io)?;
    let mut entries = Vec::new();
    for place in places.chunks_exact(8) {
        let place = U64::read_from_bytes(place).map_err(|_| damaged("it is cut short"))?;
        let (block, _) = source.metadata(place.get()).map_err(io)?;
        entries.extend(block.chunks_exact(entry).filter_map(|entry| T::read_from_bytes(entry).ok()));
    }
    let count = usize::try_from(count).map_err(|_| damaged("it is too long"))?;
    if entries.len() < count {
        return Err(damaged("it has fewer entries than the superblock says"));
    }
    entries.truncate(count);
    Ok(entries)
}
