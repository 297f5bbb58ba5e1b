//! What is inside an image, in words and as JSON. Nothing is proved by it.

use std::collections::BTreeMap;
use std::fmt;

use graven_boot::authenticode;
use graven_boot::fdt::Tree;
use graven_boot::pkcs7::SignedData;
use graven_boot::uki::Uki;
use graven_handoff::{self as handoff, RootHash, Verity, VerityDevices, Volume, hex};
use graven_image::gpt::Partition;
use graven_image::tree::Kind;
use graven_targets::BootChain;
use serde::Serialize;

use crate::contents::{Contents, ContentsError};
use crate::device::Device;
use crate::links::shown;
use crate::manifest::{InitramfsEntry, sha256_hex};

/// An image described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Architecture, by the partition types.
    pub arch: String,
    /// GPT's disk GUID.
    pub disk_guid: String,
    /// In the order of the table.
    pub partitions: Vec<PartitionSummary>,
    /// Files on the EFI system partition.
    pub esp: Vec<FileSummary>,
    /// The boot artefact.
    pub boot: BootSummary,
    /// Words of the command line, in order.
    pub command_line: Vec<String>,
    /// Length of the whole line in bytes.
    pub command_line_bytes: usize,
    /// Entries of the initramfs.
    pub initramfs: Vec<InitramfsEntry>,
    /// stage0's plan, its text.
    pub plan: String,
    /// The IPE policy, its text.
    pub policy: String,
    /// How the policy's signature names its signer.
    pub policy_signer: String,
    /// dm-verity root hash on the command line.
    pub root_hash: String,
    /// How the root hash's signature names its signer.
    pub root_signer: String,
    /// The root file system.
    pub root: RootSummary,
    /// The volumes, in the order in which they are mounted.
    pub volumes: Vec<VolumeSummary>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionSummary {
    /// GPT name.
    pub name: String,
    /// What it is for.
    pub role: &'static str,
    /// GPT type.
    pub type_uuid: String,
    /// PARTUUID.
    pub uuid: String,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// Attribute bits.
    pub attributes: String,
}

/// A file of the EFI system partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileSummary {
    /// Its path.
    pub path: String,
    /// Bytes.
    pub size: u64,
}

/// The boot artefact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BootSummary {
    /// Where it lies.
    pub path: String,
    /// Bytes.
    pub size: usize,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Authenticode digest, where it can be computed.
    pub authenticode: Option<String>,
    /// Each signature: how it names its signer, and the certificates that it carries.
    pub signatures: Vec<SignatureSummary>,
    /// PE sections of a UKI, or images of a FIT: name and bytes.
    pub sections: Vec<(String, usize)>,
    /// Device trees of a UKI, in the order of its sections.
    pub device_trees: Vec<DeviceTreeSummary>,
    /// `uname -r`.
    pub kernel_release: String,
    /// SHA-256 of the kernel.
    pub kernel_sha256: String,
    /// SHA-256 of `/init`.
    pub stage0_sha256: String,
    /// Description of a FIT.
    pub description: Option<String>,
    /// os-release of a UKI: keys and values.
    pub os_release: BTreeMap<String, String>,
}

/// A device tree in a UKI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceTreeSummary {
    /// `.dtb` or `.dtbauto`.
    pub section: String,
    /// The machines that it is for, as its root names them.
    pub compatible: Vec<String>,
    /// SHA-256 of the tree.
    pub sha256: String,
}

/// One Authenticode signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignatureSummary {
    /// As the message names him.
    pub signer: String,
    /// Subject and SHA-256 of each certificate inside.
    pub certificates: Vec<(String, String)>,
}

/// The root file system and its tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RootSummary {
    /// Which file system it is.
    pub file_system: &'static str,
    /// Its UUID; squashfs has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Bytes of the file system.
    pub bytes: u64,
    /// How many there are of each kind of file.
    pub files: BTreeMap<&'static str, u64>,
    /// Bytes of all regular files, each counted once.
    pub content_bytes: u64,
    /// Hash algorithm.
    pub algorithm: String,
    /// Hexadecimal.
    pub salt: String,
    /// Data blocks.
    pub data_blocks: u64,
    /// Bytes of each.
    pub data_block_size: u32,
    /// The device-mapper table that stage0 loads, devices by PARTUUID.
    pub table: String,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeSummary {
    /// Its name.
    pub name: String,
    /// Where it is mounted.
    pub target: String,
    /// `exec` or `noexec`.
    pub programs: &'static str,
    /// The kernel's name of its file system.
    pub file_system: String,
    /// Bytes of its device.
    pub bytes: u64,
    /// dm-verity root hash.
    pub root_hash: String,
    /// How the root hash's signature names its signer.
    pub root_signer: String,
    /// The device-mapper table that stage0 loads, devices by PARTUUID.
    pub table: String,
}

/// Describes an image.
///
/// # Errors
/// The first part that cannot be read: then [`prove`](crate::prove()) tells more.
pub fn inspect(contents: &Contents) -> Result<Summary, ContentsError> {
    let layout = contents.layout();
    let boot = contents.boot()?;
    let signature = contents.root_signature()?;
    let reader = contents.root()?;
    let tree = reader.tree()?;
    let verity = &boot.plan.root.verity;

    let mut files: BTreeMap<&'static str, u64> = BTreeMap::new();
    let (mut content_bytes, mut seen) = (0u64, std::collections::BTreeSet::new());
    for entry in tree.walk().filter(|entry| seen.insert(entry.id)) {
        *files.entry(entry.inode.kind.noun()).or_default() += 1;
        if let Kind::File(content) = &entry.inode.kind {
            content_bytes = content_bytes.saturating_add(content.len);
        }
    }

    let volumes: Vec<(Device<'_>, VolumeSummary)> =
        boot.plan.volumes.iter().map(|volume| describe(contents, volume)).collect::<Result<_, _>>()?;
    let of_volume = |partition: &Partition| {
        let parts = volumes.iter().flat_map(|(device, _)| {
            [
                (device.data, "volume"),
                (device.verity, "hash tree of a volume"),
                (device.signature, "root hash signature of a volume"),
            ]
        });
        parts.into_iter().find(|(part, _)| *part == partition).map(|(_, role)| role)
    };
    let state = boot.plan.state.as_ref().map(|state| state.partition.0);
    let role = |partition: &Partition| match partition {
        p if *p == layout.esp => "EFI system partition",
        p if *p == layout.root => "root file system",
        p if *p == layout.verity => "hash tree",
        p if *p == layout.signature => "root hash signature",
        p if layout.empty.contains(p) => "empty slot",
        p if state == Some(*p.guid.as_bytes()) => "state, authenticated by nothing",
        p => of_volume(p).unwrap_or("other"),
    };
    let partitions = layout.table.partitions.iter().map(|partition| PartitionSummary {
        name: shown(&partition.name),
        role: role(partition),
        type_uuid: partition.type_guid.to_string(),
        uuid: partition.guid.to_string(),
        offset: partition.start,
        size: partition.len,
        attributes: format!("{:#018x}", partition.attributes),
    });
    let table = table(&layout.root, &layout.verity, verity, &boot.binding.root_hash, "root");

    let esp = contents.esp()?;
    let os_release = boot.os_release.lines().filter_map(|line| line.split_once('='));
    Ok(Summary {
        arch: layout.arch.to_string(),
        disk_guid: layout.table.disk_guid.to_string(),
        partitions: partitions.collect(),
        esp: esp
            .entries()
            .iter()
            .filter(|entry| entry.kind == graven_image::fat::EntryKind::File)
            .map(|entry| FileSummary { path: shown(&entry.path), size: entry.size.into() })
            .collect(),
        boot: BootSummary {
            path: layout.boot_path(boot.chain),
            size: boot.bytes.len(),
            sha256: sha256_hex(&boot.bytes),
            authenticode: graven_boot::pe::Image::parse(&boot.bytes)
                .ok()
                .map(|image| hex::encode(&authenticode::digest(&image))),
            signatures: signatures(&boot.bytes),
            sections: boot.sections.clone(),
            device_trees: device_trees(&boot.bytes),
            kernel_release: shown(&boot.uname),
            kernel_sha256: sha256_hex(&boot.kernel),
            stage0_sha256: sha256_hex(&contents_of(&boot.initramfs, handoff::initramfs::INIT)),
            description: (boot.chain == BootChain::Fit).then(|| shown(&boot.os_release)),
            os_release: os_release.map(|(key, value)| (shown(key), shown(value.trim_matches('"')))).collect(),
        },
        command_line: handoff::words(&boot.command_line).map(printable).collect(),
        command_line_bytes: boot.command_line.len(),
        initramfs: InitramfsEntry::list(&boot.initramfs),
        plan: printable(&boot.plan.render().unwrap_or_default()),
        policy: printable(&String::from_utf8_lossy(&boot.policy)),
        policy_signer: signer(&boot.signed_policy),
        root_hash: boot.binding.root_hash.to_string(),
        root_signer: signer(&signature.message),
        root: RootSummary {
            file_system: reader.file_system().name(),
            uuid: reader.uuid().map(|uuid| uuid.to_string()),
            bytes: reader.bytes(),
            files,
            content_bytes,
            algorithm: verity.algorithm.to_string(),
            salt: hex::encode(&verity.salt),
            data_blocks: verity.data_blocks,
            data_block_size: verity.data_block_size,
            table,
        },
        volumes: volumes.into_iter().map(|(_, summary)| summary).collect(),
    })
}

fn describe<'a>(
    contents: &'a Contents,
    volume: &'a Volume,
) -> Result<(Device<'a>, VolumeSummary), ContentsError> {
    let device = contents.volume(volume)?;
    let Volume { name, target, programs, root_hash, image } = volume;
    let summary = VolumeSummary {
        name: name.clone(),
        target: shown(target),
        programs: programs.word(),
        file_system: image.file_system.clone(),
        bytes: image.verity.data_bytes().unwrap_or_default(),
        root_hash: root_hash.to_string(),
        root_signer: signer(&contents.signature_in(device.signature)?.message),
        table: table(device.data, device.verity, &image.verity, root_hash, name),
    };
    Ok((device, summary))
}

/// The device-mapper table as stage0 loads it, devices by PARTUUID.
fn table(data: &Partition, hash: &Partition, verity: &Verity, root_hash: &RootHash, name: &str) -> String {
    let (data, hash) = (format!("PARTUUID={}", data.guid), format!("PARTUUID={}", hash.guid));
    let devices = VerityDevices { data: &data, hash: &hash, fec: &hash };
    let sectors = verity.data_sectors().unwrap_or_default();
    format!("0 {sectors} verity {}", verity.table(root_hash, devices, &format!("graven:{name}")))
}

fn device_trees(bytes: &[u8]) -> Vec<DeviceTreeSummary> {
    let uki = Uki::parse(bytes).ok();
    let trees = uki.iter().flat_map(Uki::device_trees).map(|(section, bytes, _)| {
        let tree = Tree::parse(bytes).ok();
        let compatible = tree.as_ref().and_then(|tree| tree.root().texts("compatible")).unwrap_or_default();
        DeviceTreeSummary {
            section: section.to_owned(),
            compatible: compatible.into_iter().map(shown).collect(),
            sha256: sha256_hex(bytes),
        }
    });
    trees.collect()
}

/// Text without control characters other than newlines: it goes to a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn contents_of(initramfs: &graven_boot::initramfs::Initramfs, path: &str) -> Vec<u8> {
    match initramfs.get(path).map(|entry| &entry.kind) {
        Some(graven_boot::initramfs::Kind::File(contents)) => contents.clone(),
        _ => Vec::new(),
    }
}

fn signer(message: &[u8]) -> String {
    match SignedData::parse(message) {
        Ok(message) => printable(&message.signer().to_string()),
        Err(error) => printable(&format!("unreadable: {error}")),
    }
}

fn signatures(bytes: &[u8]) -> Vec<SignatureSummary> {
    let signatures = authenticode::signatures(bytes).unwrap_or_default();
    let summary = signatures.iter().map(|signature| {
        let message = signature.message();
        let certificates = message.certificates().iter();
        SignatureSummary {
            signer: printable(&message.signer().to_string()),
            certificates: certificates
                .map(|one| (printable(&one.subject()), one.fingerprint().to_string()))
                .collect(),
        }
    });
    summary.collect()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |key| self.boot.os_release.get(key).map(String::as_str);
        match &self.boot.description {
            Some(description) => writeln!(f, "{description}, {}", self.arch)?,
            None => {
                let name = said("PRETTY_NAME").unwrap_or("(no name)");
                let variant = said("VARIANT_ID").unwrap_or("unknown profile");
                writeln!(f, "{name}, {variant}, {}", self.arch)?;
            }
        }
        writeln!(f, "\nPartitions (disk {})", self.disk_guid)?;
        for p in &self.partitions {
            let mib = p.size as f64 / 1_048_576.0;
            writeln!(f, "  {:<16} {:>10.2} MiB  at {:>12}  {}  {}", p.name, mib, p.offset, p.uuid, p.role)?;
        }
        writeln!(f, "\nEFI system partition")?;
        for file in &self.esp {
            writeln!(f, "  {:<40} {:>12}", file.path, file.size)?;
        }
        let boot = &self.boot;
        writeln!(f, "\nBoot artefact {}", boot.path)?;
        writeln!(f, "  sha256        {}", boot.sha256)?;
        writeln!(f, "  authenticode  {}", boot.authenticode.as_deref().unwrap_or("none"))?;
        writeln!(f, "  kernel        {}, sha256 {}", boot.kernel_release, boot.kernel_sha256)?;
        writeln!(f, "  stage0        sha256 {}", boot.stage0_sha256)?;
        for signature in &boot.signatures {
            writeln!(f, "  signed by     {}", signature.signer)?;
            for (subject, fingerprint) in &signature.certificates {
                writeln!(f, "                carries «{subject}» sha256:{fingerprint}")?;
            }
        }
        let sections: Vec<String> =
            boot.sections.iter().map(|(name, size)| format!("{} {size}", shown(name))).collect();
        writeln!(f, "  made of       {}", sections.join(", "))?;
        for tree in &boot.device_trees {
            writeln!(
                f,
                "  device tree   {} for {} (sha256:{})",
                tree.section,
                tree.compatible.join(", "),
                tree.sha256
            )?;
        }
        writeln!(f, "\nCommand line ({} bytes)", self.command_line_bytes)?;
        for word in &self.command_line {
            writeln!(f, "  {}", shown(word))?;
        }
        writeln!(f, "\nInitramfs")?;
        for entry in &self.initramfs {
            let size = entry.size.map(|size| size.to_string()).unwrap_or_default();
            writeln!(f, "  {} {:<10} {:>10}  /{}", entry.mode, shown(&entry.kind), size, shown(&entry.path))?;
        }
        writeln!(f, "\nPlan of stage0")?;
        self.plan.lines().try_for_each(|line| writeln!(f, "  {line}"))?;
        writeln!(f, "\nIPE policy, signed by {}", self.policy_signer)?;
        self.policy.lines().try_for_each(|line| writeln!(f, "  {line}"))?;
        let root = &self.root;
        let uuid = root.uuid.iter().map(|uuid| format!(" {uuid}")).collect::<String>();
        writeln!(f, "\nRoot file system, {}{uuid}, {} bytes", root.file_system, root.bytes)?;
        let files: Vec<String> = root.files.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        writeln!(f, "  inodes        {}; {} bytes of contents", files.join(", "), root.content_bytes)?;
        writeln!(f, "  root hash     {}", self.root_hash)?;
        writeln!(f, "  signed by     {}", self.root_signer)?;
        writeln!(
            f,
            "  tree          {}, salt {}, {} blocks of {}",
            root.algorithm, root.salt, root.data_blocks, root.data_block_size
        )?;
        write!(f, "  table         {}", root.table)?;
        for volume in &self.volumes {
            let VolumeSummary { name, target, programs, file_system, bytes, .. } = volume;
            writeln!(f, "\n\nVolume {name}, {file_system}, {bytes} bytes, on {target}, {programs}")?;
            writeln!(f, "  root hash     {}", volume.root_hash)?;
            writeln!(f, "  signed by     {}", volume.root_signer)?;
            write!(f, "  table         {}", volume.table)?;
        }
        Ok(())
    }
}
