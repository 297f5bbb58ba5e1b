//! A command line that grows: the policy moves into the initramfs, bound by its digest, and at last the build refuses.
//! The machine that boots the long one has a damaged root as well, which its parity repairs.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use graven_tests::guest::{BOOT, Guest};
use graven_tests::{audit, image, inputs, oracle};
use serde_json::Value;

/// Of the kernel's 2,048 bytes, those that the builder leaves free.
const LIMIT: usize = 2048 - 200;

fn recipe() -> PathBuf {
    inputs::project().join("recipes/minimal")
}

/// `--set` for a word of that many bytes on the command line, which means nothing to anyone.
fn padding(bytes: usize) -> String {
    let name = "test.padding=";
    format!("kernel.command-line=[\"{name}{}\"]", "x".repeat(bytes - name.len()))
}

fn manifest(out: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(out.join("manifest.json")).unwrap()).unwrap()
}

#[test]
fn the_policy_moves_into_the_initramfs_byte_by_byte_where_the_line_would_be_too_long() {
    let folder = image::folder();
    let built = |name: &str, extra: usize| {
        let out = folder.path().join(name);
        image::build(&recipe(), &out, &["--set", &padding(extra)]);
        let manifest = manifest(&out);
        let line = manifest["command_line"].as_str().unwrap().to_owned();
        assert_eq!(std::fs::read_to_string(out.join("cmdline.txt")).unwrap().trim_end(), line);
        (line, manifest)
    };
    let (line, first) = built("short", 40);
    assert_eq!(first["policy"]["placement"], "command-line");
    // One word more is that word and a blank: from here on the length is known.
    let room = LIMIT - 1 - line.len() + 40;
    let (line, last) = built("last", room);
    assert_eq!((line.len(), &last["policy"]["placement"]), (LIMIT - 1, &"command-line".into()), "{line}");
    let (line, moved) = built("moved", room + 1);
    assert_eq!(moved["policy"]["placement"], "initramfs", "{line}");
    let sum = oracle::content("sha256sum", [folder.path().join("moved/policy.p7b")]);
    let word = format!("graven.policy-sha256={}", sum.split(' ').next().unwrap());
    assert!(line.split(' ').any(|found| found == word), "{word} in {line}");
    assert!(!line.contains("graven.policy="), "{line}");

    let out = folder.path().join("impossible");
    let refused = image::try_build(&recipe(), &out, image::keys(), &["--set", &padding(1900)]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    let digest_line = line.len() - (room + 1) + 1900;
    for number in [digest_line.to_string(), "2048".into(), "200".into(), "1901".into()] {
        assert!(said.contains(&number), "{number} in: {said}");
    }
    assert!(!out.exists());
}

#[test]
fn a_policy_from_the_initramfs_is_enforced_and_parity_repairs_a_damaged_root() {
    let out = image::scratch().join("long-line");
    let sets = [padding(700), "verity.fec-roots=2".into()];
    image::build(&recipe(), &out, &["--set", &sets[0], "--set", &sets[1]]);
    let manifest = manifest(&out);
    assert_eq!(manifest["policy"]["placement"], "initramfs");

    // A whole block of zeros where the file system's superblock was: nothing mounts without it.
    let partitions = manifest["partitions"].as_array().unwrap();
    let root = partitions.iter().find(|partition| partition["role"] == "root").unwrap();
    let disk = File::options().write(true).open(out.join("disk.img")).unwrap();
    disk.write_all_at(&[0; 4096], root["offset"].as_u64().unwrap()).unwrap();
    drop(disk);

    let (mut guest, _) = Guest::reach(&image::machine(&out), "minimal: up");
    guest.expect("# ", BOOT);
    let line = guest.succeed("cat /proc/cmdline");
    assert_eq!(line.trim(), manifest["command_line"].as_str().unwrap());
    assert!(line.contains("graven.policy-sha256="), "{line}");
    assert_eq!(guest.succeed("cat /sys/kernel/security/ipe/policies/minimal/active").trim(), "1");
    assert_eq!(guest.succeed("cat /sys/kernel/security/ipe/enforce").trim(), "1");
    // As an attacker would: the mount's own noexec out of the way, so that IPE is what refuses.
    guest.succeed("mount -o remount,exec /tmp && cp /usr/bin/busybox /tmp/sh");
    let (refused, records) = guest.audited("/tmp/sh -c true");
    assert!(refused.text.contains("Permission denied"), "{}", refused.text);
    assert!(records.iter().any(|record| record.kind == audit::IPE_ACCESS), "{records:?}");

    let log = guest.stop();
    assert!(
        log.lines().any(|line| line.contains("verity-fec") && line.contains("FEC 0: corrected")),
        "the kernel says that it repaired block 0:\n{log}"
    );
}
