//! erofs-utils: its checker accepts our images and extracts what went in, its images read as what went in.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use graven_image::tree::{Content, Kind, Metadata, Tree, diff};

use super::trees::{self, Builder, metadata, pattern};
use super::{read, written};

/// Runs a tool of Debian's `erofs-utils` and answers what it printed.
fn run(program: &str, arguments: &[&str], paths: &[&Path]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .args(paths)
        .output()
        .unwrap_or_else(|error| panic!("{program} (Debian package erofs-utils): {error}"));
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

#[test]
fn fsck_accepts_the_hard_tree() {
    // Its --extract keeps a whole file in memory: the file over 4 GiB is checked without.
    for (large, extract) in [(false, &["--extract"][..]), (true, &[])] {
        let (image, _) = written(&trees::hard(large));
        let said = run("fsck.erofs", &[&["-d3"], extract].concat(), &[image.path()]);
        assert!(said.contains("No errors found"), "{said}");
        assert!(!said.contains("<W>") && !said.contains("<E>"), "{said}");
    }
}

#[test]
fn fsck_extracts_what_went_in() {
    let mut b = Builder::new();
    let sizes = b.directory(Tree::ROOT, "sizes");
    for (number, len) in trees::LENGTHS.iter().enumerate() {
        let metadata = Metadata { mtime: 1_234_567_890 + number as i64, ..metadata(0o640) };
        let content = Content::from_bytes(pattern(*len, number as u64));
        b.add(sizes, format!("{len}"), metadata, Kind::File(content));
    }
    let big = b.directory(Tree::ROOT, "big");
    for number in 0..2000 {
        b.file(big, format!("{number}-{}", "x".repeat(number % 50)), number.to_string());
    }
    b.add(big, "symlink", metadata(0o777), Kind::Symlink(b"../sizes/1".as_slice().into()));
    let (image, _) = written(&b.tree);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("root");
    let extract = format!("--extract={}", to.display());
    run("fsck.erofs", &[&extract, "--preserve-perms", "--no-preserve-owner"], &[image.path()]);

    let mut expected = b.tree.clone();
    let ours = std::fs::symlink_metadata(&to).unwrap();
    let ids: Vec<_> = expected.walk().map(|entry| entry.id).collect();
    for id in ids {
        let inode = expected.inode_mut(id);
        (inode.metadata.uid, inode.metadata.gid) = (ours.uid(), ours.gid());
    }
    assert_eq!(diff(&expected, &trees::of_folder(&to)), Vec::<String>::new());
}

#[test]
fn dump_tells_our_superblock() {
    let (image, _) = written(&trees::hard(false));
    let said = run("dump.erofs", &["-s"], &[image.path()]);
    for expected in [
        "Filesystem magic number:                      0xE0F5E1E2",
        "Filesystem root nid:                          128",
        "sb_csum",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    ] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
}

#[test]
fn images_of_mkfs_read_as_the_folder_they_are_of() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let sizes = root.join("sizes");
    std::fs::create_dir_all(&sizes).unwrap();
    for (number, len) in trees::LENGTHS.iter().enumerate() {
        std::fs::write(sizes.join(len.to_string()), pattern(*len, number as u64)).unwrap();
    }
    std::fs::hard_link(sizes.join("8191"), root.join("hard")).unwrap();
    // What mkfs shares where it makes chunks.
    std::fs::write(root.join("twin"), pattern(1_000_001, 21)).unwrap();
    std::fs::write(root.join("zeros"), vec![0; 300_000]).unwrap();
    for len in [1, 1000, 4000] {
        symlink("t".repeat(len), root.join(format!("symlink-{len}"))).unwrap();
    }
    let big = root.join("big");
    std::fs::create_dir(&big).unwrap();
    for number in 0..3000 {
        let path = big.join(format!("{number}-{}", "x".repeat(number % 90)));
        std::fs::write(&path, number.to_string()).unwrap();
        if number % 10 == 0 {
            // Above the default tolerance of 2, so that mkfs shares it.
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(&path, "user.shared", b"the same for many", flags).unwrap();
            rustix::fs::setxattr(&path, "user.own", number.to_string().as_bytes(), flags).unwrap();
        }
    }
    std::fs::set_permissions(big.join("0-"), std::fs::Permissions::from_mode(0o4711)).unwrap();
    let directory = std::fs::File::open(&root).unwrap();
    rustix::fs::mknodat(&directory, "fifo", rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();

    for options in [
        &[][..],
        &["-Eforce-inode-compact", "-T1000"],
        &["-Eforce-inode-extended"],
        &["-Enoinline_data"],
        &["--chunksize=4096"],
        &["--chunksize=65536", "-Eforce-chunk-indexes"],
    ] {
        let image = folder.path().join("image");
        let compact = options.contains(&"-T1000");
        let text = Command::new("mkfs.erofs").args(options).arg(&image).arg(&root).output().unwrap();
        assert!(text.status.success(), "{options:?}: {}", String::from_utf8_lossy(&text.stderr));
        let mut expected = trees::of_folder(&root);
        if compact {
            let ids: Vec<_> = expected.walk().map(|entry| entry.id).collect();
            for id in ids {
                expected.inode_mut(id).metadata.mtime = 1000;
            }
        }
        let found = read(std::fs::File::open(&image).unwrap());
        assert_eq!(diff(&expected, &found), Vec::<String>::new(), "{options:?}");
    }
}

#[test]
fn compressed_images_of_an_older_mkfs_read_as_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("zeros"), vec![0; 1 << 20]).unwrap();
    let text: Vec<u8> = (0..50_000u32).flat_map(|n| format!("{} {}\n", n / 9, n % 13).into_bytes()).collect();
    std::fs::write(root.join("text"), text).unwrap();
    std::fs::write(root.join("noise"), pattern(100_000, 1)).unwrap();
    for options in [&["-zlz4"][..], &["-zlz4hc", "-C65536"]] {
        let image = folder.path().join("image");
        run("mkfs.erofs", options, &[&image, &root]);
        let found = read(std::fs::File::open(&image).unwrap());
        assert_eq!(diff(&trees::of_folder(&root), &found), Vec::<String>::new(), "{options:?}");
    }
}
