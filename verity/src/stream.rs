//! One pass over a source: each byte is read once and shown to everyone who wants it.
//!
//! The source is read in windows. While one is worked on, the next is read; the consumers of a window run side by side,
//! and each may share its own work out further. All of it happens on rayon's current pool, and what the consumers make
//! does not depend on how many threads that has.

use std::io;

use rayon::prelude::*;

use crate::io::{ReadAt, WriteAt};
use crate::progress::Progress;

/// Bytes of a window. Two of them are in memory at a time.
pub const WINDOW: usize = 32 * 1024 * 1024;

/// Bytes that one thread reads at a time.
const READ: usize = 4 * 1024 * 1024;

/// Somebody who is shown the bytes of a source from its start to its end.
pub trait Consumer: Send {
    /// Takes the bytes of the source from `offset` on. Windows come in order, without gaps; their lengths may be any.
    ///
    /// # Errors
    /// Whatever stops the pass, such as a failed write.
    fn window(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

/// Shows the first `len` bytes of `source` to all `consumers`.
///
/// # Errors
/// The first error of the source or of a consumer; the pass ends there.
pub fn run(
    source: &dyn ReadAt,
    len: u64,
    consumers: &mut [&mut dyn Consumer],
    progress: &dyn Progress,
) -> io::Result<()> {
    run_windows(source, len, WINDOW, consumers, progress)
}

fn run_windows(
    source: &dyn ReadAt,
    len: u64,
    window: usize,
    consumers: &mut [&mut dyn Consumer],
    progress: &dyn Progress,
) -> io::Result<()> {
    let window_at = |offset: u64| usize::try_from(len - offset).map_or(window, |left| left.min(window));
    let mut now = vec![0; window_at(0)];
    let mut next = vec![0; window_at(now.len() as u64)];
    let mut offset = 0;
    read(source, offset, &mut now)?;
    while !now.is_empty() {
        let after = offset + now.len() as u64;
        next.truncate(window_at(after));
        let (consumed, read) = rayon::join(
            || consumers.par_iter_mut().try_for_each(|consumer| consumer.window(offset, &now)),
            || read(source, after, &mut next),
        );
        consumed?;
        progress.advance(now.len() as u64);
        read?;
        (offset, now, next) = (after, next, now);
    }
    Ok(())
}

fn read(source: &dyn ReadAt, offset: u64, window: &mut [u8]) -> io::Result<()> {
    window
        .par_chunks_mut(READ)
        .enumerate()
        .try_for_each(|(index, part)| source.read_exact_at(part, offset + (index * READ) as u64))
}

/// A [`Consumer`] that writes what it sees to `out`, from its offset 0 on.
#[derive(Debug)]
pub struct CopyTo<W> {
    out: W,
    holes: Option<usize>,
}

impl<W: WriteAt> CopyTo<W> {
    /// Writes every byte.
    pub fn new(out: W) -> Self {
        Self { out, holes: None }
    }

    /// Leaves out what is zero, in aligned pieces of `granularity` bytes. Only for an `out` that reads as zeros already,
    /// such as a new file: its zeros stay holes.
    ///
    /// # Panics
    /// When `granularity` is zero.
    pub fn sparse(out: W, granularity: usize) -> Self {
        assert_ne!(granularity, 0, "holes have a size");
        Self { out, holes: Some(granularity) }
    }
}

impl<W: WriteAt> Consumer for CopyTo<W> {
    fn window(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(granularity) = self.holes else { return self.out.write_all_at(bytes, offset) };
        // One write for each run of pieces that are not zero.
        let mut run = 0..0;
        for (index, piece) in bytes.chunks(granularity).enumerate() {
            let start = index * granularity;
            if !piece.iter().all(|byte| *byte == 0) {
                if run.is_empty() {
                    run = start..start;
                }
                run.end = start + piece.len();
            } else if !run.is_empty() {
                self.out.write_all_at(&bytes[run.clone()], offset + run.start as u64)?;
                run = 0..0;
            }
        }
        if !run.is_empty() {
            self.out.write_all_at(&bytes[run.clone()], offset + run.start as u64)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Collect(Vec<u8>);

    impl Consumer for Collect {
        fn window(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            assert_eq!(offset, self.0.len() as u64);
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }

    #[derive(Default)]
    struct Writes(Mutex<Vec<(u64, usize)>>);

    impl WriteAt for Writes {
        fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
            assert!(!buf.is_empty());
            self.0.lock().unwrap().push((offset, buf.len()));
            Ok(())
        }
    }

    #[test]
    fn every_consumer_sees_every_byte_once_and_in_order() {
        let source: Vec<u8> = (0..10_000).map(|i| (i % 251) as u8).collect();
        for (len, window) in
            [(0, 7), (1, 7), (6, 7), (7, 7), (8, 7), (9_999, 1000), (10_000, 1000), (10_000, 20_000)]
        {
            let (mut a, mut b) = (Collect(Vec::new()), Collect(Vec::new()));
            let seen = AtomicU64::new(0);
            let progress = |bytes: u64| {
                seen.fetch_add(bytes, Ordering::Relaxed);
            };
            run_windows(&source, len, window, &mut [&mut a, &mut b], &progress).unwrap();
            assert_eq!(a.0, source[..len as usize]);
            assert_eq!(a.0, b.0);
            assert_eq!(seen.into_inner(), len);
        }
    }

    #[test]
    fn a_source_that_ends_early_is_an_error() {
        let error = run(&vec![0; 10], 11, &mut [], &crate::progress::Silent).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_consumer_that_fails_ends_the_pass() {
        struct Full(u64);
        impl Consumer for Full {
            fn window(&mut self, offset: u64, _: &[u8]) -> io::Result<()> {
                self.0 = offset;
                if offset >= 20 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
            }
        }
        let (mut full, mut other) = (Full(0), Collect(Vec::new()));
        let mut consumers: [&mut dyn Consumer; 2] = [&mut full, &mut other];
        let error =
            run_windows(&vec![0; 100], 100, 10, &mut consumers, &crate::progress::Silent).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(full.0, 20);
        assert!(other.0.len() <= 30);
    }

    #[test]
    fn a_sparse_copy_writes_only_what_is_not_zero() {
        let mut bytes = vec![0; 100];
        bytes[15] = 1;
        bytes[20] = 1;
        bytes[95] = 1;
        let out = Writes::default();
        CopyTo::sparse(&out, 10).window(1000, &bytes).unwrap();
        assert_eq!(*out.0.lock().unwrap(), [(1010, 20), (1090, 10)]);
    }
}
