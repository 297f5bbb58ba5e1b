//! The two checksums of 32 bits: a partition table's and an ext4's.

const IEEE: [u32; 256] = table(0xedb8_8320);
const CASTAGNOLI: [u32; 256] = table(0x82f6_3b78);

/// CRC-32 of a GUID partition table.
pub(super) fn of_table(bytes: &[u8]) -> u32 {
    !register(&IEEE, bytes)
}

/// CRC-32C of an ext4 superblock, which is not inverted at the end.
pub(super) fn of_superblock(bytes: &[u8]) -> u32 {
    register(&CASTAGNOLI, bytes)
}

fn register(table: &[u32; 256], bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        let [low, ..] = crc.to_le_bytes();
        crc = (crc >> 8) ^ table.get(usize::from(low ^ byte)).copied().unwrap_or_default();
    }
    crc
}

/// What each byte does to the register.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "in a constant, the compiler checks both"
)]
const fn table(polynomial: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ polynomial } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_values_are_the_catalogues() {
        assert_eq!(super::of_table(b"123456789"), 0xcbf4_3926);
        assert_eq!(!super::of_superblock(b"123456789"), 0xe306_9283);
    }
}
