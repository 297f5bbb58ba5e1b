//! Positioned input and output.
//!
//! Trees are computed over anything that can be read at an offset from several threads at once: a file, a
//! block device, a byte slice, or a file system image that does not exist yet and is produced as it is read.
//!
//! # Example
//!
//! A source of one's own, and a part of it under a tree:
//!
//! ```
//! use std::io;
//!
//! use graven_verity::dm::{self, Params, Salt};
//! use graven_verity::hash::Algorithm;
//! use graven_verity::io::{ReadAt, Window};
//!
//! /// Each byte is its own block's number.
//! struct Numbered;
//!
//! impl ReadAt for Numbered {
//!     fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
//!         buf.iter_mut().zip(offset..).for_each(|(byte, at)| *byte = (at / 4096) as u8);
//!         Ok(())
//!     }
//!
//!     fn size(&self) -> io::Result<u64> {
//!         Ok(1 << 30)
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let params = Params::new(Algorithm::Sha256, 4096, 4096, 100, Salt::new(&[])?)?;
//! let part = Window::new(Numbered, 256 * 4096, 100 * 4096);
//! let (of_part, of_start) = (tempfile::tempfile()?, tempfile::tempfile()?);
//! // Blocks 256 to 355 hold what blocks 0 to 99 do.
//! assert_eq!(dm::build(&part, &params, &of_part)?, dm::build(&Numbered, &params, &of_start)?);
//! # Ok(())
//! # }
//! ```

mod flush;
mod overlay;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

pub use self::flush::{Flushing, flushing};
pub use self::overlay::Overlay;

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

    /// The `len` bytes from `offset` on where they lie, if they lie in memory: they need not be copied then.
    fn bytes_at(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let _ = (offset, len);
        None
    }

    /// The file that these bytes are a part of, and where in it they begin. Long stretches of a regular file that lie in
    /// the page cache are mapped instead of copied.
    fn file(&self) -> Option<(&File, u64)> {
        None
    }

    /// The first stretch from byte `from` on that may hold anything but zeros. What lies before it reads as zeros, and
    /// need not be read; so a source that cannot tell has one stretch, from `from` to the end of all numbers.
    ///
    /// # Errors
    /// Whatever the operating system says of the file behind it.
    fn next_data(&self, from: u64) -> io::Result<Range<u64>> {
        Ok(from..u64::MAX)
    }
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

/// Asked for the holes of a sparse file, it moves the file's cursor, which nothing here reads from.
///
/// Where trees and digests are computed, a regular file's cached bytes are mapped for a moment. A process that cuts the file
/// off in that moment ends this one with SIGBUS; give a [`ReadAt`] of your own, without [`file`](ReadAt::file), where that
/// is to be feared.
impl ReadAt for File {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        // `seek` would move a shared cursor; block devices have no length in their metadata.
        use std::io::Seek;
        let metadata = self.metadata()?;
        if metadata.is_file() { Ok(metadata.len()) } else { self.try_clone()?.seek(io::SeekFrom::End(0)) }
    }

    fn file(&self) -> Option<(&File, u64)> {
        Some((self, 0))
    }

    fn next_data(&self, from: u64) -> io::Result<Range<u64>> {
        match rustix::fs::seek(self, SeekFrom::Data(from)) {
            Ok(start) => Ok(start..rustix::fs::seek(self, SeekFrom::Hole(start)).unwrap_or(u64::MAX)),
            // No data from here to the end. Past the end is no hole: whoever reads there must be told.
            Err(Errno::NXIO) => Ok(self.size()?.max(from)..u64::MAX),
            // A file system or a device that knows no holes.
            Err(_) => Ok(from..u64::MAX),
        }
    }
}

impl WriteAt for File {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, buf, offset)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.bytes_at(offset, buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn bytes_at(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset).ok()?;
        self.get(start..start.checked_add(len)?)
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.as_slice().size()
    }

    fn bytes_at(&self, offset: u64, len: usize) -> Option<&[u8]> {
        self.as_slice().bytes_at(offset, len)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }

    fn bytes_at(&self, offset: u64, len: usize) -> Option<&[u8]> {
        (**self).bytes_at(offset, len)
    }

    fn file(&self) -> Option<(&File, u64)> {
        (**self).file()
    }

    fn next_data(&self, from: u64) -> io::Result<Range<u64>> {
        (**self).next_data(from)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }

    fn bytes_at(&self, offset: u64, len: usize) -> Option<&[u8]> {
        (**self).bytes_at(offset, len)
    }

    fn file(&self) -> Option<(&File, u64)> {
        (**self).file()
    }

    fn next_data(&self, from: u64) -> io::Result<Range<u64>> {
        (**self).next_data(from)
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

    fn bytes_at(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let position = self.position(offset, len, io::ErrorKind::UnexpectedEof).ok()?;
        self.whole.bytes_at(position, len)
    }

    fn file(&self) -> Option<(&File, u64)> {
        let (file, start) = self.whole.file()?;
        Some((file, start.checked_add(self.start)?))
    }

    fn next_data(&self, from: u64) -> io::Result<Range<u64>> {
        let Some(position) = self.start.checked_add(from) else { return Ok(from..u64::MAX) };
        let data = self.whole.next_data(position)?;
        // Past the window's end is no hole of it.
        let start = (data.start - self.start).min(self.len.max(from));
        Ok(start..data.end.saturating_sub(self.start).max(start))
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

/// Which parts of a source are holes, asked as seldom as may be.
pub(crate) struct Holes<'a> {
    source: &'a dyn ReadAt,
    /// The last question, and its answer.
    known: Mutex<(u64, Range<u64>)>,
}

impl<'a> Holes<'a> {
    pub(crate) fn of(source: &'a dyn ReadAt) -> Self {
        Self { source, known: Mutex::new((0, 0..0)) }
    }

    /// Whether all of `bytes` is a hole of the source.
    pub(crate) fn contain(&self, bytes: &Range<u64>) -> io::Result<bool> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !(known.0..known.1.end).contains(&bytes.start) {
            *known = (bytes.start, self.source.next_data(bytes.start)?);
        }
        Ok(bytes.end <= known.1.start)
    }
}

/// Reads all of a source once, from its beginning to its end, and hands it over in pieces of a MiB.
///
/// # Errors
/// What the source says, and what `take` does.
pub fn read_through(
    source: &(impl ReadAt + ?Sized),
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    const PIECE: usize = 1 << 20;
    let (size, mut buffer) = (source.size()?, Vec::new());
    for at in (0..size).step_by(PIECE) {
        let len = (size - at).min(PIECE as u64) as usize;
        match source.bytes_at(at, len) {
            Some(bytes) => take(bytes)?,
            None => {
                buffer.resize(len, 0);
                source.read_exact_at(&mut buffer, at)?;
                take(&buffer)?;
            }
        }
    }
    Ok(())
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
    fn holes_of_a_sparse_file_are_known_and_what_is_past_its_end_is_none() {
        const MIB: u64 = 1 << 20;
        let file = tempfile::tempfile().unwrap();
        file.set_len(16 * MIB).unwrap();
        WriteAt::write_all_at(&file, &[1; 4096], 8 * MIB).unwrap();
        let window = Window::new(&file, 2 * MIB, 8 * MIB);
        for (source, data, len) in [(&file as &dyn ReadAt, 8 * MIB, 16 * MIB), (&window, 6 * MIB, 8 * MIB)] {
            let holes = Holes::of(source);
            assert!(holes.contain(&(0..data)).unwrap());
            assert!(!holes.contain(&(0..data + 1)).unwrap());
            assert!(!holes.contain(&(data..data + 4096)).unwrap());
            assert!(holes.contain(&(data + MIB..len)).unwrap());
            assert!(!holes.contain(&(data + MIB..len + 1)).unwrap());
            assert!(!holes.contain(&(len..len + 1)).unwrap());
        }
        assert!(!Holes::of(&vec![0; 10]).contain(&(0..5)).unwrap());
    }

    #[test]
    fn what_is_read_through_comes_whole_and_in_order() {
        let file = tempfile::tempfile().unwrap();
        for len in [0, 1, 1 << 20, (2 << 20) + 5] {
            let bytes: Vec<u8> = (0..len as u32).map(|n| (n % 251) as u8).collect();
            file.set_len(0).unwrap();
            WriteAt::write_all_at(&file, &bytes, 0).unwrap();
            for source in [&bytes as &dyn ReadAt, &file] {
                let mut read = Vec::new();
                read_through(source, |piece| {
                    read.extend_from_slice(piece);
                    Ok(())
                })
                .unwrap();
                assert!(read == bytes, "{len} bytes");
            }
        }
        let refused = read_through(&vec![0; 5], |_| Err(io::ErrorKind::StorageFull.into()));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

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
