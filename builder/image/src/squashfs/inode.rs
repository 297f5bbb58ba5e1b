//! An inode: its fourteen forms as one.

use graven_verity::io::ReadAt;
use zerocopy::little_endian::{U16, U32, U64};

use super::format::{InodeHead, NONE};
use super::metadata::Cursor;
use super::walk::Room;
use super::{ReadError, Reader};
use crate::tree::DeviceNumber;

/// An inode as it lies there.
pub(super) struct RawInode {
    pub(super) head: InodeHead,
    /// Names; directories count otherwise.
    pub(super) names: u32,
    /// Number of its attributes.
    pub(super) xattrs: u32,
    pub(super) what: What,
}

/// What only its kind has.
pub(super) enum What {
    Directory {
        /// Block in the directory table times 65536, and the place in it.
        place: u64,
        /// Bytes of the entries.
        len: u64,
    },
    File(Blocks),
    Symlink(Vec<u8>),
    BlockDevice(DeviceNumber),
    CharDevice(DeviceNumber),
    Fifo,
    Socket,
}

/// Where a file's contents lie.
#[derive(Debug, Clone)]
pub(super) struct Blocks {
    pub(super) len: u64,
    /// First byte of the first block; the others follow.
    pub(super) start: u64,
    /// Length of each, with a bit for uncompressed ones.
    pub(super) lens: Vec<u32>,
    /// Number of the fragment that holds the end, and where in it.
    pub(super) fragment: Option<(u32, u32)>,
}

impl<R: ReadAt + 'static> Reader<R> {
    /// The inode at a place of the inode table. `room` is what may still be unpacked.
    pub(super) fn inode(&self, place: u64, room: &mut Room) -> Result<RawInode, ReadError> {
        let table = self.superblock.inode_table.get();
        let mut at = Cursor::new(&self.source, "inode table", table, place)?;
        let damaged = |problem| ReadError::Table { what: "inode table", problem };
        let head: InodeHead = at.get()?;
        let mut number = || at.get::<U32>().map(U32::get);
        let (names, xattrs, what) = match head.kind.get() {
            1 => {
                let (start, names) = (number()?, number()?);
                let (len, offset) = (at.get::<U16>()?.get(), at.get::<U16>()?.get());
                (names, NONE, directory(start, offset, u32::from(len)))
            }
            8 => {
                let (names, len, start, _parent) = (number()?, number()?, number()?, number()?);
                let (_indexes, offset) = (at.get::<U16>()?, at.get::<U16>()?.get());
                (names, at.get::<U32>()?.get(), directory(start, offset, len))
            }
            2 => {
                let (start, fragment, offset, len) = (number()?, number()?, number()?, number()?);
                (1, NONE, self.file(&mut at, start.into(), len.into(), fragment, offset, room)?)
            }
            9 => {
                let (start, len) = (at.get::<U64>()?.get(), at.get::<U64>()?.get());
                let _sparse: U64 = at.get()?;
                let mut number = || at.get::<U32>().map(U32::get);
                let (names, fragment, offset, xattrs) = (number()?, number()?, number()?, number()?);
                (names, xattrs, self.file(&mut at, start, len, fragment, offset, room)?)
            }
            kind @ (3 | 10) => {
                let (names, len) = (number()?, number()?);
                if !(1..=4095).contains(&len) {
                    return Err(damaged("a symbolic link's target has no possible length"));
                }
                room.lists = room.lists.checked_sub(len.into()).ok_or_else(|| self.too_much())?;
                let target = at.bytes(len as usize)?;
                let xattrs = if kind == 10 { at.get::<U32>()?.get() } else { NONE };
                (names, xattrs, What::Symlink(target))
            }
            kind @ (4 | 5 | 11 | 12) => {
                let (names, device) = (number()?, DeviceNumber::decode(number()?));
                let xattrs = if kind > 7 { number()? } else { NONE };
                let what = if kind % 7 == 4 { What::BlockDevice(device) } else { What::CharDevice(device) };
                (names, xattrs, what)
            }
            kind @ (6 | 7 | 13 | 14) => {
                let names = number()?;
                let xattrs = if kind > 7 { number()? } else { NONE };
                (names, xattrs, if kind == 6 || kind == 13 { What::Fifo } else { What::Socket })
            }
            _ => return Err(damaged("an inode is of no kind")),
        };
        Ok(RawInode { head, names, xattrs, what })
    }

    fn file(
        &self,
        at: &mut Cursor<'_, R>,
        start: u64,
        len: u64,
        fragment: u32,
        offset: u32,
        room: &mut Room,
    ) -> Result<What, ReadError> {
        let damaged = |problem| ReadError::Table { what: "inode table", problem };
        let size = u64::from(self.source.block_size);
        let fragment = (fragment != NONE).then_some((fragment, offset));
        let tail = len.checked_rem(size).unwrap_or_default();
        let whole = len.checked_div(size).unwrap_or_default();
        let blocks = if fragment.is_none() && tail > 0 { whole.saturating_add(1) } else { whole };
        let bytes = blocks.saturating_mul(4);
        room.lists = room.lists.checked_sub(bytes).ok_or_else(|| self.too_much())?;
        room.contents = room.contents.checked_sub(len).ok_or_else(|| {
            damaged("the files are too long for such an image: over 1 TiB, and over 256 times its length")
        })?;
        let lens = at.bytes(usize::try_from(bytes).map_err(|_| self.too_much())?)?;
        let lens: Vec<u32> =
            lens.chunks_exact(4).filter_map(|len| len.try_into().ok().map(u32::from_le_bytes)).collect();
        if let Some((number, offset)) = fragment {
            let known = usize::try_from(number).is_ok_and(|number| number < self.tables.fragments.len());
            if !known || u64::from(offset).saturating_add(tail) > size {
                return Err(damaged("a file ends in a fragment that is not there"));
            }
        }
        Ok(What::File(Blocks { len, start, lens, fragment }))
    }

    pub(super) fn too_much(&self) -> ReadError {
        ReadError::Metadata(self.source.room())
    }
}

/// What an empty directory's length is: the two entries that are not written count.
const NO_ENTRIES: u32 = 3;

fn directory(start: u32, offset: u16, len: u32) -> What {
    let place = u64::from(start).wrapping_shl(16) | u64::from(offset);
    What::Directory { place, len: len.saturating_sub(NO_ENTRIES).into() }
}
