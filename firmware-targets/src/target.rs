//! A target, complete and consistent.

use crate::arch::Arch;
use serde::Deserialize;
use uuid::Uuid;

/// Bytes of a logical block (LBA) on every disk that a target here describes.
pub const SECTOR_BYTES: u64 = 512;

/// A board, or a family of boards that boot the same image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What recipes and `--target` call it: `[A-Za-z0-9._-]`, at most 64 bytes.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Processor architecture.
    pub arch: Arch,
    /// What its firmware starts and checks.
    pub boot_chain: BootChain,
    /// Where U-Boot puts the kernel, in memory; FIT alone.
    pub kernel_address: Option<u64>,
    /// How long the kernel command line may be, and what the firmware does to it.
    pub command_line: CommandLineLimit,
    /// Values of `console=` in the order in which they go on the command line. The kernel makes the last one
    /// that exists `/dev/console`. Never empty.
    pub consoles: Vec<String>,
    /// Kernel drivers that lie between the processor and the root file system's bytes.
    pub drivers: Drivers,
    /// The board's device trees, as the kernel names them below its folder `dtb`: `rockchip/rk3568-nanopi-r5s.dtb`.
    /// Empty where the firmware brings what the kernel needs.
    pub device_trees: Vec<String>,
    /// Where a UKI has them, for a firmware whose own is not to be used; UKI alone.
    pub device_tree_section: Option<DeviceTreeSection>,
    /// The oldest systemd-stub that this firmware lets start the kernel inside a UKI; UKI alone.
    pub least_stub: Option<u32>,
    /// What the partition table must leave alone.
    pub disk: DiskRules,
    /// How far images for this target were tried.
    pub proved: Proof,
}

/// What the firmware starts, and how it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BootChain {
    /// A unified kernel image with an Authenticode signature, started by UEFI under Secure Boot.
    Uki,
    /// A flattened image tree with a configuration signature, started by U-Boot.
    Fit,
}

/// A UKI's section for device trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceTreeSection {
    /// One, whatever the firmware says that the machine is.
    Dtb,
    /// Several, of which systemd-stub picks by the `compatible` of the firmware's own; where none fits, that is used.
    Dtbauto,
}

/// Limits of the kernel command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLineLimit {
    /// The kernel's buffer in bytes, terminating NUL included.
    pub limit: usize,
    /// Bytes that the builder leaves free for what firmware and stub may add.
    pub reserve: usize,
    /// Byte strings that this target's firmware may append to the line, each exactly as it arrives (its leading
    /// blank included). stage0 accepts the signed line followed by any of these, and nothing else.
    pub additions: Vec<String>,
}

impl CommandLineLimit {
    /// The longest line in bytes, without NUL, that leaves the reserve free.
    pub fn budget(&self) -> usize {
        self.limit.saturating_sub(self.reserve).saturating_sub(1)
    }
}

/// Drivers of disk and bus. Their dependencies are the kernel package's own knowledge and not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drivers {
    /// The kernel must have these, as modules or built in.
    pub required: Vec<ModuleName>,
    /// Carried where the kernel has them as modules.
    pub optional: Vec<ModuleName>,
}

/// A kernel module's name as the kernel itself writes it: `-` and `_` are the same to modprobe, here always `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleName(String);

impl ModuleName {
    /// Takes `[A-Za-z0-9_-]+` of at most 55 bytes (the kernel's `MODULE_NAME_LEN` less NUL), without `.ko`.
    pub fn parse(name: &str) -> Option<Self> {
        let fits = (1..=55).contains(&name.len());
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        (fits && plain).then(|| Self(name.replace('-', "_")))
    }

    /// The name, with `_`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ModuleName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a partition table on this target's disk must respect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskRules {
    /// First LBA (of [`SECTOR_BYTES`]) that a partition may occupy; 34 where only the GPT itself is in the way.
    pub first_usable_lba: u64,
    /// Firmware that lies at fixed places before the partitions, in order of offset. They do not overlap, keep
    /// clear of the GPT and end before [`first_usable_lba`](Self::first_usable_lba).
    pub blobs: Vec<Blob>,
}

/// A piece of firmware at a fixed place on the disk. The recipe says which file it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// What recipes call it.
    pub name: String,
    /// Offset of its first byte on the disk.
    pub offset: u64,
    /// The room it has, in bytes.
    pub size: u64,
    /// The partition over this room: found by it, or kept from other tools by it. Without, it lies outside of all.
    pub partition: Option<BlobPartition>,
}

impl Blob {
    /// Offset of the first byte after its room.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.size)
    }
}

/// The GPT entry over a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobPartition {
    /// Its name, 1 to 36 printable ASCII characters.
    pub name: String,
    /// Its type.
    pub type_guid: Uuid,
}

/// How far images for a target were tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// Booted in an emulator with signatures enforced.
    Emulator,
    /// The disk layout was held against the vendor's description; not booted.
    Layout,
    /// Nobody has tried.
    Untried,
}

impl std::fmt::Display for BootChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Uki => "uki",
            Self::Fit => "fit",
        })
    }
}

impl std::fmt::Display for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Emulator => "booted in an emulator",
            Self::Layout => "layout checked",
            Self::Untried => "untried",
        })
    }
}
