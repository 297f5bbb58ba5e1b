//! The file systems: the root readable to the last inode, and able to start; a volume what stage0 is to mount.

use graven_handoff::{Plan, Volume};
use graven_image::any::Reader;
use graven_image::probe::{Probed, probe};
use graven_image::tree::{Kind, Tree, TreePath};
use graven_verity::dm::Params;
use graven_verity::io::Window;

use super::{explain, shown};
use crate::device::Device;
use crate::layout::{Layout, window};
use crate::prove::Disk;
use crate::report::Report;

/// Reads every inode; init is there and can be executed, mounts have their folders.
pub(crate) fn file_system(
    disk: &Disk,
    layout: &Layout,
    plan: Option<&Plan>,
    params: Option<&Params>,
    report: &mut Report,
) -> Option<(Tree, Probed)> {
    const LINK: &str = "file-system";
    let image = || window(disk, &layout.root);
    let read =
        Reader::open(image()).and_then(|reader| Ok((probe(&image())?, reader.bytes(), reader.tree()?)));
    let (probed, bytes, tree) = match read {
        Ok(read) => read,
        Err(error) => {
            report.bad(LINK, explain(&error));
            return None;
        }
    };
    let name = probed.file_system.name();
    let mut problems = Vec::new();
    if let Some(params) = params.filter(|params| params.data_bytes() < bytes) {
        let covered = params.data_bytes();
        problems.push(format!("it has {bytes} bytes, the tree covers {covered}: the rest is not verified"));
    }
    if let Some(plan) = plan {
        if plan.root.file_system != name {
            let expected = shown(&plan.root.file_system);
            problems.push(format!("expected {expected} by stage0's plan, found {name}"));
        }
        problems.extend(init_problem(&tree, &plan.init.path));
        // What is mounted in a volume has its folder there.
        let in_volume = |target: &str| {
            plan.volumes.iter().any(|outer| {
                target.strip_prefix(outer.target.as_str()).is_some_and(|below| below.starts_with('/'))
            })
        };
        let volumes = plan.volumes.iter().map(|volume| &volume.target);
        let targets =
            volumes.filter(|target| !in_volume(target)).chain(plan.mounts.iter().map(|mount| &mount.target));
        for target in targets {
            let folder = TreePath::parse(target.as_bytes()).and_then(|path| tree.resolve(&path));
            let there = folder.is_ok_and(|id| matches!(tree.inode(id).kind, Kind::Directory(_)));
            if !there {
                problems.push(format!(
                    "{}: stage0 is to mount there, and there is no such directory",
                    shown(target)
                ));
            }
        }
    }
    let init = plan.map(|plan| shown(&plan.init.path)).unwrap_or_default();
    let inodes = tree.len();
    report.judge(
        LINK,
        &problems,
        format!("{name}, {inodes} inodes in {bytes} bytes, init {init} is executable"),
    );
    Some((tree, probed))
}

/// A volume's superblock says what the plan says, and nothing of the file system lies outside of what is verified.
pub(crate) fn volume_file_system(
    disk: &Disk,
    device: &Device<'_>,
    volume: &Volume,
    params: &Params,
    report: &mut Report,
) -> Option<()> {
    let link = device.link("file-system");
    // Behind the device's end there is nothing for the kernel.
    let len = params.data_bytes().min(device.data.len);
    let probed = match probe(&Window::new(window(disk, device.data), 0, len)) {
        Ok(probed) => probed,
        Err(error) => {
            report.bad(link, explain(&error));
            return None;
        }
    };
    let (found, expected) = (probed.file_system.name(), &volume.image.file_system);
    let mut problems = Vec::new();
    if found != expected {
        problems.push(format!("expected {} by stage0's plan, found {found}", shown(expected)));
    }
    let (bytes, target, programs) = (probed.bytes, shown(&volume.target), volume.programs);
    report.judge(link, &problems, format!("{found}, {bytes} bytes, read-only on {target}, {programs}"));
    Some(())
}

fn init_problem(tree: &Tree, init: &str) -> Option<String> {
    let id = match TreePath::parse(init.as_bytes()).and_then(|path| tree.resolve(&path)) {
        Ok(id) => id,
        Err(error) => return Some(format!("init: {error}")),
    };
    let inode = tree.inode(id);
    match &inode.kind {
        Kind::File(_) if inode.metadata.mode & 0o111 != 0 => None,
        Kind::File(_) => Some(format!("init {} is not executable", shown(init))),
        other => Some(format!("init {} is a {}", shown(init), other.noun())),
    }
}
