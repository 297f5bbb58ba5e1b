//! The extended attributes of an inode, its own and the shared ones.

use std::collections::BTreeMap;

use graven_verity::io::ReadAt;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::super::format::{BLOCK, XattrEntry, XattrHeader};
use super::super::xattr;
use super::inode::{RawInode, Refusal};
use super::{Problem, Reader};

/// Attributes by name.
pub(super) type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// Bytes that shared attributes may repeat to beyond the image's own length: a label on each of a few million
/// inodes, while a hostile image cannot ask for terabytes.
const SHARED_BYTES: u64 = 256 << 20;

impl<R: ReadAt + 'static> Reader<R> {
    /// The attributes of an inode. `shared` counts the bytes that shared ones have repeated to so far.
    pub(super) fn xattrs(&self, inode: &RawInode, shared: &mut u64) -> Result<Xattrs, Refusal> {
        let mut xattrs = Xattrs::new();
        if inode.xattr_bytes == 0 {
            return Ok(xattrs);
        }
        let damaged = |what| Refusal::Bad(Problem::Xattrs(what));
        let mut bytes = vec![0; usize::try_from(inode.xattr_bytes).unwrap_or_default()];
        self.read(inode.xattrs, &mut bytes)?;
        let (header, rest) =
            XattrHeader::ref_from_prefix(&bytes).map_err(|_| damaged("the header is cut short"))?;
        let (ids, mut own) = <[U32]>::ref_from_prefix_with_elems(rest, header.shared_count.into())
            .map_err(|_| damaged("the list of shared ones goes beyond their end"))?;
        while !own.is_empty() {
            own = enter(own, &mut xattrs).map_err(damaged)?;
        }
        for id in ids {
            let entry = self.shared_entry(id.get())?;
            *shared = shared.saturating_add(entry.len() as u64);
            let limit = self.facts.bytes.saturating_add(SHARED_BYTES);
            if *shared > limit {
                return Err(Problem::XattrsRepeat(limit).into());
            }
            enter(&entry, &mut xattrs).map_err(damaged)?;
        }
        Ok(xattrs)
    }

    fn shared_entry(&self, id: u32) -> Result<Vec<u8>, Refusal> {
        let outside = || Problem::Outside("shared extended attribute");
        let start =
            self.facts.xattr_block.saturating_mul(BLOCK).saturating_add(u64::from(id).saturating_mul(4));
        let mut header = [0; size_of::<XattrEntry>()];
        if !self.holds(start, header.len() as u64) {
            return Err(outside().into());
        }
        self.read(start, &mut header)?;
        let entry = XattrEntry::ref_from_bytes(&header).map_err(|_| outside())?;
        let len = header
            .len()
            .saturating_add(entry.name_len.into())
            .saturating_add(entry.value_size.get().into())
            .next_multiple_of(4);
        if !self.holds(start, len as u64) {
            return Err(outside().into());
        }
        let mut bytes = vec![0; len];
        self.read(start, &mut bytes)?;
        Ok(bytes)
    }
}

/// Enters the first attribute of `bytes`; what is behind it is left.
fn enter<'b>(bytes: &'b [u8], xattrs: &mut Xattrs) -> Result<&'b [u8], &'static str> {
    const BEYOND: &str = "an entry goes beyond their end";
    let (entry, rest) = XattrEntry::ref_from_prefix(bytes).map_err(|_| BEYOND)?;
    let (name, rest) = rest.split_at_checked(entry.name_len.into()).ok_or(BEYOND)?;
    let (value, rest) = rest.split_at_checked(entry.value_size.get().into()).ok_or(BEYOND)?;
    let used = bytes.len().saturating_sub(rest.len());
    let padding = used.next_multiple_of(4).saturating_sub(used);
    let rest = rest.get(padding..).ok_or(BEYOND)?;
    let name = xattr::join(entry.name_index, name).ok_or("a name is of no known kind")?;
    if xattrs.insert(name, value.into()).is_some() {
        return Err("one name is there twice");
    }
    Ok(rest)
}
