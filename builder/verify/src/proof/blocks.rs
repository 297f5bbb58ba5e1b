//! A file system of which only some blocks are there; and one that notes which are read.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use graven_verity::dm::Params;
use graven_verity::hash::Digest;
use graven_verity::io::{ReadAt, read_through};
use graven_verity::proof::leaf_digests;

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

/// Where a file has which block: the first of the same, by the digest that the tree's leaf has of it. The last one is filled up
/// with zeros.
pub(super) struct FileBlocks<'f> {
    file: &'f dyn ReadAt,
    block_size: u64,
    offsets: HashMap<Digest, u64>,
}

impl<'f> FileBlocks<'f> {
    /// Reads the whole file.
    pub(super) fn read(params: &Params, file: &'f dyn ReadAt) -> io::Result<Self> {
        let block_size = u64::from(params.data_block_size());
        let (mut offsets, mut at) = (HashMap::new(), 0u64);
        read_through(file, |piece| {
            for digest in leaf_digests(params, &filled_up(piece, block_size)?) {
                offsets.entry(digest).or_insert(at);
                at = at.saturating_add(block_size);
            }
            Ok(())
        })?;
        Ok(Self { file, block_size, offsets })
    }

    pub(super) fn holds(&self, digest: &Digest) -> bool {
        self.offsets.contains_key(digest)
    }

    /// The block with that digest.
    pub(super) fn get(&self, digest: &Digest) -> Option<io::Result<Vec<u8>>> {
        let at = *self.offsets.get(digest)?;
        let read = || {
            let there = self.file.size()?.saturating_sub(at).min(self.block_size);
            let mut bytes = vec![0; usize::try_from(there).map_err(io::Error::other)?];
            self.file.read_exact_at(&mut bytes, at)?;
            filled_up(&bytes, self.block_size).map(Cow::into_owned)
        };
        Some(read())
    }

    /// The first byte of the first block that is none of those with these digests.
    pub(super) fn first_other(&self, digests: &HashSet<Digest>) -> Option<u64> {
        let others = self.offsets.iter().filter(|(digest, _)| !digests.contains(*digest));
        others.map(|(_, at)| *at).min()
    }
}

/// Bytes and zeros, whole blocks together.
fn filled_up(bytes: &[u8], block_size: u64) -> io::Result<Cow<'_, [u8]>> {
    let len = (bytes.len() as u64).next_multiple_of(block_size);
    let len = usize::try_from(len).map_err(io::Error::other)?;
    if len == bytes.len() {
        return Ok(bytes.into());
    }
    let mut whole = bytes.to_vec();
    whole.resize(len, 0);
    Ok(whole.into())
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
