//! The manifest against the bytes: whoever reads it must not be told anything else than what is there.

use graven_boot::authenticode;
use graven_boot::initramfs::Initramfs;
use graven_boot::kernel;
use graven_boot::pe::Image;
use graven_boot::uki::Uki;
use graven_handoff::initramfs::INIT;
use graven_handoff::{Plan, PolicySource, hex, sparse};
use graven_image::fat;
use graven_verity::dm::Params;
use graven_verity::fsverity;
use sha2::{Digest, Sha256};

use super::command_line::Line;
use super::policy::signed_policy;
use super::root_hash::read_signature;
use super::{explain, shown};
use crate::artefact::Artefact;
use crate::device::Device;
use crate::layout::{Layout, window};
use crate::manifest::{InitramfsEntry, Manifest, Role, Verified, sha256_hex, sha256_of};
use crate::prove::Disk;
use crate::report::Report;

/// What differs, in the order of the manifest.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    #[expect(clippy::needless_pass_by_value, reason = "numbers and new strings, as they come")]
    fn compare(&mut self, what: &str, manifest: impl ToString, image: impl ToString) {
        let (manifest, image) = (manifest.to_string(), image.to_string());
        if manifest != image {
            self.0.push(format!(
                "{what}: the manifest says {}, the image has {}",
                shown(&manifest),
                shown(&image)
            ));
        }
    }
}

/// Every digest, place and name that the manifest tells.
#[expect(clippy::too_many_arguments, reason = "each link's value is compared, no bag of everything")]
pub(crate) fn manifest_agrees(
    manifest: &Manifest,
    disk: &Disk,
    layout: Option<&Layout>,
    boot_file: Option<&[u8]>,
    boot: Option<&Artefact<'_>>,
    archive: Option<&Initramfs>,
    line: Option<&Line>,
    devices: &[(Device<'_>, Option<Params>)],
    plan: Option<&Plan>,
    report: &mut Report,
) {
    let mut found = Differences::default();
    disk_and_partitions(manifest, disk, layout, &mut found);
    if let Some(layout) = layout {
        files_of_esp(manifest, disk, layout, &mut found);
    }
    if let Some(bytes) = boot_file {
        found.compare("boot.sha256", &manifest.boot.sha256, sha256_hex(bytes));
        if let Ok(image) = Image::parse(bytes) {
            let digest = hex::encode(&authenticode::digest(&image));
            let listed = manifest.boot.authenticode.as_deref().unwrap_or("none");
            found.compare("boot.authenticode", listed, digest);
        }
        let uki = Uki::parse(bytes).ok();
        let trees = uki
            .iter()
            .flat_map(|uki| uki.device_trees().map(|(_, tree, _)| sha256_hex(tree)).collect::<Vec<_>>());
        let listed = manifest.boot.device_trees_sha256.join(", ");
        found.compare("boot.device_trees_sha256", listed, trees.collect::<Vec<_>>().join(", "));
    }
    if let Some(boot) = boot {
        // The link kernel holds what a UKI says against the kernel itself.
        if let Ok(Ok(image)) = boot.kernel.as_deref().map(kernel::Image::parse) {
            found.compare("kernel.release", &manifest.kernel.release, image.release);
        }
        let expected = &manifest.boot.kernel_sha256;
        if !boot.kernel.as_deref().is_ok_and(|kernel| is_kernel(kernel, expected)) {
            found
                .0
                .push(format!("boot.kernel_sha256: the boot artefact does not hold the kernel {expected}"));
        }
    }
    if let Some(archive) = archive {
        initramfs(manifest, archive, &mut found);
    }
    if let Some(line) = line {
        found.compare("command_line", &manifest.command_line, &line.text);
        let placement = match line.binding.policy {
            PolicySource::Inline(_) => "command-line",
            PolicySource::Sha256(_) => "initramfs",
        };
        found.compare("policy.placement", &manifest.policy.placement, placement);
        found.compare("policy.mode", &manifest.policy.mode, line.enforcement);
        if let Ok(message) = signed_policy(line, archive) {
            found.compare("policy.p7b_sha256", &manifest.policy.p7b_sha256, sha256_hex(&message));
            if let Some(text) = graven_boot::pkcs7::SignedData::parse(&message)
                .ok()
                .and_then(|message| Some(message.content()?.to_vec()))
            {
                found.compare("policy.sha256", &manifest.policy.sha256, sha256_hex(&text));
            }
        }
    }
    if let Some(plan) = plan {
        found.compare("policy.name", &manifest.policy.name, &plan.policy.name);
        found.compare("policy.version", &manifest.policy.version, plan.policy.version);
        found.compare("volumes", manifest.volumes.len(), plan.volumes.len());
    }
    for (device, params) in devices {
        let (what, listed) = match device.volume {
            None => ("root".to_owned(), &manifest.root),
            Some(volume) => {
                let what = format!("volume {}", volume.name);
                let Some(listed) = manifest.volumes.iter().find(|listed| listed.name == volume.name) else {
                    found.0.push(format!("{what}: the manifest does not list it"));
                    continue;
                };
                found.compare(&format!("{what}.target"), &listed.target, &volume.target);
                (what, &listed.image)
            }
        };
        verified(&what, listed, disk, device, params.as_ref(), &mut found);
    }
    let mut detail = "every digest, place and name in it is the image's".to_owned();
    if layout.is_some_and(|layout| in_use(manifest, disk, layout)) {
        detail.push_str(
            ", but for the state, which a machine has written: the disk as a whole is not compared",
        );
    }
    report.judge("manifest", &found.0, detail);
}

fn verified(
    what: &str,
    listed: &Verified,
    disk: &Disk,
    device: &Device<'_>,
    params: Option<&Params>,
    found: &mut Differences,
) {
    let mut compare = |key: &str, listed: &dyn ToString, real: &dyn ToString| {
        found.compare(&format!("{what}.{key}"), listed.to_string(), real.to_string());
    };
    if let Ok(signature) = read_signature(disk, device.signature) {
        compare("signature_sha256", &listed.signature_sha256, &sha256_hex(&signature.message));
    }
    if let Some(root_hash) = device.root_hash {
        compare("root_hash", &listed.root_hash, root_hash);
    }
    if let Some(params) = params {
        compare("algorithm", &listed.algorithm, &params.algorithm());
        compare("salt", &listed.salt, &hex::encode(params.salt().as_bytes()));
        compare("data_blocks", &listed.data_blocks, &params.data_blocks());
        compare("data_block_size", &listed.data_block_size, &params.data_block_size());
        compare("hash_block_size", &listed.hash_block_size, &params.hash_block_size());
    }
    if let Some(planned) = device.planned {
        compare("file_system", &listed.file_system, &planned.file_system);
        compare("superblock_uuid", &listed.superblock_uuid, &planned.verity.superblock_uuid);
        let roots = |roots: Option<u32>| roots.map_or("none".to_owned(), |roots| roots.to_string());
        let fec = planned.verity.fec.as_ref().map(|fec| u32::from(fec.roots));
        compare("fec_roots", &roots(listed.fec_roots), &roots(fec));
    }
}

/// Whether a machine has made its state on the disk: it has grown, or is not as shipped. Nothing vouches for its contents,
/// so that the disk as a whole, which they are part of, is not held against the manifest then.
fn in_use(manifest: &Manifest, disk: &Disk, layout: &Layout) -> bool {
    let Some(listed) = manifest.partition(Role::State) else { return false };
    let Some(real) = layout.others.iter().find(|real| real.guid.to_string() == listed.uuid) else {
        return false;
    };
    let blank = sparse::blank();
    let mut head = vec![0; blank.len()];
    let shipped = disk.read_exact_at(&mut head, real.start).is_ok() && head == blank;
    !shipped || real.len != listed.size
}

fn disk_and_partitions(manifest: &Manifest, disk: &Disk, layout: Option<&Layout>, found: &mut Differences) {
    let in_use = layout.is_some_and(|layout| in_use(manifest, disk, layout));
    if !in_use {
        whole_disk(manifest, disk, found);
    }
    let Some(layout) = layout else { return };
    found.compare("disk.guid", &manifest.disk.guid, layout.table.disk_guid);
    found.compare("partitions", manifest.partitions.len(), layout.table.partitions.len());
    for (listed, real) in manifest.partitions.iter().zip(&layout.table.partitions) {
        let what = format!("partition {}", shown(&listed.name));
        found.compare(&what, &listed.name, &real.name);
        found.compare(&format!("{what}, type"), &listed.type_uuid, real.type_guid);
        found.compare(&format!("{what}, uuid"), &listed.uuid, real.guid);
        found.compare(&format!("{what}, offset"), listed.offset, real.start);
        // It may have grown.
        if listed.role != Role::State || real.len < listed.size {
            found.compare(&format!("{what}, size"), listed.size, real.len);
        }
    }
    let filled = [
        (Role::Esp, &layout.esp),
        (Role::Root, &layout.root),
        (Role::RootVerity, &layout.verity),
        (Role::RootVeritySig, &layout.signature),
    ];
    for (role, partition) in filled {
        let listed = manifest.partition(role).map(|partition| partition.offset.to_string());
        found.compare(
            &format!("role {role:?}"),
            listed.unwrap_or("no partition".to_owned()),
            partition.start,
        );
    }
}

/// Length and digests over everything.
fn whole_disk(manifest: &Manifest, disk: &Disk, found: &mut Differences) {
    match disk.size() {
        Ok(size) => found.compare("disk.size", manifest.disk.size, size),
        Err(error) => found.0.push(format!("disk.size: {error}")),
    }
    match fsverity::digest(disk, &fsverity::Params::default()) {
        Ok(digest) => found.compare("disk.fsverity", &manifest.disk.fsverity, digest),
        Err(error) => found.0.push(format!("disk.fsverity: the disk cannot be read: {error}")),
    }
    if let Some(expected) = &manifest.disk.sha256 {
        match sha256_of(disk).map(|sum| hex::encode(&sum)) {
            Ok(digest) => found.compare("disk.sha256", expected, digest),
            Err(error) => found.0.push(format!("disk.sha256: the disk cannot be read: {error}")),
        }
    }
}

fn files_of_esp(manifest: &Manifest, disk: &Disk, layout: &Layout, found: &mut Differences) {
    let Ok(reader) = fat::Reader::open(window(disk, &layout.esp)) else { return };
    let boot_path = layout.boot_path(layout.boot_chain(&reader));
    found.compare("boot.path", manifest.boot.path.trim_start_matches('/'), boot_path);
    for file in &manifest.esp {
        // What is missing is the link esp's to say.
        let Some(entry) = reader.find(&file.path) else { continue };
        found.compare(&format!("{}, size", file.path), file.size, entry.size);
        match sha256_of(&reader.contents(entry)).map(|sum| hex::encode(&sum)) {
            Ok(digest) => found.compare(&format!("{}, sha256", file.path), &file.sha256, digest),
            Err(error) => found.0.push(format!("{}: {}", file.path, explain(&error))),
        }
    }
}

fn initramfs(manifest: &Manifest, archive: &Initramfs, found: &mut Differences) {
    let real = InitramfsEntry::list(archive);
    for entry in real.iter().filter(|entry| !manifest.initramfs.contains(entry)) {
        match manifest.initramfs.iter().find(|listed| listed.path == entry.path) {
            Some(listed) => {
                found.compare(
                    &format!("initramfs /{}", shown(&entry.path)),
                    describe(listed),
                    describe(entry),
                );
            }
            None => found.0.push(format!("initramfs /{}: the manifest does not list it", shown(&entry.path))),
        }
    }
    for listed in
        manifest.initramfs.iter().filter(|listed| !real.iter().any(|entry| entry.path == listed.path))
    {
        found
            .0
            .push(format!("initramfs /{}: the manifest lists it, and it is not there", shown(&listed.path)));
    }
    if let Some(init) = real.iter().find(|entry| entry.path == INIT.trim_start_matches('/')) {
        let stage0 = init.sha256.clone().unwrap_or_default();
        found.compare("graven.stage0_sha256", &manifest.graven.stage0_sha256, stage0);
    }
}

fn describe(entry: &InitramfsEntry) -> String {
    let sha256 = entry.sha256.as_deref().map(|sha256| format!(", sha256 {sha256}")).unwrap_or_default();
    format!("{} {}{sha256}", entry.kind, entry.mode)
}

/// A kernel in its section: up to a file alignment of zeros can follow it.
fn is_kernel(section: &[u8], sha256: &str) -> bool {
    const MOST_PADDING: usize = 4096;
    let zeros = section.iter().rev().take_while(|byte| **byte == 0).count().min(MOST_PADDING);
    let (sure, padding) = section.split_at(section.len().saturating_sub(zeros));
    let mut hash = Sha256::new_with_prefix(sure);
    if hex::encode(&hash.clone().finalize()) == sha256 {
        return true;
    }
    padding.iter().any(|byte| {
        hash.update([*byte]);
        hex::encode(&hash.clone().finalize()) == sha256
    })
}
