//! The judge that counts: Debian's kernel mounts an image of every kind of inode, in QEMU without KVM.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../erofs/trees.rs"]
mod trees;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use graven_image::erofs::{self, Contents, Image, Places};
use graven_verity::progress::Silent;

/// How long the machine may take, emulated.
const PATIENCE: Duration = Duration::from_secs(900);

#[test]
fn the_kernel_sees_the_tree_that_went_in() {
    let tree = trees::hard(true);
    let image = Image::plan(&tree, &trees::options()).unwrap();
    sees(&image);
}

#[test]
fn the_kernel_sees_a_tree_whose_files_share_blocks() {
    let tree = trees::hard(true);
    let contents = Contents::read(&tree).unwrap();
    let image = Image::plan_sharing(&tree, &trees::options(), &Places::default(), contents).unwrap();
    assert!(image.len() < 64 << 20, "the file over 4 GiB is all holes: {} bytes", image.len());
    sees(&image);
}

fn sees(image: &Image<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let out = std::fs::File::create_new(&disk).unwrap();
    out.set_len(image.len()).unwrap();
    erofs::write(image, &out, &mut [], &Silent).unwrap();

    let kernel = folder.path().join("vmlinuz");
    std::fs::write(&kernel, from_deb("linux-binary-7.3", "/vmlinuz")).unwrap();
    let initramfs = initramfs(folder.path());
    let console = folder.path().join("console");
    let drive = format!("file={},if=none,id=disk,format=raw,readonly=on", disk.display());
    let mut machine = Command::new("qemu-system-x86_64")
        .args([
            "-machine",
            "q35",
            "-accel",
            "tcg",
            "-m",
            "1024",
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
        ])
        .args(["-append", "console=ttyS0 panic=-1"])
        .arg("-kernel")
        .arg(&kernel)
        .arg("-initrd")
        .arg(&initramfs)
        .args(["-drive", &drive, "-device", "virtio-blk-pci,drive=disk"])
        .args(["-serial", &format!("file:{}", console.display())])
        .stdin(Stdio::null())
        .spawn()
        .expect("qemu-system-x86_64 (Debian package qemu-system-x86)");
    let begun = Instant::now();
    while machine.try_wait().unwrap().is_none() {
        if begun.elapsed() > PATIENCE {
            machine.kill().unwrap();
            machine.wait().unwrap();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let said = String::from_utf8_lossy(&std::fs::read(&console).unwrap()).into_owned();
    let end: Vec<&str> = said.lines().rev().take(60).collect();
    let end: Vec<&str> = end.into_iter().rev().collect();
    assert!(said.contains("graven: the kernel sees the tree that went in"), "{}", end.join("\n"));
    let complaint = |line: &&str| line.contains("erofs") && !line.contains("mounted with root inode");
    assert_eq!(said.lines().filter(|line| !line.contains("initializ")).find(complaint), None);
}

/// The guest program as `/init`, the two modules beside it.
fn initramfs(folder: &Path) -> PathBuf {
    let root = folder.join("initramfs");
    let modules = root.join("modules");
    std::fs::create_dir_all(&modules).unwrap();
    for module in ["drivers/block/virtio_blk.ko", "fs/erofs/erofs.ko"] {
        let packed = modules.join(format!("{}.xz", module.rsplit('/').next().unwrap()));
        std::fs::write(&packed, from_deb("linux-modules-7.3", &format!("{module}.xz"))).unwrap();
        succeed(Command::new("xz").arg("-d").arg(&packed));
    }
    std::fs::copy(guest(), root.join("init")).unwrap();
    let archive = folder.join("initramfs.cpio");
    let list = "find . | cpio --quiet -o -H newc";
    let output = Command::new("sh").args(["-c", list]).current_dir(&root).output().unwrap();
    assert!(output.status.success(), "cpio: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(&archive, output.stdout).unwrap();
    archive
}

/// Builds the guest as a static program.
fn guest() -> PathBuf {
    const TARGET: &str = "x86_64-unknown-linux-musl";
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .args(["--target", TARGET, "--features", "full", "--example", "erofs-guest"])
        .args(["--message-format", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo build: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let (_, path) = said.rsplit_once("\"executable\":\"").unwrap();
    path.split('"').next().unwrap().into()
}

/// A file out of a Debian package in `GRAVEN_TEST_DEBS` (default: `~/.cache/graven/debs`).
fn from_deb(package: &str, path: &str) -> Vec<u8> {
    let debs = match std::env::var_os("GRAVEN_TEST_DEBS") {
        Some(debs) => PathBuf::from(debs),
        None => {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache");
            cache.unwrap_or_else(home).join("graven/debs")
        }
    };
    let names = std::fs::read_dir(&debs)
        .unwrap_or_else(|error| panic!("{}: {error}; tests/setup.sh", debs.display()));
    let mut found: Vec<PathBuf> = names.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with(package) && name.ends_with("_amd64.deb") && !name.contains("-cloud-")
    });
    found.sort();
    let deb =
        found.last().unwrap_or_else(|| panic!("no {package}* in {}; run tests/setup.sh", debs.display()));
    let unpack = format!("dpkg-deb --fsys-tarfile \"$1\" | tar -xO --wildcards '*{path}'");
    let output = Command::new("sh").args(["-c", &unpack, "sh"]).arg(deb).output().unwrap();
    assert!(
        !output.stdout.is_empty(),
        "{path} in {}: {}",
        deb.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn succeed(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
