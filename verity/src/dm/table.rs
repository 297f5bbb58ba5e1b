//! The device-mapper table line that sets up a verity device.

use std::fmt;

use super::{Params, RootHash};
use crate::fec::Roots;

/// One line of the kernel's `verity` target, shown as `dmsetup table` and `dm-mod.create=` take it.
///
/// Options come in the order in which libcryptsetup gives them. Devices are given as the kernel finds them: `/dev/…`,
/// `MAJOR:MINOR`, `PARTUUID=…`. Neither they nor the key's description may have white space in them: the line has no way
/// to quote it.
#[derive(Debug, Clone)]
pub struct Table {
    /// The tree.
    pub params: Params,
    /// Its root.
    pub root_hash: RootHash,
    /// The device with the data.
    pub data_device: String,
    /// The device with the tree.
    pub hash_device: String,
    /// Where the tree starts on its device, in hash blocks; 1 after a superblock at offset 0.
    pub hash_start: u64,
    /// What the kernel does about a block that does not match; without it: an I/O error.
    pub on_corruption: Option<OnCorruption>,
    /// What the kernel does about a failing device; without it: an I/O error.
    pub on_error: Option<OnError>,
    /// Blocks that should be zero are not read.
    pub ignore_zero_blocks: bool,
    /// Data blocks are checked on first use only, which gives up protection from later changes.
    pub check_at_most_once: bool,
    /// Error correction.
    pub fec: Option<TableFec>,
    /// Description of the `user` key that holds the root hash signature.
    pub signature_key: Option<String>,
}

/// What the kernel does about a corrupted block instead of answering EIO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCorruption {
    /// Logs it and hands the data out: no protection.
    Ignore,
    /// Reboots.
    Restart,
    /// Panics.
    Panic,
}

/// What the kernel does about an I/O error instead of passing it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Reboots.
    Restart,
    /// Panics.
    Panic,
}

/// Where the parity lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFec {
    /// The device with the parity.
    pub device: String,
    /// Parity bytes a code word.
    pub roots: Roots,
    /// Message blocks: data, tree, and what lies between tree and parity if they share a device.
    pub blocks: u64,
    /// Where the parity starts, in data blocks.
    pub start: u64,
}

impl Table {
    /// A line without options.
    #[must_use]
    pub fn new(
        params: Params,
        root_hash: RootHash,
        data_device: impl Into<String>,
        hash_device: impl Into<String>,
        hash_start: u64,
    ) -> Self {
        Self {
            params,
            root_hash,
            data_device: data_device.into(),
            hash_device: hash_device.into(),
            hash_start,
            on_corruption: None,
            on_error: None,
            ignore_zero_blocks: false,
            check_at_most_once: false,
            fec: None,
            signature_key: None,
        }
    }

    /// Length of the device in sectors of 512 bytes.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.params.data_bytes() / 512
    }

    fn options(&self) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        words.extend(self.on_corruption.map(|action| match action {
            OnCorruption::Ignore => "ignore_corruption".into(),
            OnCorruption::Restart => "restart_on_corruption".into(),
            OnCorruption::Panic => "panic_on_corruption".into(),
        }));
        words.extend(self.on_error.map(|action| match action {
            OnError::Restart => "restart_on_error".into(),
            OnError::Panic => "panic_on_error".into(),
        }));
        words.extend(self.ignore_zero_blocks.then(|| "ignore_zero_blocks".into()));
        words.extend(self.check_at_most_once.then(|| "check_at_most_once".into()));
        if let Some(fec) = &self.fec {
            words.extend(["use_fec_from_device".into(), fec.device.clone()]);
            words.extend(["fec_start".into(), fec.start.to_string()]);
            words.extend(["fec_blocks".into(), fec.blocks.to_string()]);
            words.extend(["fec_roots".into(), fec.roots.to_string()]);
        }
        if let Some(key) = &self.signature_key {
            words.extend(["root_hash_sig_key_desc".into(), key.clone()]);
        }
        words
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let params = &self.params;
        write!(
            f,
            "0 {} verity {} {} {} {} {} {} {} {} {} {}",
            self.sectors(),
            params.hash_type().number(),
            self.data_device,
            self.hash_device,
            params.data_block_size(),
            params.hash_block_size(),
            params.data_blocks(),
            self.hash_start,
            params.algorithm(),
            self.root_hash,
            params.salt(),
        )?;
        let options = self.options();
        if !options.is_empty() {
            write!(f, " {} {}", options.len(), options.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dm::Salt;
    use crate::hash::Algorithm;

    #[test]
    fn the_line_is_the_kernels() {
        let root = "a656ad29a03c42bf4af9a0988c55ba4f864ee375223d4c087bfdaa4b6aca0295";
        let params = Params::new(Algorithm::Sha256, 4096, 4096, 262_144, Salt::default()).unwrap();
        let mut table = Table::new(params, root.parse().unwrap(), "PARTUUID=1", "PARTUUID=2", 1);
        let plain = format!("0 2097152 verity 1 PARTUUID=1 PARTUUID=2 4096 4096 262144 1 sha256 {root} -");
        assert_eq!(table.to_string(), plain);

        table.on_corruption = Some(OnCorruption::Panic);
        table.on_error = Some(OnError::Panic);
        assert_eq!(table.to_string(), format!("{plain} 2 panic_on_corruption panic_on_error"));

        table.fec =
            Some(TableFec { device: "8:3".into(), roots: Roots::new(2).unwrap(), blocks: 264_209, start: 7 });
        table.signature_key = Some("k".into());
        let options = "12 panic_on_corruption panic_on_error use_fec_from_device 8:3 fec_start 7 fec_blocks 264209 \
                       fec_roots 2 root_hash_sig_key_desc k";
        assert_eq!(table.to_string(), format!("{plain} {options}"));
    }
}
