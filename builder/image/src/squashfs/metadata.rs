//! Metadata: a row of blocks, each packed by itself, read as if it were one.

use std::io;
use std::sync::Arc;

use graven_verity::io::ReadAt;
use zerocopy::FromBytes;

use super::format::METADATA;
use super::{ReadError, Source};
use crate::unpack::unpack;

/// In the two bytes before a block: it is not compressed.
const PLAIN: u16 = 0x8000;

/// A metadata block, unpacked, and where the next one begins.
pub(super) type Block = (Arc<Vec<u8>>, u64);

impl<R: ReadAt> Source<R> {
    /// Bytes that all directories together, all lists of blocks, all attributes and each table may unpack to: several times
    /// what an honest image's do.
    pub(super) fn room(&self) -> u64 {
        self.bytes.saturating_mul(4).saturating_add(16 << 20)
    }

    /// `len` bytes at `start`, which must lie inside the image.
    pub(super) fn read(&self, start: u64, len: usize) -> io::Result<Vec<u8>> {
        if start.checked_add(len as u64).is_none_or(|end| end > self.bytes) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "outside of the file system"));
        }
        let mut bytes = vec![0; len];
        self.image.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }

    pub(super) fn metadata(&self, start: u64) -> io::Result<Block> {
        let head = self.read(start, 2)?;
        let head = head.first_chunk().map_or(0, |head| u16::from_le_bytes(*head));
        let len = match usize::from(head & !PLAIN) {
            0 => usize::from(PLAIN),
            len => len,
        };
        let begin = start.saturating_add(2);
        // Keys of data blocks have no such length.
        let block = self.cache.get((start, u64::MAX), || {
            let packed = self.read(begin, len)?;
            match head & PLAIN {
                0 => unpack(self.algorithm, &packed, METADATA),
                _ if packed.len() <= METADATA => Ok(packed),
                _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a metadata block is too long")),
            }
        })?;
        Ok((block, begin.saturating_add(len as u64)))
    }
}

/// Where in a table something is read, one after the other.
pub(super) struct Cursor<'s, R> {
    source: &'s Source<R>,
    what: &'static str,
    block: Arc<Vec<u8>>,
    at: usize,
    next: u64,
}

impl<'s, R: ReadAt> Cursor<'s, R> {
    /// `place` is a block's distance from `table` times 65536, and the place in it.
    pub(super) fn new(
        source: &'s Source<R>,
        what: &'static str,
        table: u64,
        place: u64,
    ) -> Result<Self, ReadError> {
        let start = table.saturating_add(place >> 16);
        let (block, next) = source.metadata(start).map_err(|source| ReadError::Io { what, source })?;
        Ok(Self { source, what, block, at: (place & 0xffff) as usize, next })
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::with_capacity(len.min(METADATA));
        while bytes.len() < len {
            let here = self.block.get(self.at..).unwrap_or_default();
            let step = here.len().min(len.saturating_sub(bytes.len()));
            bytes.extend_from_slice(here.get(..step).unwrap_or_default());
            self.at = self.at.saturating_add(step);
            if bytes.len() < len {
                if self.at < METADATA {
                    return Err(ReadError::Table { what: self.what, problem: "it ends too early" });
                }
                let what = self.what;
                (self.block, self.next) =
                    self.source.metadata(self.next).map_err(|source| ReadError::Io { what, source })?;
                self.at = 0;
            }
        }
        Ok(bytes)
    }

    pub(super) fn get<T: FromBytes>(&mut self) -> Result<T, ReadError> {
        let bytes = self.bytes(size_of::<T>())?;
        T::read_from_bytes(&bytes)
            .map_err(|_| ReadError::Table { what: self.what, problem: "it ends too early" })
    }
}
