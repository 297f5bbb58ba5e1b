//! Single paths, found without reading the whole image.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use graven_image::erofs::Reader;
use graven_image::erofs::read::LookupError;
use graven_image::tree::{Kind, Tree, TreePath};
use graven_verity::io::ReadAt;

use super::trees::{self, Builder, metadata};
use super::written;

/// Counts the bytes that are read.
struct Counted<R>(R, AtomicU64);

impl<R: ReadAt> ReadAt for Counted<R> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.1.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.0.read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

fn bytes(kind: &Kind) -> Option<Vec<u8>> {
    let Kind::File(content) = kind else { return None };
    let mut bytes = vec![0; content.len as usize];
    content.read_exact_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

/// Every path of the tree leads in its image to what the tree has there.
fn assert_found(tree: &Tree) {
    let (image, _) = written(tree);
    let reader = Reader::open(image.reopen().unwrap()).unwrap();
    for entry in tree.walk() {
        let Ok(path) = TreePath::parse(if entry.path.is_empty() { b"/" } else { &entry.path }) else {
            continue;
        };
        let found = reader.lookup(&path);
        match tree.resolve(&path) {
            Ok(id) => {
                let (found, expected) = (found.unwrap(), tree.inode(id));
                assert_eq!(found.path, tree.canonical(&path).unwrap(), "{path}");
                assert_eq!(found.inode.metadata, expected.metadata, "{path}");
                assert_eq!(found.inode.kind.noun(), expected.kind.noun(), "{path}");
                assert_eq!(bytes(&found.inode.kind), bytes(&expected.kind), "{path}");
            }
            Err(_) => assert!(found.is_err(), "{path}"),
        }
    }
}

#[test]
fn every_path_of_the_hard_tree_is_found() {
    assert_found(&trees::hard(false));
}

#[test]
fn names_are_found_in_large_directories_and_absent_ones_are_not() {
    let mut b = Builder::new();
    let big = b.directory(Tree::ROOT, "big");
    for number in 0..3000 {
        b.file(big, format!("{number}-{}", "x".repeat(number % 50)), number.to_string());
    }
    assert_found(&b.tree);
    let (image, _) = written(&b.tree);
    let reader = Reader::open(Arc::new(Counted(image.reopen().unwrap(), AtomicU64::new(0)))).unwrap();
    for absent in ["", "!", "0-", "5", "2999-", "99999", "z", "~"] {
        let path = TreePath::parse(format!("/big/{absent}x").as_bytes()).unwrap();
        match reader.lookup(&path) {
            Err(LookupError::NotFound { missing, .. }) => assert_eq!(missing, path.to_string()),
            other => panic!("{path}: {other:?}"),
        }
    }
    let counted = reader.image();
    counted.1.store(0, Ordering::Relaxed);
    reader.lookup(&TreePath::parse(b"/big/1234-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx").unwrap()).unwrap();
    let read = counted.1.load(Ordering::Relaxed);
    assert!(read < 12 * 4096, "{read} bytes were read of a directory of {} KiB", 3000 * 45 / 1024);
}

#[test]
fn symbolic_links_are_followed_inside_the_image_and_circles_end() {
    let mut b = Builder::new();
    let usr = b.directory(Tree::ROOT, "usr");
    let bin = b.directory(usr, "bin");
    b.file(bin, "tool", *b"#!");
    let mut link = |above, name: &str, target: &str| {
        b.add(above, name, metadata(0o777), Kind::Symlink(target.as_bytes().into()));
    };
    link(Tree::ROOT, "bin", "usr/bin");
    link(bin, "sh", "tool");
    link(bin, "absolute", "/bin/../bin/./sh");
    link(bin, "above", "../../../../../usr/bin/tool");
    link(bin, "circle", "circle");
    link(bin, "dangling", "nowhere");
    link(bin, "through", "tool/x");
    // A file has no `..`, nor anything behind a slash.
    link(bin, "back", "tool/../tool");
    link(bin, "slash", "tool/");
    let (image, _) = written(&b.tree);
    let reader = Reader::open(image.reopen().unwrap()).unwrap();
    let lookup = |path: &str| reader.lookup(&TreePath::parse(path.as_bytes()).unwrap());
    for path in ["/bin/sh", "/bin/absolute", "/usr/bin/above", "/bin/tool"] {
        assert_eq!(lookup(path).unwrap().path.to_string(), "/usr/bin/tool", "{path}");
    }
    assert!(matches!(lookup("/bin/circle"), Err(LookupError::TooManySymlinks(_))));
    assert!(matches!(lookup("/bin/dangling"), Err(LookupError::NotFound { .. })));
    for path in ["/bin/through", "/bin/tool/x", "/bin/back", "/bin/slash"] {
        assert!(matches!(lookup(path), Err(LookupError::NotADirectory { .. })), "{path}");
    }
    assert_eq!(lookup("/").unwrap().path.to_string(), "/");
}
