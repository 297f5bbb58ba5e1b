//! Running the judges.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::Path;
use std::process::Command;

use graven_image::tree::{Metadata, Tree};
use graven_sources::Layer;

/// Runs a program in a folder and returns what it prints; a failing or missing one fails the test.
pub(crate) fn run(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .output()
        .unwrap_or_else(|error| panic!("{program} does not start ({error}); is it installed?"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A tree of this layer alone.
pub(crate) fn tree_of(layer: Layer) -> Tree {
    let mut tree = Tree::new(Metadata { mode: 0o755, ..Metadata::default() });
    layer.apply(&mut tree).unwrap();
    tree
}

/// The tree without what only root can give its files, unless we are root.
pub(crate) fn comparable(mut tree: Tree) -> Tree {
    if !rustix::process::geteuid().is_root() {
        let ids: Vec<_> = tree.walk().map(|entry| entry.id).collect();
        for id in ids {
            let metadata = &mut tree.inode_mut(id).metadata;
            (metadata.uid, metadata.gid) = (0, 0);
        }
    }
    tree
}
