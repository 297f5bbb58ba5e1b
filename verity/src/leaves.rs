//! The digests of a source's blocks, read and hashed by every thread of the pool in pieces that stay in its cache.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

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
const BATCH: usize = 2 * 1024 * 1024;

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

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Reads the first `blocks` blocks of `source` and hands `take` their digests in order, each in a slot of `slot` bytes.
/// While it is at work, the next ones are made. Holes of a sparse source are not read.
///
/// # Errors
/// The first one of `source` or of `take`.
pub(crate) fn digests(
    source: &dyn ReadAt,
    blocks: u64,
    hasher: &BlockHasher,
    slot: usize,
    progress: &dyn Progress,
    mut take: impl FnMut(&[u8]) -> io::Result<()> + Send,
) -> io::Result<()> {
    let pass = Pass { source: Source::new(source), hasher, slot, progress };
    let batch = |from: u64| vec![0; (blocks - from).min((BATCH / slot) as u64) as usize * slot];
    let (mut from, mut now) = (0, batch(0));
    pass.fill(from, &mut now)?;
    while !now.is_empty() {
        let after = from + (now.len() / slot) as u64;
        let mut next = batch(after);
        let (taken, filled) = rayon::join(|| take(&now), || pass.fill(after, &mut next));
        taken?;
        filled?;
        (from, now) = (after, next);
    }
    Ok(())
}

struct Pass<'a> {
    source: Source<'a>,
    hasher: &'a BlockHasher,
    slot: usize,
    progress: &'a dyn Progress,
}

impl Pass<'_> {
    /// The digests of as many blocks from `from` on as `out` has slots. The threads take stretch after stretch, so that the
    /// source is read more or less from front to back.
    fn fill(&self, from: u64, out: &mut [u8]) -> io::Result<()> {
        let block_size = self.hasher.block_size();
        let blocks = (STRETCH / block_size).max(1);
        let stretches = out.len().div_ceil(blocks * self.slot);
        let queue = Mutex::new(out.chunks_mut(blocks * self.slot).enumerate());
        let (failed, error) = (AtomicBool::new(false), Mutex::new(None));
        let work = || {
            while !failed.load(Ordering::Relaxed) {
                let Some((index, out)) = queue.lock().expect("nothing panics under it").next() else {
                    break;
                };
                let offset = (from + (index * blocks) as u64) * block_size as u64;
                if let Err(problem) = self.source.digest(self.hasher, offset, self.slot, out) {
                    failed.store(true, Ordering::Relaxed);
                    error.lock().expect("nothing panics under it").get_or_insert(problem);
                }
                self.progress.advance((out.len() / self.slot * block_size) as u64);
            }
        };
        let threads = rayon::current_num_threads().min(stretches);
        rayon::scope(|scope| (0..threads).for_each(|_| scope.spawn(|_| work())));
        error.into_inner().expect("nothing panics under it").map_or(Ok(()), Err)
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
    fn digests_come_in_order_and_none_is_missing() {
        let hasher = BlockHasher::new(Algorithm::Sha256, Salting::Before(b"salt"), 512);
        let count = 2 * BATCH / 32 + 7;
        let bytes: Vec<u8> = (0..count as u64 * 64).flat_map(u64::to_le_bytes).collect();
        let mut found = Vec::new();
        digests(&bytes, count as u64, &hasher, 32, &Silent, |batch| {
            found.extend_from_slice(batch);
            Ok(())
        })
        .unwrap();
        assert!(found == hasher.digests(&bytes, 32));
        let short = digests(&bytes, count as u64 + 1, &hasher, 32, &Silent, |_| Ok(()));
        assert_eq!(short.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
