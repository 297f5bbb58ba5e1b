//! Extended attributes: in the inode, and in a block of their own.

use std::collections::BTreeMap;

use graven_verity::io::ReadAt;

use super::inode::RawInode;
use super::{Bytes, Reader, Refusal};

/// What names begin with, by their number. The two of access control lists are left out: their values are written another
/// way than they are read through the kernel.
const PREFIXES: [(u8, &[u8]); 4] = [(1, b"user."), (4, b"trusted."), (6, b"security."), (7, b"system.")];
const MAGIC: u32 = 0xea02_0000;
/// Bytes before the entries of a block.
const BLOCK_HEAD: usize = 32;
/// Bytes of an entry before its name.
const ENTRY: usize = 16;
/// Bytes that an attribute takes in memory beside its name and its value.
const BESIDE: usize = 64;

type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

impl<R: ReadAt + 'static> Reader<R> {
    /// The attributes of an inode. `room` counts down, over all inodes, the bytes that names and values may take:
    /// values may overlap, and inodes share a block.
    pub(super) fn xattrs(&self, inode: &RawInode, room: &mut u64) -> Result<Xattrs, Refusal> {
        let mut all = Xattrs::new();
        if Bytes(&inode.room).u32(0) == MAGIC {
            // Values count from behind the magic number.
            let own = inode.room.get(4..).unwrap_or_default();
            enter(own, own, &mut all, room)?;
        }
        if inode.xattr_block != 0 {
            let block = self.block(inode.xattr_block)?;
            if Bytes(&block).u32(0) != MAGIC {
                return Err(Refusal::Bad("its block of attributes is damaged"));
            }
            enter(block.get(BLOCK_HEAD..).unwrap_or_default(), &block, &mut all, room)?;
        }
        Ok(all)
    }
}

/// Enters what `entries` list; values lie in `values`.
fn enter(mut entries: &[u8], values: &[u8], all: &mut Xattrs, room: &mut u64) -> Result<(), Refusal> {
    const DAMAGED: Refusal = Refusal::Bad("its extended attributes are damaged");
    loop {
        let bytes = Bytes(entries);
        // Four zero bytes end the list.
        if entries.len() < 4 || bytes.u32(0) == 0 {
            return Ok(());
        }
        let (name_len, kind) = (usize::from(bytes.u8(0)), bytes.u8(1));
        let (at, elsewhere, len) = (usize::from(bytes.u16(2)), bytes.u32(4), bytes.u32(8) as usize);
        let name = entries.get(ENTRY..ENTRY.saturating_add(name_len)).ok_or(DAMAGED)?;
        if elsewhere != 0 {
            return Err(Refusal::Bad(
                "an extended attribute has an inode of its own, which is not read here",
            ));
        }
        let (_, prefix) = PREFIXES
            .iter()
            .find(|(number, _)| *number == kind)
            .ok_or(Refusal::Bad("an extended attribute is of a kind that is not read here"))?;
        let value = values.get(at..at.saturating_add(len)).ok_or(DAMAGED)?;
        let cost = prefix.len().saturating_add(name_len).saturating_add(len).saturating_add(BESIDE);
        *room = room
            .checked_sub(cost as u64)
            .ok_or(Refusal::Bad("its attributes repeat those of others too often"))?;
        if all.insert([prefix, name].concat().into(), value.into()).is_some() {
            return Err(Refusal::Bad("one name of an extended attribute is there twice"));
        }
        let next = ENTRY.saturating_add(name_len).next_multiple_of(4);
        entries = entries.get(next..).ok_or(DAMAGED)?;
    }
}
