//! Mending an image: what the tree finds bad the parity restores, and the tree says whether it did.

use std::io;
use std::ops::Range;

use rayon::prelude::*;

use super::decode::{Correction, WORD, correct};
use super::field::{alpha, multiply};
use super::{Roots, encode, parity_bytes};
use crate::dm::{self, Finding, Params, Report, RootHash, VerifyError};
use crate::hash::{BlockHasher, Digest};
use crate::io::{Concat, ReadAt, ReadWriteAt, WriteAt, Zeros};
use crate::progress::{Progress, Silent};

/// What the parity is over, and the parity.
///
/// The message is data, tree and, where the parity follows on the same device, whatever lies between: `gap_blocks`
/// blocks. All blocks have the size of the data's, which is the hash blocks' too.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// Its first block is the first data block.
    pub data: &'a dyn ReadWriteAt,
    /// Its first block is the first hash block.
    pub tree: &'a dyn ReadWriteAt,
    /// Between tree and parity; its length in blocks is the second part.
    pub gap: Option<(&'a dyn ReadAt, u64)>,
    /// Its first byte is the first of the parity.
    pub parity: &'a dyn ReadWriteAt,
    /// Parity bytes a code word.
    pub roots: Roots,
}

/// What [`repair`] did, as byte ranges from the start of data, tree and parity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Data blocks that are good again.
    pub mended_data: Vec<Range<u64>>,
    /// Hash blocks that are good again.
    pub mended_tree: Vec<Range<u64>>,
    /// Parity that was made anew. Only when all else is good: bad data would make bad parity.
    pub mended_parity: Vec<Range<u64>>,
    /// Data blocks that are bad and stay so, and those that nothing can be said of because a hash block above is bad.
    pub lost_data: Vec<Range<u64>>,
    /// Hash blocks that are bad and stay so.
    pub lost_tree: Vec<Range<u64>>,
}

impl Repaired {
    /// Whether everything is what the root hash says, now.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.lost_data.is_empty() && self.lost_tree.is_empty()
    }

    /// Whether everything was, before.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        *self == Self::default()
    }
}

/// Mends every block that the tree finds bad and the parity can restore, in place, from the top of the tree down. A
/// block is written only when its digest is the one that the root hash vouches for; a good block is never written.
///
/// # Errors
/// Those of [`dm::verify`] but for [`VerifyError::Corrupted`], which is what this is for; and
/// [`VerifyError::Write`] where a mended block cannot be written.
pub fn repair(
    message: &Message<'_>,
    params: &Params,
    root_hash: &RootHash,
    progress: &dyn Progress,
) -> Result<Repaired, VerifyError> {
    let mut repaired = Repaired::default();
    let (data, tree) = (ReadOnly(message.data), ReadOnly(message.tree));
    loop {
        let mut report = Report::new(usize::MAX);
        match dm::verify(&data, &tree, params, root_hash, &mut report, progress) {
            Ok(()) => break,
            Err(VerifyError::Corrupted { .. }) => {}
            Err(error) => return Err(error),
        }
        let bad: Vec<Bad> = report.findings().iter().map(|finding| Bad::of(finding, params)).collect();
        let words = Words::new(message, params, &bad)?;
        let mended: Vec<Option<Vec<u8>>> =
            bad.par_iter().map(|block| words.mend(block)).collect::<Result<_, _>>()?;
        for (block, bytes) in bad.iter().zip(&mended) {
            let Some(bytes) = bytes else { continue };
            block.write(message, bytes)?;
            let list = if block.in_tree { &mut repaired.mended_tree } else { &mut repaired.mended_data };
            list.push(block.range(params));
        }
        if mended.iter().all(Option::is_none) {
            for (block, finding) in bad.iter().zip(report.findings()) {
                let list = if block.in_tree { &mut repaired.lost_tree } else { &mut repaired.lost_data };
                list.push(block.range(params));
                if let Finding::HashBlock { data_blocks, .. } = finding {
                    let size = u64::from(params.data_block_size());
                    repaired.lost_data.push(data_blocks.start * size..data_blocks.end * size);
                }
            }
            break;
        }
    }
    if repaired.is_whole() {
        repaired.mended_parity = renew_parity(message, params)?;
    }
    for list in [
        &mut repaired.mended_data,
        &mut repaired.mended_tree,
        &mut repaired.mended_parity,
        &mut repaired.lost_data,
        &mut repaired.lost_tree,
    ] {
        *list = joined(std::mem::take(list));
    }
    Ok(repaired)
}

/// The ranges of parity bytes that are not those of the message: none for a good device.
///
/// # Errors
/// Those of reading.
pub fn check_parity(message: &Message<'_>, params: &Params) -> Result<Vec<Range<u64>>, VerifyError> {
    compare_parity(message, params, &|_, _| Ok(())).map(joined)
}

fn renew_parity(message: &Message<'_>, params: &Params) -> Result<Vec<Range<u64>>, VerifyError> {
    compare_parity(message, params, &|bytes, offset| message.parity.write_all_at(bytes, offset))
}

/// Encodes the message and hands `differs` each stretch of parity that is not there, and its offset.
fn compare_parity(
    message: &Message<'_>,
    params: &Params,
    differs: &(dyn Fn(&[u8], u64) -> io::Result<()> + Sync),
) -> Result<Vec<Range<u64>>, VerifyError> {
    let (data, tree) = (ReadOnly(message.data), ReadOnly(message.tree));
    let whole = message.concat(params, &data, &tree);
    let found = std::sync::Mutex::new(Vec::new());
    let compare = Compare(|bytes: &[u8], offset: u64| {
        let mut there = vec![0; bytes.len()];
        message.parity.read_exact_at(&mut there, offset)?;
        if there != bytes {
            differs(bytes, offset)?;
            let first = bytes.iter().zip(&there).position(|(a, b)| a != b).unwrap_or(0) as u64;
            let last = bytes.iter().zip(&there).rposition(|(a, b)| a != b).unwrap_or(0) as u64;
            found.lock().expect("nothing panics under it").push(offset + first..offset + last + 1);
        }
        Ok(())
    });
    let (blocks, size) = (message.blocks(params), params.data_block_size());
    encode(&whole, blocks, size, message.roots, &compare, &Silent)
        .map_err(|source| VerifyError::Read { what: "message or parity".into(), source })?;
    Ok(found.into_inner().expect("nothing panics under it"))
}

struct Compare<F>(F);

impl<F: Fn(&[u8], u64) -> io::Result<()> + Send + Sync> WriteAt for Compare<F> {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        (self.0)(buf, offset)
    }
}

struct ReadOnly<'a>(&'a dyn ReadWriteAt);

impl ReadAt for ReadOnly<'_> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

impl Message<'_> {
    /// Blocks of the message.
    fn blocks(&self, params: &Params) -> u64 {
        params.data_blocks() + params.tree_blocks() + self.gap.map_or(0, |(_, blocks)| blocks)
    }

    fn concat<'a>(&self, params: &Params, data: &'a dyn ReadAt, tree: &'a dyn ReadAt) -> Concat<'a>
    where
        Self: 'a,
    {
        let (gap, blocks) = self.gap.unwrap_or((&Zeros, 0));
        let gap_bytes = blocks * u64::from(params.data_block_size());
        Concat::new().then(data, params.data_bytes()).then(tree, params.tree_bytes()).then(gap, gap_bytes)
    }
}

/// A bad block and what vouches for it.
struct Bad {
    in_tree: bool,
    /// In blocks, from the start of data or tree.
    index: u64,
    expected: Digest,
}

impl Bad {
    fn of(finding: &Finding, params: &Params) -> Self {
        match finding {
            Finding::HashBlock { offset, expected, .. } => {
                let index = offset / u64::from(params.hash_block_size());
                Self { in_tree: true, index, expected: *expected }
            }
            Finding::DataBlock { index, expected, .. } => {
                Self { in_tree: false, index: *index, expected: *expected }
            }
        }
    }

    fn range(&self, params: &Params) -> Range<u64> {
        let size = u64::from(params.data_block_size());
        self.index * size..(self.index + 1) * size
    }

    /// In blocks, from the start of the message.
    fn in_message(&self, params: &Params) -> u64 {
        if self.in_tree { params.data_blocks() + self.index } else { self.index }
    }

    fn write(&self, message: &Message<'_>, bytes: &[u8]) -> Result<(), VerifyError> {
        let (what, place) = if self.in_tree { ("tree", message.tree) } else { ("data", message.data) };
        let offset = self.index * bytes.len() as u64;
        place.write_all_at(bytes, offset).map_err(|source| VerifyError::Write {
            what: format!("bytes {offset} to {} of the {what}", offset + bytes.len() as u64 - 1),
            source,
        })
    }
}

/// The code words of a message, some of whose blocks are known to be bad.
struct Words<'a> {
    message: &'a Message<'a>,
    params: &'a Params,
    /// Message blocks, in order.
    bad: Vec<u64>,
    leaf: BlockHasher,
    node: BlockHasher,
    /// Message blocks, and how far apart those of one code word lie.
    blocks: u64,
    regions: u64,
    /// Products of all bytes with each root of the generator.
    roots: Vec<[u8; 256]>,
}

impl<'a> Words<'a> {
    fn new(message: &'a Message<'a>, params: &'a Params, bad: &[Bad]) -> Result<Self, VerifyError> {
        let blocks = message.blocks(params);
        let size = params.data_block_size();
        let expected = parity_bytes(blocks, size, message.roots).unwrap_or(u64::MAX);
        let found = message
            .parity
            .size()
            .map_err(|source| VerifyError::Read { what: "the length of the parity".into(), source })?;
        if found < expected {
            return Err(VerifyError::TooShort { which: "parity", expected, found });
        }
        let mut bad: Vec<u64> = bad.iter().map(|block| block.in_message(params)).collect();
        bad.sort_unstable();
        let roots = (0..message.roots.get() as usize)
            .map(|root| std::array::from_fn(|byte| multiply(byte as u8, alpha(root))))
            .collect();
        Ok(Self {
            message,
            params,
            bad,
            leaf: params.leaf_hasher(),
            node: params.node_hasher(),
            blocks,
            regions: blocks.div_ceil(u64::from(message.roots.message_bytes())),
            roots,
        })
    }

    /// The block as it was, if the code words that its bytes are in can be corrected.
    fn mend(&self, block: &Bad) -> Result<Option<Vec<u8>>, VerifyError> {
        let own = block.in_message(self.params);
        let region = own % self.regions;
        let place = (own / self.regions) as usize;
        let known: Vec<usize> = self
            .bad
            .iter()
            .filter(|bad| *bad % self.regions == region)
            .map(|bad| (bad / self.regions) as usize)
            .collect();
        let mut suspected: Vec<usize> = (self.params.data_blocks()
            ..self.params.data_blocks() + self.params.tree_blocks())
            .filter(|block| block % self.regions == region)
            .map(|block| (block / self.regions) as usize)
            .chain(known.iter().copied())
            .collect();
        suspected.sort_unstable();
        suspected.dedup();
        let (syndromes, bytes) = self.syndromes(region, place)?;
        // The blocks that are known to be bad count half as much as unknown errors do, but all of their bytes count.
        // Where only some of their bytes are bad, taking them for good may leave fewer to be corrected. And where the
        // tree as a whole was lost nothing below its top is known to be.
        for erasures in [known.as_slice(), &[place], &[], &suspected] {
            if let Some(mended) = self.correct(&syndromes, &bytes, place, erasures)
                && self.digest(block, &mended) == block.expected
            {
                return Ok(Some(mended));
            }
        }
        Ok(None)
    }

    /// For each byte of a block its syndromes, and the bytes of the block at `place` as they are.
    fn syndromes(&self, region: u64, place: usize) -> Result<(Vec<Vec<u8>>, Vec<u8>), VerifyError> {
        let size = self.params.data_block_size() as usize;
        let (data, tree) = (ReadOnly(self.message.data), ReadOnly(self.message.tree));
        let whole = self.message.concat(self.params, &data, &tree);
        let mut syndromes = vec![vec![0; size]; self.roots.len()];
        let mut add = |bytes: &[u8]| {
            for (sums, products) in syndromes.iter_mut().zip(&self.roots) {
                for (sum, byte) in sums.iter_mut().zip(bytes) {
                    *sum = products[usize::from(*sum)] ^ byte;
                }
            }
        };
        let failed = |what: &str| {
            let what = what.to_owned();
            move |source| VerifyError::Read { what, source }
        };
        let (mut block, mut own) = (vec![0; size], Vec::new());
        for step in 0..self.message.roots.message_bytes() as usize {
            let index = step as u64 * self.regions + region;
            if index < self.blocks {
                whole
                    .read_exact_at(&mut block, index * size as u64)
                    .map_err(failed("blocks of the message"))?;
            } else {
                block.fill(0);
            }
            add(&block);
            if step == place {
                own = block.clone();
            }
        }
        let roots = self.roots.len();
        let mut parity = vec![0; size * roots];
        let offset = region * parity.len() as u64;
        self.message.parity.read_exact_at(&mut parity, offset).map_err(failed("the parity"))?;
        for root in 0..roots {
            let bytes: Vec<u8> = parity.iter().skip(root).step_by(roots).copied().collect();
            add(&bytes);
        }
        Ok((syndromes, own))
    }

    /// The bytes at `place`, corrected; `None` where one of their code words cannot be.
    fn correct(
        &self,
        syndromes: &[Vec<u8>],
        bytes: &[u8],
        place: usize,
        erasures: &[usize],
    ) -> Option<Vec<u8>> {
        let mut word = vec![0; syndromes.len()];
        let corrected = bytes.iter().enumerate().map(|(index, byte)| {
            word.iter_mut().zip(syndromes).for_each(|(to, from)| *to = from[index]);
            let corrections = correct(self.message.roots, &word, erasures)?;
            let own = corrections.iter().find(|Correction { place: at, .. }| *at == place);
            debug_assert!(place < WORD);
            Some(byte ^ own.map_or(0, |correction| correction.difference))
        });
        corrected.collect()
    }

    fn digest(&self, block: &Bad, bytes: &[u8]) -> Digest {
        let hasher = if block.in_tree { &self.node } else { &self.leaf };
        let mut digest = vec![0; hasher.digest_size()];
        hasher.digest_run(bytes, digest.len(), &mut digest);
        Digest::from_hash(&digest)
    }
}

/// Ranges in order, those that touch made one.
fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}
