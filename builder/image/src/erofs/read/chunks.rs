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

/// A checked list of chunks.
#[derive(Debug, Clone)]
pub(super) struct Chunks {
    /// log2 of a chunk's length.
    bits: u32,
    /// First block of each, or [`CHUNK_HOLE`].
    first_blocks: Arc<[u32]>,
    size: u64,
    /// Where the list lies.
    pub(super) list: Range<u64>,
}

impl Chunks {
    /// The contents in pieces: each one's length, and where it lies; `None` for zeros.
    fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = (u64, Option<u64>)> {
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

    /// The same, with pieces that follow each other in the image in one.
    pub(super) fn runs(&self, range: Range<u64>) -> Vec<(u64, Option<u64>)> {
        let mut runs: Vec<(u64, Option<u64>)> = Vec::new();
        for (len, place) in self.pieces(range) {
            match runs.last_mut() {
                Some((before, start)) if place == start.map(|start| start.saturating_add(*before)) => {
                    *before = before.saturating_add(len);
                }
                _ => runs.push((len, place)),
            }
        }
        runs
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<(u64, Option<u64>)> {
        self.runs(0..self.size)
    }
}

impl<R: ReadAt + 'static> Reader<R> {
    /// The list of chunks of an inode, whose every chunk lies inside the image.
    pub(super) fn chunks(&self, inode: &RawInode) -> Result<Chunks, Refusal> {
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
        if !self.holds(start, len) {
            return Err(Problem::Outside("list of chunks").into());
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| Problem::Outside("list of chunks"))?];
        self.read(start, &mut bytes)?;
        let words = <[U32]>::ref_from_bytes(&bytes).map_err(|_| Problem::Outside("list of chunks"))?;
        // The first word of a wide entry is of images on several devices.
        let (skipped, step) = if entry == WIDE_ENTRY { (1, 2) } else { (0, 1) };
        let first_blocks = words.iter().skip(skipped).step_by(step).map(|block| block.get()).collect();
        let list = start..start.saturating_add(len);
        let chunks = Chunks { bits, first_blocks, size: inode.size, list };
        for (len, place) in chunks.all() {
            if place.is_some_and(|place| !self.holds(place, len.next_multiple_of(BLOCK))) {
                return Err(Problem::Outside("contents").into());
            }
        }
        Ok(chunks)
    }

    /// The contents of a file that is a list of chunks.
    pub(super) fn chunked(&self, chunks: &Chunks) -> Content {
        let contents = Contents { image: self.image.clone(), chunks: chunks.clone() };
        Content { source: Arc::new(contents), offset: 0, len: chunks.size }
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
        for (len, place) in self.chunks.runs(offset..end) {
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
