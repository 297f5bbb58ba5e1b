//! The on-disk structures, all little-endian; offsets are bytes within the structure.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// [`Superblock::magic`].
pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"hsqs");
/// Bytes that a metadata block unpacks to, but for the last of a table.
pub(super) const METADATA: usize = 8192;
/// Place of a table that is not there.
pub(super) const NO_TABLE: u64 = u64::MAX;
/// Number of a fragment, or of attributes, that are not there.
pub(super) const NONE: u32 = u32::MAX;
/// In the length of a data block: it is not compressed.
pub(super) const PLAIN_BLOCK: u32 = 1 << 24;

/// `squashfs_super_block`, 96 bytes at the image's start.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Superblock {
    /// 0: [`MAGIC`].
    pub(super) magic: U32,
    /// 4: number of inodes.
    pub(super) inodes: U32,
    /// 8: when it was made, seconds since 1970.
    pub(super) mkfs_time: U32,
    /// 12: bytes of a data block, unpacked.
    pub(super) block_size: U32,
    /// 16: number of fragments.
    pub(super) fragments: U32,
    /// 20: compressor.
    pub(super) compression: U16,
    /// 22: log2 of `block_size`.
    pub(super) block_log: U16,
    /// 24: flags; none is needed to read.
    pub(super) flags: U16,
    /// 26: number of owners.
    pub(super) ids: U16,
    /// 28: version.
    pub(super) major: U16,
    /// 30: its second number.
    pub(super) minor: U16,
    /// 32: the root's inode: block in the inode table times 65536, and the place in it.
    pub(super) root_inode: U64,
    /// 40: length.
    pub(super) bytes_used: U64,
    /// 48: places of the tables.
    pub(super) id_table: U64,
    /// 56
    pub(super) xattr_table: U64,
    /// 64
    pub(super) inode_table: U64,
    /// 72
    pub(super) directory_table: U64,
    /// 80
    pub(super) fragment_table: U64,
    /// 88: for NFS.
    pub(super) export_table: U64,
}

/// An entry of the fragment table.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Fragment {
    /// 0: first byte in the image.
    pub(super) start: U64,
    /// 8: length as of a data block.
    pub(super) len: U32,
    /// 12: 0.
    pub(super) unused: U32,
}

/// An entry of the table of attributes.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct XattrId {
    /// 0: place of the first, as of an inode.
    pub(super) place: U64,
    /// 8: how many.
    pub(super) count: U32,
    /// 12: bytes.
    pub(super) len: U32,
}

/// `squashfs_xattr_id_table`, followed by the places of its blocks.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct XattrTable {
    /// 0: where attributes lie.
    pub(super) start: U64,
    /// 8: number of sets.
    pub(super) ids: U32,
    /// 12: 0.
    pub(super) unused: U32,
}

/// `squashfs_base_inode`.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct InodeHead {
    /// 0: kind: 1 to 7, with attributes or large numbers 8 to 14.
    pub(super) kind: U16,
    /// 2: permissions.
    pub(super) mode: U16,
    /// 4: owner, by its place in the table.
    pub(super) uid: U16,
    /// 6: group, likewise.
    pub(super) gid: U16,
    /// 8: seconds since 1970.
    pub(super) mtime: U32,
    /// 12: number.
    pub(super) number: U32,
}

/// `squashfs_dir_header`: for entries whose inodes lie in one block.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct DirectoryHead {
    /// 0: entries less one.
    pub(super) count: U32,
    /// 4: block in the inode table.
    pub(super) start: U32,
    /// 8: number from which those of the entries count.
    pub(super) number: U32,
}

/// `squashfs_dir_entry`, its name behind it.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct DirectoryEntry {
    /// 0: place of the inode in its block.
    pub(super) offset: U16,
    /// 2: its number less the head's, signed.
    pub(super) number: U16,
    /// 4: kind, 1 to 7.
    pub(super) kind: U16,
    /// 6: bytes of the name less one.
    pub(super) name: U16,
}

const _: () = {
    assert!(size_of::<Superblock>() == 96);
    assert!(size_of::<Fragment>() == 16);
    assert!(size_of::<XattrId>() == 16);
    assert!(size_of::<InodeHead>() == 16);
    assert!(size_of::<DirectoryHead>() == 12);
    assert!(size_of::<DirectoryEntry>() == 8);
};
