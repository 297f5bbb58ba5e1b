//! Compressed contents: extents of up to 12 MiB, each a cluster of whole blocks in the image.
//!
//! Facts from Linux 7.3: `fs/erofs/erofs_fs.h`, `zmap.c`, `decompressor.c`. Read is what `mkfs.erofs` is asked to write
//! here: full and compact indexes, clusters of several blocks, deduplicated ones. Fragments and inlined tails are refused.

mod contents;
mod index;

use std::sync::Arc;

use graven_verity::io::ReadAt;
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::super::format::BLOCK;
use super::inode::{RawInode, Refusal};
use super::{Problem, Reader};
use crate::tree::Content;
use crate::unpack::Algorithm;
use contents::Contents;
use index::{Cluster, Index};

/// Longest contents of one extent (`Z_EROFS_PCLUSTER_MAX_DSIZE`).
const MOST_UNPACKED: u64 = 12 << 20;
/// Longest cluster (`Z_EROFS_PCLUSTER_MAX_SIZE`).
const MOST_PACKED: u64 = 1 << 20;

/// `z_erofs_map_header`, 8 bytes, at the next multiple of 8 behind the inode and its attributes.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct MapHeader {
    /// 0: of fragments and inlined tails, which are not read here.
    packed: [u8; 4],
    /// 4: [`COMPACTED_2B`] and the others.
    advise: U16,
    /// 6: bits 0 to 3 and 4 to 7: the two algorithms.
    algorithms: u8,
    /// 7: bits 0 to 3: log2 of logical cluster over block; bit 7: all of the file is a fragment.
    cluster_bits: u8,
}

/// Of compact indexes: some take 2 bytes; of full ones: there are records of extents instead.
const COMPACTED_2B: u16 = 0x1;
/// Clusters of the first algorithm have several blocks.
const BIG_1: u16 = 0x2;
/// Those of the second, and plain ones.
const BIG_2: u16 = 0x4;
/// Plain contents are turned so that blocks of the file are blocks of the image.
const INTERLACED: u16 = 0x10;
/// All that is known here: neither inlined tails (0x8) nor fragments (0x20).
const KNOWN: u16 = COMPACTED_2B | BIG_1 | BIG_2 | INTERLACED;
/// The kernel's numbers of algorithms.
const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::Lz4, Algorithm::MicroLzma, Algorithm::Deflate, Algorithm::Zstd];

/// Which of the two forms of index an inode has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// 8 bytes a logical cluster.
    Full,
    /// 2 or 4 bytes.
    Compact,
}

/// What is packed together: contents from `start` to the next extent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    /// First byte in the file.
    start: u64,
    /// First block in the image.
    block: u32,
    /// Blocks; 0 for a hole.
    blocks: u16,
    packing: Packing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Packed(Algorithm),
    /// Uncompressed.
    Plain,
    /// Uncompressed, first what is at the end.
    Interlaced,
}

/// What a map header says, and where its index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    form: Form,
    /// First byte behind the header.
    head: u64,
    size: u64,
    advise: u16,
    algorithms: [u8; 2],
}

impl Layout {
    fn index(&self) -> Index {
        Index::of(self.form, self.head, self.size, self.advise)
    }

    /// First byte behind the index.
    pub(super) fn end(&self) -> u64 {
        self.index().end()
    }
}

impl<R: ReadAt + 'static> Reader<R> {
    /// The map header of a compressed file; its index lies inside the image.
    pub(super) fn map_header(&self, inode: &RawInode, form: Form) -> Result<Layout, Refusal> {
        let bad = |what| Err(Problem::Index(what).into());
        let mut header = [0; size_of::<MapHeader>()];
        let start = inode.xattrs.saturating_add(inode.xattr_bytes).next_multiple_of(8);
        if !self.holds(start, header.len() as u64) {
            return Err(Problem::Outside("map header").into());
        }
        self.read(start, &mut header)?;
        let Ok(header) = MapHeader::read_from_bytes(&header) else { return bad("its header is cut short") };
        let advise = header.advise.get();
        if advise & !KNOWN != 0 || header.cluster_bits & 0x80 != 0 {
            return bad("it has fragments or an inlined tail, which are not read here");
        }
        if header.cluster_bits != 0 {
            return bad("its logical clusters are not of 4096 bytes");
        }
        match form {
            Form::Full if advise & COMPACTED_2B != 0 => {
                return bad("it has records of extents, which are not read here");
            }
            Form::Compact if (advise & BIG_1 != 0) != (advise & BIG_2 != 0) => {
                return bad("its two algorithms differ in their clusters");
            }
            _ => {}
        }
        let layout = Layout {
            form,
            head: start.saturating_add(size_of::<MapHeader>() as u64),
            size: inode.size,
            advise,
            algorithms: [header.algorithms & 15, header.algorithms >> 4],
        };
        match self.holds(start, layout.end().saturating_sub(start)) {
            true => Ok(layout),
            false => Err(Problem::Outside("index").into()),
        }
    }

    /// The contents of a compressed file, its whole index read and checked.
    pub(super) fn compressed(&self, inode: &RawInode, layout: &Layout) -> Result<Content, Refusal> {
        let bad = |what| Refusal::Bad(Problem::Index(what));
        let Layout { advise, .. } = *layout;
        let algorithms = layout.algorithms.map(|number| {
            let known = ALGORITHMS.get(usize::from(number)).copied();
            known.filter(|_| self.facts.algorithms & 1u16.wrapping_shl(number.into()) != 0)
        });
        let packed = |which: Option<Algorithm>| match which {
            Some(algorithm) => Ok(Packing::Packed(algorithm)),
            None => Err(bad("its algorithm is none of the superblock's")),
        };
        let plain = if advise & INTERLACED != 0 { Packing::Interlaced } else { Packing::Plain };
        let big = [advise & BIG_1 != 0, advise & BIG_2 != 0];

        let mut extents: Vec<Extent> = Vec::new();
        // Logical cluster of the last extent's head.
        let mut head = 0u64;
        for (number, cluster) in (0u64..).zip(layout.index().clusters(self)?) {
            let (kind, offset, block, hole) = match cluster {
                Cluster::Inner { back, blocks } => {
                    let distance = number.saturating_sub(head);
                    if extents.is_empty() || back == 0 || u64::from(back) > distance {
                        return Err(bad("a logical cluster belongs to no extent"));
                    }
                    match (extents.last_mut(), blocks) {
                        (Some(last), Some(blocks)) if distance == 1 && last.blocks == UNKNOWN => {
                            last.blocks = blocks;
                        }
                        (_, Some(_)) => return Err(bad("an extent tells its length in the wrong place")),
                        (Some(last), None) if last.blocks == UNKNOWN => {
                            return Err(bad("an extent of several blocks does not tell its length"));
                        }
                        _ => {}
                    }
                    continue;
                }
                Cluster::Head { kind, offset, block, hole } => (kind, offset, block, hole),
            };
            let start = number.saturating_mul(BLOCK).saturating_add(offset.into());
            // Where the last extent began in an earlier cluster, the last one tells where the file ends.
            if start == inode.size && offset > 0 {
                break;
            }
            if u64::from(offset) >= BLOCK || start >= inode.size || (number == 0 && offset != 0) {
                return Err(bad("an extent begins outside of its logical cluster or the file"));
            }
            close(&mut extents);
            let (packing, is_big) = match kind {
                0 => (plain, big[1]),
                1 => (packed(algorithms[0])?, big[0]),
                _ => (packed(algorithms[1])?, big[1]),
            };
            let last = number.saturating_add(1).saturating_mul(BLOCK) >= inode.size;
            let blocks = match (hole, is_big && !last) {
                (true, _) => 0,
                (false, true) => UNKNOWN,
                (false, false) => 1,
            };
            head = number;
            extents.push(Extent { start, block, blocks, packing });
        }
        close(&mut extents);
        self.check(inode.size, &extents)?;
        let contents = Contents {
            image: self.image.clone(),
            cache: self.unpacked.clone(),
            nid: inode.nid,
            len: inode.size,
            extents,
        };
        Ok(Content { source: Arc::new(contents), offset: 0, len: inode.size })
    }

    fn check(&self, size: u64, extents: &[Extent]) -> Result<(), Problem> {
        let ends = extents.iter().skip(1).map(|next| next.start).chain([size]);
        for (extent, end) in extents.iter().zip(ends) {
            let (len, packed) =
                (end.saturating_sub(extent.start), u64::from(extent.blocks).saturating_mul(BLOCK));
            if len == 0 || len > MOST_UNPACKED || packed > MOST_PACKED {
                return Err(Problem::Index("an extent has no contents, or more than the kernel takes"));
            }
            if !self.holds(u64::from(extent.block).saturating_mul(BLOCK), packed) && extent.blocks > 0 {
                return Err(Problem::Outside("compressed contents"));
            }
            if extent.blocks > 0 && !matches!(extent.packing, Packing::Packed(_)) && len > packed {
                return Err(Problem::Index("an extent has fewer plain bytes than contents"));
            }
        }
        if extents.is_empty() && size > 0 {
            return Err(Problem::Index("it is empty"));
        }
        Ok(())
    }
}

/// Blocks of an extent of which the next logical cluster may tell.
const UNKNOWN: u16 = u16::MAX;

/// The last extent of whose blocks nothing was told has one.
fn close(extents: &mut [Extent]) {
    if let Some(last) = extents.last_mut().filter(|last| last.blocks == UNKNOWN) {
        last.blocks = 1;
    }
}
