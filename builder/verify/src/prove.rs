//! The proof: every link of the chain, in the order in which a machine meets them.

use std::borrow::Cow;
use std::sync::Arc;

use graven_handoff::{Plan, Volume};
use graven_verity::dm::Params;
use graven_verity::io::ReadAt;
use graven_verity::progress::{Progress, Silent};

use crate::device::{Device, link};
use crate::layout::Layout;
use crate::links::boot::{boot_artefact, boot_signature};
use crate::links::command_line::command_line;
use crate::links::esp::esp;
use crate::links::file_system::{file_system, volume_file_system};
use crate::links::firmware::firmware;
use crate::links::initramfs::{initramfs, stage0};
use crate::links::kernel::kernel;
use crate::links::manifest::manifest_agrees;
use crate::links::partitions::{partition_table, partition_uuids, unused_space};
use crate::links::plan::plan;
use crate::links::policy::{policy, policy_signature};
use crate::links::profile::{Signers, certificate_roles, profile};
use crate::links::root_hash::{root_signature, superblock};
use crate::links::u_boot::u_boot;
use crate::links::verity::{error_correction, tree_and_data};
use crate::manifest::Manifest;
use crate::report::Report;
use crate::trust::Trust;

/// The bytes of a disk image or a disk.
pub type Disk = Arc<dyn ReadAt>;

/// What the caller of a proof decides.
#[derive(Clone)]
pub struct Options<'a> {
    /// Development images and keys are taken, and reported as what they are.
    pub allow_development: bool,
    /// SHA-256 of every stage0 that may be in the initramfs.
    pub stage0: Vec<[u8; 32]>,
    /// Told of every byte of the root file system as it is checked.
    pub progress: &'a dyn Progress,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { allow_development: false, stage0: Vec::new(), progress: &Silent }
    }
}

/// Proves an image, as far as its bytes can be read: a broken link does not keep the later ones from being looked at.
///
/// The manifest is optional and trusted for nothing: it tells what the builder meant to be there. Runs on rayon's
/// current pool; reads the whole root and, with a manifest, the whole disk.
#[must_use]
pub fn prove(disk: &Disk, manifest: Option<&Manifest>, trust: &Trust, options: &Options<'_>) -> Report {
    let mut report = Report::default();
    let r = &mut report;
    let mut signers = Signers::default();

    let layout = partition_table(disk, manifest, r);
    let layout = layout.as_ref();
    let boot_file = given(layout, "esp", r, |layout, r| esp(disk, layout, manifest, r));
    let boot_file = boot_file.as_deref();
    signers.boot = given(boot_file, "boot-signature", r, |bytes, r| boot_signature(bytes, trust, r));
    let boot = given(boot_file, "boot-artefact", r, |bytes, r| boot_artefact(bytes, layout, r));
    let boot = boot.as_ref();
    firmware(disk, manifest, r);
    u_boot(disk, manifest, boot, signers.boot.as_ref(), r);
    let archive = given(boot, "initramfs", r, initramfs);
    let archive = archive.as_ref();
    let line = given(boot, "command-line", r, |boot, r| command_line(boot, archive, layout, options, r));
    let line = line.as_ref();
    given(archive, "stage0", r, |archive, r| stage0(archive, options, r));
    let plan = given(archive, "plan", r, |archive, r| plan(archive, line, boot, options, r));
    let plan = plan.as_ref();

    let text = given(line, "policy-signature", r, |line, r| {
        let (text, signer) = policy_signature(line, archive, trust, r)?;
        signers.policy = signer;
        Some(text)
    });
    given(line.zip(text), "policy", r, |(line, text), r| policy(&text, line, plan, r));

    let root = layout.map(|layout| Device::root(layout, line, plan));
    signers.root = given(root, "root-signature", r, |root, r| root_signature(disk, &root, trust, r));
    given(layout.zip(line), "partition-uuids", r, |(layout, line), r| {
        partition_uuids(layout, line, plan, manifest, r)
    });
    let mut devices = Vec::new();
    devices.extend(layout.zip(root).map(|(layout, root)| (root, device(disk, layout, &root, options, r))));
    let params = devices.first().and_then(|(_, params)| params.clone());
    let root =
        given(layout, "file-system", r, |layout, r| file_system(disk, layout, plan, params.as_ref(), r));
    for (layout, volume) in layout.into_iter().flat_map(|layout| volumes(plan).map(move |one| (layout, one)))
    {
        let found = match Device::volume(layout, volume) {
            Ok(found) => found,
            Err(problem) => {
                r.bad(link(Some(volume), "root-signature"), problem);
                signers.volumes.push(None);
                continue;
            }
        };
        signers.volumes.push(root_signature(disk, &found, trust, r));
        let params = device(disk, layout, &found, options, r);
        given(params.as_ref(), found.link("file-system"), r, |params, r| {
            volume_file_system(disk, &found, volume, params, r)
        });
        devices.push((found, params));
    }
    given(boot, "kernel", r, |boot, r| {
        kernel(boot, root.as_ref().map(|(tree, probed)| (tree, probed)), plan, archive, &signers, manifest, r)
    });
    given(layout, "unused-space", r, |layout, r| unused_space(disk, layout, &devices, manifest, r));

    given(boot, "profile", r, |boot, r| profile(boot, &signers, options, r));
    certificate_roles(&signers, trust, r);
    if let Some(manifest) = manifest {
        manifest_agrees(manifest, disk, layout, boot_file, boot, archive, line, &devices, plan, r);
    }
    report
}

/// Superblock, tree, data and parity of a device; hands on the superblock's parameters.
fn device(
    disk: &Disk,
    layout: &Layout,
    device: &Device<'_>,
    options: &Options<'_>,
    r: &mut Report,
) -> Option<Params> {
    let params = superblock(disk, device, r);
    let wanted = device.root_hash.zip(params.as_ref());
    let checked = given(wanted, device.link("tree"), r, |(root_hash, params), r| {
        tree_and_data(disk, device, root_hash, params, options, r)
    });
    given(device.planned.zip(params.as_ref()), device.link("error-correction"), r, |(planned, params), r| {
        error_correction(disk, layout, device, planned, params, checked, r)
    });
    params
}

fn volumes(plan: Option<&Plan>) -> impl Iterator<Item = &Volume> {
    plan.into_iter().flat_map(|plan| &plan.volumes)
}

/// Proves a link from what it hangs on; says so where that could not be read.
fn given<I, T>(
    input: Option<I>,
    link: impl Into<Cow<'static, str>>,
    report: &mut Report,
    prove: impl FnOnce(I, &mut Report) -> Option<T>,
) -> Option<T> {
    match input {
        Some(input) => prove(input, report),
        None => {
            report.unproved(link, "not looked at: what it hangs on could not be read, see above");
            None
        }
    }
}
