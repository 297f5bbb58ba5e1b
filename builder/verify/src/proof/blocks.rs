//! A file system of which only some blocks are there; and one that notes which are read.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use graven_verity::io::ReadAt;

/// Some blocks of a file system.
#[derive(Debug)]
pub(super) struct Blocks {
    blocks: BTreeMap<u64, Vec<u8>>,
    block_size: u64,
    /// Bytes of the whole.
    size: u64,
}

impl Blocks {
    pub(super) fn new(block_size: u32, size: u64) -> Self {
        Self { blocks: BTreeMap::new(), block_size: block_size.into(), size }
    }

    /// Adds whole blocks from position `first` on.
    pub(super) fn add(&mut self, first: u64, bytes: &[u8]) {
        let size = usize::try_from(self.block_size).unwrap_or(usize::MAX);
        for (position, block) in (first..).zip(bytes.chunks_exact(size)) {
            self.blocks.insert(position, block.to_vec());
        }
    }
}

/// The block is one that the proof does not carry.
#[derive(Debug, thiserror::Error)]
#[error("block {0} of the root file system is not in the proof")]
pub(super) struct NotThere(u64);

impl ReadAt for Blocks {
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !buf.is_empty() {
            let position = offset.checked_div(self.block_size).unwrap_or(0);
            let place = usize::try_from(offset % self.block_size).unwrap_or(0);
            let block = self.blocks.get(&position).ok_or_else(|| io::Error::other(NotThere(position)))?;
            let rest = block.get(place..).unwrap_or_default();
            let (now, later) = buf.split_at_mut(buf.len().min(rest.len()));
            now.copy_from_slice(rest.get(..now.len()).unwrap_or_default());
            offset = offset.saturating_add(now.len() as u64);
            buf = later;
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}

/// Notes the blocks that are read.
pub(super) struct Recorder<T> {
    whole: T,
    block_size: u64,
    read: Mutex<BTreeSet<u64>>,
}

impl<T: ReadAt> Recorder<T> {
    pub(super) fn new(whole: T, block_size: u32) -> Self {
        Self { whole, block_size: block_size.into(), read: Mutex::default() }
    }

    /// Those read since the last call.
    pub(super) fn take(&self) -> BTreeSet<u64> {
        std::mem::take(&mut self.read.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T: ReadAt> ReadAt for Recorder<T> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let first = offset.checked_div(self.block_size).unwrap_or(0);
        let end = offset.saturating_add(buf.len() as u64).div_ceil(self.block_size);
        self.read.lock().unwrap_or_else(PoisonError::into_inner).extend(first..end);
        self.whole.read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.whole.size()
    }
}

/// Positions in order as runs.
pub(super) fn runs(positions: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for position in positions {
        match runs.last_mut() {
            Some(last) if last.end == position => last.end = position.saturating_add(1),
            _ => runs.push(position..position.saturating_add(1)),
        }
    }
    runs
}
