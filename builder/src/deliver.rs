//! Lay out and deliver: the rest of the disk, and everything that lies beside it in the output folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_boot::cmdline::PolicyPlacement;
use graven_image::fat;
use graven_image::formats::{self, Format};
use graven_image::tree::{Kind, WalkEntry};
use graven_recipe::{PolicyMode, Recipe};
use graven_sources::oci;
use graven_targets::BootChain;
use graven_verify::manifest::{
    self, Boot, Builder, Container, Disk, EspFile, FORMAT, InitramfsEntry, Manifest, Partition, Policy, Role,
    Verified, sha256_hex,
};
use graven_verify::{BOOT_FOLDER, FIT_FILE, sbom};
use graven_verity::fsverity::{self, Digester};
use graven_verity::hash;
use graven_verity::io::{ReadAt, Window, WriteAt};
use graven_verity::progress::Silent;
use graven_verity::stream::{self, Consumer};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::assemble::Rootfs;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::firmware::UBoot;
use crate::identity;
use crate::link::BootArtefact;
use crate::output::Staging;
use crate::packed;
use crate::places;
use crate::plan::{Firmware, Plan};
use crate::policy;
use crate::root::RootImage;
use crate::seal::{BoundPolicy, SealedRoot};
use crate::signers::Signers;
use crate::state;
use crate::volume::Volume;
use graven_handoff::hex::encode as hex;

/// Name of the disk image in the output folder.
pub const DISK: &str = "disk.img";

/// Name of the manifest there.
pub const MANIFEST: &str = "manifest.json";
/// Name of the lock there.
pub const LOCK: &str = graven_recipe::lock::FILE_NAME;
pub(crate) const SIGNED_POLICY: &str = "policy.p7b";
pub(crate) const ROOT_SIGNATURE: &str = "root.p7s";
pub(crate) const BOOT_CERTIFICATE: &str = "boot.crt";
pub(crate) const POLICY_CERTIFICATE: &str = "policy.crt";
pub(crate) const ROOT_CERTIFICATE: &str = "root.crt";

/// What is made of the disk only where it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// Its plain SHA-256, in the manifest beside the fs-verity digest: one serial pass over all of it.
    pub sha256: bool,
    /// The same disk in other forms.
    pub formats: BTreeSet<Format>,
}

/// Writes the EFI system partition, the partition table and the files beside the disk.
///
/// # Errors
/// A boot artefact that does not fit the EFI system partition, and whatever the file system says.
pub fn deliver(
    plan: &Plan,
    rootfs: &Rootfs,
    boot: &BootArtefact,
    u_boot: Option<&UBoot>,
    signers: &Signers,
    extras: &Extras,
    staging: &Staging,
) -> Result<Manifest> {
    let Plan { recipe, kernel, stub, inputs, .. } = plan;
    let BootArtefact { sealed, bound, .. } = boot;
    let image = &sealed.image;
    let disk_path = staging.folder().join(DISK);
    let esp_file = match recipe.target.boot_chain {
        BootChain::Uki => format!("{BOOT_FOLDER}/{}", recipe.target.arch.efi_boot_file()),
        BootChain::Fit => FIT_FILE.to_owned(),
    };
    write_esp(sealed, &esp_file, &boot.bytes, rootfs.source_date)?;
    for firmware in &plan.firmware {
        image
            .disk
            .write_all_at(&firmware.bytes, firmware.blob.offset)
            .map_err(|error| Error::io(&disk_path, error))?;
    }
    if let Some(index) = image.places.state {
        let place = &image.table.partitions[index];
        image
            .disk
            .write_all_at(&state::blank(), place.start)
            .map_err(|error| Error::io(&disk_path, error))?;
    }
    image.table.write(&image.disk)?;
    image.disk.sync_all().map_err(|error| Error::io(&disk_path, error))?;

    let disk_io = |error| Error::io(&disk_path, error);
    let digest = digest(image).map_err(disk_io)?;
    let sha256 = extras.sha256.then(|| sha256_of(&disk_path)).transpose()?;

    let manifest = Manifest {
        format: FORMAT.into(),
        graven: Builder {
            version: env!("CARGO_PKG_VERSION").into(),
            stage0_sha256: boot.stage0_sha256.clone(),
        },
        name: recipe.name.clone(),
        version: recipe.version.to_string(),
        target: recipe.target.name.clone(),
        profile: recipe.profile.to_string(),
        sets: plan.sets.clone(),
        lock_sha256: rootfs.lock.as_ref().map(|text| sha256_hex(text.as_bytes())),
        source_date: rootfs.source_date,
        disk: Disk {
            size: image.table.disk_bytes,
            guid: image.table.disk_guid.to_string(),
            fsverity: digest.to_string(),
            sha256,
        },
        partitions: partitions(sealed),
        firmware: plan.firmware.iter().map(listed).collect(),
        u_boot: u_boot.map(UBoot::listed),
        root: verified(packed::file_system(&recipe.root).name(), &image.root, &sealed.signature),
        volumes: volumes(&plan.volumes, sealed),
        policy: Policy {
            name: bound.policy.name().to_string(),
            version: bound.policy.version().to_string(),
            mode: match recipe.policy.mode {
                PolicyMode::Enforce => "enforce".into(),
                PolicyMode::Audit => "audit".into(),
            },
            placement: match boot.policy {
                PolicyPlacement::Inline => "command-line".into(),
                PolicyPlacement::Initramfs => "initramfs".into(),
            },
            sha256: sha256_hex(&bound.text),
            p7b_sha256: sha256_hex(&bound.signed),
        },
        command_line: boot.command_line.to_string(),
        boot: Boot {
            path: format!("/{esp_file}"),
            sha256: sha256_hex(&boot.bytes),
            authenticode: boot.authenticode.map(|digest| hex(&digest)),
            kernel_sha256: sha256_hex(&kernel.image),
            device_trees_sha256: match recipe.target.boot_chain {
                BootChain::Uki => plan.device_trees.iter().map(|tree| sha256_hex(&tree.bytes)).collect(),
                // The FIT's carry the command line, and are listed by none of its inputs' digests.
                BootChain::Fit => Vec::new(),
            },
            stub_sha256: stub.as_deref().map(sha256_hex),
        },
        initramfs: InitramfsEntry::list(&boot.initramfs),
        kernel: manifest::Kernel {
            release: rootfs.kernel.image.release.clone(),
            config_sha256: kernel.config.as_ref().map(|text| sha256_hex(text.as_bytes())),
        },
        esp: vec![EspFile {
            path: format!("/{esp_file}"),
            size: boot.bytes.len() as u64,
            sha256: sha256_hex(&boot.bytes),
        }],
        interpreters: rootfs.interpreters.clone(),
        inputs: inputs.clone(),
        containers: plan.parts.images.iter().map(|(name, facts)| container(name, facts)).collect(),
        accepted: accepted(recipe, rootfs, bound, u_boot),
    };

    let certificates = [
        (BOOT_CERTIFICATE, &signers.boot),
        (POLICY_CERTIFICATE, &signers.policy),
        (ROOT_CERTIFICATE, &signers.root),
    ];
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::from([
        (MANIFEST.into(), manifest.to_json().into_bytes()),
        ("policy.pol".into(), bound.text.clone()),
        ("boot-policy.pol".into(), policy::compiled_in(recipe)?),
        (SIGNED_POLICY.into(), bound.signed.clone()),
        (ROOT_SIGNATURE.into(), sealed.signature.clone()),
        ("cmdline.txt".into(), format!("{}\n", boot.command_line).into_bytes()),
        (boot_file(&recipe.name, recipe.target.boot_chain), boot.bytes.clone()),
    ]);
    files.extend(rootfs.lock.iter().map(|text| (LOCK.into(), text.clone().into_bytes())));
    files.insert(sbom::FILE.into(), bill(rootfs, boot, &manifest)?.into_bytes());
    for (volume, signature) in manifest.volumes.iter().zip(&sealed.volume_signatures) {
        files.insert(volume_signature(&volume.name), signature.clone());
    }
    for (name, signer) in certificates {
        let chain: String = signer.chain().into_iter().map(|certificate| certificate.to_pem()).collect();
        files.insert(name.into(), chain.into_bytes());
    }
    let mut sums = BTreeMap::new();
    for (name, bytes) in &files {
        staging.write(name, bytes)?;
        sums.insert(name.clone(), sha256_hex(bytes));
    }
    sums.insert(FILES.into(), write_file_list(rootfs, sealed, staging)?);
    for format in &extras.formats {
        let name = format!("disk.{}", format.ending());
        let path = staging.folder().join(&name);
        write_format(*format, &manifest, rootfs.source_date, image, &path)?;
        sums.insert(name, sha256_of(&path)?);
    }
    let lines: String = sums.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
    staging.write("SHA256SUMS", lines.as_bytes())?;
    Ok(manifest)
}

/// The bill of materials.
fn bill(rootfs: &Rootfs, boot: &BootArtefact, manifest: &Manifest) -> Result<String> {
    let parsed =
        graven_verify::Boot::parse(boot.bytes.clone()).map_err(|error| Error::Link(error.to_string()))?;
    let records = boot.sealed.image.files.iter();
    let digests: BTreeMap<&[u8], [u8; 32]> = records
        .flat_map(|record| record.paths.iter().map(|path| (&**path, record.sha256)))
        .filter_map(|(path, digest)| Some((path, digest.as_bytes().try_into().ok()?)))
        .collect();
    let subject = sbom::Subject { tree: &rootfs.tree, boot: &parsed, manifest: Some(manifest) };
    let bill = sbom::describe(subject, &|path| digests.get(path).copied());
    Ok(bill.map_err(|error| Error::Limit(error.to_string()))?.to_json())
}

/// The disk in another form.
fn write_format(
    format: Format,
    manifest: &Manifest,
    made: i64,
    image: &RootImage,
    path: &Path,
) -> Result<()> {
    // State and free slots are what nobody vouches for.
    let of_nobody = [Role::State, Role::EmptyRoot, Role::EmptyRootVerity, Role::EmptyRootVeritySig];
    let vouched = manifest.partitions.iter().filter(|partition| !of_nobody.contains(&partition.role));
    let covered: Vec<_> =
        vouched.map(|partition| partition.offset..partition.offset + partition.size).collect();
    let disk = formats::Disk { bytes: &image.disk, len: image.table.disk_bytes, covered: &covered };
    let identity = formats::Identity { id: image.table.disk_guid, made };
    let failed = |error| Error::io(path, error);
    let mut out = File::options().read(true).write(true).create_new(true).open(path).map_err(failed)?;
    formats::write(format, &disk, &identity, &mut out).map_err(failed)
}

/// Plain SHA-256 of a file.
fn sha256_of(path: &Path) -> Result<String> {
    let sum = File::open(path).and_then(|file| manifest::sha256_of(&file));
    Ok(hex(&sum.map_err(|error| Error::io(path, error))?))
}

/// The boot artefact's file in the output folder.
pub(crate) fn boot_file(name: &str, chain: BootChain) -> String {
    match chain {
        BootChain::Uki => format!("{name}.efi"),
        BootChain::Fit => format!("{name}.itb"),
    }
}

/// The file with a volume's root hash signature.
pub(crate) fn volume_signature(name: &str) -> String {
    format!("volume-{name}.p7s")
}

fn volumes(read: &[Volume], sealed: &SealedRoot) -> Vec<manifest::Volume> {
    let sealed = sealed.image.volumes.iter().zip(&sealed.volume_signatures);
    let listed = read.iter().zip(sealed).map(|(volume, (device, signature))| manifest::Volume {
        name: volume.name().to_owned(),
        target: volume.stated.target.value.clone(),
        allow: volume.stated.allow.iter().map(|op| op.as_str().to_owned()).collect(),
        image: verified(volume.file_system().name(), device, signature),
    });
    listed.collect()
}

fn verified(file_system: &str, device: &Device, signature: &[u8]) -> Verified {
    let params = &device.superblock.params;
    Verified {
        file_system: file_system.into(),
        root_hash: device.root_hash.to_string(),
        algorithm: params.algorithm().to_string(),
        salt: hex(params.salt().as_bytes()),
        data_blocks: params.data_blocks(),
        data_block_size: params.data_block_size(),
        hash_block_size: params.hash_block_size(),
        superblock_uuid: device.superblock.uuid.to_string(),
        fec_roots: device.hash_area.parity.map(|parity| parity.roots.get()),
        signature_sha256: sha256_hex(signature),
    }
}

/// fs-verity of the whole disk. File systems are not read again: their blocks were hashed as they were written.
fn digest(image: &RootImage) -> std::io::Result<hash::Digest> {
    let mut digester = Digester::new(&fsverity::Params::default());
    let mut done = 0;
    let read = |digester: &mut Digester, from: u64, to: u64| {
        let between = Window::new(&image.disk, from, to.saturating_sub(from));
        stream::run(&between, between.size()?, &mut [&mut Following(digester)], &Silent)
    };
    // In the order of their places on the disk.
    for device in std::iter::once(&image.root).chain(&image.volumes) {
        let start = image.table.partitions[device.parts.data].start;
        read(&mut digester, done, start)?;
        digester.append(&device.stretch)?;
        done = start + device.stretch.len();
    }
    read(&mut digester, done, image.table.disk_bytes)?;
    Ok(digester.finish())
}

/// Takes what it is shown for the bytes that follow.
struct Following<'a>(&'a mut Digester);

impl Consumer for Following<'_> {
    fn window(&mut self, _offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.0.update(bytes);
        Ok(())
    }
}

fn write_esp(sealed: &SealedRoot, path: &str, bytes: &[u8], timestamp: i64) -> Result<()> {
    let image = &sealed.image;
    let place = &image.table.partitions[image.places.esp];
    let format = fat::Format {
        bytes: place.len,
        volume_id: identity::volume_id(&[&image.root.root_hash.to_string()]),
        label: "ESP".into(),
        timestamp,
    };
    let files = [fat::File { path, contents: &bytes.to_vec() }];
    Ok(fat::write(&format, &files, &Window::new(&image.disk, place.start, place.len))?)
}

fn listed(firmware: &Firmware) -> manifest::Firmware {
    manifest::Firmware {
        name: firmware.blob.name.clone(),
        offset: firmware.blob.offset,
        size: firmware.bytes.len() as u64,
        sha256: sha256_hex(&firmware.bytes),
    }
}

fn partitions(sealed: &SealedRoot) -> Vec<Partition> {
    const ROOT: [[Role; 3]; 2] = [
        [Role::Root, Role::RootVerity, Role::RootVeritySig],
        [Role::EmptyRoot, Role::EmptyRootVerity, Role::EmptyRootVeritySig],
    ];
    const VOLUME: [[Role; 3]; 2] = [
        [Role::Volume, Role::VolumeVerity, Role::VolumeVeritySig],
        [Role::EmptyVolume, Role::EmptyVolumeVerity, Role::EmptyVolumeVeritySig],
    ];
    let RootImage { table, places, .. } = &sealed.image;
    let mut roles = BTreeMap::from([(places.esp, Role::Esp)]);
    roles.extend(places.firmware.clone().map(|index| (index, Role::Firmware)));
    roles.extend(places.state.map(|index| (index, Role::State)));
    let volumes = places.volumes.iter().map(|slots| (slots, VOLUME));
    for (slots, kinds) in std::iter::once((&places.slots, ROOT)).chain(volumes) {
        for (parts, kinds) in slots.iter().zip(kinds) {
            roles.extend([parts.data, parts.verity, parts.signature].into_iter().zip(kinds));
        }
    }
    let list = table.partitions.iter().enumerate();
    list.map(|(index, partition)| Partition {
        role: roles[&index],
        name: partition.name.clone(),
        type_uuid: partition.type_guid.to_string(),
        uuid: partition.guid.to_string(),
        offset: partition.start,
        size: partition.len,
    })
    .collect()
}

fn container(name: &str, facts: &oci::Facts) -> Container {
    Container {
        name: name.to_owned(),
        sha256: facts.manifest.to_string(),
        layers: facts.layers.iter().map(ToString::to_string).collect(),
        says: facts.says.clone(),
    }
}

/// All that the recipe loosens, each with its reason.
fn accepted(
    recipe: &Recipe,
    rootfs: &Rootfs,
    bound: &BoundPolicy,
    u_boot: Option<&UBoot>,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, reason) in &bound.accepted {
        all.insert(format!("policy.{name}"), reason.clone());
    }
    for (name, reason) in &rootfs.accepted {
        all.insert(format!("kernel.{name}"), reason.clone());
    }
    for (name, reason) in u_boot.iter().flat_map(|u_boot| &u_boot.accepted) {
        all.insert(format!("firmware.{name}"), reason.clone());
    }
    for (part, reason) in &recipe.lockdown.relax {
        all.insert(format!("lockdown.{part}"), reason.value.clone());
    }
    for (package, reason) in &recipe.packages.accept_scripts {
        all.insert(format!("scripts.{package}"), reason.value.clone());
    }
    for (path, reason) in &recipe.scripts.accept {
        all.insert(format!("interpreter.{path}"), reason.value.clone());
    }
    for (path, reason) in recipe.state.iter().flat_map(|state| &state.accept) {
        all.insert(format!("state.persist.{path}"), reason.value.clone());
    }
    for (path, reason) in recipe.state.iter().flat_map(|state| &state.exec) {
        all.insert(format!("state.exec.{path}"), reason.value.clone());
    }
    for mount in &recipe.mounts {
        for (word, reason) in [("exec", &mount.exec), ("suid", &mount.suid), ("dev", &mount.dev)] {
            if let Some(reason) = reason {
                all.insert(format!("mount.{}.{word}", mount.target.value), reason.value.clone());
            }
        }
    }
    all
}

/// Name of the list of files in the output folder.
const FILES: &str = "files.json";

/// Writes `files.json`, an array with a line a file, and returns its SHA-256.
fn write_file_list(rootfs: &Rootfs, sealed: &SealedRoot, staging: &Staging) -> Result<String> {
    let path = staging.folder().join(FILES);
    let failed = |error| Error::io(&path, error);
    let digests: BTreeMap<_, _> = sealed.image.files.iter().map(|record| (record.inode, record)).collect();
    let mut out = Summed { out: BufWriter::new(File::create(&path).map_err(failed)?), hash: Sha256::new() };
    let mut separator = "[\n";
    for entry in rootfs.tree.walk() {
        let mut value = describe(&entry);
        if let Some(place) = sealed.image.kept.get(&*entry.path) {
            value["nid"] = json!(place.nid);
            if place.block > 0 {
                value["block"] = json!(place.block);
            }
            if let Some(shares) = place.shares {
                value["shares"] = json!(places::word(shares));
            }
        }
        if let Some(record) = digests.get(&entry.id) {
            value["sha256"] = json!(record.sha256.to_string());
            value["fsverity"] = json!(record.fsverity.to_string());
        }
        write!(out, "{separator}{value}").map_err(failed)?;
        separator = ",\n";
    }
    writeln!(out, "\n]").map_err(failed)?;
    out.out.flush().map_err(failed)?;
    Ok(hex(&out.hash.finalize()))
}

fn describe(entry: &WalkEntry<'_>) -> serde_json::Value {
    let metadata = &entry.inode.metadata;
    // JSON is text and paths are bytes: what is no UTF-8 is given in base64 instead.
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    };
    let mut value = json!({
        "path": text(&entry.path),
        "type": entry.inode.kind.noun(),
        "mode": format!("{:04o}", metadata.mode),
        "uid": metadata.uid,
        "gid": metadata.gid,
        "mtime": metadata.mtime,
    });
    match &entry.inode.kind {
        Kind::File(content) => value["size"] = json!(content.len),
        Kind::Symlink(target) => value["target"] = text(target),
        Kind::CharDevice(number) | Kind::BlockDevice(number) => {
            value["device"] = json!(format!("{}:{}", number.major, number.minor));
        }
        Kind::Directory(_) | Kind::Fifo | Kind::Socket => {}
    }
    if !metadata.xattrs.is_empty() {
        let list = metadata.xattrs.iter();
        value["xattrs"] = list
            .map(|(name, bytes)| (String::from_utf8_lossy(name).into_owned(), json!(STANDARD.encode(bytes))))
            .collect();
    }
    if let Some(origin) = &entry.inode.origin {
        value["origin"] = json!(**origin);
    }
    value
}

/// Hashes what it writes.
struct Summed<W> {
    out: W,
    hash: Sha256,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
