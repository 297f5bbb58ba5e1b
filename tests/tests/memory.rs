//! Memory does not grow with the image.
#![cfg(feature = "full")]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use graven_tests::{image, inputs};

/// Most that a build may take, in KiB.
const LIMIT: u64 = 300 << 10;

/// 2 GiB that cannot be compressed, in large files and in tens of thousands of small ones.
fn fill(folder: &Path) {
    let mut state = 1u64;
    let mut piece = vec![0u8; 1 << 20];
    let mut write = |path: &Path, mut len: usize| {
        let mut out = BufWriter::new(File::create(path).expect("the scratch folder takes files"));
        while len > 0 {
            for word in piece.chunks_exact_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes());
                if len < 1 << 15 {
                    break;
                }
            }
            let step = len.min(piece.len());
            out.write_all(&piece[..step]).expect("there is room for 4 GiB");
            len -= step;
        }
    };
    for large in 0..6 {
        write(&folder.join(format!("large-{large}")), 256 << 20);
    }
    for small in 0..60_000usize {
        let below = folder.join(format!("small/{}/{}", small % 100, small / 100 % 10));
        fs::create_dir_all(&below).expect("the scratch folder takes folders");
        write(&below.join(small.to_string()), small * 7919 % 18_000);
    }
}

#[test]
fn a_root_of_2_gib_is_built_in_less_than_300_mib() {
    // On the disk: /tmp may be memory.
    let scratch =
        tempfile::tempdir_in(image::graven_as_shipped().parent().expect("a folder")).expect("a folder");
    let tree = scratch.path().join("tree");
    fs::create_dir(&tree).expect("a folder");
    fill(&tree);
    let minimal = inputs::project().join("recipes/minimal/recipe.toml");
    let recipe = format!(
        "inherit = [{minimal:?}]\nname = \"large\"\nversion = \"1.0.0\"\n[[source]]\ndir = {tree:?}\nat = \"/srv/large\"\n"
    );
    fs::write(scratch.path().join("recipe.toml"), recipe).expect("a file");

    let out = scratch.path().join("out");
    let mut build = Command::new(image::graven_as_shipped())
        .arg("build")
        .arg(scratch.path())
        .args(["--target", "qemu-x86_64", "--keys"])
        .arg(image::keys())
        .arg("--out")
        .arg(&out)
        .spawn()
        .expect("graven can be started");
    let status = format!("/proc/{}/status", build.id());
    let mut peak = 0;
    let end = loop {
        // The kernel keeps the peak: it is enough to look before the end.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        let kib = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
        peak = kib.max(peak);
        if let Some(end) = build.try_wait().expect("a child") {
            break end;
        }
        sleep(Duration::from_millis(20));
    };
    assert!(end.success(), "graven build: {end}");
    let root = fs::metadata(out.join("disk.img")).expect("a disk").len();
    assert!(root > 2 << 30, "the disk holds it all: {root} bytes");
    println!("peak of resident memory: {} MiB", peak >> 10);
    assert!(peak > 0 && peak < LIMIT, "peak of resident memory: {peak} KiB, at most {LIMIT} are granted");
}
