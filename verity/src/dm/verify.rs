//! Checking data and tree against a root hash, from the top down.
//!
//! A hash block is believed only when its own digest is what its parent says, and the parent is believed. It is read
//! once: the bytes that were checked are the bytes whose digests are used.

use std::fmt;
use std::io;
use std::ops::Range;

use rayon::prelude::*;

use super::{Params, RootHash};
use crate::geometry::Geometry;
use crate::hash::{BlockHasher, Digest};
use crate::io::ReadAt;
use crate::leaves::{Buffers, PIECE, STRETCH, Source};
use crate::merkle::Slots;
use crate::progress::Progress;

/// A block that is not what the block above it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A hash block. Nothing below it can be judged.
    HashBlock {
        /// 0 is nearest to the data.
        level: usize,
        /// In its level.
        index: u64,
        /// In bytes from the start of the tree.
        offset: u64,
        /// The data blocks below it, which the kernel will not hand out.
        data_blocks: Range<u64>,
        /// What the parent, or the root hash, says.
        expected: Digest,
        /// Of the block as it is.
        found: Digest,
    },
    /// A data block.
    DataBlock {
        /// From the start of the data.
        index: u64,
        /// In bytes.
        offset: u64,
        /// What the tree says.
        expected: Digest,
        /// Of the block as it is.
        found: Digest,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HashBlock { level, index, offset, data_blocks, expected, found } => write!(
                f,
                "hash block {index} of level {level} (byte {offset} of the tree, over data blocks {} to {}) is corrupted: \
                 expected {expected}, found {found}",
                data_blocks.start,
                data_blocks.end.saturating_sub(1),
            ),
            Self::DataBlock { index, offset, expected, found } => {
                write!(
                    f,
                    "data block {index} (byte {offset}) is corrupted: expected {expected}, found {found}"
                )
            }
        }
    }
}

/// What [`verify`] found: the first bad blocks in detail, all of them in number and as byte ranges.
///
/// The first ones are those a walk from the top meets first, each followed by what it found below: they do not depend on
/// the number of threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    limit: usize,
    findings: Vec<Finding>,
    bad_hash_blocks: u64,
    bad_data_blocks: u64,
    unproved_data_blocks: u64,
    bad_data: Ranges,
    bad_tree: Ranges,
    unproved_data: Ranges,
}

impl Report {
    /// A report that keeps the first `limit` findings, at least one.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            findings: Vec::new(),
            bad_hash_blocks: 0,
            bad_data_blocks: 0,
            unproved_data_blocks: 0,
            bad_data: Ranges::default(),
            bad_tree: Ranges::default(),
            unproved_data: Ranges::default(),
        }
    }

    /// The first findings.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Hash blocks that are not what their parent says.
    #[must_use]
    pub fn bad_hash_blocks(&self) -> u64 {
        self.bad_hash_blocks
    }

    /// Data blocks that are not what a good tree says.
    #[must_use]
    pub fn bad_data_blocks(&self) -> u64 {
        self.bad_data_blocks
    }

    /// Data blocks below bad hash blocks: they may be good or bad, and cannot be read through the kernel.
    #[must_use]
    pub fn unproved_data_blocks(&self) -> u64 {
        self.unproved_data_blocks
    }

    /// All bad data blocks, as ranges of bytes of the data, in order and joined where they touch.
    #[must_use]
    pub fn bad_data(&self) -> Vec<Range<u64>> {
        self.bad_data.in_order()
    }

    /// All bad hash blocks, as ranges of bytes of the tree.
    #[must_use]
    pub fn bad_tree(&self) -> Vec<Range<u64>> {
        self.bad_tree.in_order()
    }

    /// All data blocks below bad hash blocks, as ranges of bytes of the data.
    #[must_use]
    pub fn unproved_data(&self) -> Vec<Range<u64>> {
        self.unproved_data.in_order()
    }

    /// Whether nothing bad was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.bad_hash_blocks == 0 && self.bad_data_blocks == 0
    }

    fn add(&mut self, finding: Finding, params: &Params) {
        let (data, hash) = (u64::from(params.data_block_size()), u64::from(params.hash_block_size()));
        match &finding {
            Finding::HashBlock { offset, data_blocks, .. } => {
                self.bad_hash_blocks += 1;
                self.unproved_data_blocks += data_blocks.end - data_blocks.start;
                self.bad_tree.push(*offset..offset + hash);
                self.unproved_data.push(data_blocks.start * data..data_blocks.end * data);
            }
            Finding::DataBlock { offset, .. } => {
                self.bad_data_blocks += 1;
                self.bad_data.push(*offset..offset + data);
            }
        }
        if self.findings.len() < self.limit {
            self.findings.push(finding);
        }
    }

    fn append(&mut self, later: Self) {
        self.bad_hash_blocks += later.bad_hash_blocks;
        self.bad_data_blocks += later.bad_data_blocks;
        self.unproved_data_blocks += later.unproved_data_blocks;
        self.bad_data.append(later.bad_data);
        self.bad_tree.append(later.bad_tree);
        self.unproved_data.append(later.unproved_data);
        let room = self.limit - self.findings.len();
        self.findings.extend(later.findings.into_iter().take(room));
    }
}

/// Ranges of bytes, which come nearly in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Ranges(Vec<Range<u64>>);

impl Ranges {
    fn push(&mut self, range: Range<u64>) {
        match self.0.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.0.push(range),
        }
    }

    fn append(&mut self, later: Self) {
        later.0.into_iter().for_each(|range| self.push(range));
    }

    fn in_order(&self) -> Vec<Range<u64>> {
        let mut ranges = self.0.clone();
        ranges.sort_unstable_by_key(|range| range.start);
        let mut joined = Self::default();
        ranges.into_iter().for_each(|range| joined.push(range));
        joined.0
    }
}

/// Why data and tree are not proved by the root hash.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Some blocks are bad; the report has them.
    #[error(
        "the data is not what the root hash says: {bad_data_blocks} bad data blocks, {bad_hash_blocks} bad hash blocks; \
         first: {first}"
    )]
    Corrupted {
        /// Data blocks that differ.
        bad_data_blocks: u64,
        /// Hash blocks that differ.
        bad_hash_blocks: u64,
        /// The first finding.
        first: Box<Finding>,
    },
    /// The root hash is of another hash function.
    #[error("the root hash has {found} bytes, one of {algorithm} has {expected}")]
    RootHashLength {
        /// Of the tree's parameters.
        algorithm: crate::hash::Algorithm,
        /// Bytes of its digests.
        expected: usize,
        /// Bytes of the root hash.
        found: usize,
    },
    /// A device ends before the tree's parameters say.
    #[error(
        "the {which} has {found} bytes; the dm-verity parameters say {expected}: it was cut off, or they are of another image"
    )]
    TooShort {
        /// `data`, `tree` or `parity`.
        which: &'static str,
        /// Bytes needed.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// The root hash vouches for the tree, but the tree is not the one of these parameters.
    #[error(
        "byte {offset} of the tree is past the last digest of a hash block and not zero: the tree is of other dm-verity \
         parameters, such as more data blocks"
    )]
    Stray {
        /// From the start of the tree.
        offset: u64,
    },
    /// A block could not be read.
    #[error("cannot read {what}: {source}")]
    Read {
        /// Which bytes of what.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A mended block could not be written.
    #[error("cannot write {what}: {source}")]
    Write {
        /// Which bytes of what.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
}

/// Checks every hash block against its parent and every data block against its leaf, as the kernel would on reading it.
///
/// Offset 0 of `tree` is the first hash block. Findings are added to `report`; `progress` counts bytes of data. Runs on
/// rayon's current pool, in memory of a few MiB a thread.
///
/// # Errors
/// [`VerifyError::Corrupted`] when anything was found, so that a result that is not looked at cannot pass for a proof;
/// the others when the check could not be made.
pub fn verify(
    data: &dyn ReadAt,
    tree: &dyn ReadAt,
    params: &Params,
    root_hash: &RootHash,
    report: &mut Report,
    progress: &dyn Progress,
) -> Result<(), VerifyError> {
    let (expected, found) = (params.algorithm().digest_size(), root_hash.as_bytes().len());
    if expected != found {
        return Err(VerifyError::RootHashLength { algorithm: params.algorithm(), expected, found });
    }
    for (which, source, expected) in
        [("data", data, params.data_bytes()), ("tree", tree, params.tree_bytes())]
    {
        let found = source
            .size()
            .map_err(|source| VerifyError::Read { what: format!("the length of the {which}"), source })?;
        if found < expected {
            return Err(VerifyError::TooShort { which, expected, found });
        }
    }
    let walk = Walk {
        data: Source::new(data),
        tree,
        params,
        geometry: params.geometry(),
        slots: params.slots(),
        leaf: params.leaf_hasher(),
        node: params.node_hasher(),
        limit: report.limit,
        progress,
        buffers: Buffers::default(),
    };
    // The root hash takes the place of a hash block above the top one.
    let mut above = vec![0; walk.slots.block_size];
    above[..found].copy_from_slice(root_hash.as_bytes());
    let all = walk.below(walk.geometry.height(), 0, &above, &[true])?;
    let corrupted = all.findings.first().map(|first| VerifyError::Corrupted {
        bad_data_blocks: all.bad_data_blocks,
        bad_hash_blocks: all.bad_hash_blocks,
        first: Box::new(first.clone()),
    });
    report.append(all);
    corrupted.map_or(Ok(()), Err)
}

struct Walk<'a> {
    data: Source<'a>,
    tree: &'a dyn ReadAt,
    params: &'a Params,
    geometry: Geometry,
    slots: Slots,
    leaf: BlockHasher,
    node: BlockHasher,
    limit: usize,
    progress: &'a dyn Progress,
    buffers: Buffers,
}

impl Walk<'_> {
    /// Checks everything below a run of hash blocks of `level` that starts with block `first`. `parents` are their bytes,
    /// `trusted` says which of them are good.
    fn below(
        &self,
        level: usize,
        first: u64,
        parents: &[u8],
        trusted: &[bool],
    ) -> Result<Report, VerifyError> {
        let (children, child_size) = match level.checked_sub(1) {
            Some(level) => (self.level_blocks(level), self.node.block_size()),
            None => (self.params.data_blocks(), self.leaf.block_size()),
        };
        let start = first * self.slots.per_block as u64;
        self.expect_no_stray_bytes(level, first, parents, trusted, children)?;
        let end = start.saturating_add(trusted.len() as u64 * self.slots.per_block as u64).min(children);
        let together = if level == 0 { STRETCH } else { PIECE };
        let batch = (together / child_size).max(1) as u64;
        (0..(end - start).div_ceil(batch))
            .into_par_iter()
            .map(|index| {
                let from = start + index * batch;
                let batch = Batch { level, children: from..(from + batch).min(end), first, parents, trusted };
                self.batch(&batch)
            })
            .try_reduce(
                || Report::new(self.limit),
                |mut earlier, later| {
                    earlier.append(later);
                    Ok(earlier)
                },
            )
    }

    fn batch(&self, batch: &Batch<'_>) -> Result<Report, VerifyError> {
        let mut report = Report::new(self.limit);
        let child_level = batch.level.checked_sub(1);
        if !batch.children.clone().any(|child| batch.parent(child, self.slots.per_block as u64).0) {
            self.progress.advance(self.data_bytes_below(child_level, &batch.children));
            return Ok(report);
        }
        let hasher = if child_level.is_some() { &self.node } else { &self.leaf };
        let count = (batch.children.end - batch.children.start) as usize;
        let mut digests = vec![0; count * hasher.digest_size()];
        let start = batch.children.start;
        let Some(level) = child_level else {
            let offset = self.offset(None, start);
            self.data
                .digest(hasher, offset, hasher.digest_size(), &mut digests)
                .map_err(|source| self.unreadable("data", offset, count * hasher.block_size(), source))?;
            self.compare(batch, &digests, &mut report);
            self.progress.advance((count * hasher.block_size()) as u64);
            return Ok(report);
        };
        // Read once: the bytes that are hashed are the bytes that are believed.
        self.buffers.lend(count * hasher.block_size(), |bytes| {
            let offset = self.offset(Some(level), start);
            self.tree
                .read_exact_at(bytes, offset)
                .map_err(|source| self.unreadable("tree", offset, bytes.len(), source))?;
            hasher.digest_run(bytes, hasher.digest_size(), &mut digests);
            let good = self.compare(batch, &digests, &mut report);
            report.append(self.below(level, start, bytes, &good)?);
            Ok(report)
        })
    }

    /// Good hash blocks have nothing but the digests of the `children` there are. veritysetup refuses others; the kernel
    /// does not look.
    fn expect_no_stray_bytes(
        &self,
        level: usize,
        first: u64,
        parents: &[u8],
        trusted: &[bool],
        children: u64,
    ) -> Result<(), VerifyError> {
        let Slots { per_block, slot, block_size } = self.slots;
        let digest_size = self.params.algorithm().digest_size();
        for (index, (block, _)) in
            (first..).zip(parents.chunks_exact(block_size).zip(trusted)).filter(|(_, (_, trusted))| **trusted)
        {
            let digests = children.saturating_sub(index * per_block as u64).min(per_block as u64) as usize;
            let (slots, rest) = block.split_at(digests * slot);
            let between =
                slots.chunks_exact(slot).position(|slot| slot[digest_size..].iter().any(|byte| *byte != 0));
            let after = rest.iter().position(|byte| *byte != 0).map(|at| slots.len() + at);
            if let Some(at) = between.map(|index| index * slot + digest_size).or(after) {
                return Err(VerifyError::Stray { offset: self.offset(Some(level), index) + at as u64 });
            }
        }
        Ok(())
    }

    fn unreadable(&self, which: &str, offset: u64, len: usize, source: io::Error) -> VerifyError {
        let end = offset + len as u64;
        VerifyError::Read { what: format!("bytes {offset} to {} of the {which}", end - 1), source }
    }

    /// Reports which of the children, whose `digests` they are, are bad; returns which ones are good.
    fn compare(&self, batch: &Batch<'_>, digests: &[u8], report: &mut Report) -> Vec<bool> {
        let digest_size = self.params.algorithm().digest_size();
        let compared = batch.children.clone().zip(digests.chunks(digest_size)).map(|(child, found)| {
            let (trusted, parent) = batch.parent(child, self.slots.per_block as u64);
            let slot = (child % self.slots.per_block as u64) as usize * self.slots.slot;
            let expected = &batch.parents[parent * self.slots.block_size + slot..][..digest_size];
            if trusted && expected != found {
                report.add(self.finding(batch.level.checked_sub(1), child, expected, found), self.params);
            }
            trusted && expected == found
        });
        compared.collect()
    }

    fn finding(&self, level: Option<usize>, index: u64, expected: &[u8], found: &[u8]) -> Finding {
        let offset = self.offset(level, index);
        let (expected, found) = (Digest::from_hash(expected), Digest::from_hash(found));
        match level {
            Some(level) => {
                let data_blocks = self.data_below(Some(level), &(index..index + 1));
                Finding::HashBlock { level, index, offset, data_blocks, expected, found }
            }
            None => Finding::DataBlock { index, offset, expected, found },
        }
    }

    /// Where a block lies in the tree or, without a level, in the data.
    fn offset(&self, level: Option<usize>, index: u64) -> u64 {
        match level {
            Some(level) => self.geometry.offset(level, index).unwrap_or(u64::MAX),
            None => index * u64::from(self.params.data_block_size()),
        }
    }

    fn level_blocks(&self, level: usize) -> u64 {
        self.geometry.level(level).map_or(0, |level| level.blocks)
    }

    /// The data blocks under `blocks` of a level.
    fn data_below(&self, level: Option<usize>, blocks: &Range<u64>) -> Range<u64> {
        let span = (0..level.map_or(0, |level| level + 1))
            .fold(1u64, |span, _| span.saturating_mul(self.slots.per_block as u64));
        let at = |block: u64| block.saturating_mul(span).min(self.params.data_blocks());
        at(blocks.start)..at(blocks.end)
    }

    fn data_bytes_below(&self, level: Option<usize>, blocks: &Range<u64>) -> u64 {
        let data = self.data_below(level, blocks);
        (data.end - data.start) * u64::from(self.params.data_block_size())
    }
}

/// Some of the blocks below a run of hash blocks.
struct Batch<'a> {
    /// Of the hash blocks above.
    level: usize,
    children: Range<u64>,
    /// Index of the first hash block above.
    first: u64,
    parents: &'a [u8],
    trusted: &'a [bool],
}

impl Batch<'_> {
    /// Whether the hash block above `child` is good, and which one of the run it is.
    fn parent(&self, child: u64, per_block: u64) -> (bool, usize) {
        let parent = (child / per_block - self.first) as usize;
        (self.trusted[parent], parent)
    }
}
