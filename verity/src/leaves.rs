//! The digests of a source's blocks, read and hashed by every thread of the pool in pieces that stay in its cache.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::hash::BlockHasher;
use crate::io::{Holes, ReadAt};
use crate::map::Mappable;
use crate::progress::Progress;

/// Bytes that a thread hashes before it looks for more: what one mapping of a large page can show.
pub(crate) const STRETCH: usize = 2 * 1024 * 1024;

/// Bytes that a thread reads and hashes at a time, where they are read. With the digests it fits the second-level cache of
/// any CPU since 2015; half as much costs system calls, four times as much costs memory traffic.
pub(crate) const PIECE: usize = 256 * 1024;

/// Bytes of digests that are handed on at a time.
const BATCH: usize = 1024 * 1024;

/// Buffers that are used again: memory fresh from the system costs a fault a page, as much as reading it.
#[derive(Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// Lends a buffer of `len` bytes, with whatever it has in it.
    pub(crate) fn lend<R>(&self, len: usize, work: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut buffer = self.free().pop().unwrap_or_default();
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        let result = work(&mut buffer[..len]);
        self.free().push(buffer);
        result
    }

    fn free(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the first `blocks` blocks of `source` and hands `take` their digests in order, each in a slot of `slot` bytes.
/// While it is at work, the next ones are made. Holes of a sparse source are not read.
///
/// # Errors
/// The first one of `source` or of `take`.
pub(crate) fn digests<T: FnMut(Vec<u8>) -> io::Result<()> + Send>(
    source: &dyn ReadAt,
    blocks: u64,
    hasher: &BlockHasher,
    slot: usize,
    progress: &dyn Progress,
    take: T,
) -> io::Result<()> {
    let stretch = (STRETCH / hasher.block_size()).max(1);
    let batch = (BATCH / (stretch * slot)).max(1);
    let threads = rayon::current_num_threads();
    let queue = Queue { given: 0, waiting: VecDeque::new(), take: Some(take), away: 0, error: None };
    let pass = Pass {
        source: Source::new(source),
        hasher,
        slot,
        progress,
        blocks,
        stretch,
        batch,
        most_waiting: 2 * (batch + threads),
        queue: Mutex::new(queue),
    };
    rayon::scope(|scope| (0..threads).for_each(|_| scope.spawn(|scope| pass.work(scope))));
    pass.queue.into_inner().unwrap_or_else(PoisonError::into_inner).error.map_or(Ok(()), Err)
}

/// The threads take stretch after stretch, so that the source is read more or less from front to back.
struct Pass<'a, T> {
    source: Source<'a>,
    hasher: &'a BlockHasher,
    slot: usize,
    progress: &'a dyn Progress,
    /// Of the source.
    blocks: u64,
    /// Blocks of a stretch.
    stretch: usize,
    /// Stretches whose digests are handed on at a time.
    batch: usize,
    /// Stretches that may be under way, or wait to be handed on.
    most_waiting: usize,
    queue: Mutex<Queue<T>>,
}

struct Queue<T> {
    /// Stretches given to threads so far.
    given: u64,
    /// The last ones of them, from the first that was not handed on: their digests, once they are known.
    waiting: VecDeque<Option<Vec<u8>>>,
    /// Who they are handed to, unless it is at work.
    take: Option<T>,
    /// Threads that went because too many wait.
    away: usize,
    error: Option<io::Error>,
}

/// What a thread is to do.
enum Step<T> {
    /// Hash this stretch.
    Hash(u64),
    /// Hand these on.
    Hand(T, Vec<Vec<u8>>),
    Leave,
}

impl<T: FnMut(Vec<u8>) -> io::Result<()> + Send> Pass<'_, T> {
    /// Nobody waits for anybody: who finds nothing to do leaves, and is called again.
    fn work<'s>(&'s self, scope: &rayon::Scope<'s>) {
        loop {
            match self.next() {
                Step::Hash(stretch) => {
                    let digests = self.hash(stretch);
                    let mut queue = self.queue();
                    let before = queue.given - queue.waiting.len() as u64;
                    match digests {
                        Ok(digests) => queue.waiting[(stretch - before) as usize] = Some(digests),
                        Err(error) => queue.error = queue.error.take().or(Some(error)),
                    }
                }
                Step::Hand(mut take, batch) => {
                    let taken = take(batch.concat());
                    let mut queue = self.queue();
                    queue.take = Some(take);
                    queue.error = queue.error.take().or(taken.err());
                    let away = std::mem::take(&mut queue.away);
                    drop(queue);
                    (0..away).for_each(|_| scope.spawn(|scope| self.work(scope)));
                }
                Step::Leave => return,
            }
        }
    }

    fn next(&self) -> Step<T> {
        let mut queue = self.queue();
        let all_given = queue.given == self.blocks.div_ceil(self.stretch as u64);
        if queue.error.is_some() {
            return Step::Leave;
        }
        let due = if all_given { queue.waiting.len().min(self.batch) } else { self.batch };
        let ready = queue.waiting.iter().take(due).take_while(|digests| digests.is_some()).count();
        if ready == due
            && due > 0
            && let Some(take) = queue.take.take()
        {
            return Step::Hand(take, queue.waiting.drain(..due).flatten().collect());
        }
        if all_given {
            return Step::Leave;
        }
        if queue.waiting.len() >= self.most_waiting {
            queue.away += 1;
            return Step::Leave;
        }
        queue.given += 1;
        queue.waiting.push_back(None);
        Step::Hash(queue.given - 1)
    }

    fn hash(&self, stretch: u64) -> io::Result<Vec<u8>> {
        let from = stretch * self.stretch as u64;
        let blocks = (self.blocks - from).min(self.stretch as u64) as usize;
        let mut digests = vec![0; blocks * self.slot];
        let block_size = self.hasher.block_size();
        self.source.digest(self.hasher, from * block_size as u64, self.slot, &mut digests)?;
        self.progress.advance((blocks * block_size) as u64);
        Ok(digests)
    }

    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A source of blocks, and the cheapest way to each of them.
pub(crate) struct Source<'a> {
    source: &'a dyn ReadAt,
    file: Option<Mappable<'a>>,
    holes: Holes<'a>,
    buffers: Buffers,
}

impl<'a> Source<'a> {
    pub(crate) fn new(source: &'a dyn ReadAt) -> Self {
        let file = source.file().and_then(|(file, start)| Mappable::of(file, start));
        Self { source, file, holes: Holes::of(source), buffers: Buffers::default() }
    }

    /// The digests of as many blocks from byte `offset` on as `out` has slots, on this thread. What lies in memory is hashed
    /// there, holes are not read, what is cached is mapped, and the rest read piece by piece.
    pub(crate) fn digest(
        &self,
        hasher: &BlockHasher,
        offset: u64,
        slot: usize,
        out: &mut [u8],
    ) -> io::Result<()> {
        let block_size = hasher.block_size();
        let len = out.len() / slot * block_size;
        if let Some(bytes) = self.source.bytes_at(offset, len) {
            hasher.digest_run(bytes, slot, out);
            return Ok(());
        }
        if self.holes.contain(&(offset..offset + len as u64))? {
            hasher.digest_zeros(slot, out);
            return Ok(());
        }
        let lent =
            self.file.and_then(|file| file.lend(offset, len, |bytes| hasher.digest_run(bytes, slot, out)));
        if lent.is_some() {
            return Ok(());
        }
        let blocks = (PIECE / block_size).max(1);
        self.buffers.lend(len.min(blocks * block_size), |buffer| {
            for (index, out) in out.chunks_mut(blocks * slot).enumerate() {
                let offset = offset + (index * blocks * block_size) as u64;
                let bytes = &mut buffer[..out.len() / slot * block_size];
                if self.holes.contain(&(offset..offset + bytes.len() as u64))? {
                    hasher.digest_zeros(slot, out);
                } else {
                    self.source.read_exact_at(bytes, offset)?;
                    hasher.digest_run(bytes, slot, out);
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{Algorithm, Salting};
    use crate::progress::Silent;

    #[test]
    fn digests_come_in_order_and_none_is_missing_however_slow_the_taker() {
        let hasher = BlockHasher::new(Algorithm::Sha256, Salting::Before(b"salt"), 512);
        let count = 4 * BATCH / 32 + 7;
        let bytes: Vec<u8> = (0..count as u64 * 64).flat_map(u64::to_le_bytes).collect();
        let expected = hasher.digests(&bytes, 32);
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut found = Vec::new();
            let take = |batch: Vec<u8>| {
                // So long that the other threads have more waiting than they may.
                if found.is_empty() {
                    std::thread::sleep(std::time::Duration::from_millis(100));
                }
                found.extend(batch);
                Ok(())
            };
            pool.install(|| digests(&bytes, count as u64, &hasher, 32, &Silent, take)).unwrap();
            assert!(found == expected, "{threads}");
        }
        let short = digests(&bytes, count as u64 + 1, &hasher, 32, &Silent, |_| Ok(()));
        assert_eq!(short.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let full = |_| Err(io::ErrorKind::StorageFull.into());
        let error = digests(&bytes, count as u64, &hasher, 32, &Silent, full).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        digests(&bytes, 0, &hasher, 32, &Silent, full).unwrap();
    }
}
