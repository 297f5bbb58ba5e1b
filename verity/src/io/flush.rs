//! Files that are flushed while they are written.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use super::WriteAt;

/// A file that is flushed after every so many bytes that were written to it; [`flushing`].
#[derive(Debug)]
pub struct Flushing<'a> {
    file: &'a File,
    every: NonZeroU64,
    written: AtomicU64,
    due: SyncSender<()>,
}

/// Does `work`, which writes to `file`, with a thread beside it that flushes after every `every` bytes: what is written goes
/// to the disk while more is written, and the wait at the end is short. The end itself is not flushed.
///
/// # Errors
/// The flush's: the operating system tells of a write that failed late only once, to whoever asks first.
pub fn flushing<T>(
    file: &File,
    every: NonZeroU64,
    work: impl FnOnce(&Flushing<'_>) -> T,
) -> (T, io::Result<()>) {
    // Room for one: while a flush is under way, the next is due at most once.
    let (due, wanted) = sync_channel(1);
    thread::scope(|scope| {
        let flusher = scope.spawn(move || wanted.iter().try_for_each(|()| file.sync_data()));
        let done = work(&Flushing { file, every, written: AtomicU64::new(0), due });
        let flushed =
            flusher.join().unwrap_or_else(|_| Err(io::Error::other("the flushing thread panicked")));
        (done, flushed)
    })
}

impl WriteAt for Flushing<'_> {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(buf, offset)?;
        let len = buf.len() as u64;
        let before = self.written.fetch_add(len, Ordering::Relaxed);
        if before / self.every != before.wrapping_add(len) / self.every {
            // Full: one is due anyway. Closed: it failed, which is told at the end.
            let _ = self.due.try_send(());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: NonZeroU64 = NonZeroU64::new(10).unwrap();

    #[test]
    fn what_is_written_is_in_the_file_and_a_flush_that_fails_is_told() {
        let file = tempfile::tempfile().unwrap();
        let (written, flushed) = flushing(&file, EVERY, |out| {
            (0..100_u8).try_for_each(|i| out.write_all_at(&[i; 3], 3 * u64::from(i)))
        });
        written.and(flushed).unwrap();
        let bytes = std::fs::read(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)));
        assert!(bytes.unwrap().iter().copied().eq((0..100).flat_map(|i| [i; 3])));

        // It takes what is written and has no disk to bring it to.
        let null = File::options().write(true).open("/dev/null").unwrap();
        let (written, flushed) = flushing(&null, EVERY, |out| out.write_all_at(&[0; 9], 0));
        written.and(flushed).unwrap();
        let (written, flushed) = flushing(&null, EVERY, |out| out.write_all_at(&[0; 10], 0));
        assert!(written.is_ok() && flushed.is_err());
    }
}
