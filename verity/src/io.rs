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
