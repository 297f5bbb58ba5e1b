//! Contents that are a list of chunks, each of which lies anywhere, or is zeros and lies nowhere.
//!
//! Facts from Linux 7.3: `fs/erofs/erofs_fs.h`, `data.c`.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use graven_verity::io::ReadAt;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::super::format::{BLOCK, BLOCK_BITS, CHUNK_BITS, CHUNK_ENTRY, CHUNK_HOLE, CHUNK_WIDE};
use super::inode::{RawInode, Refusal};
use super::{Problem, Reader};
use crate::tree::Content;
use crate::unpack::most_contents;

/// Bytes of an entry of the wide kind.
const WIDE_ENTRY: u64 = 8;
/// Longest chunk: 2^30 blocks would be beyond any image.
const MOST_BITS: u32 = 30;

/// Where a list of chunks lies, inside the image, and of what kind it is.
#[derive(Debug, Clone)]
pub(super) struct ChunkList {
    /// log2 of a chunk's length.
    bits: u32,
    /// Bytes of an entry.
    entry: u64,
    size: u64,
    pub(super) place: Range<u64>,
}

/// A list of chunks that was read, each of which lies inside the image.
#[derive(Debug)]
pub(super) struct Chunks {
    bits: u32,
    /// First block of each, or [`CHUNK_HOLE`].
    first_blocks: Vec<u32>,
    size: u64,
}

impl Chunks {
    /// The contents in pieces: each one's length, and where it lies; `None` for zeros.
    pub(super) fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = (u64, Option<u64>)> {
        let mut at = range.start;
        let end = range.end.min(self.size);
        std::iter::from_fn(move || {
            let number = usize::try_from(at.checked_shr(self.bits)?).ok()?;
            let block = *self.first_blocks.get(number).filter(|_| at < end)?;
            let chunk = 1u64.checked_shl(self.bits)?;
            let inside = at & chunk.saturating_sub(1);
            let len = chunk.saturating_sub(inside).min(end.saturating_sub(at));
            at = at.saturating_add(len);
            let place = u64::from(block).saturating_mul(BLOCK).saturating_add(inside);
            Some((len, (block != CHUNK_HOLE).then_some(place)))
        })
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, Option<u64>)> {
        self.pieces(0..self.size)
    }
}

impl<R: ReadAt + 'static> Reader<R> {
    /// Where the list of chunks of an inode lies; what is in it is not looked at.
    pub(super) fn chunk_list(&self, inode: &RawInode) -> Result<ChunkList, Refusal> {
        let damaged = |what| Err(Problem::Chunks(what).into());
        let format = inode.device;
        if format & !(CHUNK_BITS | CHUNK_WIDE) != 0 {
            return damaged("its format has bits that are not known here");
        }
        let bits = (format & CHUNK_BITS).saturating_add(BLOCK_BITS.into());
        if bits > MOST_BITS.saturating_add(BLOCK_BITS.into()) {
            return damaged("its chunks are longer than any image");
        }
        let most = most_contents(self.facts.bytes);
        if inode.size > most {
            return Err(Problem::ContentsBytes(most).into());
        }
        let count = inode.size.div_ceil(1u64.wrapping_shl(bits));
        let entry = if format & CHUNK_WIDE != 0 { WIDE_ENTRY } else { CHUNK_ENTRY };
        let start = inode.xattrs.saturating_add(inode.xattr_bytes).next_multiple_of(entry);
        let len = count.saturating_mul(entry);
        match self.holds(start, len) {
            true => Ok(ChunkList { bits, entry, size: inode.size, place: start..start.saturating_add(len) }),
            false => Err(Problem::Outside("list of chunks").into()),
        }
    }

    /// Reads a list of chunks.
    pub(super) fn chunks(&self, list: &ChunkList) -> Result<Chunks, Refusal> {
        let outside = || Problem::Outside("list of chunks");
        let len = list.place.end.saturating_sub(list.place.start);
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| outside())?];
        self.read(list.place.start, &mut bytes)?;
        let words = <[U32]>::ref_from_bytes(&bytes).map_err(|_| outside())?;
        // The first word of a wide entry is of images on several devices.
        let (skipped, step) = if list.entry == WIDE_ENTRY { (1, 2) } else { (0, 1) };
        let first_blocks = words.iter().skip(skipped).step_by(step).map(|block| block.get()).collect();
        let chunks = Chunks { bits: list.bits, first_blocks, size: list.size };
        for (len, place) in chunks.all() {
            if place.is_some_and(|place| !self.holds(place, len.next_multiple_of(BLOCK))) {
                return Err(Problem::Outside("contents").into());
            }
        }
        Ok(chunks)
    }

    /// The contents of a file that is a list of chunks.
    pub(super) fn chunked(&self, list: &ChunkList) -> Result<Content, Refusal> {
        let contents = Contents { image: self.image.clone(), chunks: self.chunks(list)? };
        Ok(Content { source: Arc::new(contents), offset: 0, len: list.size })
    }
}

/// A file in chunks.
struct Contents<R> {
    image: Arc<R>,
    chunks: Chunks,
}

impl<R: ReadAt> ReadAt for Contents<R> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.chunks.size);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut rest = buf;
        let mut pieces = self.chunks.pieces(offset..end).peekable();
        while let Some((mut len, place)) = pieces.next() {
            // Pieces that follow each other in the image are read as one.
            let follows = |next: Option<u64>, len: u64| next == place.map(|place| place.saturating_add(len));
            while let Some((more, _)) = pieces.next_if(|(_, next)| follows(*next, len)) {
                len = len.saturating_add(more);
            }
            let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
            let now = rest.split_off_mut(..len).ok_or(io::ErrorKind::InvalidInput)?;
            match place {
                Some(place) => self.image.read_exact_at(now, place)?,
                None => now.fill(0),
            }
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.chunks.size)
    }
}
