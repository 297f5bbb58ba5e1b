//! The on-disk structures, uncompressed part.
//!
//! Facts from the kernel's description of the format, `fs/erofs/erofs_fs.h` of Linux 7.3, and its
//! `Documentation/filesystems/erofs.rst`. Every number is little-endian; offsets are bytes within the
//! structure. A *block* is 4,096 bytes here, a *slot* 32 bytes; an inode's number (`nid`) is its slot's distance
//! from the start of block [`Superblock::meta_blkaddr`].

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a block; the only size that is written or read here.
pub(crate) const BLOCK: u64 = 4096;
/// [`BLOCK`] as a length in memory.
pub(crate) const BLOCK_LEN: usize = 4096;
/// log2 of [`BLOCK`].
pub(crate) const BLOCK_BITS: u8 = 12;
/// Bytes of an inode slot.
pub(crate) const SLOT: u64 = 32;
/// Where the superblock begins.
pub(crate) const SUPERBLOCK_OFFSET: u64 = 1024;
/// Bytes of one superblock extension slot.
pub(crate) const SUPERBLOCK_EXTENSION: u64 = 16;
/// [`Superblock::magic`].
pub(crate) const MAGIC: u32 = 0xe0f5_e1e2;

/// Compatible feature: [`Superblock::checksum`] holds.
pub(crate) const COMPAT_SUPERBLOCK_CHECKSUM: u32 = 0x1;
/// Compatible feature: the times of extended inodes are modification times.
pub(crate) const COMPAT_MTIME: u32 = 0x2;

/// Incompatible features by bit, as `erofs_fs.h` names them; two names share a bit where the kernel's do.
pub(crate) const INCOMPAT_NAMES: [(u32, &str); 9] = [
    (0x1, "ZERO_PADDING"),
    (0x2, "COMPR_CFGS/BIG_PCLUSTER"),
    (0x4, "CHUNKED_FILE"),
    (0x8, "DEVICE_TABLE/COMPR_HEAD2"),
    (0x10, "ZTAILPACKING"),
    (0x20, "FRAGMENTS/DEDUPE"),
    (0x40, "XATTR_PREFIXES"),
    (0x80, "48BIT"),
    (0x100, "METABOX"),
];
/// Incompatible feature that says that compressed clusters are padded in front, and nothing of uncompressed ones.
pub(crate) const INCOMPAT_ZERO_PADDING: u32 = 0x1;
/// Incompatible feature: what the compressors were set to follows the superblock; clusters may have several blocks.
pub(crate) const INCOMPAT_COMPRESSION: u32 = 0x2;
/// Incompatible feature: files may be lists of chunks.
pub(crate) const INCOMPAT_CHUNKED: u32 = 0x4;
/// Incompatible feature: files share compressed clusters, or pack their ends together (which is not read here).
pub(crate) const INCOMPAT_DEDUPE: u32 = 0x20;

/// `erofs_super_block`, 128 bytes at [`SUPERBLOCK_OFFSET`].
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Superblock {
    /// 0: [`MAGIC`].
    pub(crate) magic: U32,
    /// 4: CRC-32C of the rest of the superblock's block, from the superblock on, this field as zero; begins
    /// with all ones and is not inverted at the end.
    pub(crate) checksum: U32,
    /// 8: features that a reader may leave alone.
    pub(crate) feature_compat: U32,
    /// 12: log2 of the block size.
    pub(crate) blkszbits: u8,
    /// 13: 16-byte extensions that follow this structure.
    pub(crate) sb_extslots: u8,
    /// 14: the root directory's nid (with `48BIT`: block count's upper half).
    pub(crate) root_nid: U16,
    /// 16: number of inodes.
    pub(crate) inos: U64,
    /// 24: seconds since 1970; the time of every compact inode. From Linux 6.15 on named `epoch`.
    pub(crate) build_time: U64,
    /// 32: nanoseconds to it.
    pub(crate) build_time_nsec: U32,
    /// 36: blocks of the file system.
    pub(crate) blocks: U32,
    /// 40: block from which nids count.
    pub(crate) meta_blkaddr: U32,
    /// 44: block from which shared extended attributes count.
    pub(crate) xattr_blkaddr: U32,
    /// 48: UUID in RFC 4122 byte order.
    pub(crate) uuid: [u8; 16],
    /// 64: name, padded with and ended by NUL.
    pub(crate) volume_name: [u8; 16],
    /// 80: features without which a reader must refuse.
    pub(crate) feature_incompat: U32,
    /// 84: compression algorithms.
    pub(crate) available_compr_algs: U16,
    /// 86: further devices.
    pub(crate) extra_devices: U16,
    /// 88: where their table is.
    pub(crate) devt_slotoff: U16,
    /// 90: log2 of directory block size over block size; must be 0.
    pub(crate) dirblkbits: u8,
    /// 91: long attribute name prefixes.
    pub(crate) xattr_prefix_count: u8,
    /// 92: where they are.
    pub(crate) xattr_prefix_start: U32,
    /// 96: inode that packs fragments.
    pub(crate) packed_nid: U64,
    /// 104: reserved for the attribute name filter; 0.
    pub(crate) xattr_filter_reserved: u8,
    /// 105: 0. From Linux 6.15 on: `build_time` relative to the epoch (108), root nid with `48BIT` (112).
    pub(crate) reserved: [u8; 23],
}

/// Bit 0 of [`CompactInode::format`]: 64-byte form.
pub(crate) const FORMAT_EXTENDED: u16 = 0x1;
/// Bits 1 to 3 of the format are the data layout.
pub(crate) const FORMAT_LAYOUT_SHIFT: u16 = 1;
/// Every bit of the format that is known here.
pub(crate) const FORMAT_KNOWN: u16 = 0xf;

/// Data layout: contents in consecutive blocks.
pub(crate) const LAYOUT_FLAT_PLAIN: u16 = 0;
/// Data layout: compressed, full indexes.
pub(crate) const LAYOUT_COMPRESSED_FULL: u16 = 1;
/// Data layout: consecutive blocks, the last partial one right behind the inode and its attributes, inside one
/// block.
pub(crate) const LAYOUT_FLAT_INLINE: u16 = 2;
/// Data layout: compressed, compact indexes.
pub(crate) const LAYOUT_COMPRESSED_COMPACT: u16 = 3;
/// Data layout: chunks of a power of two of blocks, anywhere.
pub(crate) const LAYOUT_CHUNK_BASED: u16 = 4;

/// In the lower half of [`CompactInode::data`] of a list of chunks: log2 of blocks in a chunk.
pub(crate) const CHUNK_BITS: u32 = 0x1f;
/// The list is of 8-byte entries, whose last 4 are the address: 2 bytes of device number lie before it.
pub(crate) const CHUNK_WIDE: u32 = 0x20;
/// Bytes of an entry of the other kind, which is nothing but an address. The list begins right behind the attributes.
pub(crate) const CHUNK_ENTRY: u64 = 4;
/// The address of a chunk of zeros.
pub(crate) const CHUNK_HOLE: u32 = u32::MAX;

/// `erofs_inode_compact`, 32 bytes.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct CompactInode {
    /// 0: form and data layout.
    pub(crate) format: U16,
    /// 2: 0 without attributes, else 1 + (bytes of the attributes - 12) / 4.
    pub(crate) xattr_icount: U16,
    /// 4: kind and permissions as `st_mode`.
    pub(crate) mode: U16,
    /// 6: names.
    pub(crate) nlink: U16,
    /// 8: bytes.
    pub(crate) size: U32,
    /// 12: seconds after the epoch, read from Linux 6.15 on and ignored before; written as 0, so that both
    /// take the superblock's time.
    pub(crate) mtime: U32,
    /// 16: first block of the contents; of a device, its number as `new_encode_dev` packs it.
    pub(crate) data: U32,
    /// 20: number for `stat` on 32-bit systems.
    pub(crate) ino: U32,
    /// 24: owner.
    pub(crate) uid: U16,
    /// 26: group.
    pub(crate) gid: U16,
    /// 28: 0.
    pub(crate) reserved: U32,
}

/// `erofs_inode_extended`, 64 bytes.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ExtendedInode {
    /// 0: form and data layout.
    pub(crate) format: U16,
    /// 2: as in [`CompactInode`].
    pub(crate) xattr_icount: U16,
    /// 4: kind and permissions as `st_mode`.
    pub(crate) mode: U16,
    /// 6: 0.
    pub(crate) reserved: U16,
    /// 8: bytes.
    pub(crate) size: U64,
    /// 16: as in [`CompactInode`].
    pub(crate) data: U32,
    /// 20: number for `stat` on 32-bit systems.
    pub(crate) ino: U32,
    /// 24: owner.
    pub(crate) uid: U32,
    /// 28: group.
    pub(crate) gid: U32,
    /// 32: seconds since 1970, two's complement.
    pub(crate) mtime: U64,
    /// 40: nanoseconds.
    pub(crate) mtime_nsec: U32,
    /// 44: names.
    pub(crate) nlink: U32,
    /// 48: 0.
    pub(crate) reserved2: [u8; 16],
}

/// `erofs_xattr_ibody_header`, 12 bytes, right behind the inode; then `shared_count` 4-byte ids, then the
/// inode's own [`XattrEntry`]s.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct XattrHeader {
    /// 0: bloom filter over the names; counts with the feature `XATTR_FILTER` only.
    pub(crate) name_filter: U32,
    /// 4: ids that follow.
    pub(crate) shared_count: u8,
    /// 5: 0.
    pub(crate) reserved: [u8; 7],
}

/// `erofs_xattr_entry`, 4 bytes; then the name without its prefix, then the value, then zeroes up to a multiple
/// of 4. A shared one lies at `xattr_blkaddr` blocks + 4 bytes × id.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct XattrEntry {
    /// 0: bytes of the name.
    pub(crate) name_len: u8,
    /// 1: which prefix, see [`super::xattr`].
    pub(crate) name_index: u8,
    /// 2: bytes of the value.
    pub(crate) value_size: U16,
}

/// `erofs_dirent`, 12 bytes. A directory block is an array of these, then their names in the same order; the
/// first one's `nameoff` says how many there are.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Dirent {
    /// 0: the inode.
    pub(crate) nid: U64,
    /// 8: where the name begins in this block.
    pub(crate) nameoff: U16,
    /// 10: kind, see [`FileType`].
    pub(crate) file_type: u8,
    /// 11: 0.
    pub(crate) reserved: u8,
}

/// `EROFS_FT_*`, and the file type bits of `st_mode` that go with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FileType {
    Regular = 1,
    Directory = 2,
    CharDevice = 3,
    BlockDevice = 4,
    Fifo = 5,
    Socket = 6,
    Symlink = 7,
}

impl FileType {
    const MODES: [(Self, u16); 7] = [
        (Self::Regular, 0o100_000),
        (Self::Directory, 0o040_000),
        (Self::CharDevice, 0o020_000),
        (Self::BlockDevice, 0o060_000),
        (Self::Fifo, 0o010_000),
        (Self::Socket, 0o140_000),
        (Self::Symlink, 0o120_000),
    ];

    /// From the upper four bits of a mode.
    pub(crate) fn of_mode(mode: u16) -> Option<Self> {
        Self::MODES.iter().find(|(_, bits)| mode & 0o170_000 == *bits).map(|(kind, _)| *kind)
    }

    /// The upper four bits of the mode.
    pub(crate) fn mode_bits(self) -> u16 {
        Self::MODES.iter().find(|(kind, _)| *kind == self).map_or(0, |(_, bits)| *bits)
    }
}

const _: () = {
    assert!(size_of::<Superblock>() == 128);
    assert!(size_of::<CompactInode>() == 32);
    assert!(size_of::<ExtendedInode>() == 64);
    assert!(size_of::<XattrHeader>() == 12);
    assert!(size_of::<XattrEntry>() == 4);
    assert!(size_of::<Dirent>() == 12);
};
