//! Positioned input and output.
//!
//! Trees are computed over anything that can be read at an offset from several threads at once: a file, a
//! block device, a byte slice, or a file system image that does not exist yet and is produced as it is read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes that can be read at any offset, from several threads at once.
pub trait ReadAt: Send + Sync {
    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the source ends before `buf` is full.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// Whatever the operating system says of the file behind it.
    fn size(&self) -> io::Result<u64>;
}

/// A place that takes bytes at any offset, from several threads at once.
pub trait WriteAt: Send + Sync {
    /// Writes the whole of `buf` at `offset`.
    ///
    /// # Errors
    /// Whatever the operating system says, a full disk among others.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
}

/// Both: something that can be mended.
pub trait ReadWriteAt: ReadAt + WriteAt {}

impl<T: ReadAt + WriteAt + ?Sized> ReadWriteAt for T {}

impl ReadAt for File {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        // `seek` would move a shared cursor; block devices have no length in their metadata.
        use std::io::{Seek, SeekFrom};
        let metadata = self.metadata()?;
        if metadata.is_file() { Ok(metadata.len()) } else { self.try_clone()?.seek(SeekFrom::End(0)) }
    }
}

impl WriteAt for File {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, buf, offset)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(buf.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.as_slice().size()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}

impl<T: WriteAt + ?Sized> WriteAt for &T {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        (**self).write_all_at(buf, offset)
    }
}

/// A window of something larger: a partition of a disk, a member of an archive.
///
/// As a [`ReadAt`] or [`WriteAt`] its offset 0 is `start` of the whole, and nothing outside can be reached.
#[derive(Debug, Clone)]
pub struct Window<T> {
    whole: T,
    start: u64,
    len: u64,
}

impl<T> Window<T> {
    /// The `len` bytes of `whole` from `start` on. Both are bytes.
    pub fn new(whole: T, start: u64, len: u64) -> Self {
        Self { whole, start, len }
    }

    fn position(&self, offset: u64, wanted: usize, error: io::ErrorKind) -> io::Result<u64> {
        match offset.checked_add(wanted as u64) {
            Some(end) if end <= self.len => self.start.checked_add(offset).ok_or(error.into()),
            _ => Err(error.into()),
        }
    }
}

impl<T: ReadAt> ReadAt for Window<T> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let position = self.position(offset, buf.len(), io::ErrorKind::UnexpectedEof)?;
        self.whole.read_exact_at(buf, position)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len)
    }
}

impl<T: WriteAt> WriteAt for Window<T> {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let position = self.position(offset, buf.len(), io::ErrorKind::WriteZero)?;
        self.whole.write_all_at(buf, position)
    }
}

/// Several sources read as one: the data blocks of a device and then its hash area, a superblock and then a tree.
#[derive(Clone, Default)]
pub struct Concat<'a> {
    /// Where each part ends in the whole, in bytes, and the part.
    parts: Vec<(u64, &'a dyn ReadAt)>,
}

impl<'a> Concat<'a> {
    /// Nothing yet: zero bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the first `len` bytes of `part`. What would lie past 2^64 bytes of the whole is left out.
    #[must_use]
    pub fn then(mut self, part: &'a dyn ReadAt, len: u64) -> Self {
        self.parts.push((self.len().saturating_add(len), part));
        self
    }

    fn len(&self) -> u64 {
        self.parts.last().map_or(0, |(end, _)| *end)
    }
}

impl ReadAt for Concat<'_> {
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        let mut index = self.parts.partition_point(|(end, _)| *end <= offset);
        let mut start = index.checked_sub(1).map_or(0, |before| self.parts[before].0);
        while !buf.is_empty() {
            let &(end, part) = self.parts.get(index).ok_or(io::ErrorKind::UnexpectedEof)?;
            let here = usize::try_from(end - offset).unwrap_or(usize::MAX).min(buf.len());
            let (now, later) = buf.split_at_mut(here);
            part.read_exact_at(now, offset - start)?;
            (buf, offset, start, index) = (later, offset + here as u64, end, index + 1);
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len())
    }
}

/// Zero bytes without end, for what a [`Concat`] has between its parts.
#[derive(Debug, Clone, Copy)]
pub struct Zeros;

impl ReadAt for Zeros {
    fn read_exact_at(&self, buf: &mut [u8], _offset: u64) -> io::Result<()> {
        buf.fill(0);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_across_several_parts_takes_each_from_its_start() {
        let (a, b, c) = (vec![1u8, 2, 3], vec![4u8, 5, 6, 7], vec![8u8, 9]);
        let whole = Concat::new().then(&a, 3).then(&b, 2).then(&Zeros, 0).then(&c, 2);
        for start in 0..=7 {
            for len in 0..=7 - start {
                let mut out = vec![0; len];
                whole.read_exact_at(&mut out, start as u64).unwrap();
                assert_eq!(out, [1, 2, 3, 4, 5, 8, 9][start..start + len]);
            }
        }
        assert!(whole.read_exact_at(&mut [0; 2], 6).is_err());
        assert!(whole.read_exact_at(&mut [0; 1], u64::MAX).is_err());
    }
}
