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

impl<R: ReadAt + 'static> Reader<R> {
    /// The extents of an inode, in order.
    pub(super) fn extents(&self, inode: &RawInode) -> Result<Vec<Extent>, Refusal> {
        if inode.flags & EXTENTS == 0 {
            return Err(Refusal::Bad("it has no extents, which alone are read here"));
        }
        let mut extents = Vec::new();
        // Nodes are read once: as many as the file system has blocks.
        let mut room = self.facts.blocks;
        self.node(&inode.place, None, &mut extents, &mut room)?;
        let mut next = 0;
        for extent in &extents {
            let end = extent.start.saturating_add(extent.blocks);
            if extent.first < next || (extent.start > 0 && end > self.facts.blocks) {
                return Err(Refusal::Bad("its extents overlap, or lie outside of the file system"));
            }
            next = extent.first.saturating_add(extent.blocks);
        }
        if next > inode.size.div_ceil(BLOCK) {
            return Err(Refusal::Bad("its extents go beyond its length"));
        }
        Ok(extents)
    }

    fn node(
        &self,
        node: &[u8],
        depth: Option<u16>,
        extents: &mut Vec<Extent>,
        room: &mut u64,
    ) -> Result<(), Refusal> {
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
                    extents.push(Extent { first: entry.u32(0).into(), blocks: blocks.into(), start });
                }
                Some(below) => {
                    *room = room.checked_sub(1).ok_or(Refusal::Bad("its tree of extents goes in circles"))?;
                    let place = u64::from(entry.u32(4)) | u64::from(entry.u16(8)).wrapping_shl(32);
                    self.node(&self.block(place)?, Some(below), extents, room)?;
                }
            }
        }
        Ok(())
    }
}
