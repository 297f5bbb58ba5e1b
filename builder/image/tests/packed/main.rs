//! The readers of what others write, compressed or not: against their writers' images, and against damage.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../erofs/trees.rs"]
mod trees;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use graven_image::any::Reader;
use graven_image::tar;
use graven_image::tree::{DeviceNumber, Kind, Metadata, Tree, diff};
use proptest::prelude::*;
use trees::{Builder, metadata, pattern, xattrs};

/// A program of the folder that tests/setup.sh makes.
fn program(name: &str) -> Command {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
    let path = cache.join("graven/writers/bin").join(name);
    assert!(path.exists(), "{}: run tests/setup.sh", path.display());
    Command::new(path)
}

/// The image that a program makes of a tree; `image` in the arguments stands for its file.
fn made(tree: &Tree, name: &str, arguments: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    if name == "mke2fs" {
        std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    }
    let mut child = program(name)
        .args(arguments.iter().map(|argument| match *argument {
            "image" => image.clone().into_os_string(),
            other => other.into(),
        }))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut archive = Vec::new();
    tar::write(tree, Tree::ROOT, &mut archive).unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&archive).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(image).unwrap()
}

/// Text that compresses well, the same parts again and again at other places.
fn text(len: usize, seed: usize) -> Vec<u8> {
    let lines = (seed..)
        .map(|number| format!("line {} of some text that says little, {}\n", number % 5000, number % 7));
    let mut text: Vec<u8> = Vec::with_capacity(len + 100);
    lines
        .map(String::into_bytes)
        .take_while(|line| {
            text.extend_from_slice(line);
            text.len() < len
        })
        .count();
    text.truncate(len);
    text
}

/// What all three file systems hold, contents of every compressibility.
fn tree() -> Tree {
    let mut b = Builder::new();
    let files = b.directory(Tree::ROOT, "files");
    for len in [0, 1, 4095, 4096, 4097, 65_536, 100_000, 131_071, 131_072, 131_073, 700_000] {
        b.file(files, format!("text-{len}"), text(len, len));
        b.file(files, format!("noise-{len}"), pattern(len, len as u64));
        b.file(files, format!("zeros-{len}"), vec![0; len]);
    }
    b.file(
        files,
        "mixed",
        [text(70_000, 3), pattern(70_001, 3), text(300_000, 10), vec![0; 50_000]].concat(),
    );
    b.file(files, "shifted", [b"x".to_vec(), text(400_000, 10)].concat());
    let hard = b.file(files, "hard", text(5000, 1));
    b.tree.link_child(Tree::ROOT, b"hard-too", hard).unwrap();
    for (number, len) in [1usize, 59, 60, 61, 4095].into_iter().enumerate() {
        b.add(files, format!("symlink-{number}"), metadata(0o777), Kind::Symlink(vec![b't'; len].into()));
    }
    let special = b.directory(Tree::ROOT, "special");
    let device = |major, minor| DeviceNumber { major, minor };
    b.add(special, "null", metadata(0o666), Kind::CharDevice(device(1, 3)));
    b.add(special, "far", metadata(0o600), Kind::BlockDevice(device(259, 70_000)));
    b.add(special, "fifo", metadata(0o644), Kind::Fifo);
    let capability = [1u8, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let capable = Metadata { xattrs: xattrs(&[("security.capability", &capability)]), ..metadata(0o755) };
    b.add(special, "ping", capable, Kind::File(graven_image::tree::Content::from_bytes(text(9000, 2))));
    let owned = Metadata { uid: 70_000, gid: 80_000, mtime: 1, ..metadata(0o6711) };
    b.add(special, "owned", owned, Kind::File(graven_image::tree::Content::from_bytes(*b"owned")));
    let many = b.directory(Tree::ROOT, "many");
    for number in 0..1500u32 {
        b.file(many, format!("{number:04}-{}", "n".repeat((number % 97) as usize)), number.to_string());
    }
    let names = b.directory(Tree::ROOT, "names");
    let odd: [&[u8]; 9] =
        [b"!", b"-", b"...", b" ", "ä".as_bytes(), b"new\nline", b"\xff\xfe", b"\x7f", &[b'n'; 255]];
    for name in odd {
        b.file(names, name, name);
    }
    let mut deep = b.directory(Tree::ROOT, "deep");
    for number in 0..40 {
        deep = b.directory(deep, format!("level-{number}"));
    }
    b.file(deep, "bottom", *b"deep");
    b.tree
}

const UUID: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
const EROFS: [&str; 8] = ["--quiet", "-b4096", "--tar=f", "--mkfs-time", "-T", "1700000000", "-U", UUID];
const SQUASHFS: [&str; 10] = [
    "-quiet",
    "-no-progress",
    "-root-mode",
    "755",
    "-root-time",
    "1700000000",
    "-root-uid",
    "0",
    "-root-gid",
    "0",
];
const EXT4: [&str; 16] = [
    "-q",
    "-F",
    "-t",
    "ext4",
    "-b",
    "4096",
    "-I",
    "256",
    "-N",
    "3000",
    "-O",
    "none,ext_attr,filetype,extent,64bit,flex_bg,sparse_super,large_file,extra_isize,metadata_csum",
    "-d",
    "-",
    "image",
    "4096",
];

#[test]
fn erofs_reads_as_what_went_in_however_it_is_compressed() {
    let tree = tree();
    let ways: [&[&str]; 7] = [
        &[],
        &["-zlz4", "-C4096"],
        &["-zlz4hc", "-C65536"],
        &["-zdeflate", "-C65536"],
        &["-zzstd", "-C1048576"],
        &["-zlzma", "-C65536", "-Ededupe"],
        &["-zlz4:zstd", "-C16384", "-Ededupe"],
    ];
    for way in ways {
        let image = made(&tree, "mkfs.erofs", &[&EROFS[..], way, &["image"]].concat());
        let read = Reader::open(image)
            .and_then(|reader| reader.tree())
            .unwrap_or_else(|error| panic!("{way:?}: {error}"));
        assert_eq!(diff(&tree, &read), Vec::<String>::new(), "{way:?}");
    }
}

#[test]
fn erofs_that_is_packed_another_way_is_refused_in_words() {
    let tree = tree();
    for way in ["-Efragments", "-Eztailpacking", "-Eall-fragments"] {
        let image = made(&tree, "mkfs.erofs", &[&EROFS[..], &["-zzstd", way, "image"]].concat());
        let error = Reader::open(image).and_then(|reader| reader.tree()).unwrap_err().to_string();
        assert!(error.contains("not read here"), "{way}: {error}");
    }
}

#[test]
fn squashfs_reads_as_what_went_in_however_it_is_compressed() {
    let mut tree = tree();
    let far = tree.lookup(&graven_image::tree::TreePath::parse(b"/special/ping").unwrap()).unwrap();
    tree.inode_mut(far).metadata.xattrs.extend(xattrs(&[("user.a", b"1"), ("user.long", &[b'l'; 3000])]));
    for way in [
        &["-comp", "gzip"][..],
        &["-comp", "xz"],
        &["-comp", "lz4"],
        &["-comp", "zstd", "-b", "1M"],
        &["-comp", "zstd", "-b", "4K"],
    ] {
        let image = made(&tree, "sqfstar", &[&SQUASHFS[..], way, &["image"]].concat());
        let read = Reader::open(image)
            .and_then(|reader| reader.tree())
            .unwrap_or_else(|error| panic!("{way:?}: {error}"));
        assert_eq!(diff(&tree, &read), Vec::<String>::new(), "{way:?}");
    }
}

#[test]
fn ext4_reads_as_what_went_in() {
    let mut tree = tree();
    let found = graven_image::tree::Inode::new(metadata(0o700), Kind::directory());
    tree.insert_child(Tree::ROOT, b"lost+found", found).unwrap();
    let image = made(&tree, "mke2fs", &EXT4);
    let read = Reader::open(image).and_then(|reader| reader.tree()).unwrap();
    assert_eq!(diff(&tree, &read), Vec::<String>::new());
}

/// A small image of each kind.
fn small() -> Vec<(&'static str, Vec<u8>)> {
    let mut b = Builder::new();
    let d = b.directory(Tree::ROOT, "d");
    b.file(d, "text", text(60_000, 1));
    b.file(d, "again", text(50_000, 2));
    b.file(d, "noise", pattern(9000, 1));
    let small = b.file(d, "small", *b"small");
    b.tree.link_child(Tree::ROOT, b"link", small).unwrap();
    b.add(Tree::ROOT, "symlink", metadata(0o777), Kind::Symlink(b"d/text".as_slice().into()));
    let with = Metadata { xattrs: xattrs(&[("security.capability", &[0; 20])]), ..metadata(0o644) };
    b.add(Tree::ROOT, "xattrs", with, Kind::Fifo);
    let mut images = Vec::new();
    for (name, way) in [
        ("lz4", &["-zlz4hc", "-C16384"][..]),
        ("lzma, shared", &["-zlzma", "-C16384", "-Ededupe"]),
        ("deflate", &["-zdeflate"]),
        ("zstd", &["-zzstd", "-C16384"]),
    ] {
        let mut image = made(&b.tree, "mkfs.erofs", &[&EROFS[..], way, &["image"]].concat());
        // Without its checksum, so that changes go deeper.
        image[1024 + 8] &= !1;
        images.push((name, image));
    }
    for compressor in ["xz", "zstd", "lz4", "gzip"] {
        images.push((
            compressor,
            made(&b.tree, "sqfstar", &[&SQUASHFS[..], &["-comp", compressor, "image"]].concat()),
        ));
    }
    b.add(Tree::ROOT, "lost+found", metadata(0o700), Kind::directory());
    images.push(("ext4", made(&b.tree, "mke2fs", &EXT4)));
    images
}

/// Reads all that there is to read.
fn read_through(image: Vec<u8>) {
    let Ok(tree) = Reader::open(image).and_then(|reader| reader.tree()) else { return };
    for entry in tree.walk() {
        if let Kind::File(content) = &entry.inode.kind {
            let mut bytes = vec![0; content.len.min(1 << 20) as usize];
            let _ = content.read_exact_at(&mut bytes, 0);
            let _ = content.read_exact_at(&mut [0], content.len.saturating_sub(1));
        }
    }
}

#[test]
fn what_is_cut_short_gives_an_error() {
    for (name, image) in small() {
        // A squashfs is padded to 4 KiB: there is nothing in the last of it.
        for part in 1..12 {
            let cut = image[..image.len() * part / 16].to_vec();
            let read = Reader::open(cut).and_then(|reader| reader.tree());
            assert!(read.is_err(), "{name}: {part} sixteenths are taken for the whole");
        }
    }
}

#[test]
fn changed_bytes_never_make_a_reader_panic() {
    let images = small();
    let changes = prop::collection::vec((any::<u32>(), any::<u8>(), any::<bool>()), 1..10);
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 60, ..ProptestConfig::default() });
    runner
        .run(&changes, |changes| {
            for (name, image) in &images {
                let mut bytes = image.clone();
                // Where something is: most of an ext4 is free.
                let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
                for (at, value, anywhere) in &changes {
                    let at = *at as usize;
                    let place =
                        if *anywhere && *name != "ext4" { at % bytes.len() } else { used[at % used.len()] };
                    bytes[place] = *value;
                }
                read_through(bytes);
            }
            Ok(())
        })
        .unwrap();
}
