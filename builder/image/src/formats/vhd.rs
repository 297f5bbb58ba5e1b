//! VHD of fixed size (Microsoft, "Virtual Hard Disk Image Format Specification", 2006): the plain bytes and 512 more,
//! big-endian.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::{Disk, Identity, pieces, too_large};

const FOOTER: usize = 512;
const SECTOR: u64 = 512;
/// Azure takes disks of whole mebibytes.
const ALIGNMENT: u64 = 1 << 20;
/// Beyond it nobody reads one.
const MOST_BYTES: u64 = 2040 << 30;
/// 2000-01-01, in seconds since 1970.
const EPOCH: i64 = 946_684_800;
/// Offset of the checksum.
const CHECKSUM: usize = 64;

pub(super) fn write(disk: &Disk<'_>, identity: &Identity, out: &File) -> io::Result<()> {
    let len = disk.len.next_multiple_of(ALIGNMENT);
    if len > MOST_BYTES {
        return Err(too_large("VHD", "2,040 GiB"));
    }
    const PIECE: usize = 64 << 10;
    pieces(disk, PIECE, &mut |piece, bytes| out.write_all_at(bytes, piece * PIECE as u64))?;
    out.write_all_at(&footer(len, identity), len)
}

fn footer(len: u64, identity: &Identity) -> [u8; FOOTER] {
    let made = u32::try_from(identity.made.saturating_sub(EPOCH)).unwrap_or_default();
    let (cylinders, heads, sectors) = geometry(len / SECTOR);
    let mut bytes = Vec::with_capacity(FOOTER);
    bytes.extend_from_slice(b"conectix");
    bytes.extend_from_slice(&2u32.to_be_bytes()); //                       features: the reserved bit
    bytes.extend_from_slice(&0x0001_0000u32.to_be_bytes()); //             version
    bytes.extend_from_slice(&u64::MAX.to_be_bytes()); //                   fixed: nothing before the data
    bytes.extend_from_slice(&made.to_be_bytes());
    // Readers take the size from its own field, not from the geometry, only of makers that they know; this is Hyper-V's name.
    bytes.extend_from_slice(b"win \x00\x0a\x00\x00Wi2k");
    bytes.extend_from_slice(&len.to_be_bytes()); //                        as it was made
    bytes.extend_from_slice(&len.to_be_bytes()); //                        as it is
    bytes.extend_from_slice(&cylinders.to_be_bytes());
    bytes.extend_from_slice(&[heads, sectors]);
    bytes.extend_from_slice(&2u32.to_be_bytes()); //                       fixed
    bytes.extend_from_slice(&[0; 4]); //                                   the checksum
    bytes.extend_from_slice(identity.id.as_bytes());
    bytes.resize(FOOTER, 0);
    let checksum = !bytes.iter().fold(0u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    bytes[CHECKSUM..CHECKSUM + 4].copy_from_slice(&checksum.to_be_bytes());
    let mut footer = [0; FOOTER];
    footer.copy_from_slice(&bytes);
    footer
}

/// Cylinders, heads and sectors a track, by the specification's appendix.
fn geometry(sectors: u64) -> (u16, u8, u8) {
    let total = sectors.min(65_535 * 16 * 255);
    if total >= 65_535 * 16 * 63 {
        return ((total / 255 / 16) as u16, 16, 255);
    }
    let (mut track, mut heads) = (17, (total / 17).div_ceil(1024).max(4));
    let mut tracks = total / track;
    if tracks >= heads * 1024 || heads > 16 {
        (track, heads) = (31, 16);
        tracks = total / track;
    }
    if tracks >= heads * 1024 {
        (track, heads) = (63, 16);
        tracks = total / track;
    }
    ((tracks / heads) as u16, heads as u8, track as u8)
}
