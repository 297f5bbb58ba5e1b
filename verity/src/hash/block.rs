//! Digests of many blocks of one length under one salt.

use std::sync::OnceLock;

use rayon::prelude::*;

use super::kernel::{Kernel, Prepared};
use super::steps::MOST_LANES;
use super::{Algorithm, Digest};

/// Bytes of blocks that one thread hashes before it looks for other work.
const JOB: usize = 128 * 1024;

/// Where the salt goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Salting<'a> {
    /// Hashed before each block: fs-verity, dm-verity of type 1.
    Before(&'a [u8]),
    /// Hashed after each block: dm-verity of type 0.
    After(&'a [u8]),
}

/// Hashes blocks of one length under one salt. All-zero blocks, common in images, are hashed once.
pub(crate) struct BlockHasher {
    prepared: Prepared,
    digest_size: usize,
    block_size: usize,
    zero: OnceLock<Digest>,
}

impl BlockHasher {
    /// A hasher of blocks of `block_size` bytes, which is not zero.
    pub(crate) fn new(algorithm: Algorithm, salting: Salting<'_>, block_size: usize) -> Self {
        Self::with_kernel(Kernel::best(algorithm), algorithm, salting, block_size)
    }

    /// The same with a kernel of the caller's choice.
    pub(super) fn with_kernel(
        kernel: Kernel,
        algorithm: Algorithm,
        salting: Salting<'_>,
        block_size: usize,
    ) -> Self {
        Self {
            prepared: Prepared::new(kernel, algorithm, salting),
            digest_size: algorithm.digest_size(),
            block_size,
            zero: OnceLock::new(),
        }
    }

    pub(crate) fn block_size(&self) -> usize {
        self.block_size
    }

    pub(crate) fn digest_size(&self) -> usize {
        self.digest_size
    }

    /// The digests of `blocks`, whole blocks one after the other, each in a slot of `slot` bytes and zero to its end.
    ///
    /// Much work is shared out among the threads of rayon's current pool.
    pub(crate) fn digests(&self, blocks: &[u8], slot: usize) -> Vec<u8> {
        debug_assert_eq!(blocks.len() % self.block_size, 0);
        let mut out = vec![0; blocks.len() / self.block_size * slot];
        let job = (JOB / self.block_size).max(1);
        if blocks.len() <= JOB {
            self.digest_run(blocks, slot, &mut out);
        } else {
            blocks
                .par_chunks(job * self.block_size)
                .zip(out.par_chunks_mut(job * slot))
                .for_each(|(blocks, out)| self.digest_run(blocks, slot, out));
        }
        out
    }

    /// The same into `out`, on this thread.
    pub(crate) fn digest_run(&self, blocks: &[u8], slot: usize, out: &mut [u8]) {
        let mut lanes: [&[u8]; MOST_LANES] = [&[]; MOST_LANES];
        let mut slots = [0; MOST_LANES];
        let mut used = 0;
        for (index, block) in blocks.chunks_exact(self.block_size).enumerate() {
            if is_zero(block) {
                out[index * slot..][..self.digest_size].copy_from_slice(self.zero().as_bytes());
                continue;
            }
            (lanes[used], slots[used]) = (block, index * slot);
            used += 1;
            if used == MOST_LANES {
                self.digest_lanes(&lanes, &slots, out);
                used = 0;
            }
        }
        self.digest_lanes(&lanes[..used], &slots[..used], out);
    }

    fn digest_lanes(&self, lanes: &[&[u8]], slots: &[usize], out: &mut [u8]) {
        self.prepared.digest_many(lanes, |lane, digest| {
            out[slots[lane]..][..digest.len()].copy_from_slice(digest);
        });
    }

    /// As many digests of blocks of zeros as `out` has slots, nothing being read.
    pub(crate) fn digest_zeros(&self, slot: usize, out: &mut [u8]) {
        let zero = self.zero().as_bytes();
        for slot in out.chunks_exact_mut(slot) {
            slot[..zero.len()].copy_from_slice(zero);
        }
    }

    /// The digest of a block of zeros.
    fn zero(&self) -> &Digest {
        self.zero.get_or_init(|| {
            let mut zero = None;
            let block = vec![0; self.block_size];
            self.prepared.digest_many(&[&block], |_, digest| zero = Some(Digest::from_hash(digest)));
            zero.expect("one block in, one digest out")
        })
    }
}

/// Whether there is nothing but zero bytes. Ends at the first 64 bytes that say no.
fn is_zero(block: &[u8]) -> bool {
    let (lines, rest) = block.as_chunks::<64>();
    let any =
        |line: &[u8; 64]| line.as_chunks().0.iter().fold(0, |any, word| any | u128::from_ne_bytes(*word));
    lines.iter().all(|line| any(line) == 0) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of which every third is zero and one differs from zero in its last byte only.
    fn blocks(count: usize, size: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..count * size)
            .map(|i| if (i / size).is_multiple_of(3) { 0 } else { (i % 251) as u8 })
            .collect();
        bytes[size - 1] = 1;
        bytes
    }

    #[test]
    fn digests_are_those_of_salt_and_block_in_the_order_of_the_type() {
        let salt = [7; 45];
        for algorithm in Algorithm::ALL {
            for (count, size) in [(1, 512), (16, 512), (17, 512), (700, 512), (40, 4096), (3, 1 << 17)] {
                let bytes = blocks(count, size);
                let before = BlockHasher::new(algorithm, Salting::Before(&salt), size).digests(&bytes, 64);
                let after = BlockHasher::new(algorithm, Salting::After(&salt), size).digests(&bytes, 64);
                for (index, block) in bytes.chunks(size).enumerate() {
                    let slot = index * 64..index * 64 + algorithm.digest_size();
                    let expected = algorithm.digest(&[&salt, block].concat());
                    assert_eq!(
                        before[slot.clone()],
                        *expected.as_bytes(),
                        "{algorithm} {count}×{size} {index}"
                    );
                    let expected = algorithm.digest(&[block, &salt].concat());
                    assert_eq!(after[slot], *expected.as_bytes(), "{algorithm} {count}×{size} {index}");
                }
            }
        }
    }
}
