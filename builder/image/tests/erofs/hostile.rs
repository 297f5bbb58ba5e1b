//! Images that nobody honest made: an answer, never a panic, never endless work.

use graven_image::erofs::{Image, ReadError, Reader};
use graven_image::tree::{Kind, Tree};
use graven_verity::io::ReadAt;
use proptest::prelude::*;

use super::trees::{Builder, metadata, options, pattern, xattrs};

/// A small image with a bit of everything, its checksum feature off so that changes go deeper.
fn small() -> Vec<u8> {
    let mut b = Builder::new();
    let d = b.directory(Tree::ROOT, "d");
    b.directory(d, "e");
    b.file(d, "file", pattern(5000, 1));
    let f = b.file(d, "small", *b"small");
    b.tree.link_child(Tree::ROOT, b"link", f).unwrap();
    b.add(Tree::ROOT, "symlink", metadata(0o777), Kind::Symlink(b"d/file".as_slice().into()));
    let mut with = metadata(0o644);
    with.xattrs = xattrs(&[("user.x", b"1"), ("security.capability", &[0; 20])]);
    b.add(Tree::ROOT, "xattrs", with, Kind::Fifo);
    for number in 0..300 {
        b.file(d, format!("many-{number:020}"), *b"");
    }
    let image = Image::plan(&b.tree, &options()).unwrap();
    let mut bytes = vec![0; image.len() as usize];
    image.read_exact_at(&mut bytes, 0).unwrap();
    bytes[1024 + 8] &= !1;
    bytes
}

fn refusal(bytes: Vec<u8>) -> String {
    match Reader::open(bytes).and_then(|reader| reader.tree()) {
        Ok(_) => panic!("the image was accepted"),
        Err(error) => error.to_string(),
    }
}

/// First byte of the inode that a name of the root directory has, and of its directory entry.
fn find(bytes: &[u8], name: &str) -> (usize, usize) {
    let root = 128 * 32;
    // A compact inode without attributes, entries right behind it.
    let block = &bytes[root + 32..];
    let count = usize::from(u16::from_le_bytes([block[8], block[9]])) / 12;
    let at = |i: usize| usize::from(u16::from_le_bytes([block[i * 12 + 8], block[i * 12 + 9]]));
    let entry = (0..count).find(|i| block[at(*i)..].starts_with(name.as_bytes())).unwrap();
    let nid = u64::from_le_bytes(block[entry * 12..entry * 12 + 8].try_into().unwrap());
    (nid as usize * 32, root + 32 + entry * 12)
}

#[test]
fn damage_is_told_by_place_and_kind() {
    let good = small();
    assert!(Reader::open(good.clone()).unwrap().tree().is_ok());
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        refusal(bytes)
    };
    let (d, d_entry) = find(&good, "d");
    let (xattrs, _) = find(&good, "xattrs");
    let (symlink, _) = find(&good, "symlink");
    let (link, link_entry) = find(&good, "link");
    let nid = |at: usize| ((at / 32) as u64).to_le_bytes();

    for (expected, found) in [
        ("no EROFS superblock", changed(&|bytes| bytes[1024] = 0)),
        ("no EROFS superblock", refusal(Vec::new())),
        ("no EROFS superblock", refusal(vec![0; 4096])),
        ("blkszbits is 13", changed(&|bytes| bytes[1024 + 12] = 13)),
        (
            "its checksum is",
            changed(&|bytes| {
                bytes[1024 + 8] |= 1;
                bytes[3000] = 1;
            }),
        ),
        ("the image needs DEVICE_TABLE", changed(&|bytes| bytes[1024 + 80] = 8)),
        ("features 0x80000000 that are not known", changed(&|bytes| bytes[1024 + 83] = 0x80)),
        ("the image is cut short", changed(&|bytes| bytes.truncate(bytes.len() - 4096))),
        (
            "the root is not a directory",
            changed(&|bytes| {
                let root = nid(link);
                bytes[1024 + 14..1024 + 16].copy_from_slice(&root[..2]);
            }),
        ),
        ("has bits that are not known", changed(&|bytes| bytes[d] |= 0x10)),
        ("its contents are compressed", changed(&|bytes| bytes[d] = 3 << 1)),
        ("its contents are a list of chunks", changed(&|bytes| bytes[d] = 4 << 1)),
        ("data layout 7", changed(&|bytes| bytes[d] = 7 << 1)),
        ("is of no kind of file", changed(&|bytes| bytes[d + 5] = 0)),
        ("file type 1, the inode 2", changed(&|bytes| bytes[d_entry + 10] = 1)),
        ("its contents lies outside", changed(&|bytes| bytes[d + 17] = 0x7f)),
        ("inode lies outside", changed(&|bytes| bytes[link_entry + 6] = 1)),
        ("are no possible length", changed(&|bytes| bytes[symlink + 9] = 0x10)),
        ("its target has a NUL", changed(&|bytes| bytes[symlink + 32] = 0)),
        ("an entry goes beyond their end", changed(&|bytes| bytes[xattrs + 32 + 12] = 255)),
        ("a name is of no known kind", changed(&|bytes| bytes[xattrs + 32 + 12 + 1] = 77)),
        ("the list of shared ones goes beyond", changed(&|bytes| bytes[xattrs + 32 + 4] = 200)),
        ("it has 2 names, its inode says 3", changed(&|bytes| bytes[link + 6] = 3)),
        // The entry `d` points to the root: a loop.
        (
            "has a name elsewhere too, or holds itself",
            changed(&|bytes| {
                bytes[d_entry..d_entry + 8].copy_from_slice(&nid(128 * 32));
            }),
        ),
        // `..` of the root is `d`.
        (
            "its entry `..` points to inode",
            changed(&|bytes| {
                bytes[128 * 32 + 32 + 12..128 * 32 + 32 + 20].copy_from_slice(&nid(d));
            }),
        ),
        // A file's blocks are the directory's.
        (
            "share the bytes of the image",
            changed(&|bytes| {
                let blocks: [u8; 4] = bytes[d + 16..d + 20].try_into().unwrap();
                bytes[link + 16..link + 20].copy_from_slice(&blocks);
                bytes[link + 8..link + 12].copy_from_slice(&100u32.to_le_bytes());
                bytes[link] = 0;
            }),
        ),
    ] {
        assert!(found.contains(expected), "expected `{expected}`, found `{found}`");
    }
}

#[test]
fn names_out_of_order_or_twice_are_refused() {
    let good = small();
    let (_, entry) = find(&good, "link");
    let name = entry / 4096 * 4096;
    let at = good[name..].windows(4).position(|bytes| bytes == b"link").unwrap() + name;
    for (from, to) in [(b"link", b"zink"), (b"link", b"li/k"), (b"link", b"\0ink")] {
        let mut bytes = good.clone();
        assert_eq!(&bytes[at..at + 4], from);
        bytes[at..at + 4].copy_from_slice(to);
        let error = refusal(bytes);
        assert!(error.contains("name"), "{error}");
    }
}

#[test]
fn a_failing_source_is_an_error_of_its_own() {
    struct Failing(Vec<u8>);
    impl ReadAt for Failing {
        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
            if offset >= 4096 {
                return Err(std::io::Error::other("the disk is gone"));
            }
            self.0.read_exact_at(buf, offset)
        }
        fn size(&self) -> std::io::Result<u64> {
            self.0.size()
        }
    }
    let error = Reader::open(Failing(small())).unwrap().tree().unwrap_err();
    assert!(matches!(error, ReadError::Io { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_never_make_it_panic(changes in prop::collection::vec((any::<u32>(), any::<u8>()), 1..12)) {
        let mut bytes = small();
        // Metadata lies in front; that is where changes matter.
        let reach = bytes.len().min(32 * 1024) as u32 - 1024;
        for (at, value) in changes {
            bytes[1024 + (at % reach) as usize] = value;
        }
        if let Ok(tree) = Reader::open(bytes).and_then(|reader| reader.tree()) {
            for entry in tree.walk() {
                if let Kind::File(content) = &entry.inode.kind {
                    let mut byte = [0];
                    let _ = content.read_exact_at(&mut byte, content.len.saturating_sub(1));
                }
            }
        }
    }
}
