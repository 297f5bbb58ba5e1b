//! Where a file's blocks lie: a tree of extents, its root in the inode.

use graven_verity::io::ReadAt;

use super::inode::{EXTENTS, RawInode};
use super::{BLOCK, Bytes, Reader, Refusal};

/// Consecutive blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// First block in the file.
    pub(super) first: u64,
    pub(super) blocks: u64,
    /// First block in the file system; 0 where they were never written and read as zeros.
    pub(super) start: u64,
}

const MAGIC: u16 = 0xf30a;
/// Bytes of a node's head and of each of its entries.
const ENTRY: usize = 12;
/// Deepest tree.
const DEEPEST: u16 = 5;
/// Longest extent that was written; longer ones were not.
const LONGEST: u16 = 32768;

/// The extents of one file, while its tree is read.
struct Growing<'r> {
    extents: Vec<Extent>,
    /// Blocks of the file.
    len: u64,
    /// Blocks of the file system, and those of them that no file has had yet.
    all: u64,
    room: &'r mut u64,
}

impl<R: ReadAt + 'static> Reader<R> {
    /// The extents of an inode, in order. `room` counts down, over all inodes, the blocks of trees and of contents: each
    /// belongs to one file, so that there are no more than the file system has.
    pub(super) fn extents(&self, inode: &RawInode, room: &mut u64) -> Result<Vec<Extent>, Refusal> {
        if inode.flags & EXTENTS == 0 {
            return Err(Refusal::Bad("it has no extents, which alone are read here"));
        }
        let len = inode.size.div_ceil(BLOCK);
        let mut growing = Growing { extents: Vec::new(), len, all: self.facts.blocks, room };
        self.node(&inode.place, None, &mut growing)?;
        Ok(growing.extents)
    }

    fn node(&self, node: &[u8], depth: Option<u16>, growing: &mut Growing<'_>) -> Result<(), Refusal> {
        let bytes = Bytes(node);
        let (entries, own) = (usize::from(bytes.u16(2)), bytes.u16(6));
        let fits = entries.saturating_add(1).saturating_mul(ENTRY) <= node.len();
        if bytes.u16(0) != MAGIC || !fits || own > DEEPEST || depth.is_some_and(|depth| depth != own) {
            return Err(Refusal::Bad("its tree of extents is damaged"));
        }
        for entry in node.chunks_exact(ENTRY).skip(1).take(entries) {
            let entry = Bytes(entry);
            match own.checked_sub(1) {
                None => {
                    let len = entry.u16(4);
                    let start = u64::from(entry.u32(8)) | u64::from(entry.u16(6)).wrapping_shl(32);
                    let (blocks, start) = match len > LONGEST {
                        true => (len.saturating_sub(LONGEST), 0),
                        false => (len, start),
                    };
                    if blocks == 0 || (start == 0 && len <= LONGEST) {
                        return Err(Refusal::Bad("its tree of extents is damaged"));
                    }
                    growing.push(Extent { first: entry.u32(0).into(), blocks: blocks.into(), start })?;
                }
                Some(below) => {
                    growing.claim(1)?;
                    let place = u64::from(entry.u32(4)) | u64::from(entry.u16(8)).wrapping_shl(32);
                    self.node(&self.block(place)?, Some(below), growing)?;
                }
            }
        }
        Ok(())
    }
}

impl Growing<'_> {
    fn claim(&mut self, blocks: u64) -> Result<(), Refusal> {
        const SHARED: Refusal =
            Refusal::Bad("it and the files before it have more blocks than the file system: some are shared");
        *self.room = self.room.checked_sub(blocks).ok_or(SHARED)?;
        Ok(())
    }

    fn push(&mut self, extent: Extent) -> Result<(), Refusal> {
        let next = self.extents.last().map_or(0, |last| last.first.saturating_add(last.blocks));
        let end = extent.start.saturating_add(extent.blocks);
        if extent.first < next || (extent.start > 0 && end > self.all) {
            return Err(Refusal::Bad("its extents overlap, or lie outside of the file system"));
        }
        if extent.first.saturating_add(extent.blocks) > self.len {
            return Err(Refusal::Bad("its extents go beyond its length"));
        }
        self.claim(extent.blocks)?;
        self.extents.push(extent);
        Ok(())
    }
}
