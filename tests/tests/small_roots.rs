//! Roots that are smaller than they might be: ours with files that share blocks; those that other programs write, EROFS in every
//! compression, squashfs, ext4. Each boots under the full chain, is proved by `graven verify`, and is the same bytes when it is
//! built again.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use graven_tests::forge::{Forgery, Part};
use graven_tests::tampering::broken_links;
use graven_tests::{image, inputs, oracle};
use graven_verify::manifest::Manifest;

/// Programs that are new enough, wherever these tests run.
fn writers() -> PathBuf {
    inputs::cache().join("writers/bin")
}

fn minimal() -> PathBuf {
    inputs::project().join("recipes/minimal")
}

/// A recipe of a root with much in common: a second busybox, and a longer one that goes on with zeros and its own beginning.
fn with_twins(folder: &Path) -> PathBuf {
    let recipe = folder.join("twins");
    fs::create_dir(&recipe).unwrap();
    let busybox = inputs::member(&inputs::busybox(), "./usr/bin/busybox");
    let mut longer = busybox.clone();
    longer.resize(busybox.len().next_multiple_of(4096) + (1 << 20), 0);
    longer.extend(&busybox[..256 << 10]);
    fs::write(recipe.join("busybox"), busybox).unwrap();
    fs::write(recipe.join("longer"), longer).unwrap();
    let program =
        |name: &str, from: &str| format!("\"/usr/bin/{name}\" = {{ source = \"{from}\", mode = 0o755 }}\n");
    let files = [program("busybox-twin", "busybox"), program("busybox-longer", "longer")].concat();
    let text =
        format!("inherit = [{:?}]\n[files]\n{files}[root]\ndedupe = true\n", minimal().join("recipe.toml"));
    fs::write(recipe.join("recipe.toml"), text).unwrap();
    recipe
}

fn try_build(recipe: &Path, out: &Path, tools: &Path, sets: &[&str], more: &[&str]) -> Output {
    let tools = tools.display().to_string();
    let mut words = vec!["--tools", &tools];
    words.extend(sets.iter().flat_map(|set| ["--set", set]));
    image::try_build(recipe, out, image::keys(), &[&words[..], more].concat())
}

fn build(recipe: &Path, out: &Path, sets: &[&str], more: &[&str]) -> Manifest {
    let output = try_build(recipe, out, &writers(), sets, more);
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

/// Built and built again, proved, looked into, and judged by its own project's checker. The image is `out` in the folder.
fn is_whole(recipe: &Path, fs_name: &str, sets: &[&str]) -> tempfile::TempDir {
    let folder = image::folder();
    let out = folder.path().join("out");
    let manifest = build(recipe, &out, sets, &["--check"]);
    assert_eq!(manifest.root.file_system, fs_name);
    let tool = manifest.inputs.iter().find(|input| input.kind == "tool");
    let (name, expected) = match fs_name {
        "erofs" => ("fsck.erofs", "mkfs.erofs=1."),
        "squashfs" => ("unsquashfs", "sqfstar=4."),
        _ => ("e2fsck", "mke2fs=1."),
    };
    match tool {
        Some(tool) => assert!(tool.name.starts_with(expected), "{}", tool.name),
        None => assert!(sets.is_empty(), "what others write has its writer as an input"),
    }
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
    folder
}

#[test]
fn a_root_shared_and_compressed_is_whole() {
    is_whole(&minimal(), "erofs", &["root.compress=zstd", "root.dedupe=true"]);
}

#[test]
fn a_root_of_ours_whose_files_share_blocks_is_whole() {
    let recipes = image::folder();
    let recipe = with_twins(recipes.path());
    let folder = is_whole(&recipe, "erofs", &[]);
    let (out, plain) = (folder.path().join("out"), folder.path().join("plain"));
    let shared = Manifest::from_json(&fs::read_to_string(out.join("manifest.json")).unwrap()).unwrap();
    let apart = build(&recipe, &plain, &["root.dedupe=false"], &[]);
    let busybox = fs::metadata(recipe.join("busybox")).unwrap().len();
    let longer = fs::metadata(recipe.join("longer")).unwrap().len();
    let saved = (apart.root.data_blocks - shared.root.data_blocks) * 4096;
    // But for the lists of what lies where, 4 bytes for each 4,096, and the blocks that inodes come to.
    assert!(saved <= busybox + longer, "{saved}");
    assert!(saved > busybox + longer - longer / 1000 - 3 * 4096, "{saved} of {}", busybox + longer);

    // A compact proof leaves out what is shared, too; zeros are nowhere.
    let [disk, trust] =
        [out.join("disk.img"), image::keys().join("db.crt")].map(|path| path.display().to_string());
    let proof = folder.path().join("longer.proof").display().to_string();
    let longer_file = recipe.join("longer").display().to_string();
    let path = "/usr/bin/busybox-longer";
    let made = image::run(["proof", "make", &disk, "--path", path, "--compact", "--output", &proof]);
    assert!(made.status.success(), "{}", said(&made));
    assert!(fs::metadata(&proof).unwrap().len() * 8 < busybox, "its blocks are left out");
    let checked = image::run(["proof", "check", &proof, "--trust", &trust, "--file", &longer_file]);
    assert!(checked.status.success() && said(&checked).contains("is the same"), "{}", said(&checked));
    let checked = image::run(["proof", "check", &proof, "--trust", &trust, "--file", &disk]);
    assert_eq!(checked.status.code(), Some(1), "{}", said(&checked));

    // A block that several files have is damage to all of them.
    let forged = Forgery::of(&out);
    let list: serde_json::Value = serde_json::from_slice(&fs::read(out.join("files.json")).unwrap()).unwrap();
    let entry = list.as_array().unwrap().iter().find(|file| file["path"] == "/usr/bin/busybox").unwrap();
    forged.flip(Part::Root, entry["block"].as_u64().unwrap() * 4096 + 100);
    let found = image::run(["verify".as_ref(), forged.path(), "--trust".as_ref(), Path::new(&trust)]);
    let said = said(&found);
    assert_eq!(found.status.code(), Some(1), "{said}");
    assert!(said.contains("in /usr/bin/busybox and 2 other files"), "{said}");
}

/// The list of files says the same, whoever wrote the root; but ext4 has a folder of its own.
#[test]
fn files_have_the_same_digests_in_whatever_they_are_written() {
    let folder = image::folder();
    let list = |name: &str, sets: &[&str]| {
        let out = folder.path().join(name);
        build(&minimal(), &out, sets, &[]);
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
        let output = try_build(&minimal(), &out, &tools, sets, &[]);
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
    use graven_tests::guest::Guest;
    use graven_tests::refusal::{Stop, assert_stopped};

    /// A test for each of them: what `[root]` says, and the file system that comes of it.
    macro_rules! roots {
        ($($name:ident: $fs:literal, $sets:expr;)+) => { $(
            mod $name {
                #[test]
                fn is_whole() {
                    super::super::is_whole(&super::super::minimal(), $fs, &$sets);
                }

                #[test]
                fn boots() {
                    super::boots(&super::super::minimal(), $fs, &$sets);
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
    fn boots(recipe: &Path, fs_name: &str, sets: &[&str]) -> Guest {
        let folder = image::folder();
        let out = folder.path().join("out");
        build(recipe, &out, sets, &[]);
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
        guest
    }

    #[test]
    fn a_root_whose_files_share_blocks_boots_and_its_programs_run() {
        let folder = image::folder();
        let mut guest = boots(&with_twins(folder.path()), "erofs", &[]);
        assert_eq!(guest.succeed("/usr/bin/busybox-twin echo twin"), "twin");
        assert_eq!(guest.succeed("/usr/bin/busybox-longer echo longer"), "longer");
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
            build(&minimal(), &out, sets, &[]);
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
