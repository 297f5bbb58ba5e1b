//! The two ends of a disk in memory: all that a partition table writer may touch.

use std::io::{self, Read, Seek, SeekFrom, Write};

use graven_verity::io::WriteAt;

use super::{Error, HEAD_BYTES, TAIL_BYTES};

/// A device of `size` bytes of which only the first [`HEAD_BYTES`] and the last [`TAIL_BYTES`] exist; what lies
/// between cannot be read or written.
#[derive(Debug)]
pub(super) struct Ends {
    head: Vec<u8>,
    tail: Vec<u8>,
    size: u64,
    position: u64,
}

impl Ends {
    pub(super) fn new(size: u64) -> Result<Self, Error> {
        let zeros = |bytes: u64| vec![0; usize::try_from(bytes).unwrap_or_default()];
        if size < HEAD_BYTES.saturating_add(TAIL_BYTES) {
            return Err(Error::DiskSize { bytes: size });
        }
        Ok(Self { head: zeros(HEAD_BYTES), tail: zeros(TAIL_BYTES), size, position: 0 })
    }

    pub(super) fn write_to(&self, disk: &dyn WriteAt) -> io::Result<()> {
        disk.write_all_at(&self.head, 0)?;
        disk.write_all_at(&self.tail, self.size.saturating_sub(TAIL_BYTES))
    }

    /// The bytes from the present position to the end of the end that it lies in.
    fn here(&mut self) -> io::Result<&mut [u8]> {
        let tail_start = self.size.saturating_sub(TAIL_BYTES);
        let (part, offset) = match self.position.checked_sub(tail_start) {
            Some(offset) => (&mut self.tail, offset),
            None => (&mut self.head, self.position),
        };
        usize::try_from(offset).ok().and_then(|offset| part.get_mut(offset..)).ok_or_else(|| {
            io::Error::other(format!("byte {} is no part of a partition table", self.position))
        })
    }

    fn advance(&mut self, by: usize) {
        self.position = self.position.saturating_add(by as u64);
    }
}

impl Read for Ends {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut rest: &[u8] = self.here()?;
        let count = rest.read(buf)?;
        self.advance(count);
        Ok(count)
    }
}

impl Write for Ends {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut rest = self.here()?;
        let count = rest.write(buf)?;
        self.advance(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Ends {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
