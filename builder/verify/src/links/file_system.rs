//! The root file system: readable to the last inode, and able to start.

use graven_handoff::Plan;
use graven_image::erofs::Reader;
use graven_image::tree::{Kind, Tree, TreePath};
use graven_verity::dm::Params;

use super::{explain, shown};
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
) -> Option<Tree> {
    const LINK: &str = "file-system";
    let read =
        Reader::open(window(disk, &layout.root)).and_then(|reader| Ok((reader.bytes(), reader.tree()?)));
    let (bytes, tree) = match read {
        Ok(read) => read,
        Err(error) => {
            report.bad(LINK, explain(&error));
            return None;
        }
    };
    let mut problems = Vec::new();
    if let Some(params) = params.filter(|params| params.data_bytes() < bytes) {
        let covered = params.data_bytes();
        problems.push(format!("it has {bytes} bytes, the tree covers {covered}: the rest is not verified"));
    }
    if let Some(plan) = plan {
        problems.extend(init_problem(&tree, &plan.init.path));
        for mount in &plan.mounts {
            let folder = TreePath::parse(mount.target.as_bytes()).and_then(|path| tree.resolve(&path));
            let there = folder.is_ok_and(|id| matches!(tree.inode(id).kind, Kind::Directory(_)));
            if !there {
                problems.push(format!(
                    "{}: stage0 is to mount there, and there is no such directory",
                    shown(&mount.target)
                ));
            }
        }
    }
    let init = plan.map(|plan| shown(&plan.init.path)).unwrap_or_default();
    let inodes = tree.len();
    report.judge(
        LINK,
        &problems,
        format!("EROFS, {inodes} inodes in {bytes} bytes, init {init} is executable"),
    );
    Some(tree)
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
