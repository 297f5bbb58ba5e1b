//! A disk of an attacker's: a root with a shell, for a kernel that can be led to it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::emulated::Emulated;
use crate::{image, inputs, oracle};

/// What the attacker's shell says if it ever runs.
pub const ATTACKER: &str = "attacker: a shell runs as process";

/// A disk with an ext4 file system, a shell as its init under every name that a kernel would try.
pub fn disk(on: Emulated) -> &'static Path {
    static DISKS: [OnceLock<(tempfile::TempDir, PathBuf)>; 2] = [const { OnceLock::new() }; 2];
    let (_, disk) = DISKS[on as usize].get_or_init(|| make(on));
    disk
}

fn make(on: Emulated) -> (tempfile::TempDir, PathBuf) {
    let folder = image::folder();
    let root = folder.path().join("root");
    for name in ["bin", "sbin", "dev", "proc"] {
        std::fs::create_dir_all(root.join(name)).expect("a temporary folder takes folders");
    }
    let package = match on {
        Emulated::X86_64 => inputs::busybox(),
        Emulated::Arm64 => inputs::busybox_arm64(),
    };
    let shell = inputs::member(&package, "./usr/bin/busybox");
    let init = format!("#!/bin/sh\necho \"{ATTACKER} $$\"\nexec sh\n").into_bytes();
    for (name, bytes) in [("bin/sh", &shell), ("x", &init), ("init", &init), ("sbin/init", &init)] {
        let path = root.join(name);
        std::fs::write(&path, bytes).expect("a temporary folder takes files");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    let disk = folder.path().join("attacker.img");
    let (root, name) = (root.display().to_string(), disk.display().to_string());
    let made = oracle::ask("mke2fs", ["-q", "-t", "ext4", "-d", &root, &name, "32M"]);
    assert!(made.good, "{}", made.text);
    (folder, disk)
}
