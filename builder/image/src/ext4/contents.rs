//! Contents of a file, left where they are in the image.

use std::io;
use std::sync::Arc;

use graven_verity::io::ReadAt;

use super::BLOCK;
use super::extents::Extent;
use crate::tree::Content;

/// A file; its extents lie inside the file system.
struct File<R> {
    image: Arc<R>,
    len: u64,
    extents: Vec<Extent>,
}

/// The contents of a file of these extents.
pub(super) fn content<R: ReadAt + 'static>(image: &Arc<R>, len: u64, extents: Vec<Extent>) -> Content {
    match extents.as_slice() {
        [only] if only.first == 0 && only.start > 0 && only.blocks.saturating_mul(BLOCK) >= len => {
            Content { source: image.clone(), offset: only.start.saturating_mul(BLOCK), len }
        }
        _ => Content { source: Arc::new(File { image: image.clone(), len, extents }), offset: 0, len },
    }
}

impl<R: ReadAt> ReadAt for File<R> {
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !buf.is_empty() {
            let block = offset.checked_div(BLOCK).unwrap_or_default();
            let at =
                self.extents.partition_point(|extent| extent.first.saturating_add(extent.blocks) <= block);
            let extent = self.extents.get(at);
            let here = extent.filter(|extent| extent.first <= block);
            // To the end of the extent, or of the hole.
            let end = match (here, extent) {
                (Some(here), _) => here.first.saturating_add(here.blocks).saturating_mul(BLOCK),
                (None, Some(next)) => next.first.saturating_mul(BLOCK),
                (None, None) => self.len,
            };
            let step = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
            let (now, rest) = buf.split_at_mut(step);
            match here.filter(|here| here.start > 0) {
                Some(here) => {
                    let skipped = offset.saturating_sub(here.first.saturating_mul(BLOCK));
                    self.image
                        .read_exact_at(now, here.start.saturating_mul(BLOCK).saturating_add(skipped))?;
                }
                None => now.fill(0),
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
