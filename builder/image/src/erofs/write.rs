//! The image to its place in one pass, every file hashed as it goes by.

use std::collections::{BTreeMap, HashMap};
use std::io;

use graven_verity::fsverity::{self, BlockDigests, Digester, Stretch};
use graven_verity::hash::Digest;
use graven_verity::io::WriteAt;
use graven_verity::progress::Progress;
use graven_verity::stream::{self, Consumer, CopyTo};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::format::{BLOCK, BLOCK_LEN};
use super::plan::{Extent, Image, Part};
use super::render::SourceError;
use super::share::Sharing;
use crate::tree::{InodeId, Kind};

/// Files below this length are hashed several at a time by one thread.
const SMALL: usize = 64 << 10;

/// What one regular file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// All its names from the leading `/` on, in the order of [`Tree::walk`](crate::tree::Tree::walk).
    pub paths: Vec<Box<[u8]>>,
    /// In the tree that the image was planned from.
    pub inode: InodeId,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the contents.
    pub sha256: Digest,
    /// fs-verity digest: SHA-256, blocks of 4,096 bytes, no salt.
    pub fsverity: Digest,
}

/// What was learned while an image was written.
#[derive(Debug)]
pub struct Written {
    /// The regular files, in the order of each one's first name in the tree's walk.
    pub files: Vec<FileRecord>,
    /// The image as a stretch of a larger file: fs-verity with SHA-256, blocks of 4,096 bytes, no salt.
    pub image: Stretch,
}

/// Writes `image` to `out` from its offset 0 on, front to back, and shows every window of it to `extra` too (a
/// [`TreeBuilder`](graven_verity::dm::TreeBuilder), say). Sources are read once. Blocks of zeros are not written:
/// `out` must read as zeros and be [`Image::len`] bytes long already, as a new file after `set_len` is.
///
/// # Errors
/// The first error of a source, which carries a [`SourceError`](super::SourceError) with the file's path, of `out`
/// or of a consumer.
pub fn write(
    image: &Image<'_>,
    out: &dyn WriteAt,
    extra: &mut [&mut dyn Consumer],
    progress: &dyn Progress,
) -> io::Result<Written> {
    let mut copy = CopyTo::sparse(out, BLOCK_LEN);
    let mut run = |files: &mut dyn Consumer| {
        let mut consumers: Vec<&mut dyn Consumer> = vec![&mut copy, files];
        for consumer in &mut *extra {
            consumers.push(*consumer);
        }
        stream::run(image, image.len(), &mut consumers, progress)
    };
    let Some(sharing) = &image.sharing else {
        let mut files = Files::new(image);
        run(&mut files)?;
        let stretch = std::mem::replace(&mut files.stretch, Stretch::new(&files.params));
        return Ok(Written { files: files.records()?, image: stretch });
    };
    let params = fsverity::Params::default();
    let mut known = Known { image, sharing, stretch: Stretch::new(&params), params };
    run(&mut known)?;
    Ok(Written { files: sharing.contents.records.clone(), image: known.stretch })
}

/// Holds the files of an image that share blocks, which were hashed before it was planned, against what passes.
struct Known<'i, 't> {
    image: &'i Image<'t>,
    sharing: &'i Sharing,
    stretch: Stretch,
    params: fsverity::Params,
}

impl Consumer for Known<'_, '_> {
    fn window(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let digests = BlockDigests::of(&self.params, bytes);
        self.stretch.push(&digests);
        let (image, end) = (self.image, offset + bytes.len() as u64);
        for extent in image.extents_in(offset, end) {
            let node = &image.nodes[extent.node as usize];
            let read = self.sharing.contents.blocks(node.id);
            if read.is_empty() {
                continue;
            }
            let same = match extent.part {
                Part::Head => {
                    let tail = extent.start + node.head_bytes();
                    let (tail, _) = part(bytes, offset, tail, tail + node.tail_bytes());
                    // An inode and its tail lie in one block.
                    tail.is_empty()
                        || read.ends_with(BlockDigests::of(&self.params, tail).all().as_chunks().0)
                }
                Part::Blocks => {
                    let from = extent.start.max(offset);
                    let to = (extent.start + node.blocks * BLOCK).min(end);
                    let (first, count) = ((from - extent.start) / BLOCK, (to - from) / BLOCK);
                    let at = ((from - offset) / BLOCK) as usize;
                    let passed = digests.blocks(at..at + count as usize).as_chunks().0;
                    let own = image.own_blocks(extent.node, first, count).flatten();
                    own.zip(passed).all(|(block, digest)| read[block as usize] == *digest)
                }
            };
            if !same {
                return Err(SourceError::changed(image.path(extent.node as usize), node.size));
            }
        }
        Ok(())
    }
}

/// Hashes the regular files of an image as its windows pass.
///
/// A file's blocks are consecutive; its inline tail comes earlier, with the inode, and is kept until the blocks have
/// passed. So at most one file is unfinished between two windows, and the tails of one group of inodes are kept. Where places
/// are those of an earlier image, a tail may come later, and what is known of its blocks is kept until then.
struct Files<'i, 't> {
    image: &'i Image<'t>,
    /// SHA-256 and fs-verity digest by node: plain bytes, there may be a million.
    done: Vec<Option<[[u8; 32]; 2]>>,
    /// Tails that have passed, of files whose blocks have not, or begun tails.
    tails: HashMap<u32, Vec<u8>>,
    /// The file that goes on in the next window.
    unfinished: Option<(u32, Hashes)>,
    /// Files whose blocks have passed, and their tails not.
    waiting: HashMap<u32, Hashes>,
    /// The whole image as it passes: its blocks are the files' blocks, and hashed once for both.
    stretch: Stretch,
    params: fsverity::Params,
}

/// Both digests of a file in the making.
struct Hashes {
    sha256: Sha256,
    fsverity: Digester,
}

/// What comes after a piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// More of its blocks.
    More,
    /// Its tail, at some time.
    Tail,
    /// Nothing.
    Last,
}

/// Work on one file in one window.
struct Job<'b> {
    node: u32,
    hashes: Option<Hashes>,
    bytes: &'b [u8],
    /// fs-verity digests of the blocks that `bytes` lie in.
    blocks: &'b [u8],
    tail: Vec<u8>,
    turn: Turn,
    digests: Option<io::Result<[[u8; 32]; 2]>>,
}

impl Consumer for Files<'_, '_> {
    fn window(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let digests = BlockDigests::of(&self.params, bytes);
        self.stretch.push(&digests);
        let mut jobs = self.jobs(offset, bytes, &digests);
        // Large files one by one, the pool shared inside; the many small ones in bundles.
        let (mut large, mut small): (Vec<_>, Vec<_>) =
            jobs.iter_mut().partition(|job| job.bytes.len() > SMALL);
        let params = &self.params;
        rayon::join(
            || large.par_iter_mut().for_each(|job| job.run(params)),
            || small.par_iter_mut().with_min_len(16).for_each(|job| job.run(params)),
        );
        for job in jobs {
            match (job.digests, job.hashes) {
                (Some(digests), _) => self.done[job.node as usize] = Some(digests?),
                (None, Some(hashes)) if job.turn == Turn::Tail => _ = self.waiting.insert(job.node, hashes),
                (None, Some(hashes)) => self.unfinished = Some((job.node, hashes)),
                (None, None) => {}
            }
        }
        Ok(())
    }
}

impl<'i, 't> Files<'i, 't> {
    fn new(image: &'i Image<'t>) -> Self {
        let params = fsverity::Params::default();
        Self {
            image,
            done: vec![None; image.nodes.len()],
            tails: HashMap::new(),
            unfinished: None,
            waiting: HashMap::new(),
            stretch: Stretch::new(&params),
            params,
        }
    }

    fn jobs<'b>(&mut self, offset: u64, bytes: &'b [u8], digests: &'b BlockDigests) -> Vec<Job<'b>> {
        let image = self.image;
        let mut jobs = Vec::new();
        for extent in image.extents_in(offset, offset + bytes.len() as u64) {
            let node = &image.nodes[extent.node as usize];
            if !matches!(image.inode(node).kind, Kind::File(_)) {
                continue;
            }
            let end = extent.start + image.extent_bytes(extent);
            match extent.part {
                Part::Head => {
                    let (tail, ends) = part(bytes, offset, extent.start + node.head_bytes(), end);
                    if tail.is_empty() {
                        continue;
                    }
                    let known = self.tails.entry(extent.node).or_default();
                    known.extend_from_slice(tail);
                    if ends && node.blocks == 0 {
                        jobs.push(self.job(extent, &[], &[], Turn::Last));
                    } else if ends && u64::from(node.data_block) * BLOCK < extent.start {
                        self.late_tail(extent, &mut jobs);
                    }
                }
                Part::Blocks => {
                    let (contents, ends) = part(bytes, offset, extent.start, end);
                    // Extents of blocks and windows begin where a block does.
                    let first = (extent.start.max(offset) - offset) as usize / BLOCK_LEN;
                    let blocks = digests.blocks(first..first + contents.len().div_ceil(BLOCK_LEN));
                    let has_tail = node.tail_bytes() == 0
                        || self
                            .tails
                            .get(&extent.node)
                            .is_some_and(|tail| tail.len() as u64 == node.tail_bytes());
                    let turn = match (ends, has_tail) {
                        (false, _) => Turn::More,
                        (true, true) => Turn::Last,
                        (true, false) => Turn::Tail,
                    };
                    jobs.push(self.job(extent, contents, blocks, turn));
                }
            }
        }
        jobs
    }

    fn job<'b>(&mut self, extent: &Extent, bytes: &'b [u8], blocks: &'b [u8], turn: Turn) -> Job<'b> {
        let node = extent.node;
        let hashes = self.unfinished.take_if(|(unfinished, _)| *unfinished == node).map(|(_, hashes)| hashes);
        let tail = if turn == Turn::Last { self.tails.remove(&node).unwrap_or_default() } else { Vec::new() };
        Job { node, hashes, bytes, blocks, tail, turn, digests: None }
    }

    /// The tail of a file whose blocks have passed, or pass in the same window.
    fn late_tail(&mut self, extent: &Extent, jobs: &mut Vec<Job<'_>>) {
        if let Some(hashes) = self.waiting.remove(&extent.node) {
            let job = self.job(extent, &[], &[], Turn::Last);
            jobs.push(Job { hashes: Some(hashes), ..job });
        } else if let Some(job) =
            jobs.iter_mut().find(|job| job.node == extent.node && job.turn == Turn::Tail)
        {
            job.tail = self.tails.remove(&extent.node).unwrap_or_default();
            job.turn = Turn::Last;
        }
    }

    fn records(self) -> io::Result<Vec<FileRecord>> {
        let mut records: Vec<FileRecord> = Vec::new();
        let mut known: BTreeMap<InodeId, usize> = BTreeMap::new();
        let empty = Hashes::new(&self.params).finish()?;
        for entry in self.image.tree.walk() {
            let Kind::File(content) = &entry.inode.kind else { continue };
            if let Some(record) = known.get(&entry.id) {
                records[*record].paths.push(entry.path.into());
                continue;
            }
            let digests = match self.done[self.image.number_of(entry.id) as usize] {
                Some(digests) => digests,
                None if content.len == 0 => empty,
                None => return Err(io::Error::other("a file of the image was not hashed")),
            };
            let [sha256, fsverity] = digests.map(|bytes| Digest::new(&bytes).map_err(io::Error::other));
            let (sha256, fsverity) = (sha256?, fsverity?);
            if self.image.tree.links(entry.id) > 1 {
                known.insert(entry.id, records.len());
            }
            let paths = vec![entry.path.into()];
            records.push(FileRecord { paths, inode: entry.id, size: content.len, sha256, fsverity });
        }
        Ok(records)
    }
}

impl Job<'_> {
    fn run(&mut self, params: &fsverity::Params) {
        let hashes = self.hashes.take().unwrap_or_else(|| Hashes::new(params));
        match (hashes.update(self.bytes, self.blocks, &self.tail), self.turn == Turn::Last) {
            (Ok(hashes), true) => self.digests = Some(hashes.finish()),
            (Ok(hashes), false) => self.hashes = Some(hashes),
            (Err(error), _) => self.digests = Some(Err(error)),
        }
    }
}

impl Hashes {
    fn new(params: &fsverity::Params) -> Self {
        Self { sha256: Sha256::new(), fsverity: Digester::new(params) }
    }

    fn update(mut self, bytes: &[u8], blocks: &[u8], tail: &[u8]) -> io::Result<Self> {
        self.sha256.update(bytes);
        self.sha256.update(tail);
        self.fsverity.update_known(blocks, bytes.len() as u64)?;
        self.fsverity.update(tail);
        Ok(self)
    }

    fn finish(self) -> io::Result<[[u8; 32]; 2]> {
        let fsverity = self.fsverity.finish().as_bytes().try_into().map_err(io::Error::other)?;
        Ok([self.sha256.finalize().into(), fsverity])
    }
}

/// What a window has of the image's bytes `from..to`, and whether their end is in it.
fn part(bytes: &[u8], offset: u64, from: u64, to: u64) -> (&[u8], bool) {
    let end = offset + bytes.len() as u64;
    let (start, stop) = (from.max(offset), to.min(end));
    if start >= stop {
        return (&[], false);
    }
    (&bytes[(start - offset) as usize..(stop - offset) as usize], to <= end)
}
