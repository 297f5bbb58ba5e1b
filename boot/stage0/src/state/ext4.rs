//! An ext4 superblock (`Documentation/filesystems/ext4/super.rst`): whether it is one that stage0 makes, and what makes
//! it this machine's.
//!
//! A file system that someone else put there could have features that nobody looked at for this use; the kernel's driver
//! meets only those that are here.

use std::ops::Range;

use graven_handoff::sparse;

use super::crc;

/// Bytes of the partition that [`look`] needs.
pub(super) const HEAD: usize = sparse::BLOCK;
/// The superblock's offset and length in bytes.
const SUPERBLOCK: Range<usize> = 1024..2048;
/// Bytes of a block, the only size that is made.
pub(super) const BLOCK: u64 = 4096;

/// Offsets in the superblock, in bytes.
mod at {
    pub(super) const BLOCKS_LOW: usize = 0x04;
    pub(super) const LOG_BLOCK_SIZE: usize = 0x18;
    pub(super) const MAGIC: usize = 0x38;
    pub(super) const STATE: usize = 0x3a;
    pub(super) const REVISION: usize = 0x4c;
    pub(super) const COMPATIBLE: usize = 0x5c;
    pub(super) const INCOMPATIBLE: usize = 0x60;
    pub(super) const READ_ONLY_COMPATIBLE: usize = 0x64;
    pub(super) const UUID: usize = 0x68;
    pub(super) const HASH_SEED: usize = 0xec;
    pub(super) const BLOCKS_HIGH: usize = 0x150;
    pub(super) const CHECKSUM: usize = 0x3fc;
}

const MAGIC: u16 = 0xef53;
/// `EXT4_ERROR_FS`: the kernel found errors.
const ERRORS: u16 = 2;

/// Features by the field that they are in: those that it must have, and those that it may have, the kernel's own additions
/// among them (`recover`, `orphan_present`, `meta_bg` by growing).
const FEATURES: [(usize, u32, u32); 3] = [
    // has_journal; ext_attr, resize_inode, dir_index, orphan_file
    (at::COMPATIBLE, 0x4, 0x4 | 0x8 | 0x10 | 0x20 | 0x1000),
    // filetype, extent, 64bit, csum_seed; recover, meta_bg, flex_bg
    (at::INCOMPATIBLE, 0x2 | 0x40 | 0x80 | 0x2000, 0x2 | 0x4 | 0x10 | 0x40 | 0x80 | 0x200 | 0x2000),
    // metadata_csum; sparse_super, large_file, huge_file, dir_nlink, extra_isize, orphan_present, verity
    (at::READ_ONLY_COMPATIBLE, 0x400, 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400 | 0x1_0000 | VERITY),
];
/// Made for images that start programs from their state; one that does so no longer goes on with what is there.
const VERITY: u32 = 0x8000;

/// What a partition's first block looks like.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Looks {
    /// Nothing was made there yet.
    Blank,
    /// An ext4 as stage0 makes it, of this many blocks.
    Good { blocks: u64 },
    /// Neither.
    Damaged(String),
}

pub(super) fn look(head: &[u8], partition_bytes: u64) -> Looks {
    if head == [0; HEAD] || head == sparse::blank() {
        return Looks::Blank;
    }
    match superblock(head, partition_bytes) {
        Ok(blocks) => Looks::Good { blocks },
        Err(problem) => Looks::Damaged(problem),
    }
}

/// The number of blocks, or what is wrong.
fn superblock(head: &[u8], partition_bytes: u64) -> Result<u64, String> {
    let superblock = head.get(SUPERBLOCK).ok_or("no superblock")?;
    let expect = |what: &str, expected: u32, found: u32| match expected == found {
        true => Ok(()),
        false => Err(format!("superblock: {what}: expected {expected:#x}, found {found:#x}")),
    };
    expect("magic", MAGIC.into(), u16_at(superblock, at::MAGIC)?.into())?;
    let (content, _) = superblock.split_at_checked(at::CHECKSUM).ok_or("no superblock")?;
    expect("checksum", crc::of_superblock(content), u32_at(superblock, at::CHECKSUM)?)?;
    expect("revision", 1, u32_at(superblock, at::REVISION)?)?;
    expect("block size", 2, u32_at(superblock, at::LOG_BLOCK_SIZE)?)?;
    for (field, needed, allowed) in FEATURES {
        let found = u32_at(superblock, field)?;
        if found & needed != needed || found & !allowed != 0 {
            let detail = format!("expected {needed:#x} and at most {allowed:#x}, found {found:#x}");
            return Err(format!("superblock: features at {field:#x}: {detail}"));
        }
    }
    if u16_at(superblock, at::STATE)? & ERRORS != 0 {
        return Err("superblock: the kernel found errors in it".to_owned());
    }
    let high = u64::from(u32_at(superblock, at::BLOCKS_HIGH)?);
    let blocks = high << 32 | u64::from(u32_at(superblock, at::BLOCKS_LOW)?);
    match blocks.checked_mul(BLOCK) {
        Some(bytes) if bytes <= partition_bytes => Ok(blocks),
        _ => Err(format!("superblock: {blocks} blocks do not fit a partition of {partition_bytes} bytes")),
    }
}

/// Gives a new file system's first block a UUID and a hash seed of its own. Its other checksums do not depend on them
/// (`metadata_csum_seed`).
pub(super) fn make_own(head: &mut [u8], uuid: [u8; 16], hash_seed: [u8; 16]) -> Option<()> {
    let superblock = head.get_mut(SUPERBLOCK)?;
    superblock.get_mut(at::UUID..)?.first_chunk_mut().map(|field| *field = version_4(uuid))?;
    superblock.get_mut(at::HASH_SEED..)?.first_chunk_mut().map(|field| *field = hash_seed)?;
    let (content, checksum) = superblock.split_at_mut_checked(at::CHECKSUM)?;
    checksum.first_chunk_mut().map(|field| *field = crc::of_superblock(content).to_le_bytes())
}

/// Random bytes as a UUID (RFC 9562, version 4).
pub(super) fn version_4(random: [u8; 16]) -> [u8; 16] {
    let mut uuid = random;
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut uuid;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    uuid
}

fn u16_at(bytes: &[u8], offset: usize) -> Result<u16, String> {
    let field = bytes.get(offset..).and_then(<[u8]>::first_chunk);
    field.map(|field| u16::from_le_bytes(*field)).ok_or_else(|| "no superblock".to_owned())
}

fn u32_at(bytes: &[u8], offset: usize) -> Result<u32, String> {
    let field = bytes.get(offset..).and_then(<[u8]>::first_chunk);
    field.map(|field| u32::from_le_bytes(*field)).ok_or_else(|| "no superblock".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 64 << 20;

    /// The first block of what `mke2fs` 1.47.0 makes with the builder's options.
    fn head() -> Vec<u8> {
        include_bytes!("../../tests/ext4-head").to_vec()
    }

    fn changed(offset: usize, value: &[u8]) -> Vec<u8> {
        let mut head = head();
        head[1024 + offset..][..value.len()].copy_from_slice(value);
        let sum = crc::of_superblock(&head[1024..1024 + at::CHECKSUM]);
        head[1024 + at::CHECKSUM..2048].copy_from_slice(&sum.to_le_bytes());
        head
    }

    fn damaged(head: &[u8], word: &str) {
        match look(head, BYTES) {
            Looks::Damaged(problem) => assert!(problem.contains(word), "{word}: {problem}"),
            other => panic!("{word}: {other:?}"),
        }
    }

    #[test]
    fn what_mke2fs_makes_is_good_and_what_was_never_made_is_blank() {
        assert_eq!(look(&head(), BYTES), Looks::Good { blocks: 16384 });
        assert_eq!(look(&[0; HEAD], BYTES), Looks::Blank);
        assert_eq!(look(&sparse::blank(), BYTES), Looks::Blank);
    }

    #[test]
    fn what_the_kernel_adds_is_good() {
        assert_eq!(look(&changed(at::INCOMPATIBLE, &[0xc6]), BYTES), Looks::Good { blocks: 16384 });
    }

    #[test]
    fn everything_else_is_damaged_and_says_why() {
        damaged(&[1; HEAD], "magic");
        let mut torn = head();
        torn[1024 + 0x20] ^= 1;
        damaged(&torn, "checksum");
        damaged(&changed(at::STATE, &[3, 0]), "errors");
        damaged(&changed(at::LOG_BLOCK_SIZE, &[0]), "block size");
        damaged(&changed(at::BLOCKS_HIGH, &[1]), "do not fit");
        damaged(&changed(at::BLOCKS_HIGH, &[255; 4]), "do not fit");
        // No journal; inline data; encryption, a feature that nobody asked for.
        damaged(&changed(at::COMPATIBLE, &[0x38]), "features");
        damaged(&changed(at::INCOMPATIBLE + 1, &[0xa2]), "features");
        damaged(&changed(at::INCOMPATIBLE + 2, &[1]), "features");
        damaged(&[], "no superblock");
    }

    #[test]
    fn a_name_of_its_own_keeps_the_superblock_good() {
        let mut head = head();
        make_own(&mut head, [0xff; 16], [7; 16]).unwrap();
        assert_eq!(look(&head, BYTES), Looks::Good { blocks: 16384 });
        assert_eq!(head[1024 + at::UUID..][..9], [255, 255, 255, 255, 255, 255, 0x4f, 255, 0xbf]);
        assert_eq!(head[1024 + at::HASH_SEED..][..16], [7; 16]);
    }
}
