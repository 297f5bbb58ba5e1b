//! Digests that several files have in common: those of a disk image's blocks are also those of the files in it.

use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::Params;
use crate::merkle::{Accumulator, HashBlocks};
use crate::stream::Consumer;

/// The digests of blocks that follow each other.
pub struct BlockDigests {
    digests: Vec<u8>,
    slot: usize,
}

impl BlockDigests {
    /// Hashes blocks, the last of which is filled up with zeros, on rayon's current pool.
    #[must_use]
    pub fn of(params: &Params, bytes: &[u8]) -> Self {
        let (block, slot) = (params.block_size() as usize, params.slots().slot);
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % block);
        let mut digests = params.hasher().digests(whole, slot);
        if !rest.is_empty() {
            let mut last = rest.to_vec();
            last.resize(block, 0);
            digests.extend(params.hasher().digests(&last, slot));
        }
        Self { digests, slot }
    }

    /// All of them, one behind the other.
    #[must_use]
    pub fn all(&self) -> &[u8] {
        &self.digests
    }

    /// Those of the blocks `range`, counted from the first one here; as many of them as there are.
    #[must_use]
    pub fn blocks(&self, range: Range<usize>) -> &[u8] {
        let place = |block: usize| block.saturating_mul(self.slot).min(self.digests.len());
        &self.digests[place(range.start)..place(range.end).max(place(range.start))]
    }
}

/// What is known of a stretch of a file: enough to hash the whole file without reading the stretch again. Memory is one
/// digest a hash block, 64 bytes a MiB.
pub struct Stretch {
    /// Digests of its whole hash blocks.
    hash_blocks: Vec<u8>,
    /// Digests of the blocks after them.
    rest: Vec<u8>,
    blocks: u64,
    params: Params,
}

impl Stretch {
    /// No blocks yet. The stretch begins in its file where a hash block of the lowest level does.
    #[must_use]
    pub fn new(params: &Params) -> Self {
        Self { hash_blocks: Vec::new(), rest: Vec::new(), blocks: 0, params: params.clone() }
    }

    /// Takes the digests of its next blocks.
    pub fn push(&mut self, digests: &BlockDigests) {
        let slots = self.params.slots();
        self.blocks += (digests.digests.len() / slots.slot) as u64;
        self.rest.extend_from_slice(&digests.digests);
        let used = slots.per_block * slots.slot;
        let full = self.rest.len() - self.rest.len() % used;
        let blocks = slots.blocks(&self.rest[..full]);
        self.hash_blocks.extend(self.params.hasher().digests(&blocks, slots.slot));
        drop(blocks);
        self.rest.drain(..full);
    }

    /// Its length in bytes: whole blocks.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.blocks * u64::from(self.params.block_size())
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks == 0
    }

    pub(super) fn append_to(&self, accumulator: &mut Accumulator) {
        let Ok(()) = accumulator.update_hash_blocks(&self.hash_blocks, &mut pass_over);
        let Ok(()) = accumulator.update_digests(self.rest.clone(), &mut pass_over);
    }
}

impl Consumer for Stretch {
    /// Takes the next bytes: whole blocks, or the last ones.
    fn window(&mut self, _offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.push(&BlockDigests::of(&self.params, bytes));
        Ok(())
    }
}

impl std::fmt::Debug for Stretch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stretch({} blocks)", self.blocks)
    }
}

/// The tree itself is not kept: only its root is wanted.
pub(super) fn pass_over(_: HashBlocks<'_>) -> Result<(), Infallible> {
    Ok(())
}

pub(super) fn accumulator(params: &Params) -> Accumulator {
    let hasher = params.hasher();
    Accumulator::new(Arc::clone(hasher), Arc::clone(hasher), params.slots())
}

#[cfg(test)]
mod tests {
    use super::super::Digester;
    use super::*;

    #[test]
    fn a_file_in_stretches_has_the_digest_of_the_whole() {
        const HASH_BLOCK: usize = 128 * 4096;
        let params = Params::default();
        let file: Vec<u8> = (0..3 * HASH_BLOCK + 70_000).map(|i| (i / 7 % 251) as u8).collect();
        for start in [0, HASH_BLOCK, 2 * HASH_BLOCK] {
            for len in [0, 4096, HASH_BLOCK - 4096, HASH_BLOCK, HASH_BLOCK + 8192] {
                for step in [4096, 12_288, HASH_BLOCK] {
                    let mut stretch = Stretch::new(&params);
                    for bytes in file[start..start + len].chunks(step) {
                        stretch.push(&BlockDigests::of(&params, bytes));
                    }
                    assert_eq!(stretch.len(), len as u64);
                    let mut whole = Digester::new(&params);
                    whole.update(&file);
                    let mut parts = Digester::new(&params);
                    parts.update(&file[..start]);
                    parts.append(&stretch).unwrap();
                    parts.update(&file[start + len..]);
                    assert_eq!(parts.finish(), whole.finish(), "{start} {len} {step}");
                }
            }
        }
        let mut parts = Digester::new(&params);
        parts.update(&file[..4096]);
        assert!(parts.append(&Stretch::new(&params)).is_err(), "not where a hash block begins");
    }

    #[test]
    fn a_file_of_known_blocks_has_the_digest_of_its_bytes() {
        let params = Params::default();
        let bytes: Vec<u8> = (0..40_000).map(|i| (i % 249) as u8).collect();
        for len in [0usize, 1, 4095, 4096, 4097, 8192, 40_000] {
            let digests = BlockDigests::of(&params, &bytes[..len]);
            let mut known = Digester::new(&params);
            known.update_known(digests.blocks(0..len.div_ceil(4096)), len as u64).unwrap();
            let mut whole = Digester::new(&params);
            whole.update(&bytes[..len]);
            assert_eq!(known.finish(), whole.finish(), "{len}");
        }
    }
}
