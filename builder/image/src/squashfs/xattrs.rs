//! Extended attributes: sets of names and values, shared by inodes.

use std::collections::BTreeMap;

use graven_verity::io::ReadAt;
use zerocopy::little_endian::{U16, U32, U64};

use super::format::NONE;
use super::metadata::Cursor;
use super::{ReadError, Reader};

/// Attributes by name.
type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// What a name begins with, by the lower bits of its kind.
const PREFIXES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
/// Longest name, prefix included, as for the kernel.
const LONGEST_NAME: usize = 255;
/// In the kind: the value lies elsewhere, and its place in its stead.
const ELSEWHERE: u16 = 0x100;

impl<R: ReadAt + 'static> Reader<R> {
    /// The attributes of a number. `room` is what may still be unpacked of them.
    pub(super) fn xattrs(&self, number: u32, room: &mut u64) -> Result<Xattrs, ReadError> {
        const WHAT: &str = "table of attributes";
        let damaged = |problem| ReadError::Table { what: WHAT, problem };
        let mut all = Xattrs::new();
        if number == NONE {
            return Ok(all);
        }
        let set = usize::try_from(number).ok().and_then(|number| self.tables.xattrs.get(number));
        let set = set.ok_or_else(|| damaged("an inode has attributes that are not there"))?;
        let start = self.tables.xattr_start;
        let mut at = Cursor::new(&self.source, WHAT, start, set.place.get())?;
        for _ in 0..set.count.get() {
            let (kind, len) = (at.get::<U16>()?.get(), at.get::<U16>()?.get());
            let prefix = PREFIXES
                .get(usize::from(kind & 0xff))
                .ok_or_else(|| damaged("a name is of no known kind"))?;
            let name_len = prefix.len().saturating_add(len.into());
            if name_len > LONGEST_NAME {
                return Err(damaged("a name is longer than 255 bytes"));
            }
            let name = [prefix, &at.bytes(len.into())?[..]].concat();
            // A name and its place in the tree count as the value does.
            let cost = (name_len as u64).saturating_add(64);
            *room = room.checked_sub(cost).ok_or_else(|| self.too_much())?;
            let value = if kind & ELSEWHERE == 0 {
                value(&mut at, room, self)?
            } else {
                at.get::<U32>()?;
                let place = at.get::<U64>()?.get();
                value(&mut Cursor::new(&self.source, WHAT, start, place)?, room, self)?
            };
            if all.insert(name.into(), value).is_some() {
                return Err(damaged("one name is there twice"));
            }
        }
        Ok(all)
    }
}

/// A value behind its length.
fn value<R: ReadAt + 'static>(
    at: &mut Cursor<'_, R>,
    room: &mut u64,
    reader: &Reader<R>,
) -> Result<Box<[u8]>, ReadError> {
    let len = at.get::<U32>()?.get();
    *room = room.checked_sub(len.into()).ok_or_else(|| reader.too_much())?;
    Ok(at.bytes(len as usize)?.into())
}
