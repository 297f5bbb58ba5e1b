//! Blocks that files have in common lie in the image once, blocks of zeros not at all.
//!
//! A file whose contents a flat one has is flat, too, and its blocks are the other's. One that shares some of its blocks, or
//! has blocks of zeros, is a list of chunks of one block each where that saves more than the list takes; its own blocks lie
//! one behind the other. All others are as they are in any image of ours.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;

use super::format::{BLOCK, CHUNK_ENTRY, CHUNK_HOLE};
use super::keep::{Place, Shares};
use super::plan::Image;
use super::write::FileRecord;
use crate::files;
use crate::tree::{InodeId, Tree};

/// SHA-256 of a block.
pub(crate) type BlockDigest = [u8; 32];
/// Of a block of zeros.
const ZEROS: BlockDigest = [
    0xad, 0x7f, 0xac, 0xb2, 0x58, 0x6f, 0xc6, 0xe9, 0x66, 0xc0, 0x04, 0xd7, 0xd1, 0xd1, 0x6b, 0x02, 0x4f,
    0x58, 0x05, 0xff, 0x7c, 0xb4, 0x7c, 0x7a, 0x85, 0xda, 0xbd, 0x8b, 0x48, 0x89, 0x2c, 0xa7,
];

/// What the files of a tree hold, block by block: 32 bytes of memory for each 4,096 of theirs, and a few times that while an
/// image is planned.
#[derive(Debug)]
pub struct Contents {
    pub(super) records: Vec<FileRecord>,
    /// Digests of the blocks of each record, the last one filled up with zeros.
    blocks: Vec<Vec<u8>>,
    /// Position in both by [`InodeId::index`]; `u32::MAX` for what is no file.
    by_id: Vec<u32>,
}

impl Contents {
    /// Reads every file of a tree once, several at a time on rayon's current pool.
    ///
    /// # Errors
    /// The first source of contents that fails, with the file's path.
    pub fn read(tree: &Tree) -> io::Result<Self> {
        let files = files::each(tree, |record, blocks| (record, blocks))?;
        let mut by_id = vec![u32::MAX; tree.slots()];
        for (number, (record, _)) in files.iter().enumerate() {
            by_id[record.inode.index()] = number as u32;
        }
        let (records, blocks) = files.into_iter().unzip();
        Ok(Self { records, blocks, by_id })
    }

    fn of(&self, id: InodeId) -> Option<(&FileRecord, &[BlockDigest])> {
        let number = *self.by_id.get(id.index())? as usize;
        Some((self.records.get(number)?, self.blocks[number].as_chunks().0))
    }

    /// The digests of a file's blocks; none of what is no file.
    pub(super) fn blocks(&self, id: InodeId) -> &[BlockDigest] {
        self.of(id).map_or(&[], |(_, blocks)| blocks)
    }
}

/// A block that a file of the image has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnBlock {
    pub(crate) node: u32,
    /// Which of its own.
    pub(crate) index: u32,
}

/// Where the blocks of a file are that are not all its own.
#[derive(Debug)]
pub(crate) enum Shared {
    /// One behind the other in another's, from here on.
    Run(OwnBlock),
    /// Anywhere, one by one.
    Chunks {
        /// `None` for zeros.
        blocks: Vec<Option<OwnBlock>>,
        /// Which of them are its own.
        own: Vec<u32>,
    },
}

/// The files of an image that share blocks.
#[derive(Debug)]
pub(crate) struct Sharing {
    pub(crate) contents: Contents,
    /// By node.
    pub(crate) files: HashMap<u32, Shared>,
}

impl Image<'_> {
    /// Finds what files have in common, and leaves it to the first that has it: files that are what they were in an earlier
    /// image before all others, those whose blocks were their own there first, and then in the order of the layout.
    pub(super) fn share(&mut self, contents: Contents, earlier: &BTreeMap<u32, Place>) {
        let mut numbers: Vec<u32> = (0..self.nodes.len() as u32).collect();
        numbers.sort_by_key(|number| {
            let record = contents.of(self.nodes[*number as usize].id).map(|(record, _)| record);
            let place = earlier.get(number).filter(|place| is_of(place, record));
            place.map_or(3, |place| match place.shares {
                None => 0,
                Some(Shares::Some) => 1,
                Some(Shares::All) => 2,
            })
        });
        let mut files: HashMap<u32, Shared> = HashMap::new();
        // By the digest of their contents: files that lie in one piece, and the blocks of that piece.
        let mut wholes: HashMap<&[u8], (OwnBlock, u64)> = HashMap::new();
        let mut known: HashMap<BlockDigest, OwnBlock> = HashMap::new();
        for number in numbers {
            let node = &mut self.nodes[number as usize];
            let Some((record, digests)) = contents.of(node.id).filter(|_| node.blocks > 0) else { continue };
            let whole = record.sha256.as_bytes();
            if let Some((first, _)) = wholes.get(whole).filter(|(_, blocks)| *blocks >= node.blocks) {
                node.blocks = 0;
                files.insert(number, Shared::Run(*first));
                continue;
            }
            let mut own: Vec<u32> = Vec::new();
            let mut found = |at: u32, digest: &BlockDigest| {
                *known.entry(*digest).or_insert_with(|| {
                    own.push(at);
                    OwnBlock { node: number, index: own.len() as u32 - 1 }
                })
            };
            let numbered = (0u32..).zip(digests);
            let blocks: Vec<Option<OwnBlock>> =
                numbered.map(|(at, digest)| (*digest != ZEROS).then(|| found(at, digest))).collect();
            let chunked = (own.len() as u64) * BLOCK + list_bytes(node.size);
            if chunked < node.blocks * BLOCK + node.tail_bytes() {
                (node.blocks, node.inline, node.chunked) = (own.len() as u64, false, true);
                files.insert(number, Shared::Chunks { blocks, own });
                continue;
            }
            // Flat: block by block as in the file. A tail behind the inode is nobody else's block.
            for at in own {
                let digest = digests[at as usize];
                match u64::from(at) < node.blocks {
                    true => _ = known.insert(digest, OwnBlock { node: number, index: at }),
                    false => _ = known.remove(&digest),
                }
            }
            wholes.entry(whole).or_insert((OwnBlock { node: number, index: 0 }, node.blocks));
        }
        self.sharing = Some(Box::new(Sharing { contents, files }));
    }

    /// What was read of a file before the image was planned.
    pub(super) fn record(&self, number: u32) -> Option<&FileRecord> {
        let (record, _) = self.sharing.as_ref()?.contents.of(self.nodes[number as usize].id)?;
        Some(record)
    }

    /// Whether a file is known to hold what it held in an earlier image.
    pub(super) fn is_unchanged(&self, number: u32, earlier: &Place) -> bool {
        is_of(earlier, self.record(number))
    }

    /// How a file shares blocks; `None` where they are all its own.
    pub(super) fn shared(&self, number: u32) -> Option<&Shared> {
        self.sharing.as_ref()?.files.get(&number)
    }

    /// Which blocks of the file `number` the `count` from its own `first` on are.
    pub(super) fn own_blocks(&self, number: u32, first: u64, count: u64) -> impl Iterator<Item = Range<u64>> {
        let (flat, own) = match self.shared(number) {
            Some(Shared::Chunks { own, .. }) => (None, &own[first as usize..(first + count) as usize]),
            _ => (Some(first..first + count), &[][..]),
        };
        let runs = own.chunk_by(|one, next| one + 1 == *next);
        let runs = runs.map(|run| u64::from(run[0])..u64::from(run[0]) + run.len() as u64);
        flat.into_iter().chain(runs)
    }

    /// Address of a block.
    fn address(&self, block: OwnBlock) -> u32 {
        self.nodes[block.node as usize].data_block + block.index
    }

    /// First block of what a file has, its own or another's; 0 where it has none.
    pub(super) fn first_block(&self, number: u32) -> u32 {
        match self.shared(number) {
            Some(Shared::Run(first)) => self.address(*first),
            _ => self.nodes[number as usize].data_block,
        }
    }

    /// Appends the list of a file's chunks.
    pub(super) fn render_list(&self, number: u32, out: &mut Vec<u8>) {
        let Some(Shared::Chunks { blocks, .. }) = self.shared(number) else { return };
        for block in blocks {
            let address = block.map_or(CHUNK_HOLE, |block| self.address(block));
            out.extend_from_slice(&address.to_le_bytes());
        }
    }
}

/// Whether a file held in an earlier image what it holds now.
fn is_of(earlier: &Place, now: Option<&FileRecord>) -> bool {
    now.is_some_and(|now| earlier.sha256 == Some(now.sha256))
}

/// Bytes of the list of chunks of a file of so many bytes.
pub(super) fn list_bytes(size: u64) -> u64 {
    size.div_ceil(BLOCK) * CHUNK_ENTRY
}
