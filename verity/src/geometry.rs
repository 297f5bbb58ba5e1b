//! Where each level of a tree lies, dm-verity's as fs-verity's.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::merkle::Slots;

/// The levels of a tree in its area: the top one first, level 0, nearest to the data, last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Index 0 is the level nearest to the data.
    levels: Vec<Level>,
    blocks: u64,
    block_size: u64,
}

/// One level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// Its first hash block, counted from the start of the tree.
    pub(crate) first_block: u64,
    /// Hash blocks.
    pub(crate) blocks: u64,
}

impl Geometry {
    /// `None` when the tree would be longer than 2^64 bytes.
    pub(crate) fn new(data_blocks: u64, slots: &Slots) -> Option<Self> {
        let per_block = slots.per_block as u64;
        let mut sizes = Vec::new();
        let mut below = data_blocks;
        while below > 1 {
            below = below.div_ceil(per_block);
            sizes.push(below);
        }
        let mut levels = Vec::with_capacity(sizes.len());
        let mut first_block = 0u64;
        for &blocks in sizes.iter().rev() {
            levels.push(Level { first_block, blocks });
            first_block = first_block.checked_add(blocks)?;
        }
        levels.reverse();
        let block_size = slots.block_size as u64;
        first_block.checked_mul(block_size)?;
        Some(Self { levels, blocks: first_block, block_size })
    }

    /// How many levels there are; 0 for a single data block.
    pub(crate) fn height(&self) -> usize {
        self.levels.len()
    }

    /// The level `level`, 0 being nearest to the data.
    pub(crate) fn level(&self, level: usize) -> Option<Level> {
        self.levels.get(level).copied()
    }

    /// Offset of hash block `index` of `level`, in bytes from the start of the tree.
    pub(crate) fn offset(&self, level: usize, index: u64) -> Option<u64> {
        let level = self.level(level)?;
        level.first_block.checked_add(index)?.checked_mul(self.block_size)
    }

    /// Hash blocks in all.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Bytes in all.
    pub(crate) fn bytes(&self) -> u64 {
        self.blocks.saturating_mul(self.block_size)
    }
}
