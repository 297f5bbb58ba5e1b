//! An inode, as it lies in its table.

use graven_verity::io::ReadAt;

use super::{BLOCK, Bytes, Reader, Refusal};

/// In [`RawInode::flags`]: contents by extents.
pub(super) const EXTENTS: u32 = 0x8_0000;
/// Contents are compressed, encrypted, in the inode, or it is an attribute's value.
const FOREIGN: u32 = 0x4 | 0x800 | 0x1000_0000 | 0x20_0000;

/// Blocks of the longest file: their numbers have 32 bits.
const MOST_BLOCKS: u64 = 1 << 32;

/// An inode, checked but for its contents.
pub(super) struct RawInode {
    pub(super) number: u32,
    /// Kind and permissions as `st_mode`.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
    pub(super) names: u16,
    pub(super) size: u64,
    pub(super) flags: u32,
    /// Extents, a short target, or a device's number.
    pub(super) place: [u8; 60],
    /// Block of further attributes, or 0.
    pub(super) xattr_block: u64,
    /// Room for attributes behind the fields.
    pub(super) room: Vec<u8>,
}

impl<R: ReadAt + 'static> Reader<R> {
    pub(super) fn inode(&self, number: u32) -> Result<RawInode, Refusal> {
        let offset = self.facts.inode_offset(number).ok_or(Refusal::Bad("there is no such inode"))?;
        let mut whole = vec![0; self.facts.inode_size.into()];
        self.image.read_exact_at(&mut whole, offset)?;
        let bytes = Bytes(&whole);
        // Fields past the first 128 bytes.
        let further = if whole.len() > 128 { usize::from(bytes.u16(128)) } else { 0 };
        let end = further.saturating_add(128);
        if end > whole.len() || !further.is_multiple_of(4) {
            return Err(Refusal::Bad("its fields take more than the inode has"));
        }
        // Two bits of the epoch, where the field is there.
        let epoch = if further >= 12 { i64::from(bytes.u32(136) & 3) } else { 0 };
        let seconds = i64::from(bytes.u32(16).cast_signed());
        let inode = RawInode {
            number,
            mode: bytes.u16(0),
            uid: u32::from(bytes.u16(2)) | u32::from(bytes.u16(120)).wrapping_shl(16),
            gid: u32::from(bytes.u16(24)) | u32::from(bytes.u16(122)).wrapping_shl(16),
            mtime: seconds.saturating_add(epoch.wrapping_shl(32)),
            names: bytes.u16(26),
            size: bytes.wide(4, 108),
            flags: bytes.u32(32),
            place: bytes.array(40),
            xattr_block: u64::from(bytes.u32(104)) | u64::from(bytes.u16(118)).wrapping_shl(32),
            room: whole.get(end..).unwrap_or_default().to_vec(),
        };
        if inode.flags & FOREIGN != 0 {
            return Err(Refusal::Bad(
                "its contents are inline, encrypted or compressed, which is not read here",
            ));
        }
        if inode.size.div_ceil(BLOCK) > MOST_BLOCKS {
            return Err(Refusal::Bad("it is longer than a file can be"));
        }
        Ok(inode)
    }
}
