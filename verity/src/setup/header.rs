//! What is printed of a device, to the byte as veritysetup prints it.

use std::fmt;

use super::Layout;
use crate::dm::RootHash;

/// The lines that `veritysetup format` and `dump` print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Name of the hash device as it was given.
    pub device: String,
    /// As it was given, or from the superblock; empty for none.
    pub uuid: String,
    /// Name of the hash function as it was given.
    pub algorithm: String,
    /// The root hash, where it is known.
    pub root_hash: Option<RootHash>,
    /// Bytes that the hash device needs, where it holds nothing before the superblock.
    pub hash_device_bytes: Option<u64>,
    /// Parity bytes a code word, and blocks of parity.
    pub fec: Option<(u32, u64)>,
    /// Bytes that the parity needs, where it lies at the start of a device of its own.
    pub fec_device_bytes: Option<u64>,
    layout: Layout,
}

impl Header {
    pub(super) fn of(layout: &Layout, device: &str, uuid: &str) -> Self {
        let block = u64::from(layout.params.hash_block_size());
        let fec = layout.parity.map(|parity| {
            let blocks = parity.bytes.checked_div(block).unwrap_or(0);
            (parity.roots.get(), blocks)
        });
        // veritysetup counts parity on the hash device as if it followed the tree at once.
        let parity_here = layout.parity.filter(|parity| parity.on_hash_device);
        let hash_bytes = layout.tree_end().saturating_add(parity_here.map_or(0, |parity| parity.bytes));
        let at_start = match layout.superblock {
            Some(offset) => offset == 0,
            None => layout.tree_start == 0,
        };
        let own = layout.parity.filter(|parity| !parity.on_hash_device && parity.start == 0);
        Self {
            device: device.to_owned(),
            uuid: uuid.to_owned(),
            algorithm: layout.params.algorithm().to_string(),
            root_hash: None,
            hash_device_bytes: at_start.then_some(hash_bytes),
            fec,
            fec_device_bytes: own.map(|parity| parity.bytes),
            layout: layout.clone(),
        }
    }

    /// The layout that it tells of.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let params = &self.layout.params;
        writeln!(f, "VERITY header information for {}", self.device)?;
        writeln!(f, "UUID:            \t{}", self.uuid)?;
        writeln!(f, "Hash type:       \t{}", params.hash_type().number())?;
        writeln!(f, "Data blocks:     \t{}", params.data_blocks())?;
        writeln!(f, "Data block size: \t{}", params.data_block_size())?;
        writeln!(f, "Hash blocks:     \t{}", params.tree_blocks())?;
        writeln!(f, "Hash block size: \t{}", params.hash_block_size())?;
        writeln!(f, "Hash algorithm:  \t{}", self.algorithm)?;
        if let Some((roots, blocks)) = self.fec {
            writeln!(f, "FEC RS roots:   \t{roots}")?;
            writeln!(f, "FEC blocks:     \t{blocks}")?;
        }
        writeln!(f, "Salt:            \t{}", params.salt())?;
        if let Some(root_hash) = self.root_hash {
            writeln!(f, "Root hash:      \t{root_hash}")?;
        }
        if let Some(bytes) = self.hash_device_bytes {
            writeln!(f, "Hash device size: \t{bytes} [bytes]")?;
        }
        if let Some(bytes) = self.fec_device_bytes {
            writeln!(f, "FEC device size: \t{bytes} [bytes]")?;
        }
        Ok(())
    }
}
