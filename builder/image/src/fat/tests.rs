#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::name::Stamp;
use super::*;

const NOON: i64 = 1_790_000_001; // 2026-09-21T14:13:21Z

fn format(bytes: u64) -> Format {
    Format { bytes, volume_id: 0x1234_abcd, label: "ESP".into(), timestamp: NOON }
}

/// Paths that take every way through the names: 8.3, lower case, long, many of one stem, deep, not ASCII, empty.
fn files() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut add = |path: &str, bytes: usize| {
        files.insert(path.to_owned(), (0..bytes).map(|n| (n * 7 + bytes) as u8 | 1).collect::<Vec<u8>>());
    };
    add("EFI/BOOT/BOOTX64.EFI", 300_000);
    add("EFI/Linux/acme-fw_2.4.1.efi", 70_001);
    add("EFI/Linux/acme-fw_2.4.2.efi", 1);
    add("loader/loader.conf", 20);
    add("loader/keys/auto/PK.auth", 2048);
    add("loader/entries.srel", 6);
    add("empty", 0);
    add("ACME-F~1.EFI", 5);
    add("acme-fw_2.4.1.efi", 4096);
    add("päckchen ✓ mit Leerzeichen.tar.gz", 513);
    add(&"x".repeat(255), 1);
    add(&"13 units long".repeat(2), 1);
    for n in 0..40 {
        add(&format!("many/a-long-stem-{n}.txt"), n);
    }
    files
}

fn listed(files: &BTreeMap<String, Vec<u8>>) -> Vec<File<'_>> {
    files.iter().map(|(path, contents)| File { path, contents }).collect()
}

fn written(format: &Format, files: &BTreeMap<String, Vec<u8>>) -> tempfile::NamedTempFile {
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(format.bytes).unwrap();
    write(format, &listed(files), image.as_file()).unwrap();
    image
}

fn read_back<R: ReadAt>(reader: &Reader<R>) -> BTreeMap<String, Vec<u8>> {
    let files = reader.entries().iter().filter(|entry| entry.kind == EntryKind::File);
    files.map(|entry| (entry.path.clone(), reader.read(entry).unwrap())).collect()
}

fn run(program: &str, args: &[&str], image: &Path) -> String {
    let mut command = Command::new(program);
    command.env("MTOOLS_SKIP_CHECK", "1").env("TZ", "UTC").env("LC_ALL", "C.UTF-8");
    for arg in args {
        command.arg(if *arg == "IMAGE" { image.as_os_str() } else { arg.as_ref() });
    }
    let output = command.output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
    said
}

const SIZES: [(u64, Kind); 6] = [
    (3 << 20, Kind::Fat16),
    (64 << 20, Kind::Fat16),
    ((64 << 20) + 512, Kind::Fat16),
    ((260 << 20) - 512, Kind::Fat16),
    (260 << 20, Kind::Fat32),
    (9 << 30, Kind::Fat32),
];

#[test]
fn fsck_has_nothing_to_say() {
    for (bytes, _) in SIZES {
        let image = written(&format(bytes), &files());
        let said = run("fsck.fat", &["-n", "-v", "IMAGE"], image.path());
        // With -v it prints what it sees; complaints are lines besides. Without, just its name and the counts.
        let quiet = run("fsck.fat", &["-n", "IMAGE"], image.path());
        assert_eq!(quiet.lines().count(), 2, "{bytes}: {quiet}\n{said}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    for (bytes, kind) in SIZES {
        let image = written(&format(bytes), &files());
        let reader = Reader::open(image.as_file()).unwrap();
        assert_eq!(reader.kind(), kind, "{bytes}");
        assert_eq!((reader.volume_id(), reader.label()), (0x1234_abcd, Some("ESP")));
        assert_eq!(read_back(&reader), files(), "{bytes}");
    }
}

#[test]
fn fatfs_reads_what_is_written() {
    for (bytes, _) in SIZES {
        let image = written(&format(bytes), &files());
        let volume = fatfs::FileSystem::new(image.reopen().unwrap(), fatfs::FsOptions::new()).unwrap();
        assert_eq!(volume.volume_label(), "ESP");
        for (path, contents) in files() {
            let mut read = Vec::new();
            let mut file = volume.root_dir().open_file(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
            std::io::Read::read_to_end(&mut file, &mut read).unwrap();
            assert!(read == contents, "{path}");
        }
    }
}

#[test]
fn mtools_reads_what_is_written_with_its_date() {
    for bytes in [64 << 20, 300 << 20] {
        let image = written(&format(bytes), &files());
        let said = run("mdir", &["-i", "IMAGE", "::/EFI/Linux"], image.path());
        assert!(said.contains("2026-09-21  14:13  acme-fw_2.4.1.efi"), "{said}");
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().to_str().unwrap();
        run("mcopy", &["-s", "-n", "-i", "IMAGE", "::/EFI", "::/loader", "::/many", target], image.path());
        for (path, contents) in files() {
            if path.contains('/') {
                assert!(fs::read(folder.path().join(&path)).unwrap() == contents, "{path}");
            }
        }
    }
}

#[test]
fn an_image_of_mkfs_and_mcopy_is_read() {
    for (kind, mib) in [("12", 2), ("16", 32), ("32", 300)] {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(mib << 20).unwrap();
        run("mkfs.fat", &["-F", kind, "-n", "BOOT", "IMAGE"], image.path());
        let folder = tempfile::tempdir().unwrap();
        let wanted: BTreeMap<_, _> = files().into_iter().filter(|(path, _)| !path.contains("many")).collect();
        for (path, contents) in &wanted {
            let target = folder.path().join(path);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, contents).unwrap();
        }
        for child in fs::read_dir(folder.path()).unwrap() {
            let child = child.unwrap().path();
            run("mcopy", &["-s", "-i", "IMAGE", child.to_str().unwrap(), "::/"], image.path());
        }
        run("mattrib", &["+h", "-i", "IMAGE", "::/loader/loader.conf"], image.path());
        run("mdel", &["-i", "IMAGE", "::/loader/entries.srel"], image.path());
        let reader = Reader::open(image.as_file()).unwrap();
        let mut expected = wanted;
        expected.remove("loader/entries.srel");
        assert_eq!(read_back(&reader), expected, "FAT{kind}");
        assert!(reader.find("\\LOADER\\Loader.conf").unwrap().hidden);
        assert_eq!(reader.label(), Some("BOOT"));
    }
}

#[test]
fn two_writes_give_the_same_bytes_and_the_order_of_the_files_does_not_count() {
    let (files, format) = (files(), format(16 << 20));
    let mut backwards = listed(&files);
    backwards.reverse();
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(format.bytes).unwrap();
    write(&format, &backwards, image.as_file()).unwrap();
    assert!(fs::read(image.path()).unwrap() == fs::read(written(&format, &files).path()).unwrap());
}

#[test]
fn what_is_zero_takes_no_room() {
    let image = written(&format(2 << 30), &BTreeMap::from([("zeros".to_owned(), vec![0; 32 << 20])]));
    assert!(image.as_file().metadata().unwrap().blocks() * 512 < 1 << 20);
}

#[test]
fn needed_bytes_is_enough_and_a_mebibyte_less_is_not() {
    let files =
        BTreeMap::from([("a".to_owned(), vec![1u8; 20 << 20]), ("b/c".to_owned(), vec![1u8; 9_999_999])]);
    let needed = needed_bytes(&listed(&files)).unwrap();
    written(&format(needed), &files);
    let tight = format(needed - (1 << 20));
    let error = write(&tight, &listed(&files), &tempfile::tempfile().unwrap()).unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
}

#[test]
fn names_that_cannot_be_are_refused() {
    let refused = |paths: &[&str]| {
        let contents = Vec::new();
        let files: Vec<_> = paths.iter().map(|path| File { path, contents: &contents }).collect();
        write(&format(4 << 20), &files, &tempfile::tempfile().unwrap()).unwrap_err().to_string()
    };
    for path in ["", "/a", "a//b", "a/", ".", "../a", "a:b", "con\n", "dot.", &"x".repeat(256)] {
        assert!(refused(&[path]).starts_with(&format!("FAT: `{path}`: ")), "{path}");
    }
    assert!(refused(&["efi/a", "EFI/A"]).contains("twice"));
    assert!(refused(&["a", "A/b"]).contains("twice"));
    let many: Vec<String> = (0..300).map(|n| format!("long name {n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(refused(&many).contains("holds at most 512"), "{}", refused(&many));
}

#[test]
fn dates_are_moved_into_what_fat_can_say() {
    assert_eq!(Stamp::from_unix(0), Stamp { date: 0x0021, time: 0, fine: 0 });
    assert_eq!(Stamp::from_unix(i64::MAX), Stamp { date: 0xff9f, time: 0xbf7d, fine: 100 });
    // `date -u -d @951782399`: 2000-02-28 23:59:59; two days on, since 2000 was a leap year, it is March.
    assert_eq!(Stamp::from_unix(951_782_399).date, 20 << 9 | 2 << 5 | 28);
    assert_eq!(Stamp::from_unix(951_782_400).date, 20 << 9 | 2 << 5 | 29);
    assert_eq!(Stamp::from_unix(951_868_800).date, 20 << 9 | 3 << 5 | 1);
}

/// An image small enough to be changed byte by byte, held in memory.
fn small(bytes: u64) -> Vec<u8> {
    let files = BTreeMap::from([
        ("EFI/BOOT/BOOTX64.EFI".to_owned(), vec![1u8; 9000]),
        ("EFI/a long name.efi".to_owned(), vec![2u8; 100]),
    ]);
    fs::read(written(&format(bytes), &files).path()).unwrap()
}

/// Changes every byte of boot sector, tables' beginnings and folders, each in three ways: an answer or an error, but no
/// panic and no endless loop.
#[test]
fn a_damaged_image_is_answered_or_refused() {
    let good = small(3 << 20);
    let last = good.len() - good.iter().rev().position(|byte| *byte != 0).unwrap();
    let mut refused = 0;
    for place in 0..last.min(64 * 1024) {
        let matters = good[place] != 0 || place < 0x60;
        for value in [good[place] ^ 1, good[place] ^ 0x80, 0xff] {
            if !matters {
                continue;
            }
            let mut bad = good.clone();
            bad[place] = value;
            if let Ok(reader) = Reader::open(&bad) {
                for entry in reader.entries() {
                    let _ = reader.contents(entry).size();
                }
            } else {
                refused += 1;
            }
        }
    }
    assert!(refused > 400, "{refused}");
}

#[test]
fn chains_that_loop_cross_or_leave_are_refused() {
    let good = small(3 << 20);
    let reader = Reader::open(&good).unwrap();
    let geometry = super::geometry::Geometry::for_bytes(3 << 20).unwrap();
    let file = reader.find("EFI/BOOT/BOOTX64.EFI").unwrap();
    assert_eq!(reader.find("EFI/ALONGN~1.EFI").unwrap().path, "EFI/a long name.efi");
    let set = |cluster: u32, next: u16| {
        let mut bad = good.clone();
        for copy in 0..2 {
            let at = geometry.table_offset(copy) as usize + cluster as usize * 2;
            bad[at..at + 2].copy_from_slice(&next.to_le_bytes());
        }
        Reader::open(&bad).unwrap_err().to_string()
    };
    // The folders EFI and BOOT take clusters 2 and 3 or so: find the file's by its first bytes.
    let first = (2..20).find(|c| good[geometry.cluster_offset(*c).unwrap() as usize] == 1).unwrap();
    assert_eq!(file.size, 9000);
    assert!(set(first + 1, first as u16).contains("comes back"));
    assert!(set(first + 1, 2).contains("comes back"));
    assert!(set(first + 1, 0).contains("leaves"));
    assert!(set(first + 1, 0xfff0).contains("leaves"));
    assert!(set(first + 1, 0xffff).contains("ends before"));
    let mut differ = good.clone();
    differ[geometry.table_offset(1) as usize + 40] ^= 1;
    assert!(matches!(Reader::open(&differ), Err(Error::TablesDiffer { copy: 2, .. })));
}

#[test]
fn a_long_name_that_hides_another_short_name_shows_both() {
    let mut image = small(3 << 20);
    let at = image.windows(11).position(|w| w == b"BOOTX64 EFI").unwrap();
    // Same file, found by firmware under this name; and a name twice.
    image[at..at + 11].copy_from_slice(b"GRUBX64 EFI");
    let reader = Reader::open(&image).unwrap();
    assert!(reader.find("EFI/BOOT/BOOTX64.EFI").is_none());
    let at = image.windows(11).position(|w| w == b"ALONGN~1EFI").unwrap();
    image[at] = b'B';
    assert!(matches!(Reader::open(&image), Err(Error::Directory { .. })));
}
