//! Contents of a file, unpacked as they are read.

use std::io;
use std::sync::Arc;

use graven_verity::io::ReadAt;

use super::format::PLAIN_BLOCK;
use super::inode::Blocks;
use super::{Reader, Source};
use crate::tree::Content;
use crate::unpack::unpack;

/// A file: blocks one after the other, and maybe an end in a fragment.
struct File<R> {
    source: Arc<Source<R>>,
    len: u64,
    /// First byte in the image and length, of each block; of a hole the length is 0.
    blocks: Vec<(u64, u32)>,
    /// First byte of the fragment, its length, where in it the file's end begins.
    fragment: Option<(u64, u32, u32)>,
}

/// The contents of a file whose blocks lie inside the image.
pub(super) fn content<R: ReadAt + 'static>(
    reader: &Reader<R>,
    blocks: Blocks,
) -> Result<Content, &'static str> {
    let source = &reader.source;
    let inside = |start: u64, len: u32| {
        let packed = len & !PLAIN_BLOCK;
        let end = start.checked_add(packed.into());
        match end.filter(|end| *end <= source.bytes && packed <= source.block_size) {
            Some(end) => Ok(end),
            None => Err("its contents lie outside of the image, or are longer than a block"),
        }
    };
    let mut places = Vec::with_capacity(blocks.lens.len());
    let mut start = blocks.start;
    for len in blocks.lens {
        let end = if len == 0 { start } else { inside(start, len)? };
        places.push((start, len));
        start = end;
    }
    let fragment = match blocks.fragment {
        None => None,
        Some((number, offset)) => {
            let known = usize::try_from(number).ok().and_then(|number| reader.tables.fragments.get(number));
            let known = known.ok_or("it ends in a fragment that is not there")?;
            inside(known.start.get(), known.len.get())?;
            Some((known.start.get(), known.len.get(), offset))
        }
    };
    let file = File { source: source.clone(), len: blocks.len, blocks: places, fragment };
    Ok(Content { source: Arc::new(file), offset: 0, len: blocks.len })
}

impl<R: ReadAt> ReadAt for File<R> {
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let size = u64::from(self.source.block_size);
        while !buf.is_empty() {
            let number =
                usize::try_from(offset.checked_div(size).unwrap_or_default()).map_err(io::Error::other)?;
            let skipped =
                usize::try_from(offset.checked_rem(size).unwrap_or_default()).map_err(io::Error::other)?;
            let begin = offset.saturating_sub(skipped as u64);
            let there =
                usize::try_from(self.len.saturating_sub(begin).min(size)).map_err(io::Error::other)?;
            let step = there.saturating_sub(skipped).min(buf.len());
            let (now, rest) = buf.split_at_mut(step);
            let (block, from) = match self.blocks.get(number) {
                Some((_, 0)) => (None, 0),
                Some((start, len)) => (Some(self.source.block(*start, *len)?), 0),
                None => {
                    let (start, len, from) = self.fragment.ok_or(io::ErrorKind::UnexpectedEof)?;
                    (Some(self.source.block(start, len)?), from as usize)
                }
            };
            match block {
                None => now.fill(0),
                Some(block) => {
                    let begin = from.saturating_add(skipped);
                    let here = block.get(begin..begin.saturating_add(step));
                    let here = here
                        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a block is too short"))?;
                    now.copy_from_slice(here);
                }
            }
            buf = rest;
            offset = offset.saturating_add(step as u64);
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len)
    }
}

impl<R: ReadAt> Source<R> {
    /// A data block or fragment, unpacked.
    fn block(&self, start: u64, len: u32) -> io::Result<Arc<Vec<u8>>> {
        self.cache.get((start, len.into()), || {
            let packed = self.read(start, (len & !PLAIN_BLOCK) as usize)?;
            match len & PLAIN_BLOCK {
                0 => unpack(self.algorithm, &packed, self.block_size as usize),
                _ => Ok(packed),
            }
        })
    }
}
