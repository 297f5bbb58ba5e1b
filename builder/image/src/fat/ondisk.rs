//! What lies on the disk: boot sector, FSInfo and directory entries (specification 1.03, sections 3, 5, 6 and 7).

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The part of the boot sector that FAT16 and FAT32 have in common.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone)]
#[repr(C)]
pub(super) struct BiosParameters {
    pub jump: [u8; 3],
    /// Who formatted it.
    pub oem_name: [u8; 8],
    pub bytes_per_sector: U16,
    pub sectors_per_cluster: u8,
    /// Sectors before the first allocation table, the boot sector included.
    pub reserved_sectors: U16,
    /// Copies of the allocation table.
    pub tables: u8,
    /// Entries of the root folder; 0 on FAT32.
    pub root_entries: U16,
    /// Length in sectors where that fits 16 bits, else 0.
    pub sectors_16: U16,
    /// 0xf8: no removable medium.
    pub media: u8,
    /// Sectors of one allocation table; 0 on FAT32.
    pub table_sectors_16: U16,
    pub sectors_per_track: U16,
    pub heads: U16,
    pub hidden_sectors: U32,
    /// Length in sectors where it does not fit 16 bits.
    pub sectors_32: U32,
}

/// What FAT32 adds behind [`BiosParameters`].
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone)]
#[repr(C)]
pub(super) struct Fat32Parameters {
    /// Sectors of one allocation table.
    pub table_sectors: U32,
    /// Bit 7: only the table in bits 0–3 is kept up to date.
    pub flags: U16,
    /// 0.0.
    pub version: U16,
    /// First cluster of the root folder.
    pub root_cluster: U32,
    pub fs_info_sector: U16,
    /// Where a copy of the first three sectors lies.
    pub backup_boot_sector: U16,
    pub reserved: [u8; 12],
}

/// The end of the parameters, at 36 on FAT16 and at 64 on FAT32.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone)]
#[repr(C)]
pub(super) struct ExtendedParameters {
    pub drive: u8,
    pub reserved: u8,
    /// 0x29: the three fields that follow are there.
    pub boot_signature: u8,
    pub volume_id: U32,
    pub label: [u8; 11],
    /// For people; decides nothing.
    pub kind: [u8; 8],
}

/// FSInfo of FAT32.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone)]
#[repr(C)]
pub(super) struct FsInfo {
    /// `RRaA`.
    pub lead_signature: U32,
    pub reserved: [u8; 480],
    /// `rrAa`.
    pub signature: U32,
    pub free_clusters: U32,
    /// Where to begin looking for a free one.
    pub next_free: U32,
    pub reserved_2: [u8; 12],
    pub trail_signature: U32,
}

pub(super) const LEAD_SIGNATURE: u32 = 0x4161_5252;
pub(super) const INFO_SIGNATURE: u32 = 0x6141_7272;
pub(super) const TRAIL_SIGNATURE: u32 = 0xaa55_0000;

/// Bytes of a directory entry of either sort.
pub(super) const ENTRY_BYTES: usize = 32;

/// A directory entry.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone)]
#[repr(C)]
pub(super) struct DirEntry {
    /// Eight characters and three of the extension, padded with blanks. First byte 0: no entry from here on;
    /// 0xe5: deleted; 0x05 stands for 0xe5.
    pub name: [u8; 11],
    /// See [`attribute`].
    pub attributes: u8,
    /// Windows NT: bit 3, the name is lower case; bit 4, the extension is.
    pub case: u8,
    /// Hundredths of a second, 0 to 199.
    pub created_fine: u8,
    pub created_time: U16,
    pub created_date: U16,
    pub accessed_date: U16,
    pub cluster_high: U16,
    pub written_time: U16,
    pub written_date: U16,
    pub cluster_low: U16,
    /// In bytes; 0 for a folder.
    pub size: U32,
}

impl DirEntry {
    pub(super) fn cluster(&self) -> u32 {
        u32::from(self.cluster_high.get()) << 16 | u32::from(self.cluster_low.get())
    }
}

/// A piece of a long name: these come before the entry they name, the last piece first.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone)]
#[repr(C)]
pub(super) struct LongNameEntry {
    /// Number of this piece from 1; [`LAST_PIECE`] is set on the last.
    pub order: u8,
    pub name_1: [U16; 5],
    /// [`attribute::LONG_NAME`].
    pub attributes: u8,
    pub kind: u8,
    /// Of the short name: see [`super::name::checksum`].
    pub checksum: u8,
    pub name_2: [U16; 6],
    pub cluster: U16,
    pub name_3: [U16; 2],
}

/// Set in [`LongNameEntry::order`] of the name's end.
pub(super) const LAST_PIECE: u8 = 0x40;
/// UTF-16 units of a piece.
pub(super) const PIECE_UNITS: usize = 13;

/// Attribute bits.
pub(super) mod attribute {
    pub(in super::super) const HIDDEN: u8 = 0x02;
    pub(in super::super) const VOLUME_LABEL: u8 = 0x08;
    pub(in super::super) const DIRECTORY: u8 = 0x10;
    pub(in super::super) const ARCHIVE: u8 = 0x20;
    /// Read-only, hidden, system and volume label together: no file has them.
    pub(in super::super) const LONG_NAME: u8 = 0x0f;
}
