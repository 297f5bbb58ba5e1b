//! Roots that other programs write: EROFS in every compression, squashfs, ext4. Each boots under the full chain, is proved by
//! `graven verify`, and is the same bytes when it is built again.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use graven_tests::tampering::broken_links;
use graven_tests::{image, inputs, oracle};
use graven_verify::manifest::Manifest;

/// Programs that are new enough, wherever these tests run.
fn writers() -> PathBuf {
    inputs::cache().join("writers/bin")
}

fn try_build(out: &Path, tools: &Path, sets: &[&str], more: &[&str]) -> Output {
    let tools = tools.display().to_string();
    let mut words = vec!["--tools", &tools];
    words.extend(sets.iter().flat_map(|set| ["--set", set]));
    image::try_build(
        &inputs::project().join("recipes/minimal"),
        out,
        image::keys(),
        &[&words[..], more].concat(),
    )
}

fn build(out: &Path, sets: &[&str], more: &[&str]) -> Manifest {
    let output = try_build(out, &writers(), sets, more);
    assert!(output.status.success(), "{sets:?}: {}", String::from_utf8_lossy(&output.stderr));
    Manifest::from_json(&fs::read_to_string(out.join("manifest.json")).unwrap()).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Of the disk alone, and with the manifest.
fn verify(out: &Path) {
    let trust = image::keys().join("db.crt").display().to_string();
    let manifest = out.join("manifest.json").display().to_string();
    for more in [&["--trust", &trust][..], &["--trust", &trust, "--manifest", &manifest]] {
        assert_eq!(broken_links(&out.join("disk.img"), more), (Vec::new(), Some(0)));
    }
}

/// Built and built again, proved, looked into, and judged by its own project's checker.
fn is_whole(fs_name: &str, sets: &[&str]) {
    let folder = image::folder();
    let out = folder.path().join("out");
    let manifest = build(&out, sets, &["--check"]);
    assert_eq!(manifest.root.file_system, fs_name);
    let tool = manifest.inputs.iter().find(|input| input.kind == "tool").expect("the writer is an input");
    let (name, expected) = match fs_name {
        "erofs" => ("fsck.erofs", "mkfs.erofs=1."),
        "squashfs" => ("unsquashfs", "sqfstar=4."),
        _ => ("e2fsck", "mke2fs=1."),
    };
    assert!(tool.name.starts_with(expected), "{}", tool.name);
    verify(&out);

    let disk = out.join("disk.img");
    let root = folder.path().join("root");
    let extracted = image::run([Path::new("extract"), &disk, Path::new("root"), Path::new("--to"), &root]);
    assert!(extracted.status.success(), "{}", said(&extracted));
    let arguments: &[&str] = match fs_name {
        "erofs" => &["--extract"],
        "squashfs" => &["-lls"],
        _ => &["-fn"],
    };
    let judged =
        oracle::content(writers().join(name), arguments.iter().map(Path::new).chain([root.as_path()]));
    assert!(!judged.contains("<E>") && !judged.contains("Inconsistent"), "{judged}");

    let init = image::run([Path::new("cat"), &disk, Path::new("/usr/sbin/init")]);
    let overlay = inputs::project().join("recipes/minimal/overlay/usr/sbin/init");
    assert_eq!(init.stdout, fs::read(overlay).unwrap(), "{}", said(&init));
    let proof = folder.path().join("init.proof");
    let path = ["--path", "/usr/sbin/init", "--output"].map(Path::new);
    let made = image::run([&["proof", "make"].map(Path::new)[..], &[&disk], &path, &[&proof]].concat());
    assert!(made.status.success(), "{}", said(&made));
    let trust = image::keys().join("db.crt");
    let checked = image::run(
        [&["proof", "check"].map(Path::new)[..], &[&proof], &[Path::new("--trust"), &trust]].concat(),
    );
    assert!(checked.status.success() && said(&checked).contains("/usr/sbin/init"), "{}", said(&checked));
}

#[test]
fn a_root_shared_and_compressed_is_whole() {
    is_whole("erofs", &["root.compress=zstd", "root.dedupe=true"]);
}

/// The list of files says the same, whoever wrote the root; but ext4 has a folder of its own.
#[test]
fn files_have_the_same_digests_in_whatever_they_are_written() {
    let folder = image::folder();
    let list = |name: &str, sets: &[&str]| {
        let out = folder.path().join(name);
        build(&out, sets, &[]);
        let list = fs::read(out.join("files.json")).unwrap();
        let mut list: Vec<serde_json::Map<String, serde_json::Value>> =
            serde_json::from_slice(&list).unwrap();
        list.retain(|file| file["path"] != "/lost+found");
        // Where files lie is told of a root of ours alone.
        for file in &mut list {
            assert_eq!(file.remove("nid").is_some(), name == "plain", "{file:?}");
            file.remove("block");
        }
        list
    };
    let plain = list("plain", &[]);
    assert!(plain.len() > 30, "{}", plain.len());
    for (name, sets) in [("squashfs", &["root.fs=squashfs"]), ("ext4", &["root.fs=ext4"])] {
        assert!(list(name, sets) == plain, "{name}");
    }
}

#[test]
fn a_writer_that_is_missing_something_stops_the_build_and_says_what() {
    let folder = image::folder();
    let (out, tools) = (folder.path().join("out"), folder.path().join("tools"));
    fs::create_dir(&tools).unwrap();
    let program = |name: &str, text: &str| {
        let path = tools.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let refused = |sets: &[&str], words: &[&str], status: i32| {
        let output = try_build(&out, &tools, sets, &[]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
        assert!(!out.exists(), "nothing lies there");
    };
    program("mkfs.erofs", "echo 'mkfs.erofs 1.5'");
    refused(
        &["root.compress=lz4"],
        &["mkfs.erofs: found version 1.5", "1.8 or newer", "erofs-utils", "--tools"],
        3,
    );
    program("mkfs.erofs", "echo \"unrecognized option '--version'\"; exit 1");
    refused(&["root.compress=lz4"], &["mkfs.erofs", "tells no version", "1.8 or newer"], 3);
    program("mke2fs", "echo 'mke2fs 1.47.0 (5-Feb-2023)' >&2");
    refused(&["root.fs=ext4"], &["found version 1.47.0", "1.47.1 or newer", "e2fsprogs"], 3);
    // It says why before it has read all that it is given.
    program(
        "sqfstar",
        "[ \"$1\" = -version ] && echo 'sqfstar version 4.6.1 (2023/03/25)' || { echo 'no room' >&2; exit 1; }",
    );
    refused(&["root.fs=squashfs"], &["sqfstar", "no room", "squashfs-tools"], 3);
    // It writes something else than it was given.
    program(
        "sqfstar",
        &format!(
            "[ \"$1\" = -version ] && exec {0}/sqfstar -version\ncat >all.tar; tar --delete -f all.tar ./usr/sbin/init && exec {0}/sqfstar \"$@\" <all.tar",
            writers().display()
        ),
    );
    refused(&["root.fs=squashfs"], &["/usr/sbin/init", "in the first only"], 2);
    refused(&["root.fs=ext4", "root.compress=lz4"], &["ext4 is not compressed with `lz4`"], 2);
}

#[cfg(feature = "full")]
mod full {
    use super::*;
    use graven_handoff::Code;
    use graven_tests::forge::{Forgery, Part};
    use graven_tests::guest::Guest;
    use graven_tests::refusal::{Stop, assert_stopped};

    /// A test for each of them: what `[root]` says, and the file system that comes of it.
    macro_rules! roots {
        ($($name:ident: $fs:literal, $sets:expr;)+) => { $(
            mod $name {
                #[test]
                fn is_whole() {
                    super::super::is_whole($fs, &$sets);
                }

                #[test]
                fn boots() {
                    super::boots($fs, &$sets);
                }
            }
        )+ };
    }

    roots! {
        erofs_lz4: "erofs", ["root.compress=lz4"];
        erofs_lz4hc: "erofs", ["root.compress=lz4hc", "root.level=12"];
        erofs_deflate: "erofs", ["root.compress=deflate", "root.cluster=4K"];
        erofs_zstd: "erofs", ["root.compress=zstd", "root.level=9"];
        erofs_lzma: "erofs", ["root.compress=lzma", "root.dedupe=true"];
        squashfs_xz: "squashfs", ["root.fs=squashfs", "root.compress=xz"];
        squashfs_zstd: "squashfs", ["root.fs=squashfs", "root.cluster=1M"];
        ext4: "ext4", ["root.fs=ext4"];
    }

    /// Booted under Secure Boot, dm-verity and IPE; all of it is read by the kernel, and is what we read.
    fn boots(fs_name: &str, sets: &[&str]) {
        let folder = image::folder();
        let out = folder.path().join("out");
        build(&out, sets, &[]);
        let mut guest = Guest::boot(&image::machine(&out), "minimal: up");
        let mounts = guest.succeed("grep ' / ' /proc/mounts");
        assert!(mounts.starts_with(&format!("/dev/dm-0 / {fs_name} ro,")), "{mounts}");
        let sums = guest.succeed("find / -xdev -type f -exec busybox sha256sum {} +");
        let sums = sums.lines().filter_map(|line| line.trim().split_once("  "));
        let mut found: Vec<_> = sums.map(|(sum, path)| (path.to_owned(), sum.to_owned())).collect();
        found.sort();
        let list: serde_json::Value =
            serde_json::from_slice(&fs::read(out.join("files.json")).unwrap()).unwrap();
        let files = list.as_array().unwrap().iter().filter(|file| file["type"] == "regular file");
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let mut expected: Vec<_> = files.map(|file| (text(&file["path"]), text(&file["sha256"]))).collect();
        expected.sort();
        assert_eq!(found, expected);
        // A program that is not of the root is refused, as over any other.
        guest.succeed("cp /usr/bin/busybox /tmp/own && chmod 755 /tmp/own");
        guest.succeed("mount -o remount,exec /tmp");
        assert_eq!(guest.shell("/tmp/own true").status, 126);
    }

    #[test]
    fn a_changed_block_of_any_root_stops_the_boot_and_is_found() {
        for (fs_name, sets, place) in [
            ("erofs", &["root.compress=zstd"][..], 1024),
            ("squashfs", &["root.fs=squashfs"], 8),
            ("ext4", &["root.fs=ext4"], 1024 + 60),
        ] {
            let folder = image::folder();
            let out = folder.path().join("out");
            build(&out, sets, &[]);
            let forged = Forgery::of(&out);
            forged.flip(Part::Root, place);
            let (bad, status) = broken_links(
                forged.path(),
                &["--trust", &image::keys().join("db.crt").display().to_string()],
            );
            assert!(bad.contains(&"data".to_owned()) && status == Some(1), "{fs_name}: {bad:?} {status:?}");
            assert_stopped(&image::machine(forged.path()), Stop::Stage0(Code::VerityState));
        }
    }
}
