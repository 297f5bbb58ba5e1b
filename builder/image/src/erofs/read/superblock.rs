//! The superblock, checked.

use graven_verity::io::ReadAt;
use uuid::Uuid;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::super::format::{
    BLOCK, BLOCK_BITS, BLOCK_LEN, COMPAT_SUPERBLOCK_CHECKSUM, INCOMPAT_CHUNKED, INCOMPAT_COMPRESSION,
    INCOMPAT_DEDUPE, INCOMPAT_ZERO_PADDING, MAGIC, SUPERBLOCK_EXTENSION, SUPERBLOCK_OFFSET, Superblock,
};
use super::ReadError;
use crate::checksum::crc32c;

/// Bytes from the superblock to the end of its block.
const CHECKED: usize = BLOCK_LEN - SUPERBLOCK_OFFSET as usize;
/// Offset of the checksum in the superblock.
const CHECKSUM: std::ops::Range<usize> = 4..8;

/// What the superblock says.
#[derive(Debug)]
pub(super) struct Facts {
    /// Length of the file system.
    pub(super) bytes: u64,
    pub(super) inodes: u64,
    pub(super) root_nid: u64,
    pub(super) meta_block: u64,
    pub(super) xattr_block: u64,
    pub(super) build_time: i64,
    pub(super) uuid: Uuid,
    pub(super) volume_name: Vec<u8>,
    /// Algorithms that compressed files may use, a bit each.
    pub(super) algorithms: u16,
    /// Compressed clusters are padded in front.
    pub(super) zero_padding: bool,
    /// Files may be lists of chunks, and have blocks in common.
    pub(super) chunked: bool,
}

impl Facts {
    pub(super) fn read(image: &dyn ReadAt) -> Result<Self, ReadError> {
        let io = |offset, wanted| move |source| ReadError::Io { offset, wanted, source };
        let size = image.size().map_err(io(0, 0))?;
        let short = || ReadError::NotErofs { found: format!("an image of {size} bytes") };
        if size < BLOCK {
            return Err(short());
        }
        let mut block = [0; CHECKED];
        image.read_exact_at(&mut block, SUPERBLOCK_OFFSET).map_err(io(SUPERBLOCK_OFFSET, CHECKED as u64))?;
        let (superblock, _) = Superblock::read_from_prefix(&block).map_err(|_| short())?;
        let wrong = |field, found, expected| Err(ReadError::Superblock { field, found, expected });

        let magic = superblock.magic.get();
        if magic != MAGIC {
            return Err(ReadError::NotErofs { found: format!("{magic:08x}") });
        }
        if superblock.blkszbits != BLOCK_BITS {
            return wrong("blkszbits", superblock.blkszbits.into(), "12, blocks of 4096 bytes");
        }
        if superblock.feature_compat.get() & COMPAT_SUPERBLOCK_CHECKSUM != 0 {
            if let Some(field) = block.get_mut(CHECKSUM) {
                field.fill(0);
            }
            // As the kernel's `crc32c(~0, …)`: not inverted at the end.
            let (expected, found) = (!crc32c(&block), superblock.checksum.get());
            if expected != found {
                return Err(ReadError::Checksum { expected, found });
            }
        }
        let features = superblock.feature_incompat.get();
        let foreign =
            features & !(INCOMPAT_ZERO_PADDING | INCOMPAT_COMPRESSION | INCOMPAT_CHUNKED | INCOMPAT_DEDUPE);
        if foreign != 0 {
            return Err(ReadError::Features(foreign));
        }
        let extensions = u64::from(superblock.sb_extslots).saturating_mul(SUPERBLOCK_EXTENSION);
        if extensions > (CHECKED as u64).saturating_sub(size_of::<Superblock>() as u64) {
            return wrong("sb_extslots", superblock.sb_extslots.into(), "at most 184, to stay in its block");
        }
        if superblock.dirblkbits != 0 {
            return wrong("dirblkbits", superblock.dirblkbits.into(), "0");
        }
        if superblock.extra_devices.get() != 0 {
            return wrong("extra_devices", superblock.extra_devices.get().into(), "0, one device");
        }
        if superblock.build_time_nsec.get() >= 1_000_000_000 {
            return wrong("build_time_nsec", superblock.build_time_nsec.get().into(), "less than a second");
        }
        let bytes = blocks(superblock.blocks);
        if bytes > size {
            return Err(ReadError::Truncated { expected: bytes, found: size });
        }
        if blocks(superblock.meta_blkaddr) >= bytes {
            return wrong("meta_blkaddr", superblock.meta_blkaddr.get().into(), "a block of the image");
        }
        Ok(Self {
            bytes,
            inodes: superblock.inos.get(),
            root_nid: superblock.root_nid.get().into(),
            meta_block: superblock.meta_blkaddr.get().into(),
            xattr_block: superblock.xattr_blkaddr.get().into(),
            build_time: superblock.build_time.get().cast_signed(),
            uuid: Uuid::from_bytes(superblock.uuid),
            algorithms: match features & INCOMPAT_COMPRESSION {
                // LZ4 alone, and the field says something of it.
                0 => 1,
                _ => superblock.available_compr_algs.get(),
            },
            zero_padding: features & INCOMPAT_ZERO_PADDING != 0,
            chunked: features & INCOMPAT_CHUNKED != 0,
            volume_name: superblock.volume_name.iter().copied().take_while(|byte| *byte != 0).collect(),
        })
    }
}

fn blocks(count: U32) -> u64 {
    u64::from(count.get()).saturating_mul(BLOCK)
}
