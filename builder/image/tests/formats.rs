//! Disks in the forms that other programs want, read back by those programs.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use graven_image::formats::{Disk, Format, Identity, write};
use tempfile::TempDir;
use uuid::Uuid;

const MIB: u64 = 1 << 20;

/// A sparse disk: bytes here and there, at borders of every cluster and block, and none for long.
struct Sample {
    folder: TempDir,
    len: u64,
    covered: Vec<Range<u64>>,
}

impl Sample {
    fn new(len: u64) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let disk = File::create(folder.path().join("disk.img")).expect("a file");
        disk.set_len(len).expect("it takes a length");
        let mut state = 7u64;
        for at in [0, 4096 * 3 + 5, 64 << 10, MIB - 1, 3 * MIB, 37 * MIB + 513, len / 2, len - 512] {
            let bytes: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .take(usize::try_from((len - at).min(70_000)).expect("it is small"))
            .collect();
            disk.write_all_at(&bytes, at).expect("it takes bytes");
        }
        // Zeros that are on the disk, and zeros that are a hole.
        disk.write_all_at(&[0; 200_000], 5 * MIB).expect("it takes bytes");
        Self { folder, len, covered: vec![2 * MIB..4 * MIB, 5 * MIB..5 * MIB + 8192] }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, format: Format, name: &str) {
        let bytes = File::open(self.path("disk.img")).expect("it is there");
        let disk = Disk { bytes: &bytes, len: self.len, covered: &self.covered };
        let identity = Identity { id: Uuid::from_u128(0x1234_5678), made: 1_767_225_600 };
        let mut out = File::create(self.path(name)).expect("a file");
        write(format, &disk, &identity, &mut out).expect("it can be written");
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("it can be read")
    }
}

/// What a program says; it must end well.
fn run(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; tests/setup.sh installs it"));
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    said
}

#[test]
fn qemu_reads_the_same_bytes() {
    for len in [41 * MIB, 520 * MIB + 512 * 3] {
        let sample = Sample::new(len);
        let original = sample.bytes("disk.img");
        for (format, name) in [(Format::Qcow2, "qcow2"), (Format::Vhd, "vpc"), (Format::Vhdx, "vhdx")] {
            sample.write(format, "disk");
            if format != Format::Vhd {
                // QEMU has no check of a VHD.
                let said = run(sample.folder.path(), "qemu-img", &["check", "-f", name, "disk"]);
                assert!(said.contains("No errors were found"), "{said}");
            }
            run(sample.folder.path(), "qemu-img", &["convert", "-f", name, "-O", "raw", "disk", "back"]);
            let back = sample.bytes("back");
            assert!(back.starts_with(&original), "{name}, {len}: the same bytes");
            assert!(back[original.len()..].iter().all(|byte| *byte == 0), "{name}: and zeros at most");
            let longest = if format == Format::Vhd { len.next_multiple_of(MIB) } else { len };
            assert_eq!(back.len() as u64, longest, "{name}");
            assert!(fs::metadata(sample.path("disk")).unwrap().len() < 30 * MIB || format == Format::Vhd);
        }
    }
}

#[test]
fn bmaptool_copies_the_same_bytes_and_zeros_that_count_are_not_left_out() {
    let sample = Sample::new(41 * MIB + 512);
    sample.write(Format::Bmap, "disk.bmap");
    run(sample.folder.path(), "bmaptool", &["copy", "--bmap", "disk.bmap", "disk.img", "target"]);
    let original = sample.bytes("disk.img");
    assert!(original == sample.bytes("target"));

    let map = String::from_utf8(sample.bytes("disk.bmap")).expect("it is text");
    let ranges = map.lines().filter_map(|line| line.split_once("\"> ")?.1.strip_suffix(" </Range>"));
    let mapped: Vec<usize> = ranges
        .flat_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.parse::<usize>().expect("a number");
            number(first)..=number(last)
        })
        .collect();
    for (number, block) in original.chunks(4096).enumerate() {
        let at = number as u64 * 4096;
        let covered = sample.covered.iter().any(|range| range.contains(&at));
        let counts = covered || block.iter().any(|byte| *byte != 0);
        assert_eq!(mapped.contains(&number), counts, "block {number}");
    }
}

#[test]
fn what_is_compressed_is_unpacked_again() {
    let sample = Sample::new(41 * MIB);
    sample.write(Format::RawZst, "disk.img.zst");
    let unpacked = zstd::decode_all(File::open(sample.path("disk.img.zst")).unwrap()).unwrap();
    assert!(unpacked == sample.bytes("disk.img"));
}

#[test]
fn the_same_disk_gives_the_same_file() {
    let sample = Sample::new(41 * MIB);
    for format in Format::ALL {
        sample.write(format, "one");
        sample.write(format, "other");
        assert!(sample.bytes("one") == sample.bytes("other"), "{}", format.name());
        assert_eq!(Format::from_name(format.name()), Some(format));
    }
}
