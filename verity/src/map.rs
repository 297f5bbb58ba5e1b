//! Files that lie in the page cache, mapped instead of copied.
//!
//! Copying two gibibytes costs a core 0.2 to 0.3 s, a third of what hashing them costs; mapping them costs 0.07 s where the
//! cache holds them in large pages. What is not in the cache is read: reading ahead is better done that way.
#![allow(unsafe_code, reason = "mappings")]

use std::fs::File;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;

use rustix::io::ReadWriteFlags;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

/// Where mappings may begin: every page size of every machine divides it.
const ALIGN: u64 = 64 * 1024;

/// Less than this is copied as fast as it is mapped, in bytes.
const LEAST: usize = 512 * 1024;

/// A regular file of which stretches can be mapped.
#[derive(Clone, Copy)]
pub(crate) struct Mappable<'a> {
    file: BorrowedFd<'a>,
    /// Where, in the file, offset 0 is.
    start: u64,
}

impl<'a> Mappable<'a> {
    /// The file from byte `start` on; `None` for what is no regular file.
    pub(crate) fn of(file: &'a File, start: u64) -> Option<Self> {
        file.metadata().ok()?.is_file().then(|| Self { file: file.as_fd(), start })
    }

    /// Shows `work` the `len` bytes at `offset`; `None`, with nothing done, where they are not in the cache, or cannot be
    /// mapped: whoever reads them then is told why.
    pub(crate) fn lend<R>(&self, offset: u64, len: usize, work: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let from = self.start.checked_add(offset)?;
        let to = from.checked_add(len as u64)?;
        if len < LEAST || !self.is_cached(from) || !self.is_cached(to - 1) {
            return None;
        }
        let before = (from % ALIGN) as usize;
        let mapping = Mapping::new(self.file, from - before as u64, before.checked_add(len)?)?;
        Some(work(&mapping.bytes()[before..]))
    }

    /// Whether this byte is in the page cache.
    fn is_cached(&self, at: u64) -> bool {
        let mut byte = [0];
        let read =
            rustix::io::preadv2(self.file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT);
        read == Ok(1)
    }
}

/// Pages of a file in this process's memory, all of them present when it was made.
struct Mapping {
    address: *mut std::ffi::c_void,
    len: usize,
}

impl Mapping {
    /// `offset` is a multiple of [`ALIGN`], `len` not zero.
    fn new(file: BorrowedFd<'_>, offset: u64, len: usize) -> Option<Self> {
        // SAFETY: a new mapping, at an address that the kernel chooses, touches no memory that is in use.
        let address =
            unsafe { mmap(ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, file, offset) }.ok()?;
        let mapping = Self { address, len };
        // Pages that cannot be had (past the end, on a bad sector) are an error here; touching them would be a signal.
        // SAFETY: the range is the mapping's own, and populating it changes no byte.
        unsafe { madvise(address, len, Advice::LinuxPopulateRead) }.ok()?;
        Some(mapping)
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is `len` bytes long, can be read, and lives as long as the borrow. Its bytes are those of a
        // file that others may change meanwhile: they are hashed or compared, and nothing but a digest depends on them.
        unsafe { std::slice::from_raw_parts(self.address.cast(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the mapping's own, and no borrow of it is left.
        let unmapped = unsafe { munmap(self.address, self.len) };
        debug_assert!(unmapped.is_ok(), "a whole mapping can be unmapped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::WriteAt;

    #[test]
    fn what_is_lent_is_what_the_file_has_and_past_its_end_nothing_is() {
        let bytes: Vec<u8> = (0..3 << 20).map(|i: u32| (i ^ i >> 9) as u8).collect();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        for start in [0, 4096, 100_001] {
            let mappable = Mappable::of(&file, start as u64).unwrap();
            for (offset, len) in [(0, 1 << 20), (65_536, LEAST), (12_345, (2 << 20) + 7)] {
                let there = start + offset;
                let same = mappable.lend(offset as u64, len, |lent| lent == &bytes[there..there + len]);
                // A file system may not say what is cached; a wrong answer it must not give.
                assert_ne!(same, Some(false), "{start} {offset} {len}");
            }
            assert_eq!(mappable.lend((bytes.len() - start - LEAST + 1) as u64, LEAST, <[u8]>::len), None);
            assert_eq!(mappable.lend(u64::MAX, LEAST, <[u8]>::len), None);
            assert_eq!(mappable.lend(0, LEAST - 1, <[u8]>::len), None);
        }
        assert!(Mappable::of(&File::open("/dev/zero").unwrap(), 0).is_none());
    }
}
