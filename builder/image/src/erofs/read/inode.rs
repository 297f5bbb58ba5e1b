//! An inode: its two forms as one, where its contents lie.

use graven_verity::io::ReadAt;
use zerocopy::FromBytes;

use super::super::format::{
    BLOCK, CompactInode, ExtendedInode, FORMAT_EXTENDED, FORMAT_KNOWN, FORMAT_LAYOUT_SHIFT, FileType,
    LAYOUT_CHUNK_BASED, LAYOUT_COMPRESSED_COMPACT, LAYOUT_COMPRESSED_FULL, LAYOUT_FLAT_INLINE,
    LAYOUT_FLAT_PLAIN,
};
use super::super::plan::MAX_SYMLINK;
use super::chunks::ChunkList;
use super::compressed::{Form, Layout};
use super::{Problem, ReadError, Reader};

/// Why an inode is refused: the image failed, or the inode is bad.
pub(super) enum Refusal {
    Image(ReadError),
    Bad(Problem),
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::Image(error)
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Bad(problem)
    }
}

/// An inode, checked but for its attributes.
#[derive(Debug, Clone)]
pub(super) struct RawInode {
    pub(super) nid: u64,
    pub(super) file_type: FileType,
    /// Without the kind.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
    pub(super) nlink: u32,
    pub(super) size: u64,
    /// The number of a device.
    pub(super) device: u32,
    /// First byte of the attributes, which may be none.
    pub(super) xattrs: u64,
    pub(super) xattr_bytes: u64,
    /// First byte in the image.
    pub(super) offset: u64,
    pub(super) place: Place,
    /// Where contents are not flat: how to find them; `place` is of nothing then.
    pub(super) indexed: Option<Indexed>,
}

/// Contents that an index behind the attributes tells of.
#[derive(Debug, Clone)]
pub(super) enum Indexed {
    Compressed(Layout),
    Chunked(ChunkList),
}

impl RawInode {
    /// Bytes of the index behind the attributes, and of what leads to it.
    pub(super) fn index_bytes(&self) -> u64 {
        let end = match &self.indexed {
            None => 0,
            Some(Indexed::Compressed(layout)) => layout.end(),
            Some(Indexed::Chunked(list)) => list.place.end,
        };
        end.saturating_sub(self.xattrs.saturating_add(self.xattr_bytes))
    }
}

/// Where contents lie: `blocks_len` bytes at `blocks`, then the rest at `tail`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) blocks: u64,
    pub(super) blocks_len: u64,
    pub(super) tail: u64,
    pub(super) tail_len: u64,
}

impl<R: ReadAt + 'static> Reader<R> {
    pub(super) fn inode(&self, nid: u64) -> Result<RawInode, Refusal> {
        let outside = || Problem::Outside("inode");
        let offset = self.inode_offset(nid).ok_or_else(outside)?;
        let mut bytes = [0; size_of::<ExtendedInode>()];
        let (compact_bytes, _) = bytes.split_at_mut(size_of::<CompactInode>());
        if !self.holds(offset, compact_bytes.len() as u64) {
            return Err(outside().into());
        }
        self.read(offset, compact_bytes)?;
        let (compact, _) = CompactInode::read_from_prefix(&bytes).map_err(|_| outside())?;
        let format = compact.format.get();
        if format & !FORMAT_KNOWN != 0 {
            return Err(Problem::Format(format).into());
        }
        let extended = if format & FORMAT_EXTENDED == 0 {
            None
        } else {
            if !self.holds(offset, bytes.len() as u64) {
                return Err(outside().into());
            }
            self.read(offset, &mut bytes)?;
            Some(ExtendedInode::read_from_bytes(&bytes).map_err(|_| outside())?)
        };
        let head = extended.as_ref().map_or(size_of::<CompactInode>(), |_| size_of::<ExtendedInode>()) as u64;
        let icount = u64::from(compact.xattr_icount.get());
        let xattr_bytes =
            if icount == 0 { 0 } else { icount.saturating_sub(1).saturating_mul(4).saturating_add(12) };
        let xattrs = offset.saturating_add(head);
        if !self.holds(xattrs, xattr_bytes) {
            return Err(Problem::Outside("extended attributes").into());
        }
        let mode = compact.mode.get();
        let file_type = FileType::of_mode(mode).ok_or(Problem::Mode(mode))?;
        let mut inode = RawInode {
            nid,
            file_type,
            mode: mode & 0o7777,
            uid: compact.uid.get().into(),
            gid: compact.gid.get().into(),
            mtime: self.facts.build_time,
            nlink: compact.nlink.get().into(),
            size: compact.size.get().into(),
            device: compact.data.get(),
            xattrs,
            xattr_bytes,
            offset,
            place: Place { blocks: 0, blocks_len: 0, tail: 0, tail_len: 0 },
            indexed: None,
        };
        match &extended {
            // As kernels from 6.15 on read it; before, the field was reserved and 0.
            None => inode.mtime = inode.mtime.saturating_add(compact.mtime.get().into()),
            Some(extended) => {
                // Kernels from 6.15 on take it for the upper part of the block number.
                if extended.reserved.get() != 0 {
                    return Err(Problem::Outside("first block").into());
                }
                inode.uid = extended.uid.get();
                inode.gid = extended.gid.get();
                inode.mtime = extended.mtime.get().cast_signed();
                inode.nlink = extended.nlink.get();
                inode.size = extended.size.get();
                inode.device = extended.data.get();
            }
        }
        let layout = format >> FORMAT_LAYOUT_SHIFT;
        inode.place = self.place(&inode, layout)?;
        inode.indexed = match layout {
            LAYOUT_COMPRESSED_FULL => Some(Indexed::Compressed(self.map_header(&inode, Form::Full)?)),
            LAYOUT_COMPRESSED_COMPACT => Some(Indexed::Compressed(self.map_header(&inode, Form::Compact)?)),
            LAYOUT_CHUNK_BASED => Some(Indexed::Chunked(self.chunk_list(&inode)?)),
            _ => None,
        };
        Ok(inode)
    }

    fn place(&self, inode: &RawInode, layout: u16) -> Result<Place, Problem> {
        let size = inode.size;
        let possible = match inode.file_type {
            FileType::Regular | FileType::Directory => size <= i64::MAX.cast_unsigned(),
            FileType::Symlink => (1..=MAX_SYMLINK as u64).contains(&size),
            _ => size == 0,
        };
        if !possible {
            return Err(Problem::Size(size));
        }
        let tail = inode.xattrs.saturating_add(inode.xattr_bytes);
        let elsewhere = Place { blocks: 0, blocks_len: 0, tail, tail_len: 0 };
        let inline = match layout {
            LAYOUT_FLAT_PLAIN => false,
            LAYOUT_FLAT_INLINE => true,
            LAYOUT_COMPRESSED_FULL | LAYOUT_COMPRESSED_COMPACT => {
                if inode.file_type != FileType::Regular {
                    return Err(Problem::Compressed("file of its kind"));
                }
                if !self.facts.zero_padding {
                    return Err(Problem::Compressed("file that is padded behind"));
                }
                return Ok(elsewhere);
            }
            LAYOUT_CHUNK_BASED if inode.file_type != FileType::Regular => {
                return Err(Problem::Chunked("file of its kind"));
            }
            LAYOUT_CHUNK_BASED if !self.facts.chunked => {
                return Err(Problem::Chunked("file of an image whose superblock does not say so"));
            }
            LAYOUT_CHUNK_BASED => return Ok(elsewhere),
            other => return Err(Problem::Layout(other)),
        };
        // An inline tail is what is left of the last block, the whole of it if the length is a multiple.
        let tail_len = match size.checked_rem(BLOCK) {
            _ if !inline || size == 0 => 0,
            None | Some(0) => BLOCK,
            Some(rest) => rest,
        };
        let place = Place {
            blocks: u64::from(inode.device).saturating_mul(BLOCK),
            blocks_len: size.saturating_sub(tail_len),
            tail,
            tail_len,
        };
        if place.blocks_len > 0 && !self.holds(place.blocks, place.blocks_len) {
            return Err(Problem::Outside("contents"));
        }
        if !self.holds(place.tail, tail_len) {
            return Err(Problem::Outside("inline data"));
        }
        let in_block = place.tail.checked_rem(BLOCK).unwrap_or_default();
        if in_block.saturating_add(tail_len) > BLOCK {
            return Err(Problem::InlineCrosses);
        }
        Ok(place)
    }
}
