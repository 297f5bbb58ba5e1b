//! Parity of a whole message.

use std::io;

use rayon::prelude::*;

use super::Roots;
use super::code::{Code, LANES};
use crate::io::{ReadAt, WriteAt};
use crate::leaves::Buffers;
use crate::progress::Progress;

/// Bytes that are read at a time; the message is read in pieces that lie far apart.
const READ: u64 = 32 * 1024;

/// Pieces that are read before they are worked on: they fit the second-level cache, and each register is loaded and
/// stored once for all of them.
const PIECES: u64 = 8;

/// Bytes of parity for `blocks` message blocks of `block_size` bytes.
///
/// `None` when that is past 2^64.
#[must_use]
pub fn parity_bytes(blocks: u64, block_size: u32, roots: Roots) -> Option<u64> {
    let regions = blocks.div_ceil(u64::from(roots.message_bytes()));
    regions.checked_mul(u64::from(block_size))?.checked_mul(u64::from(roots.get()))
}

/// Writes the parity of a message of `blocks` blocks to `out`, from its offset 0 on.
///
/// The message is the data blocks, then the hash area from its first hash block on (not the superblock), and, where the
/// parity follows on the same device, everything up to it; make it of its parts with [`crate::io::Concat`]. Data and
/// hash blocks have one size here, `block_size`, a power of two from 512 on. `progress` counts bytes of the message.
/// Runs on rayon's current pool, in memory of less than 2 MiB a thread.
///
/// # Errors
/// Those of reading `message`, which must have all the blocks, and of writing `out`;
/// [`io::ErrorKind::InvalidInput`] for another block size or a message past 2^63 bytes.
pub fn encode(
    message: &dyn ReadAt,
    blocks: u64,
    block_size: u32,
    roots: Roots,
    out: &dyn WriteAt,
    progress: &dyn Progress,
) -> io::Result<()> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
    if !block_size.is_power_of_two() || !(512..=512 * 1024).contains(&block_size) {
        return Err(invalid(format!(
            "FEC block size {block_size}: expected a power of two from 512 to 524288"
        )));
    }
    let block_size = u64::from(block_size);
    if blocks.checked_mul(block_size).is_none_or(|bytes| bytes >= 1 << 63) {
        return Err(invalid(format!(
            "FEC over {blocks} blocks of {block_size} bytes: more than a device holds"
        )));
    }
    let regions = blocks.div_ceil(u64::from(roots.message_bytes()));
    // Regions that one thread encodes at a time: long reads, but work for everyone.
    let batch = (READ / block_size).min(regions.div_ceil(16)).max(1);
    let code = Code::new(roots);
    let encoder = Encoder {
        message,
        blocks,
        block_size,
        regions,
        steps: u64::from(roots.message_bytes()),
        code,
        buffers: Buffers::default(),
    };
    (0..regions.div_ceil(batch)).into_par_iter().try_for_each(|index| {
        let first = index * batch;
        let count = batch.min(regions - first);
        let parity = encoder.regions(first, count, progress)?;
        out.write_all_at(&parity, first * block_size * u64::from(roots.get()))
    })
}

struct Encoder<'a> {
    message: &'a dyn ReadAt,
    blocks: u64,
    block_size: u64,
    /// Message blocks that lie between two bytes of a code word.
    regions: u64,
    /// Message bytes of a code word.
    steps: u64,
    code: Code,
    buffers: Buffers,
}

impl Encoder<'_> {
    /// The parity of the code words that start in the `count` blocks from `first` on.
    fn regions(&self, first: u64, count: u64, progress: &dyn Progress) -> io::Result<Vec<u8>> {
        let roots = self.code.roots();
        let len = (count * self.block_size) as usize;
        // Pieces a power of two apart would all fall into one set of the cache.
        let stride = len + LANES;
        let mut registers = vec![[0; LANES]; len / LANES * roots];
        self.buffers.lend(stride * PIECES as usize, |pieces| {
            for steps in (0..self.steps).step_by(PIECES as usize) {
                let read = PIECES.min(self.steps - steps) as usize;
                for (step, piece) in (steps..).zip(pieces.chunks_exact_mut(stride).take(read)) {
                    progress.advance(self.read(step * self.regions + first, &mut piece[..len])?);
                }
                self.code.take(&pieces[..read * stride], stride, &mut registers);
            }
            io::Result::Ok(())
        })?;
        let mut parity = Vec::with_capacity(len * roots);
        for registers in registers.chunks_exact(roots) {
            for word in 0..LANES {
                parity.extend(registers.iter().map(|lane| lane[word]));
            }
        }
        Ok(parity)
    }

    /// Reads the message blocks from `start` on; past the end of the message come zeros. Returns the bytes that were
    /// there.
    fn read(&self, start: u64, piece: &mut [u8]) -> io::Result<u64> {
        let there =
            self.blocks.saturating_sub(start).min(piece.len() as u64 / self.block_size) * self.block_size;
        let (read, rest) = piece.split_at_mut(there as usize);
        if !read.is_empty() {
            self.message.read_exact_at(read, start * self.block_size)?;
        }
        rest.fill(0);
        Ok(there)
    }
}
