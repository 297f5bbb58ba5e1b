//! The index of a compressed file: what each of its logical clusters, 4,096 bytes each, is.

use graven_verity::io::ReadAt;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::super::super::format::BLOCK;
use super::super::{ReadError, Reader};
use super::{BIG_1, COMPACTED_2B, Form};

/// A logical cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cluster {
    /// An extent begins in it.
    Head {
        /// 0 plain, 1 or 3 for the first or second algorithm.
        kind: u8,
        /// Where in it.
        offset: u16,
        /// First block of what is packed.
        block: u32,
        /// There is nothing in the image: zeros.
        hole: bool,
    },
    /// None does.
    Inner {
        /// Clusters back to the head, or to one that knows better.
        back: u16,
        /// Blocks of the extent that has begun in the cluster before.
        blocks: Option<u16>,
    },
}

/// `z_erofs_lcluster_index`, 8 bytes.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FullEntry {
    /// 0: bits 0 and 1: kind; bit 14: hole; bit 15: refers to a part of what is packed.
    advise: U16,
    /// 2: where an extent begins.
    offset: U16,
    /// 4: its first block; of an inner one the distances back and ahead, 16 bits each.
    block: U32,
}

/// Kind of an inner cluster.
const INNER: u8 = 2;
/// In the distance back: it is a number of blocks.
const BLOCK_COUNT: u16 = 1 << 11;
const HOLE: u16 = 1 << 14;

/// Where an index lies.
pub(super) enum Index {
    /// First byte, clusters.
    Full { start: u64, clusters: u64 },
    Compact {
        start: u64,
        /// Clusters of 4 bytes up to the first multiple of 32 bytes, of 2 bytes behind them, of 4 bytes behind these.
        clusters: [u64; 3],
        big: bool,
    },
}

impl Index {
    /// Behind a map header that ends at `head`, a multiple of 8.
    pub(super) fn of(form: Form, head: u64, size: u64, advise: u16) -> Self {
        let clusters = size.div_ceil(BLOCK);
        match form {
            // 8 bytes of the oldest images' header are left free.
            Form::Full => Self::Full { start: head.saturating_add(8), clusters },
            Form::Compact => {
                let first = (head.next_multiple_of(32).saturating_sub(head) / 4).min(clusters);
                let rest = clusters.saturating_sub(first);
                let short = if advise & COMPACTED_2B != 0 { rest.saturating_sub(rest % 16) } else { 0 };
                let clusters = [first, short, rest.saturating_sub(short)];
                Self::Compact { start: head, clusters, big: advise & BIG_1 != 0 }
            }
        }
    }

    /// First byte behind it: of compact ones whole packs.
    pub(super) fn end(&self) -> u64 {
        match self {
            Self::Full { start, clusters } => start.saturating_add(clusters.saturating_mul(8)),
            Self::Compact { start, clusters: [first, short, last], .. } => {
                let bytes = [(first, 4), (short, 2), (last, 4)].map(|(count, len)| count.saturating_mul(len));
                let end = bytes.iter().fold(*start, |end, bytes| end.saturating_add(*bytes));
                end.next_multiple_of(8)
            }
        }
    }

    /// All of it, read at once.
    pub(super) fn clusters<R: ReadAt + 'static>(
        &self,
        reader: &Reader<R>,
    ) -> Result<Vec<Cluster>, ReadError> {
        let read = |start: u64, len: u64| {
            let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
            reader.read(start, &mut bytes).map(|()| bytes)
        };
        match self {
            Self::Full { start, clusters } => {
                let bytes = read(*start, clusters.saturating_mul(8))?;
                let entries =
                    bytes.chunks_exact(8).filter_map(|entry| FullEntry::read_from_bytes(entry).ok());
                Ok(entries.map(|entry| full(&entry)).collect())
            }
            Self::Compact { start, clusters: [first, short, last], big } => {
                let mut all = Vec::new();
                let mut at = *start;
                for (count, width) in [(first, 4), (short, 2), (last, 4)] {
                    // 4-byte ones come in packs of two, 2-byte ones in packs of sixteen.
                    let (in_pack, pack) = if width == 4 { (2, 8) } else { (16, 32) };
                    let len = count.saturating_mul(width).next_multiple_of(pack);
                    let bytes = read(at, len)?;
                    let packs = bytes.chunks_exact(usize::try_from(pack).unwrap_or(8));
                    let count = usize::try_from(*count).unwrap_or_default();
                    all.extend(packs.flat_map(|pack| unpack(pack, in_pack, *big)).take(count));
                    at = at.saturating_add(len);
                }
                Ok(all)
            }
        }
    }
}

fn full(entry: &FullEntry) -> Cluster {
    let (advise, block) = (entry.advise.get(), entry.block.get());
    match (advise & 3) as u8 {
        INNER => inner((block & 0xffff) as u16),
        kind => Cluster::Head { kind, offset: entry.offset.get(), block, hole: advise & HOLE != 0 },
    }
}

fn inner(back: u16) -> Cluster {
    match back & BLOCK_COUNT != 0 {
        true => Cluster::Inner { back: 1, blocks: Some(back & !BLOCK_COUNT) },
        false => Cluster::Inner { back, blocks: None },
    }
}

/// A pack: entries of 12 bits and a kind each, then the block that they count from.
fn unpack(pack: &[u8], in_pack: usize, big: bool) -> Vec<Cluster> {
    const LOW: u32 = 12;
    let Some((packed, base)) = pack.split_last_chunk::<4>() else { return Vec::new() };
    let base = u32::from_le_bytes(*base);
    let bits = packed.len().saturating_mul(8).checked_div(in_pack).unwrap_or_default();
    let mut clusters: Vec<Cluster> = Vec::with_capacity(in_pack);
    // Where blocks have no count, each extent has one, and the first one lies behind `base`.
    let mut block = if big { base } else { base.wrapping_add(1) };
    let mut back = 0u16;
    for number in 0..in_pack {
        let at = number.saturating_mul(bits);
        let bytes = packed.get(at / 8..).unwrap_or_default();
        let mut four = [0; 4];
        four.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let value = u32::from_le_bytes(four).wrapping_shr((at % 8) as u32);
        let (low, kind) = ((value & 0xfff) as u16, (value.wrapping_shr(LOW) & 3) as u8);
        let cluster = if kind != INNER {
            let head = Cluster::Head { kind, offset: low, block, hole: false };
            block = block.wrapping_add(1);
            head
        } else if number.saturating_add(1) == in_pack && low & BLOCK_COUNT == 0 {
            // The last one of a pack tells how far it is to the next head instead.
            Cluster::Inner { back: back.saturating_add(1), blocks: None }
        } else {
            inner(low)
        };
        if let Cluster::Inner { blocks: Some(blocks), .. } = cluster {
            // Its head, where it is in this pack, has counted as one.
            let counted = u32::from(number > 0);
            block = block.wrapping_add(u32::from(blocks)).wrapping_sub(counted);
        }
        back = match cluster {
            Cluster::Head { .. } => 0,
            Cluster::Inner { back, .. } => back,
        };
        clusters.push(cluster);
    }
    clusters
}
