//! Where superblock, tree and parity lie.

use super::Options;
use super::header::Header;
use crate::dm::{Params, ParamsError, Superblock};
use crate::fec::{self, Roots};

/// Superblock and parity start at a multiple of this many bytes.
pub const SUPERBLOCK_ALIGNMENT: u64 = 512;

/// The devices, as far as a layout depends on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Devices {
    /// Bytes of the data device.
    pub data_bytes: u64,
    /// Bytes of the hash device; of one that is still to be made, 0.
    pub hash_bytes: u64,
    /// Whether data and tree share a device.
    pub hash_on_data: bool,
    /// Where the parity is to lie.
    pub fec: FecPlace,
}

/// On which device the parity lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FecPlace {
    /// On one of its own, or nowhere.
    Own,
    /// On the hash device, which may be the data device too.
    Hash,
    /// On the data device, which is not the hash device.
    Data,
}

impl Devices {
    /// A data device of so many bytes, a new hash device, and a new one for the parity.
    #[must_use]
    pub fn separate(data_bytes: u64) -> Self {
        Self { data_bytes, hash_bytes: 0, hash_on_data: false, fec: FecPlace::Own }
    }
}

/// A layout without overlaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The tree's parameters.
    pub params: Params,
    /// Byte of the hash device at which the superblock lies, if there is one.
    pub superblock: Option<u64>,
    /// Byte of the hash device at which the tree starts, a multiple of the hash block.
    pub tree_start: u64,
    /// The parity.
    pub parity: Option<ParityPlace>,
}

/// The parity, and what it is over: the data blocks, the hash blocks, and what follows those on the hash device up to the
/// parity or to the device's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParityPlace {
    /// Parity bytes a code word.
    pub roots: Roots,
    /// Byte of its device at which it starts.
    pub start: u64,
    /// Its length.
    pub bytes: u64,
    /// Blocks that it is over.
    pub blocks: u64,
    /// The last of them, which follow the tree on the hash device.
    pub gap_blocks: u64,
    /// Whether it lies on the hash device.
    pub on_hash_device: bool,
}

/// Why there is no such layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Parameters that no tree can have.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// More data than there is.
    #[error("{data_blocks} data blocks of {block_size} bytes are more than the data device's {found} bytes")]
    DataBlocks {
        /// Blocks asked for.
        data_blocks: u64,
        /// Their size.
        block_size: u32,
        /// Bytes of the device.
        found: u64,
    },
    /// An offset that is no multiple of what it has to be.
    #[error("{what} offset {found}: expected a multiple of {multiple} bytes")]
    Misaligned {
        /// `hash` or `FEC`.
        what: &'static str,
        /// Bytes.
        found: u64,
        /// Bytes.
        multiple: u64,
    },
    /// Past 2^63 bytes.
    #[error("the {what} area would end past the largest device (2^63 bytes)")]
    Overflow {
        /// `hash` or `FEC`.
        what: &'static str,
    },
    /// Two areas share bytes of one device.
    #[error(
        "{first} area overlaps with {second} area: it ends at byte {end}, the other starts at byte {start}"
    )]
    Overlap {
        /// The one before.
        first: &'static str,
        /// The one behind.
        second: &'static str,
        /// End of the first.
        end: u64,
        /// Start of the second.
        start: u64,
    },
    /// Parity over blocks of two sizes.
    #[error("block sizes must match for FEC: data blocks of {data} bytes, hash blocks of {hash}")]
    FecBlockSizes {
        /// Bytes.
        data: u32,
        /// Bytes.
        hash: u32,
    },
    /// The parity would be over bytes that are not there.
    #[error(
        "the FEC offset is {start}, but the hash device ends at byte {found}: FEC covers all that lies between tree and \
         parity, so make the device at least that long"
    )]
    FecGap {
        /// Where the parity is to start.
        start: u64,
        /// Where the device ends, the tree written.
        found: u64,
    },
}

impl Layout {
    /// Lays out what `options` ask for.
    ///
    /// # Errors
    /// Where areas overlap, or offsets or sizes cannot be.
    pub fn plan(options: &Options, devices: &Devices) -> Result<Self, LayoutError> {
        let block_size = options.data_block_size;
        let whole = devices.data_bytes.checked_div(block_size.into()).unwrap_or(0);
        let data_blocks = options.data_blocks.filter(|blocks| *blocks != 0).unwrap_or(whole);
        let params = Params::new(
            options.algorithm,
            block_size,
            options.hash_block_size,
            data_blocks,
            options.salt.clone(),
        )?
        .with_hash_type(options.hash_type)?;
        if data_blocks > whole {
            return Err(LayoutError::DataBlocks { data_blocks, block_size, found: devices.data_bytes });
        }
        Self::of(params, options.hash_offset, options.superblock, options.fec, devices)
    }

    /// Where things lie for parameters that are known, from a superblock for instance. `hash_offset` is the superblock's, or
    /// without one the tree's; `fec` has the parity's roots and offset.
    ///
    /// # Errors
    /// As [`Layout::plan`]'s.
    pub fn of(
        params: Params,
        hash_offset: u64,
        superblock: bool,
        fec: Option<(Roots, u64)>,
        devices: &Devices,
    ) -> Result<Self, LayoutError> {
        let hash_block = u64::from(params.hash_block_size());
        let multiple = if superblock { SUPERBLOCK_ALIGNMENT } else { hash_block };
        aligned("hash", hash_offset, multiple)?;
        let overflow = LayoutError::Overflow { what: "hash" };
        let tree_start = match superblock {
            true => Superblock::tree_offset(hash_offset, params.hash_block_size()),
            false => Some(hash_offset),
        };
        let tree_start = tree_start.ok_or_else(|| overflow.clone())?;
        let tree_end = tree_start.checked_add(params.tree_bytes()).filter(|end| *end < 1 << 63);
        let tree_end = tree_end.ok_or(overflow)?;
        if devices.hash_on_data {
            apart("data", params.data_bytes(), "hash", hash_offset)?;
        }
        let parity = fec.map(|(roots, start)| ParityPlace::of(&params, tree_end, roots, start, devices));
        let superblock = superblock.then_some(hash_offset);
        Ok(Self { params, superblock, tree_start, parity: parity.transpose()? })
    }

    /// Length of the tree.
    #[must_use]
    pub fn tree_bytes(&self) -> u64 {
        self.params.tree_bytes()
    }

    /// First byte after the tree.
    #[must_use]
    pub fn tree_end(&self) -> u64 {
        self.tree_start.saturating_add(self.tree_bytes())
    }

    /// What veritysetup prints of it; `uuid` as it was given, empty for none.
    #[must_use]
    pub fn header(&self, device: &str, uuid: &str) -> Header {
        Header::of(self, device, uuid)
    }
}

impl ParityPlace {
    fn of(
        params: &Params,
        tree_end: u64,
        roots: Roots,
        start: u64,
        devices: &Devices,
    ) -> Result<Self, LayoutError> {
        let (data, hash) = (params.data_block_size(), params.hash_block_size());
        if data != hash {
            return Err(LayoutError::FecBlockSizes { data, hash });
        }
        aligned("FEC", start, SUPERBLOCK_ALIGNMENT)?;
        let on_hash_device = devices.fec == FecPlace::Hash;
        if devices.fec == FecPlace::Data || (on_hash_device && devices.hash_on_data) {
            apart("data", params.data_bytes(), "FEC", start)?;
        }
        let there = devices.hash_bytes.max(tree_end);
        let covered = if on_hash_device {
            apart("hash", tree_end, "FEC", start)?;
            if start > there {
                return Err(LayoutError::FecGap { start, found: there });
            }
            start
        } else {
            there
        };
        // A multiple of the block: it ends where tree or, rounded down, device or parity do.
        let gap_blocks = covered.saturating_sub(tree_end).checked_div(hash.into()).unwrap_or(0);
        let overflow = || LayoutError::Overflow { what: "FEC" };
        let blocks = params
            .data_blocks()
            .checked_add(params.tree_blocks())
            .and_then(|blocks| blocks.checked_add(gap_blocks))
            .ok_or_else(overflow)?;
        let bytes = fec::parity_bytes(blocks, data, roots).ok_or_else(overflow)?;
        start.checked_add(bytes).filter(|end| *end < 1 << 63).ok_or_else(overflow)?;
        Ok(Self { roots, start, bytes, blocks, gap_blocks, on_hash_device })
    }
}

fn aligned(what: &'static str, found: u64, multiple: u64) -> Result<(), LayoutError> {
    match found.is_multiple_of(multiple) {
        true => Ok(()),
        false => Err(LayoutError::Misaligned { what, found, multiple }),
    }
}

fn apart(first: &'static str, end: u64, second: &'static str, start: u64) -> Result<(), LayoutError> {
    if end > start { Err(LayoutError::Overlap { first, second, end, start }) } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    const DATA: u64 = 100 * 4096;

    fn on_one_device(hash_offset: u64, fec_offset: u64, bytes: u64) -> Result<Layout, LayoutError> {
        let fec = Some((Roots::new(2).unwrap(), fec_offset));
        let options = Options { data_blocks: Some(100), hash_offset, fec, ..Options::default() };
        let devices =
            Devices { data_bytes: bytes, hash_bytes: bytes, hash_on_data: true, fec: FecPlace::Hash };
        Layout::plan(&options, &devices)
    }

    #[test]
    fn areas_of_one_device_lie_apart() {
        let good = on_one_device(DATA, DATA + 2 * 4096, DATA + 2 * 4096).unwrap();
        assert_eq!((good.tree_start, good.tree_end()), (DATA + 4096, DATA + 8192));
        assert_eq!(good.parity.unwrap().blocks, 101);
        let overlap = |first, second, end, start| Err(LayoutError::Overlap { first, second, end, start });
        assert_eq!(on_one_device(DATA - 512, DATA, DATA), overlap("data", "hash", DATA, DATA - 512));
        // veritysetup takes this one, and writes the parity over the tree.
        assert_eq!(on_one_device(DATA, DATA + 4096, DATA), overlap("hash", "FEC", DATA + 8192, DATA + 4096));
        let gap = Err(LayoutError::FecGap { start: DATA + 12288, found: DATA + 8192 });
        assert_eq!(on_one_device(DATA, DATA + 12288, DATA), gap);
        assert_eq!(on_one_device(DATA, DATA + 12288, 2 * DATA).unwrap().parity.unwrap().gap_blocks, 1);
    }

    #[test]
    fn impossible_layouts_are_refused() {
        let plan = |options: Options| Layout::plan(&options, &Devices::separate(DATA));
        let default = Options::default;
        assert!(plan(default()).is_ok());
        for wrong in [
            Options { hash_offset: 100, ..default() },
            Options { hash_offset: 512, superblock: false, ..default() },
            Options { hash_offset: 1 << 63, ..default() },
            Options { hash_offset: u64::MAX - 511, ..default() },
            Options { data_blocks: Some(101), ..default() },
            Options { data_blocks: Some(u64::MAX), ..default() },
            Options { data_block_size: 0, ..default() },
            Options { fec: Some((Roots::new(2).unwrap(), 100)), ..default() },
            Options { fec: Some((Roots::new(2).unwrap(), 0)), hash_block_size: 512, ..default() },
            Options { fec: Some((Roots::new(2).unwrap(), (1 << 63) - 512)), ..default() },
        ] {
            assert!(plan(wrong.clone()).is_err(), "{wrong:?}");
        }
        assert!(Layout::plan(&default(), &Devices::separate(4095)).is_err());
    }
}
