//! What is written goes to the disk while more is written, so that the wait at the end is short.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use graven_verity::stream::Consumer;

/// Bytes between two flushes.
const STRETCH: u64 = 128 << 20;

/// Shown the windows of a pass that writes to a file, it has the file flushed now and then.
pub(crate) struct Flush {
    due: SyncSender<()>,
    since: u64,
}

/// Does `work`, which writes to `file`, with a thread beside it that flushes whenever [`Flush`] has seen enough.
///
/// # Errors
/// The flush's: the operating system tells of a write that failed late only once, to whoever asks first.
pub(crate) fn while_writing<T>(file: &File, work: impl FnOnce(&mut Flush) -> T) -> (T, io::Result<()>) {
    // Room for one: while a flush is under way, the next is due at most once.
    let (due, wanted) = sync_channel(1);
    thread::scope(|scope| {
        let flusher = scope.spawn(move || wanted.iter().try_for_each(|()| file.sync_data()));
        let mut flush = Flush { due, since: 0 };
        let done = work(&mut flush);
        drop(flush);
        let flushed =
            flusher.join().unwrap_or_else(|_| Err(io::Error::other("the flushing thread panicked")));
        (done, flushed)
    })
}

impl Consumer for Flush {
    fn window(&mut self, _offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.since += bytes.len() as u64;
        if self.since >= STRETCH {
            self.since = 0;
            // Full: one is due anyway. Closed: it failed, which is told at the end.
            let _ = self.due.try_send(());
        }
        Ok(())
    }
}
