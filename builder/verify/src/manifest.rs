//! `manifest.json`: what a build wrote and from what.
//!
//! The manifest is not signed and nothing is trusted because of it. The offline proof uses it as the list of what
//! the builder *meant* to be on the disk: whatever is there beyond that list is a finding.

use std::collections::BTreeMap;
use std::io;

use graven_boot::initramfs::{self, Initramfs};
use graven_verity::io::{ReadAt, read_through};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The whole of `manifest.json`. Digests are lower-case hexadecimal SHA-256 unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`FORMAT`]: tells a folder of ours from any other.
    pub format: String,
    /// The builder.
    pub graven: Builder,
    /// Recipe's `name`.
    pub name: String,
    /// Recipe's `version`.
    pub version: String,
    /// Target, as `graven targets` lists it.
    pub target: String,
    /// `release` or `development`.
    pub profile: String,
    /// Overrides of the recipe (`--set`), in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<String>,
    /// SHA-256 of the lock that it was built by, which lies beside as `graven.lock`; none where nothing is of repositories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_sha256: Option<String>,
    /// Seconds since 1970 that stand for "now" in the image.
    pub source_date: i64,
    /// The disk as a whole.
    pub disk: Disk,
    /// Partitions in the order of their offsets.
    pub partitions: Vec<Partition>,
    /// Firmware at fixed places, in or outside of partitions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firmware: Vec<Firmware>,
    /// The U-Boot that starts a FIT, as the builder was given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub u_boot: Option<UBoot>,
    /// The root file system and its tree.
    pub root: Verified,
    /// The volumes, in the recipe's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// The IPE policy.
    pub policy: Policy,
    /// The kernel command line, whole.
    pub command_line: String,
    /// The boot artefact.
    pub boot: Boot,
    /// Every entry of the initramfs, by path.
    pub initramfs: Vec<InitramfsEntry>,
    /// The kernel.
    pub kernel: Kernel,
    /// Every file of the EFI system partition.
    pub esp: Vec<EspFile>,
    /// The programs of the root that run scripts, in the order of their paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interpreters: Vec<Interpreter>,
    /// What the image was made from, in the recipe's order.
    pub inputs: Vec<Input>,
    /// The container images among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<Container>,
    /// Loosened on purpose: name of what, and the recipe's reason.
    pub accepted: BTreeMap<String, String>,
}

/// [`Manifest::format`] of this version.
pub const FORMAT: &str = "graven-manifest-1";

/// Which Graven built an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Builder {
    /// Version of the program.
    pub version: String,
    /// SHA-256 of the stage0 put into the image.
    pub stage0_sha256: String,
}

/// The disk image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Length in bytes.
    pub size: u64,
    /// GPT's disk GUID.
    pub guid: String,
    /// fs-verity digest (SHA-256, 4 KiB blocks, no salt) of `disk.img`.
    pub fsverity: String,
    /// SHA-256 of `disk.img`, where it was asked for: one serial pass over all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Firmware that the board's boot ROM or its first loader reads.
    Firmware,
    /// EFI system partition.
    Esp,
    /// Root file system.
    Root,
    /// Its dm-verity superblock, tree and FEC.
    RootVerity,
    /// Its root hash signature.
    RootVeritySig,
    /// Room for the root file system of the other slot.
    EmptyRoot,
    /// Room for its tree.
    EmptyRootVerity,
    /// Room for its signature.
    EmptyRootVeritySig,
    /// A volume's file system.
    Volume,
    /// Its dm-verity superblock, tree and FEC.
    VolumeVerity,
    /// Its root hash signature.
    VolumeVeritySig,
    /// Room for a volume of the other slot.
    EmptyVolume,
    /// Room for its tree.
    EmptyVolumeVerity,
    /// Room for its signature.
    EmptyVolumeVeritySig,
    /// What outlives a boot, written by the machine and authenticated by nothing.
    State,
}

impl Role {
    /// Whether it is room for another version.
    #[must_use]
    pub fn is_empty(self) -> bool {
        matches!(
            self,
            Self::EmptyRoot
                | Self::EmptyRootVerity
                | Self::EmptyRootVeritySig
                | Self::EmptyVolume
                | Self::EmptyVolumeVerity
                | Self::EmptyVolumeVeritySig
        )
    }
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// What it is for.
    pub role: Role,
    /// GPT name.
    pub name: String,
    /// GPT type.
    pub type_uuid: String,
    /// GPT unique GUID (PARTUUID).
    pub uuid: String,
    /// First byte on the disk.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
}

/// A piece of firmware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firmware {
    /// What the board calls it.
    pub name: String,
    /// First byte on the disk.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// A U-Boot that was inspected; what was accepted of it is in [`Manifest::accepted`], under `firmware.NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UBoot {
    /// The versions in its banners.
    pub versions: Vec<String>,
    /// SHA-256 of the bytes that were looked through.
    pub sha256: String,
    /// They are the firmware on the disk, and no file besides.
    pub on_disk: bool,
    /// Names of the refusals that could not be judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<String>,
}

/// A finished file system beside the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Its name; its partitions' begin with it.
    pub name: String,
    /// Where it is mounted.
    pub target: String,
    /// What the policy allows of it.
    pub allow: Vec<String>,
    /// The file system and its tree.
    pub image: Verified,
}

/// A file system on its verified device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    /// `erofs`; of a volume `squashfs` or `ext4`, too.
    pub file_system: String,
    /// dm-verity root hash.
    pub root_hash: String,
    /// Hash algorithm of the tree.
    pub algorithm: String,
    /// Salt, hexadecimal.
    pub salt: String,
    /// Data blocks.
    pub data_blocks: u64,
    /// Bytes of a data block.
    pub data_block_size: u32,
    /// Bytes of a hash block.
    pub hash_block_size: u32,
    /// UUID in the dm-verity superblock.
    pub superblock_uuid: String,
    /// Reed-Solomon roots, where there is forward error correction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fec_roots: Option<u32>,
    /// SHA-256 of the root hash signature.
    pub signature_sha256: String,
}

/// The IPE policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// `policy_name`.
    pub name: String,
    /// `policy_version`.
    pub version: String,
    /// `enforce` or `audit`.
    pub mode: String,
    /// `command-line` or `initramfs`.
    pub placement: String,
    /// SHA-256 of the text.
    pub sha256: String,
    /// SHA-256 of the signed policy, as the kernel's audit records print it.
    pub p7b_sha256: String,
}

/// The boot artefact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// Where it lies on the EFI system partition.
    pub path: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Authenticode digest of a UKI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticode: Option<String>,
    /// SHA-256 of the kernel inside.
    pub kernel_sha256: String,
    /// SHA-256 of each device tree of a UKI, in the order of its sections.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_trees_sha256: Vec<String>,
    /// SHA-256 of the stub that a UKI was built on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stub_sha256: Option<String>,
}

/// An entry of the initramfs. Owner and time are always 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitramfsEntry {
    /// Path without leading slash.
    pub path: String,
    /// Permission bits in octal.
    pub mode: String,
    /// `file`, `directory`, `symlink TARGET`, `char MAJOR:MINOR` …
    pub kind: String,
    /// Length of a file in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256 of a file's contents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl InitramfsEntry {
    /// An archive as the manifest lists it.
    #[must_use]
    pub fn list(initramfs: &Initramfs) -> Vec<Self> {
        initramfs.entries().map(|(path, entry)| Self::of(path, entry)).collect()
    }

    /// One entry as the manifest lists it.
    #[must_use]
    pub fn of(path: &str, entry: &initramfs::Entry) -> Self {
        use initramfs::Kind;
        let (kind, contents) = match &entry.kind {
            Kind::File(contents) => ("file".to_owned(), Some(contents)),
            Kind::Directory => ("directory".to_owned(), None),
            Kind::Symlink(target) => (format!("symlink {target}"), None),
            Kind::CharDevice { major, minor } => (format!("char {major}:{minor}"), None),
            Kind::BlockDevice { major, minor } => (format!("block {major}:{minor}"), None),
            Kind::Fifo => ("fifo".to_owned(), None),
            Kind::Socket => ("socket".to_owned(), None),
        };
        Self {
            path: path.to_owned(),
            mode: format!("{:04o}", entry.mode),
            kind,
            size: contents.map(|bytes| bytes.len() as u64),
            sha256: contents.map(|bytes| sha256_hex(bytes)),
        }
    }
}

/// SHA-256 as the manifest writes it.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    graven_handoff::hex::encode(&Sha256::digest(bytes))
}

/// SHA-256 of something that is too long to lie in memory.
///
/// # Errors
/// What reading it says.
pub fn sha256_of(source: &dyn ReadAt) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    read_through(source, |piece| {
        hash.update(piece);
        Ok(())
    })?;
    Ok(hash.finalize().into())
}

/// The kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// SHA-256 of its configuration, where one lay beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_sha256: Option<String>,
}

/// A file of the EFI system partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EspFile {
    /// Path with leading slash.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the contents.
    pub sha256: String,
}

/// A program that runs scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interpreter {
    /// Where it lies in the root.
    pub path: String,
    /// The package or input that it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// What its code shows: `never asks`, `could ask` or `asks`.
    pub asking: String,
    /// What the recipe says of it.
    pub standing: Standing,
    /// How many scripts name it.
    pub scripts: usize,
}

/// What the recipe says of an interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// That it asks the kernel before it runs a script, and obeys.
    Vouched,
    /// That it may be there all the same.
    Accepted,
    /// Nothing.
    Open,
}

/// Something that the image was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// `deb`, `tar`, `oci`, `dir`, `file`, `volume`, `stub`, `firmware`, `u-boot`, `recipe`.
    pub kind: String,
    /// File name, or the recipe's words for it; never an absolute path.
    pub name: String,
    /// SHA-256 of the file, of a container image that of its manifest; a folder has none, each of its files is in `files.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// A container image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// The recipe's words for it.
    pub name: String,
    /// SHA-256 of its manifest.
    pub sha256: String,
    /// SHA-256 of its layers, lowest first.
    pub layers: Vec<String>,
    /// What whoever made it says of it: its `org.opencontainers.image.*`, by what follows that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub says: BTreeMap<String, String>,
}

impl Manifest {
    /// The text of `manifest.json`.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A struct of strings and numbers: serialising it cannot fail.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads the text of a `manifest.json`.
    ///
    /// # Errors
    /// Where it is no JSON, has unknown or missing fields, or another format.
    pub fn from_json(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_str(text).map_err(ManifestError::Json)?;
        if manifest.format == FORMAT { Ok(manifest) } else { Err(ManifestError::Format(manifest.format)) }
    }

    /// The first partition with that role.
    #[must_use]
    pub fn partition(&self, role: Role) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.role == role)
    }
}

/// Why a `manifest.json` was not understood.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// No JSON, or not of this shape.
    #[error("manifest.json: {0}")]
    Json(serde_json::Error),
    /// Another format.
    #[error("manifest.json: format is {0:?}, expected {FORMAT:?}")]
    Format(String),
}
