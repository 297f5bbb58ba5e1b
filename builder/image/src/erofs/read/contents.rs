//! Contents of a file, left where they are in the image.

use std::io;
use std::sync::Arc;

use graven_verity::io::ReadAt;

use super::inode::Place;
use crate::tree::Content;

/// The contents at a place that was checked to lie inside `image`.
pub(super) fn content<R: ReadAt + 'static>(image: &Arc<R>, place: Place) -> Content {
    let len = place.blocks_len.saturating_add(place.tail_len);
    match (place.blocks_len, place.tail_len) {
        (_, 0) => Content { source: image.clone(), offset: place.blocks, len },
        (0, _) => Content { source: image.clone(), offset: place.tail, len },
        _ => Content { source: Arc::new(Tailed { image: image.clone(), place }), offset: 0, len },
    }
}

/// A file whose last bytes lie apart from the others.
struct Tailed<R> {
    image: Arc<R>,
    place: Place,
}

impl<R: ReadAt> ReadAt for Tailed<R> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let size = self.size()?;
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let in_blocks = self.place.blocks_len.saturating_sub(offset).min(buf.len() as u64);
        let in_blocks = usize::try_from(in_blocks).map_err(|_| io::ErrorKind::InvalidInput)?;
        let (blocks, tail) = buf.split_at_mut(in_blocks);
        if !blocks.is_empty() {
            self.image.read_exact_at(blocks, self.place.blocks.saturating_add(offset))?;
        }
        if !tail.is_empty() {
            let skipped = offset.saturating_sub(self.place.blocks_len);
            self.image.read_exact_at(tail, self.place.tail.saturating_add(skipped))?;
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.place.blocks_len.saturating_add(self.place.tail_len))
    }
}
