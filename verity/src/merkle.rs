//! The Merkle tree that dm-verity and fs-verity have in common, built from the leaves up in one pass.
//!
//! Digests of blocks are packed into hash blocks; those are hashed in turn, until one digest is left: the root. The
//! memory needed is one unfinished hash block a level, plus the digests of what one call brings.

use std::borrow::Cow;
use std::sync::Arc;

use crate::hash::{BlockHasher, Digest};

/// How digests lie in a hash block: `per_block` slots of `slot` bytes, zeros to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slots {
    /// Digests a hash block; a power of two, at least 2.
    pub(crate) per_block: usize,
    /// Bytes from one digest to the next.
    pub(crate) slot: usize,
    /// Bytes of a hash block.
    pub(crate) block_size: usize,
}

impl Slots {
    /// The hash blocks that hold `digests`; the last one may not be full.
    pub(crate) fn blocks<'a>(&self, digests: &'a [u8]) -> Cow<'a, [u8]> {
        let used = self.per_block * self.slot;
        if used == self.block_size && digests.len().is_multiple_of(used) {
            return Cow::Borrowed(digests);
        }
        let mut blocks = vec![0; digests.len().div_ceil(used) * self.block_size];
        for (block, digests) in blocks.chunks_mut(self.block_size).zip(digests.chunks(used)) {
            block[..digests.len()].copy_from_slice(digests);
        }
        Cow::Owned(blocks)
    }
}

/// Finished hash blocks of one level, one after the other.
pub(crate) struct HashBlocks<'a> {
    /// 0 is the level whose digests are those of data blocks.
    pub(crate) level: usize,
    /// Index of the first one in its level.
    pub(crate) first: u64,
    /// Their bytes.
    pub(crate) bytes: &'a [u8],
}

/// A tree under construction.
pub(crate) struct Accumulator {
    leaf: Arc<BlockHasher>,
    node: Arc<BlockHasher>,
    slots: Slots,
    /// The start of a data block whose end has not come yet.
    partial: Vec<u8>,
    levels: Vec<Level>,
}

#[derive(Default)]
struct Level {
    /// Digests that this level has been given in all.
    digests: u64,
    /// Hash blocks finished.
    finished: u64,
    /// The digests of the hash block that is not full yet, in their slots.
    open: Vec<u8>,
}

impl Accumulator {
    /// `leaf` hashes data blocks, `node` hash blocks.
    pub(crate) fn new(leaf: Arc<BlockHasher>, node: Arc<BlockHasher>, slots: Slots) -> Self {
        Self { leaf, node, slots, partial: Vec::new(), levels: Vec::new() }
    }

    /// Data blocks taken in whole so far.
    pub(crate) fn data_blocks(&self) -> u64 {
        self.levels.first().map_or(0, |level| level.digests)
    }

    /// Takes the next bytes of the data, as many as there are. `emit` gets each hash block as soon as it is full.
    pub(crate) fn update<E>(
        &mut self,
        mut bytes: &[u8],
        emit: &mut impl FnMut(HashBlocks<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let size = self.leaf.block_size();
        if !self.partial.is_empty() {
            let (end, rest) = bytes.split_at(bytes.len().min(size - self.partial.len()));
            self.partial.extend_from_slice(end);
            bytes = rest;
            self.close_partial(emit)?;
        }
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % size);
        self.partial.extend_from_slice(rest);
        self.raise(0, self.leaf.digests(whole, self.slots.slot), emit)
    }

    /// Takes the digests of the next data blocks, in their slots. The blocks before must have come in whole.
    pub(crate) fn update_digests<E>(
        &mut self,
        digests: Vec<u8>,
        emit: &mut impl FnMut(HashBlocks<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        debug_assert!(self.partial.is_empty() && digests.len().is_multiple_of(self.slots.slot));
        self.raise(0, digests, emit)
    }

    /// Whether the next data block begins a hash block.
    pub(crate) fn at_hash_block(&self) -> bool {
        self.partial.is_empty() && self.levels.first().is_none_or(|level| level.open.is_empty())
    }

    /// Takes the digests of the next whole hash blocks of data, in their slots; [`at_hash_block`](Self::at_hash_block).
    pub(crate) fn update_hash_blocks<E>(
        &mut self,
        digests: &[u8],
        emit: &mut impl FnMut(HashBlocks<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        debug_assert!(self.at_hash_block() && digests.len().is_multiple_of(self.slots.slot));
        if digests.is_empty() {
            return Ok(());
        }
        let blocks = (digests.len() / self.slots.slot) as u64;
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        self.levels[0].digests += blocks * self.slots.per_block as u64;
        self.levels[0].finished += blocks;
        self.raise(1, digests.to_vec(), emit)
    }

    /// Fills an unfinished last data block with zeros.
    pub(crate) fn pad<E>(&mut self, emit: &mut impl FnMut(HashBlocks<'_>) -> Result<(), E>) -> Result<(), E> {
        if !self.partial.is_empty() {
            self.partial.resize(self.leaf.block_size(), 0);
        }
        self.close_partial(emit)
    }

    fn close_partial<E>(&mut self, emit: &mut impl FnMut(HashBlocks<'_>) -> Result<(), E>) -> Result<(), E> {
        if self.partial.len() < self.leaf.block_size() {
            return Ok(());
        }
        let digests = self.leaf.digests(&self.partial, self.slots.slot);
        self.partial.clear();
        self.raise(0, digests, emit)
    }

    /// Finishes the hash blocks that are not full, from the leaves up, and returns the root; `None` for no data at all.
    ///
    /// An unfinished data block is left out: [`Accumulator::pad`] it first.
    pub(crate) fn finish<E>(
        mut self,
        emit: &mut impl FnMut(HashBlocks<'_>) -> Result<(), E>,
    ) -> Result<Option<Digest>, E> {
        let mut level = 0;
        while let Some(state) = self.levels.get_mut(level) {
            if state.digests == 1 {
                return Ok(Some(Digest::from_hash(&state.open[..self.node.digest_size()])));
            }
            if !state.open.is_empty() {
                let block = self.slots.blocks(&state.open);
                emit(HashBlocks { level, first: state.finished, bytes: &block })?;
                let digest = self.node.digests(&block, self.slots.slot);
                self.raise(level + 1, digest, emit)?;
            }
            level += 1;
        }
        Ok(None)
    }

    /// Gives `digests`, in their slots, to `level` and what follows from them to the levels above.
    fn raise<E>(
        &mut self,
        mut level: usize,
        mut digests: Vec<u8>,
        emit: &mut impl FnMut(HashBlocks<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let used = self.slots.per_block * self.slots.slot;
        while !digests.is_empty() {
            if level == self.levels.len() {
                self.levels.push(Level::default());
            }
            let state = &mut self.levels[level];
            state.digests += (digests.len() / self.slots.slot) as u64;
            if state.open.is_empty() {
                state.open = std::mem::take(&mut digests);
            } else {
                state.open.append(&mut digests);
            }
            let full = state.open.len() / used;
            if full > 0 {
                let blocks = self.slots.blocks(&state.open[..full * used]);
                emit(HashBlocks { level, first: state.finished, bytes: &blocks })?;
                state.finished += full as u64;
                digests = self.node.digests(&blocks, self.slots.slot);
                state.open.drain(..full * used);
            }
            level += 1;
        }
        Ok(())
    }
}
