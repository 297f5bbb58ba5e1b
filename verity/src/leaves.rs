//! The digests of a source's blocks, read and hashed by every thread of the pool in pieces that stay in its cache.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::hash::BlockHasher;
use crate::io::{Holes, ReadAt};
use crate::progress::Progress;

/// Bytes that a thread reads and hashes at a time. With the digests it fits the second-level cache of any CPU since
/// 2015; half as much costs system calls, four times as much costs memory traffic.
pub(crate) const PIECE: usize = 256 * 1024;

/// Digests that are handed on at a time, at most 2 MiB of them.
const BATCH: u64 = 32 * 1024;

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
    let pass = Pass { source, holes: Holes::of(source), hasher, slot, progress, buffers: Buffers::default() };
    // `at` most 2^15 blocks.
    let batch = |from: u64| vec![0; (blocks - from).min(BATCH) as usize * slot];
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
    source: &'a dyn ReadAt,
    holes: Holes<'a>,
    hasher: &'a BlockHasher,
    slot: usize,
    progress: &'a dyn Progress,
    buffers: Buffers,
}

impl Pass<'_> {
    /// The digests of as many blocks from `from` on as `out` has slots. The threads take piece after piece, so that the
    /// source is read more or less from front to back.
    fn fill(&self, from: u64, out: &mut [u8]) -> io::Result<()> {
        let block_size = self.hasher.block_size();
        let blocks = (PIECE / block_size).max(1);
        let pieces = out.len().div_ceil(blocks * self.slot);
        let queue = Mutex::new(out.chunks_mut(blocks * self.slot).enumerate());
        let (failed, error) = (AtomicBool::new(false), Mutex::new(None));
        let work = || {
            self.buffers.lend(blocks * block_size, |buffer| {
                while !failed.load(Ordering::Relaxed) {
                    let Some((index, out)) = queue.lock().expect("nothing panics under it").next() else {
                        break;
                    };
                    let bytes = &mut buffer[..out.len() / self.slot * block_size];
                    let offset = (from + (index * blocks) as u64) * block_size as u64;
                    match self.piece(offset, bytes, out) {
                        Ok(()) => {}
                        Err(problem) => {
                            failed.store(true, Ordering::Relaxed);
                            error.lock().expect("nothing panics under it").get_or_insert(problem);
                        }
                    }
                    self.progress.advance(bytes.len() as u64);
                }
            });
        };
        let threads = rayon::current_num_threads().min(pieces);
        rayon::scope(|scope| (0..threads).for_each(|_| scope.spawn(|_| work())));
        error.into_inner().expect("nothing panics under it").map_or(Ok(()), Err)
    }

    /// The digests of the blocks at `offset` that fill `bytes`.
    fn piece(&self, offset: u64, bytes: &mut [u8], out: &mut [u8]) -> io::Result<()> {
        if let Some(bytes) = self.source.bytes_at(offset, bytes.len()) {
            self.hasher.digest_run(bytes, self.slot, out);
        } else if self.holes.contain(&(offset..offset + bytes.len() as u64))? {
            self.hasher.digest_zeros(self.slot, out);
        } else {
            self.source.read_exact_at(bytes, offset)?;
            self.hasher.digest_run(bytes, self.slot, out);
        }
        Ok(())
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
        let count = 2 * BATCH as usize + 7;
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
