//! An image in other forms, and on a disk.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use graven_tests::{image, inputs, oracle};

/// What `graven flash` said, both streams, and its exit status.
fn flash(image: &Path, device: &Path, more: &[&str]) -> (i32, String) {
    let words = [OsStr::new("flash"), image.as_os_str(), device.as_os_str()];
    let output = image::run(words.into_iter().chain(more.iter().map(OsStr::new)));
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it ends by itself"), String::from_utf8(said).expect("text"))
}

/// Builds with these formats, and more words; what it said.
fn build(out: &Path, formats: &[&str], more: &[&str]) -> String {
    let mut words: Vec<&str> = formats.iter().flat_map(|format| ["--format", format]).collect();
    words.extend(more);
    let output = image::try_build(&inputs::project().join("recipes/minimal"), out, image::keys(), &words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_build_writes_the_forms_that_it_is_asked_for_and_sums_them() {
    let folder = image::folder();
    let out = folder.path().join("out");
    build(&out, &["qcow2", "bmap"], &[]);
    let check = [OsStr::new("-c"), OsStr::new("cd \"$0\" && sha256sum -c SHA256SUMS"), out.as_os_str()];
    let sums = oracle::content("sh", check);
    assert!(sums.contains("disk.qcow2: OK") && sums.contains("disk.bmap: OK"), "{sums}");
    let (disk, back) = (out.join("disk.qcow2"), folder.path().join("back"));
    let convert =
        [OsStr::new("convert"), OsStr::new("-O"), OsStr::new("raw"), disk.as_os_str(), back.as_os_str()];
    oracle::content("qemu-img", convert);
    let original = fs::read(out.join("disk.img")).expect("it is there");
    assert!(fs::read(&back).expect("it is there") == original);

    let output = image::run(["build", "x", "--format", "vmdk"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("raw.zst, qcow2, vhd, vhdx, bmap"), "{said}");
}

#[test]
#[cfg_attr(not(feature = "full"), ignore = "two builds, each with every format: feature `full`")]
fn what_is_built_twice_under_other_conditions_is_the_same_in_every_form() {
    let folder = image::folder();
    let out = folder.path().join("out");
    let said = build(&out, &["raw.zst", "qcow2", "vhd", "vhdx", "bmap"], &["--check"]);
    let count = fs::read_dir(&out).expect("it is there").count();
    assert!(said.contains(&format!("the same {count} files, byte for byte")), "{said}");
    for name in ["disk.img.zst", "disk.qcow2", "disk.vhd", "disk.vhdx", "disk.bmap"] {
        assert!(out.join(name).exists(), "{name}");
    }
}

#[test]
fn what_is_no_disk_is_not_written_to() {
    let folder = image::folder();
    let file = folder.path().join("file");
    fs::write(&file, "precious").expect("it can be written");
    let (status, said) = flash(image::minimal(), &file, &["--yes"]);
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("a file; an image takes a whole disk"), "{said}");
    assert_eq!(fs::read(&file).expect("it is there"), b"precious");
    assert_eq!(flash(image::minimal(), Path::new("/dev/null"), &["--yes"]).0, 2);
    assert_eq!(flash(image::minimal(), &folder.path().join("none"), &["--yes"]).0, 3);
    assert_eq!(flash(&folder.path().join("none"), Path::new("/dev/null"), &["--yes"]).0, 3);
}

/// A loop device over a file full of what was there before.
struct Loop {
    file: PathBuf,
    device: PathBuf,
}

impl Loop {
    fn new(folder: &Path, name: &str, bytes: u64) -> Self {
        let file = folder.join(name);
        fs::write(&file, vec![0xa5; usize::try_from(bytes).expect("it is small")])
            .expect("it can be written");
        let said = oracle::content("losetup", [OsStr::new("--find"), OsStr::new("--show"), file.as_os_str()]);
        Self { file, device: said.trim().into() }
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.file).expect("it can be read")
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = std::process::Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

#[test]
#[cfg_attr(not(feature = "full"), ignore = "takes loop devices and root: feature `full`")]
fn a_disk_gets_the_same_bytes_from_flash_and_from_bmaptool() {
    let folder = image::folder();
    let out = folder.path().join("out");
    image::build(&inputs::project().join("recipes/minimal"), &out, &["--format", "bmap"]);
    let original = fs::read(out.join("disk.img")).expect("it is there");
    let more = 3 << 20;
    let disk = Loop::new(folder.path(), "disk", original.len() as u64 + more);

    let (status, said) = flash(&out, &disk.device, &[]);
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("is no removable disk") && said.contains("--yes"), "{said}");
    assert!(disk.bytes().iter().all(|byte| *byte == 0xa5), "nothing was written");

    let (status, said) = flash(&out, &disk.device, &["--yes"]);
    assert_eq!(status, 0, "{said}");
    let found = disk.bytes();
    assert!(found[..original.len()] == original, "the same bytes, zeros included");
    let tail = found.len() - 33 * 512;
    assert!(found[original.len()..tail].iter().all(|byte| *byte == 0xa5), "what lies behind is not ours");
    assert!(found[tail..].iter().all(|byte| *byte == 0), "but for the place of an old table");
    let proved = image::run([
        OsStr::new("verify"),
        disk.device.as_os_str(),
        OsStr::new("--trust"),
        image::keys().join("db.crt").as_os_str(),
    ]);
    assert_eq!(proved.status.code(), Some(0), "{}", String::from_utf8_lossy(&proved.stdout));
    let said = String::from_utf8_lossy(&proved.stderr);
    assert!(said.contains(&format!("the image ends at byte {}", original.len())), "{said}");

    let other = Loop::new(folder.path(), "other", original.len() as u64);
    let map = out.join("disk.bmap");
    let image = out.join("disk.img");
    oracle::content(
        "bmaptool",
        [
            OsStr::new("copy"),
            OsStr::new("--bmap"),
            map.as_os_str(),
            image.as_os_str(),
            other.device.as_os_str(),
        ],
    );
    let differ =
        other.bytes().iter().zip(&original).filter(|(a, b)| a != b).all(|(a, b)| (*a, *b) == (0xa5, 0));
    assert!(differ, "what bmaptool leaves is what no proof looks at");
    let proved = image::run([
        OsStr::new("verify"),
        other.device.as_os_str(),
        OsStr::new("--trust"),
        image::keys().join("db.crt").as_os_str(),
    ]);
    let said = String::from_utf8_lossy(&proved.stdout).into_owned();
    assert!(said.contains("ok") && !said.contains("data blocks are bad"), "{said}");

    // In use, too small, changed since it was built.
    let small = Loop::new(folder.path(), "small", original.len() as u64 - 512);
    let (status, said) = flash(&out, &small.device, &["--yes"]);
    assert!(status == 2 && said.contains("the image has"), "{said}");
    oracle::content("mkfs.ext4", [OsStr::new("-q"), other.device.as_os_str()]);
    let at = folder.path().join("at");
    fs::create_dir(&at).expect("a folder");
    oracle::content("mount", [other.device.as_os_str(), at.as_os_str()]);
    let (status, said) = flash(&out, &other.device, &["--yes"]);
    oracle::content("umount", [at.as_os_str()]);
    assert!(status == 3 && said.contains("is mounted on"), "{said}");
    let mut changed = original;
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(&image, &changed).expect("it can be written");
    let (status, said) = flash(&out, &disk.device, &["--yes"]);
    assert!(status == 1 && said.contains("nothing was written"), "{said}");
}
