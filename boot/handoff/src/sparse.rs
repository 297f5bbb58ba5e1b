//! A file system image of which only the blocks that are not zero are kept: the state's, as it is on a first boot.
//!
//! ```text
//! 16 bytes   "graven-sparse-1\n"
//!  8 bytes   length of the image in bytes, little-endian, a multiple of 4096
//!  8 bytes   number of blocks kept, little-endian
//!  8 bytes   each: a block's number, little-endian, rising
//! 4096 bytes each: the blocks
//! ```

const MAGIC: &[u8; 16] = b"graven-sparse-1\n";
/// Bytes of a block.
pub const BLOCK: usize = 4096;

/// What a state partition starts with as it is shipped; the rest is zero. Not all zero, because a writer of disk images
/// that leaves out zeros would leave there what was on the disk before.
pub fn blank() -> Vec<u8> {
    let mut block = b"graven: state, not made yet\n".to_vec();
    block.resize(BLOCK, 0);
    block
}

/// An image that is mostly zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sparse<'a> {
    /// Length in bytes.
    pub len: u64,
    /// Offset in bytes and contents of each block that is not zero, in order.
    pub blocks: Vec<(u64, &'a [u8])>,
}

/// Keeps what is not zero. The last block is filled up with zeros.
pub fn encode(image: &[u8]) -> Vec<u8> {
    let kept: Vec<(u64, &[u8])> =
        (0u64..).zip(image.chunks(BLOCK)).filter(|(_, block)| block.iter().any(|byte| *byte != 0)).collect();
    let blocks = image.len().div_ceil(BLOCK) as u64;
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&blocks.saturating_mul(BLOCK as u64).to_le_bytes());
    bytes.extend_from_slice(&(kept.len() as u64).to_le_bytes());
    for (number, _) in &kept {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    for (_, block) in kept {
        bytes.extend_from_slice(block);
        bytes.resize(bytes.len().saturating_add(BLOCK).saturating_sub(block.len()), 0);
    }
    bytes
}

/// Reads what [`encode`] made; `None` where it is anything else.
pub fn decode(bytes: &[u8]) -> Option<Sparse<'_>> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let len = number(&mut rest).filter(|len| len.trailing_zeros() >= BLOCK.trailing_zeros())?;
    let count = usize::try_from(number(&mut rest)?).ok()?;
    let (mut numbers, contents) = rest.split_at_checked(count.checked_mul(8)?)?;
    if contents.len() != count.checked_mul(BLOCK)? {
        return None;
    }
    let mut blocks: Vec<(u64, &[u8])> = Vec::with_capacity(count);
    for block in contents.chunks_exact(BLOCK) {
        let offset = number(&mut numbers)?.checked_mul(BLOCK as u64).filter(|offset| *offset < len)?;
        if blocks.last().is_some_and(|(before, _)| *before >= offset) {
            return None;
        }
        blocks.push((offset, block));
    }
    Some(Sparse { len, blocks })
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (number, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Vec<u8> {
        let mut image = vec![0; 5 * BLOCK];
        image[BLOCK] = 1;
        image[3 * BLOCK - 1] = 2;
        image[4 * BLOCK + 9] = 3;
        image
    }

    #[test]
    fn what_is_not_zero_comes_back_at_its_place() {
        let image = image();
        let bytes = encode(&image);
        let sparse = decode(&bytes).unwrap();
        assert_eq!((sparse.len, sparse.blocks.len()), (image.len() as u64, 3));
        let mut back = vec![0; image.len()];
        for (offset, block) in sparse.blocks {
            back[usize::try_from(offset).unwrap()..][..BLOCK].copy_from_slice(block);
        }
        assert_eq!(back, image);
        assert_eq!(decode(&encode(&[])), Some(Sparse { len: 0, blocks: vec![] }));
    }

    #[test]
    fn anything_else_is_refused() {
        let good = encode(&image());
        for len in 0..good.len() {
            assert_eq!(decode(&good[..len]), None, "{len}");
        }
        let changed = |at: usize, value: u64| {
            let mut bytes = good.clone();
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            bytes
        };
        for (at, value) in
            [(0, 0), (16, 4097), (16, 4096), (24, 2), (24, u64::MAX), (32, 9), (32, 2), (40, u64::MAX)]
        {
            assert_eq!(decode(&changed(at, value)), None, "{at} {value}");
        }
    }
}
