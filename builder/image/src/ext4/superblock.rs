//! The superblock, and where each group has its inodes.

use graven_verity::io::ReadAt;
use uuid::Uuid;

use super::{BLOCK, Bytes, ReadError};
use crate::damage::check;

/// Where the superblock begins.
const SUPERBLOCK: u64 = 1024;
const MAGIC: u16 = 0xef53;

/// Incompatible features: names' kinds in directories, extents, wide block numbers, groups put together, a seed of its own
/// for checksums, directories over 2 GiB.
const KNOWN: u32 = 0x2 | EXTENTS | WIDE | 0x200 | 0x2000 | 0x4000;
const EXTENTS: u32 = 0x40;
const WIDE: u32 = 0x80;
/// Compatible with reading: groups of a power of two in size.
const BIG_ALLOCATION: u32 = 0x200;

/// What the superblock and the group descriptors say.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) blocks: u64,
    pub(super) inodes: u32,
    pub(super) inode_size: u16,
    pub(super) uuid: Uuid,
    pub(super) inodes_per_group: u32,
    /// First block of each group's inodes.
    pub(super) tables: Vec<u64>,
}

impl Facts {
    pub(super) fn read(image: &dyn ReadAt) -> Result<Self, ReadError> {
        let io = |what| move |source| ReadError::Io { what, source };
        let mut bytes = [0; 1024];
        image.read_exact_at(&mut bytes, SUPERBLOCK).map_err(io("the superblock"))?;
        let size = image.size().map_err(io("the superblock"))?;
        let superblock = Bytes(&bytes);
        let magic = superblock.u16(56);
        check(magic == MAGIC, "s_magic", magic, "0xef53")?;
        let log = superblock.u32(24);
        check(log == 2, "s_log_block_size", log, "2, blocks of 4096 bytes")?;
        let incompatible = superblock.u32(96);
        let foreign = u64::from(incompatible & !KNOWN);
        check(foreign == 0, "s_feature_incompat", foreign, "only what mke2fs is asked for here")?;
        check(incompatible & EXTENTS != 0, "s_feature_incompat", incompatible, "extents")?;
        let compatible = u64::from(superblock.u32(100) & BIG_ALLOCATION);
        check(compatible == 0, "s_feature_ro_compat", compatible, "no bigalloc")?;
        let wide = incompatible & WIDE != 0;
        let blocks = if wide { superblock.wide(4, 336) } else { superblock.u32(4).into() };
        let fits = blocks.checked_mul(BLOCK).is_some_and(|bytes| bytes <= size);
        check(fits && blocks > 0, "s_blocks_count", blocks, "no more than the image has")?;
        let inode_size = superblock.u16(88);
        let good = inode_size.is_power_of_two() && (128..=4096).contains(&inode_size);
        check(good, "s_inode_size", inode_size, "a power of two, 128 to 4096")?;
        let (blocks_per_group, inodes_per_group) = (superblock.u32(32), superblock.u32(40));
        check((1..=32768).contains(&blocks_per_group), "s_blocks_per_group", blocks_per_group, "1 to 32768")?;
        check((1..=32768).contains(&inodes_per_group), "s_inodes_per_group", inodes_per_group, "1 to 32768")?;
        let inodes = superblock.u32(0);
        let descriptor = if wide { superblock.u16(254) } else { 32 };
        let good =
            descriptor.is_power_of_two() && (32..=1024).contains(&descriptor) && !(wide && descriptor < 64);
        check(good, "s_desc_size", descriptor, "32, or 64 and more where block numbers are wide")?;

        let groups = blocks.div_ceil(blocks_per_group.into());
        let bytes = groups.saturating_mul(descriptor.into());
        check(
            bytes < blocks.saturating_mul(BLOCK).saturating_sub(BLOCK),
            "s_blocks_count",
            blocks,
            "room for its descriptors",
        )?;
        let mut descriptors = vec![0; usize::try_from(bytes).unwrap_or_default()];
        image.read_exact_at(&mut descriptors, BLOCK).map_err(io("the group descriptors"))?;
        let table_bytes = u64::from(inodes_per_group).saturating_mul(inode_size.into());
        let mut tables = Vec::new();
        for descriptor in descriptors.chunks_exact(descriptor.into()) {
            let descriptor = Bytes(descriptor);
            let table = if wide { descriptor.wide(8, 40) } else { descriptor.u32(8).into() };
            let end = table.saturating_add(table_bytes.div_ceil(BLOCK));
            check(table > 0 && end <= blocks, "bg_inode_table", table, "blocks of the file system")?;
            tables.push(table);
        }
        let uuid = Uuid::from_bytes(superblock.array(104));
        Ok(Self { blocks, inodes, inode_size, uuid, inodes_per_group, tables })
    }

    /// First byte of an inode; they count from 1 on.
    pub(super) fn inode_offset(&self, number: u32) -> Option<u64> {
        let index = number.checked_sub(1).filter(|index| *index < self.inodes)?;
        let group = index.checked_div(self.inodes_per_group)?;
        let table = *self.tables.get(usize::try_from(group).ok()?)?;
        let within =
            u64::from(index.checked_rem(self.inodes_per_group)?).checked_mul(self.inode_size.into())?;
        table.checked_mul(BLOCK)?.checked_add(within)
    }
}
