//! The second pass: any range of a planned image, as bytes.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::ops::Range;

use graven_verity::io::ReadAt;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, IntoBytes};

use super::directory::Target;
use super::format::{
    BLOCK, BLOCK_BITS, BLOCK_LEN, COMPAT_MTIME, COMPAT_SUPERBLOCK_CHECKSUM, CompactInode, ExtendedInode,
    FORMAT_EXTENDED, FORMAT_LAYOUT_SHIFT, FileType, INCOMPAT_CHUNKED, LAYOUT_CHUNK_BASED, LAYOUT_FLAT_INLINE,
    LAYOUT_FLAT_PLAIN, MAGIC, SUPERBLOCK_OFFSET, Superblock,
};
use super::plan::{Extent, Image, Node, Part};
use super::xattr;
use crate::checksum::crc32c;
use crate::tree::{Content, Kind};

/// The bytes of a file could not be had while an image was read: what an [`io::Error`] of [`Image`] carries.
#[derive(Debug)]
pub struct SourceError {
    /// The file's path in the image.
    pub path: String,
    /// Bytes that it had when the tree was made.
    pub len: u64,
    /// What its source said.
    pub source: io::Error,
}

impl SourceError {
    /// Of a file that was read before and has other contents now.
    pub(super) fn changed(path: String, len: u64) -> io::Error {
        let source = io::Error::new(
            io::ErrorKind::InvalidData,
            "its contents changed while it was in use; build again",
        );
        io::Error::new(source.kind(), Self { path, len, source })
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source.kind() == io::ErrorKind::UnexpectedEof {
            write!(
                f,
                "`{}` ended before the {} bytes that it had; was it changed meanwhile?",
                self.path, self.len
            )
        } else {
            write!(f, "`{}` cannot be read", self.path)
        }
    }
}

impl StdError for SourceError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.source)
    }
}

impl ReadAt for Image<'_> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.render(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len())
    }
}

impl Image<'_> {
    fn render(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        buf.fill(0);
        if offset < BLOCK {
            copy(&self.superblock(), 0, buf, offset);
        }
        for extent in self.extents_in(offset, offset + buf.len() as u64) {
            let node = &self.nodes[extent.node as usize];
            match extent.part {
                Part::Head => self.render_head(node, extent, buf, offset)?,
                Part::Blocks => self.render_blocks(node, extent, buf, offset)?,
            }
        }
        Ok(())
    }

    /// What has bytes in a range of the image.
    pub(crate) fn extents_in(&self, from: u64, to: u64) -> &[Extent] {
        let first = self.extents.partition_point(|extent| extent.start <= from).saturating_sub(1);
        let end = self.extents.partition_point(|extent| extent.start < to);
        let extents = self.extents.get(first..end).unwrap_or_default();
        match extents.split_first() {
            Some((before, rest)) if before.start + self.extent_bytes(before) <= from => rest,
            _ => extents,
        }
    }

    /// Block 0.
    fn superblock(&self) -> [u8; BLOCK_LEN] {
        let mut superblock = Superblock::new_zeroed();
        superblock.magic = U32::new(MAGIC);
        superblock.feature_compat = U32::new(COMPAT_SUPERBLOCK_CHECKSUM | COMPAT_MTIME);
        superblock.blkszbits = BLOCK_BITS;
        superblock.root_nid = U16::new(self.nodes[0].nid as u16);
        superblock.inos = U64::new(self.nodes.len() as u64);
        superblock.build_time = U64::new(self.options.build_time as u64);
        superblock.blocks = U32::new(self.blocks);
        superblock.uuid = *self.options.uuid.as_bytes();
        // Said of every image whose files share blocks, though flat ones need no kernel that knows it.
        if self.sharing.as_ref().is_some_and(|sharing| !sharing.files.is_empty()) {
            superblock.feature_incompat = U32::new(INCOMPAT_CHUNKED);
        }
        let name = self.options.volume_name.as_bytes();
        superblock.volume_name[..name.len()].copy_from_slice(name);

        let mut block = [0; BLOCK_LEN];
        let checked = &mut block[SUPERBLOCK_OFFSET as usize..];
        checked[..size_of::<Superblock>()].copy_from_slice(superblock.as_bytes());
        // As the kernel's `crc32c(~0, …)`: not inverted at the end.
        superblock.checksum = U32::new(!crc32c(checked));
        checked[..size_of::<Superblock>()].copy_from_slice(superblock.as_bytes());
        block
    }

    fn render_head(&self, node: &Node, extent: &Extent, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let inode = self.inode(node);
        let mut head = Vec::with_capacity(node.head_bytes() as usize);
        self.render_inode(node, extent.node, &mut head);
        xattr::render(&inode.metadata.xattrs, &mut head);
        self.render_list(extent.node, &mut head);
        copy(&head, extent.start, buf, offset);
        let tail = node.size - node.tail_bytes();
        self.render_contents(
            node,
            tail..tail + node.tail_bytes(),
            extent.start + node.head_bytes(),
            buf,
            offset,
        )
    }

    /// The blocks of a node that `buf` meets.
    fn render_blocks(&self, node: &Node, extent: &Extent, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let Some((met, skipped)) = overlap(extent.start, node.blocks * BLOCK, buf.len(), offset) else {
            return Ok(());
        };
        let first = skipped / BLOCK;
        let last = (skipped + met.len() as u64).div_ceil(BLOCK);
        let mut start = extent.start + first * BLOCK;
        for run in self.own_blocks(extent.node, first, last - first) {
            self.render_contents(node, run.start * BLOCK..run.end * BLOCK, start, buf, offset)?;
            start += (run.end - run.start) * BLOCK;
        }
        Ok(())
    }

    fn render_inode(&self, node: &Node, number: u32, out: &mut Vec<u8>) {
        let inode = self.inode(node);
        let metadata = &inode.metadata;
        let layout = match (node.chunked, node.inline) {
            (true, _) => LAYOUT_CHUNK_BASED,
            (false, true) => LAYOUT_FLAT_INLINE,
            (false, false) => LAYOUT_FLAT_PLAIN,
        };
        let format = (layout << FORMAT_LAYOUT_SHIFT) | if node.extended { FORMAT_EXTENDED } else { 0 };
        let xattr_icount = match node.xattr_bytes {
            0 => 0,
            bytes => 1 + (bytes - 12) / 4,
        };
        let mode = file_type(&inode.kind).mode_bits() | metadata.mode;
        let data = match &inode.kind {
            Kind::CharDevice(number) | Kind::BlockDevice(number) => number.encode(),
            // A list of addresses and nothing else, of chunks of one block.
            _ if node.chunked => 0,
            _ => self.first_block(number),
        };
        // As an inode's number, it stays where the inode does.
        let ino = (node.nid as u32).wrapping_add(1);
        if node.extended {
            let inode = ExtendedInode {
                format: U16::new(format),
                xattr_icount: U16::new(xattr_icount as u16),
                mode: U16::new(mode),
                reserved: U16::ZERO,
                size: U64::new(node.size),
                data: U32::new(data),
                ino: U32::new(ino),
                uid: U32::new(metadata.uid),
                gid: U32::new(metadata.gid),
                mtime: U64::new(metadata.mtime as u64),
                mtime_nsec: U32::ZERO,
                nlink: U32::new(node.nlink),
                reserved2: [0; 16],
            };
            out.extend_from_slice(inode.as_bytes());
        } else {
            let inode = CompactInode {
                format: U16::new(format),
                xattr_icount: U16::new(xattr_icount as u16),
                mode: U16::new(mode),
                nlink: U16::new(node.nlink as u16),
                size: U32::new(node.size as u32),
                mtime: U32::ZERO,
                data: U32::new(data),
                ino: U32::new(ino),
                uid: U16::new(metadata.uid as u16),
                gid: U16::new(metadata.gid as u16),
                reserved: U32::ZERO,
            };
            out.extend_from_slice(inode.as_bytes());
        }
    }

    /// Renders `range` of the contents, which lies at `start` of the image.
    fn render_contents(
        &self,
        node: &Node,
        range: Range<u64>,
        start: u64,
        buf: &mut [u8],
        offset: u64,
    ) -> io::Result<()> {
        let range = range.start..range.end.min(node.size);
        if range.is_empty() {
            return Ok(());
        }
        match &self.inode(node).kind {
            Kind::File(content) => self.render_file(node, content, range, start, buf, offset),
            Kind::Symlink(target) => {
                copy(&target[range.start as usize..range.end as usize], start, buf, offset);
                Ok(())
            }
            Kind::Directory(_) => {
                self.render_directory(node, range, start, buf, offset);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn render_file(
        &self,
        node: &Node,
        content: &Content,
        range: Range<u64>,
        start: u64,
        buf: &mut [u8],
        offset: u64,
    ) -> io::Result<()> {
        let Some((wanted, skipped)) = overlap(start, range.end - range.start, buf.len(), offset) else {
            return Ok(());
        };
        let from = content.offset + range.start + skipped;
        content.source.read_exact_at(&mut buf[wanted], from).map_err(|source| {
            let path = self.path(self.number_of(node.id) as usize);
            let error = SourceError { path, len: content.len, source };
            io::Error::new(error.source.kind(), error)
        })
    }

    fn render_directory(&self, node: &Node, range: Range<u64>, start: u64, buf: &mut [u8], offset: u64) {
        let directory = &self.directories[node.directory as usize];
        let resolve = |target| {
            let node = match target {
                Target::Itself => node,
                Target::Parent => &self.nodes[node.parent as usize],
                Target::Child(id) => &self.nodes[self.number_of(id) as usize],
            };
            (node.nid, file_type(&self.inode(node).kind))
        };
        let mut block = [0; BLOCK_LEN];
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min(BLOCK);
            let place = start + (at - range.start);
            if overlap(place, len, buf.len(), offset).is_some() {
                block.fill(0);
                directory.render((at / BLOCK) as usize, &mut block, resolve);
                copy(&block[..len as usize], place, buf, offset);
            }
            at += len;
        }
    }
}

pub(crate) fn file_type(kind: &Kind) -> FileType {
    match kind {
        Kind::Directory(_) => FileType::Directory,
        Kind::File(_) => FileType::Regular,
        Kind::Symlink(_) => FileType::Symlink,
        Kind::CharDevice(_) => FileType::CharDevice,
        Kind::BlockDevice(_) => FileType::BlockDevice,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
    }
}

/// Where `len` bytes at `start` and a buffer that begins at `offset` meet: the buffer's part, and how many of the
/// bytes lie before it.
fn overlap(start: u64, len: u64, buf: usize, offset: u64) -> Option<(Range<usize>, u64)> {
    let from = start.max(offset);
    let to = (start + len).min(offset + buf as u64);
    (from < to).then(|| ((from - offset) as usize..(to - offset) as usize, from - start))
}

fn copy(bytes: &[u8], start: u64, buf: &mut [u8], offset: u64) {
    if let Some((wanted, skipped)) = overlap(start, bytes.len() as u64, buf.len(), offset) {
        let skipped = skipped as usize;
        let len = wanted.len();
        buf[wanted].copy_from_slice(&bytes[skipped..skipped + len]);
    }
}
