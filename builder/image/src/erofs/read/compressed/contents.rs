//! Contents of a compressed file, unpacked as they are read.

use std::io;
use std::sync::Arc;

use graven_verity::io::ReadAt;

use super::super::super::format::BLOCK;
use super::{Extent, Packing};
use crate::unpack::{Cache, unpack};

/// A file: its extents lie inside `image`, the first begins at 0, and none is empty.
pub(super) struct Contents<R> {
    pub(super) image: Arc<R>,
    pub(super) cache: Arc<Cache>,
    pub(super) nid: u64,
    pub(super) len: u64,
    pub(super) extents: Vec<Extent>,
}

impl<R: ReadAt> ReadAt for Contents<R> {
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !buf.is_empty() {
            let number = self.extents.partition_point(|extent| extent.start <= offset).saturating_sub(1);
            let extent = self.extents.get(number).ok_or(io::ErrorKind::UnexpectedEof)?;
            let end = self.extents.get(number.saturating_add(1)).map_or(self.len, |next| next.start);
            let whole = self.cache.get((self.nid, extent.start), || self.unpack(extent, end))?;
            let skipped = usize::try_from(offset.saturating_sub(extent.start)).unwrap_or(usize::MAX);
            let here = whole.get(skipped..).unwrap_or_default();
            let step = here.len().min(buf.len());
            if step == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (now, rest) = buf.split_at_mut(step);
            now.copy_from_slice(here.get(..step).unwrap_or_default());
            buf = rest;
            offset = offset.saturating_add(step as u64);
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len)
    }
}

impl<R: ReadAt> Contents<R> {
    fn unpack(&self, extent: &Extent, end: u64) -> io::Result<Vec<u8>> {
        let len = usize::try_from(end.saturating_sub(extent.start)).map_err(io::Error::other)?;
        if extent.blocks == 0 {
            return Ok(vec![0; len]);
        }
        let packed = usize::from(extent.blocks).saturating_mul(BLOCK as usize);
        let mut bytes = vec![0; packed];
        self.image.read_exact_at(&mut bytes, u64::from(extent.block).saturating_mul(BLOCK))?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a compressed cluster is damaged");
        let out = match extent.packing {
            Packing::Plain => bytes.get(..len).ok_or_else(damaged)?.to_vec(),
            Packing::Interlaced => {
                // What completes a block of the file is at the end.
                let first = BLOCK.saturating_sub(extent.start.checked_rem(BLOCK).unwrap_or_default());
                let first = usize::try_from(first).unwrap_or_default();
                let begin = packed.saturating_sub(first);
                let head = bytes.get(begin..).unwrap_or_default();
                let head = head.get(..len).unwrap_or(head);
                let rest = bytes.get(..len.saturating_sub(head.len())).ok_or_else(damaged)?;
                [head, rest].concat()
            }
            Packing::Packed(algorithm) => {
                // Clusters are filled up with zeros in front.
                let padding = bytes.iter().take(BLOCK as usize).take_while(|byte| **byte == 0).count();
                unpack(algorithm, bytes.get(padding..).unwrap_or_default(), len)?
            }
        };
        if out.len() == len { Ok(out) } else { Err(damaged()) }
    }
}
