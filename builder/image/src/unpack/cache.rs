//! Blocks that were unpacked lately: files are read in steps that are smaller.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that are kept.
const KEPT: usize = 32 << 20;
/// Bytes that a block counts as at least: every look goes through all of them.
const LEAST: usize = 4096;

/// Unpacked blocks by their place in the image and their length.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Used last, last.
    blocks: VecDeque<(Key, Arc<Vec<u8>>)>,
    bytes: usize,
}

type Key = (u64, u64);

impl Cache {
    /// The block of this key, made where it is not there. Two threads may make the same one.
    pub(crate) fn get(
        &self,
        key: Key,
        make: impl FnOnce() -> io::Result<Vec<u8>>,
    ) -> io::Result<Arc<Vec<u8>>> {
        if let Some(known) = self.find(key) {
            return Ok(known);
        }
        let mut made = make()?;
        made.shrink_to_fit();
        let made = Arc::new(made);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes = kept.bytes.saturating_add(weight(&made));
        kept.blocks.push_back((key, made.clone()));
        while kept.bytes > KEPT && kept.blocks.len() > 1 {
            let gone = kept.blocks.pop_front().map_or(0, |(_, block)| weight(&block));
            kept.bytes = kept.bytes.saturating_sub(gone);
        }
        Ok(made)
    }

    fn find(&self, key: Key) -> Option<Arc<Vec<u8>>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.blocks.iter().rposition(|(known, _)| *known == key)?;
        let block = kept.blocks.remove(at)?;
        let found = block.1.clone();
        kept.blocks.push_back(block);
        Some(found)
    }
}

fn weight(block: &[u8]) -> usize {
    block.len().max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_blocks_are_not_all_kept() {
        let cache = Cache::default();
        for number in 0..20_000 {
            cache.get((number, 1), || Ok(vec![7])).unwrap();
        }
        let kept = cache.0.into_inner().unwrap();
        assert_eq!(kept.blocks.len(), KEPT / LEAST);
        assert_eq!(kept.bytes, KEPT);
        assert_eq!(kept.blocks.back().unwrap().0, (19_999, 1));
    }
}
