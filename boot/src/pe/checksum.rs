//! The optional header's CheckSum (`CheckSumMappedFile` of imagehlp). Firmware ignores it; tools warn where it is wrong.

use super::{Image, PeError};

/// The checksum of `image` with the four bytes at `checksum_offset` taken as 0: the 16-bit one's complement sum of its
/// little-endian words, plus its length.
pub fn checksum(image: &[u8], checksum_offset: usize) -> u32 {
    let sum: u64 = words(image.get(..checksum_offset).unwrap_or(image))
        .wrapping_add(words(image.get(checksum_offset.saturating_add(4)..).unwrap_or_default()));
    let mut folded = sum;
    while folded > 0xffff {
        folded = (folded & 0xffff).wrapping_add(folded >> 16);
    }
    (folded as u32).wrapping_add(image.len() as u32)
}

/// Writes the checksum of a whole image into its header.
pub fn set_checksum(image: &mut [u8]) -> Result<(), PeError> {
    let offset = Image::parse(image)?.checksum_offset();
    let value = checksum(image, offset);
    if let Some(field) = image.get_mut(offset..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *field = value.to_le_bytes();
    }
    Ok(())
}

fn words(bytes: &[u8]) -> u64 {
    let pairs = bytes.chunks(2).map(|pair| match *pair {
        [low, high] => u64::from(u16::from_le_bytes([low, high])),
        [low] => u64::from(low),
        _ => 0,
    });
    pairs.fold(0, u64::wrapping_add)
}
