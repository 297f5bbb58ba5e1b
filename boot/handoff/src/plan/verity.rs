//! dm-verity as the plan has it: superblock, size of the tree, the kernel's table line.

use super::words;
use crate::hex;
use crate::identity::{PartUuid, RootHash};

words! {
    /// The hash, by the name of the kernel's crypto API.
    Algorithm {
        /// SHA-256
        Sha256 = "sha256",
        /// SHA-384
        Sha384 = "sha384",
        /// SHA-512
        Sha512 = "sha512",
    }
}

impl Algorithm {
    /// Length of a digest in bytes.
    pub fn digest_bytes(self) -> u32 {
        match self {
            Algorithm::Sha256 => 32,
            Algorithm::Sha384 => 48,
            Algorithm::Sha512 => 64,
        }
    }
}

words! {
    /// What the kernel does about a damaged block.
    OnCorruption {
        /// The read fails (EIO).
        Error = "error",
        /// The machine starts again.
        Restart = "restart",
        /// The kernel panics.
        Panic = "panic",
    }
}

/// Parameters of the dm-verity device; hash type 1 (salt first), superblock at the start of the hash partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verity {
    /// The hash.
    pub algorithm: Algorithm,
    /// Bytes of a data block, a power of two from 512 to 524288.
    pub data_block_size: u32,
    /// Bytes of a hash block, likewise.
    pub hash_block_size: u32,
    /// Data blocks, 1 or more.
    pub data_blocks: u64,
    /// First block of the tree on the hash partition, in hash blocks.
    pub hash_start: u64,
    /// Salt, 0 to 256 bytes.
    pub salt: Vec<u8>,
    /// The superblock's UUID.
    pub superblock_uuid: PartUuid,
    /// What happens on a damaged block.
    pub on_corruption: OnCorruption,
    /// Forward error correction.
    pub fec: Option<Fec>,
}

/// Forward error correction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fec {
    /// Parity bytes per code word, 2 to 24.
    pub roots: u8,
    /// Blocks that the parity covers: data, tree, and what lies between tree and parity.
    pub blocks: u64,
    /// First block of the parity, in data blocks.
    pub start: u64,
    /// The partition that holds it, where that is not the hash partition.
    pub partition: Option<PartUuid>,
}

/// The devices of a table, as `MAJOR:MINOR` or paths.
#[derive(Clone, Copy, Debug)]
pub struct VerityDevices<'a> {
    /// Data.
    pub data: &'a str,
    /// Superblock and tree.
    pub hash: &'a str,
    /// Parity; not looked at without FEC.
    pub fec: &'a str,
}

impl Verity {
    /// The superblock that these parameters make (layout: cryptsetup's `lib/verity/verity.c`, little-endian).
    pub fn superblock(&self) -> [u8; 512] {
        let salt_bytes = u16::try_from(self.salt.len()).unwrap_or(u16::MAX);
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(b"verity\0\0"); //                          0 signature
        bytes.extend_from_slice(&1u32.to_le_bytes()); //                      8 version
        bytes.extend_from_slice(&1u32.to_le_bytes()); //                     12 hash type
        bytes.extend_from_slice(&self.superblock_uuid.0); //                 16 UUID, textual order
        bytes.extend_from_slice(self.algorithm.word().as_bytes()); //        32 algorithm, NUL-padded
        bytes.resize(64, 0);
        bytes.extend_from_slice(&self.data_block_size.to_le_bytes()); //     64
        bytes.extend_from_slice(&self.hash_block_size.to_le_bytes()); //     68
        bytes.extend_from_slice(&self.data_blocks.to_le_bytes()); //         72
        bytes.extend_from_slice(&salt_bytes.to_le_bytes()); //               80
        bytes.resize(88, 0);
        bytes.extend_from_slice(&self.salt); //                              88 salt, zero-padded
        bytes.resize(512, 0);
        bytes.try_into().unwrap_or([0; 512])
    }

    /// Bytes of the device, `None` beyond 2⁶⁴.
    pub fn data_bytes(&self) -> Option<u64> {
        self.data_blocks.checked_mul(u64::from(self.data_block_size))
    }

    /// Length of the device in 512-byte sectors.
    pub fn data_sectors(&self) -> Option<u64> {
        Some(self.data_bytes()? / 512)
    }

    /// Bytes that the hash partition must have: everything before the tree, and the tree.
    pub fn hash_bytes(&self) -> Option<u64> {
        let per_block = u64::from(self.hash_block_size.checked_div(self.algorithm.digest_bytes())?);
        let bits = per_block.checked_ilog2().filter(|bits| *bits > 0)?;
        let mut total = self.hash_start;
        let mut blocks = self.data_blocks;
        while blocks > 1 {
            blocks = blocks.div_ceil(1u64.checked_shl(bits)?);
            total = total.checked_add(blocks)?;
        }
        total.checked_mul(u64::from(self.hash_block_size))
    }

    /// The target's arguments in a device-mapper table, in the order in which the kernel shows them again, so that what
    /// it shows can be compared: error handling, FEC (`verity_fec_status_table` in `drivers/md/dm-verity-fec.c`),
    /// signature.
    ///
    /// `signature_key` is the description of the `user` key that holds the root hash signature.
    pub fn table(&self, root_hash: &RootHash, devices: VerityDevices<'_>, signature_key: &str) -> String {
        let mut options: Vec<String> = match self.on_corruption {
            OnCorruption::Error => vec![],
            OnCorruption::Restart => vec!["restart_on_corruption".to_owned()],
            OnCorruption::Panic => vec!["panic_on_corruption".to_owned()],
        };
        if let Some(Fec { roots, blocks, start, .. }) = &self.fec {
            let pairs = [
                ("use_fec_from_device", devices.fec.to_owned()),
                ("fec_blocks", blocks.to_string()),
                ("fec_start", start.to_string()),
                ("fec_roots", roots.to_string()),
            ];
            options.extend(pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        }
        options.extend(["root_hash_sig_key_desc".to_owned(), signature_key.to_owned()]);
        format!(
            "1 {} {} {} {} {} {} {} {} {} {} {}",
            devices.data,
            devices.hash,
            self.data_block_size,
            self.hash_block_size,
            self.data_blocks,
            self.hash_start,
            self.algorithm,
            root_hash,
            if self.salt.is_empty() { "-".to_owned() } else { hex::encode(&self.salt) },
            options.len(),
            options.join(" "),
        )
    }
}
