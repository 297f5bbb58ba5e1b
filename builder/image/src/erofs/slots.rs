//! Room for inodes in blocks: best fit by 32-byte slots.

use super::format::{BLOCK, SLOT};

/// Slots of a block.
const PER_BLOCK: u32 = (BLOCK / SLOT) as u32;

/// Blocks that are being filled with inodes. Equal requests in equal order give equal places.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    blocks: u32,
    /// Blocks by the number of slots that are free at their end.
    open: Vec<Vec<u32>>,
    /// Bit n: `open[n]` is not empty.
    classes: u128,
}

impl Slots {
    /// Takes `bytes` in consecutive slots and answers where they begin, in slots from the first block on. What
    /// fits into one block never crosses into the next; what does not begins at a block's start.
    pub(crate) fn take(&mut self, bytes: u64) -> u64 {
        let wanted = bytes.div_ceil(SLOT);
        if wanted < u64::from(PER_BLOCK) {
            let fitting = self.classes & (u128::MAX << wanted);
            if fitting != 0 {
                let free = fitting.trailing_zeros();
                let class = &mut self.open[free as usize];
                let block = class.pop().unwrap_or_default();
                if class.is_empty() {
                    self.classes &= !(1 << free);
                }
                self.keep(block, free - wanted as u32);
                return u64::from(block) * u64::from(PER_BLOCK) + u64::from(PER_BLOCK - free);
            }
        }
        let first = self.blocks;
        let blocks = wanted.div_ceil(u64::from(PER_BLOCK)) as u32;
        self.blocks += blocks;
        let left = u64::from(blocks) * u64::from(PER_BLOCK) - wanted;
        self.keep(self.blocks - 1, left as u32);
        u64::from(first) * u64::from(PER_BLOCK)
    }

    /// Blocks taken so far.
    pub(crate) fn blocks(&self) -> u32 {
        self.blocks
    }

    fn keep(&mut self, block: u32, free: u32) {
        if free == 0 {
            return;
        }
        if self.open.is_empty() {
            self.open.resize(PER_BLOCK as usize, Vec::new());
        }
        self.open[free as usize].push(block);
        self.classes |= 1 << free;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_do_not_overlap_and_do_not_cross_blocks_without_need() {
        let mut slots = Slots::default();
        let mut taken = std::collections::BTreeMap::new();
        let mut state = 1u64;
        for _ in 0..5000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let bytes = 32 + (state >> 33) % if state & 7 == 0 { 9000 } else { 2000 };
            let at = slots.take(bytes) * SLOT;
            if bytes <= BLOCK {
                assert_eq!(at / BLOCK, (at + bytes - 1) / BLOCK);
            } else {
                assert_eq!(at % BLOCK, 0);
            }
            assert_eq!(taken.insert(at, at + bytes), None);
        }
        let mut end = 0;
        for (from, to) in taken {
            assert!(from >= end);
            end = to;
        }
        assert!(end <= u64::from(slots.blocks()) * BLOCK);
    }
}
