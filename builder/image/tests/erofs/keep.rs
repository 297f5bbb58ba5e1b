//! Places that are kept from an image to the next.

use std::collections::HashMap;
use std::process::Command;

use graven_image::erofs::{self, Image, Place, Places};
use graven_image::tree::{Content, Inode, Kind, Tree, TreePath, diff};
use graven_verity::hash::Algorithm;
use graven_verity::progress::Silent;
use proptest::prelude::*;

use super::read;
use super::trees::{Builder, options, pattern};

/// An image like an earlier one: what it holds is what went in, and every file's digest is its own.
fn like(tree: &Tree, old: &Places) -> (Vec<u8>, Places) {
    let image = Image::plan_like(tree, &options(), old).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(image.len()).unwrap();
    let written = erofs::write(&image, file.as_file(), &mut [], &Silent).unwrap();
    assert_eq!(diff(tree, &read(file.reopen().unwrap())), Vec::<String>::new());
    for record in &written.files {
        let Kind::File(content) = &tree.inode(record.inode).kind else { panic!("not a file") };
        let mut bytes = vec![0; content.len as usize];
        content.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(record.sha256, Algorithm::Sha256.digest(&bytes), "{:?}", record.paths);
    }
    let fsck = Command::new("fsck.erofs").arg(file.path()).output().expect("Debian package erofs-utils");
    assert!(fsck.status.success(), "{}", String::from_utf8_lossy(&fsck.stderr));
    (std::fs::read(file.path()).unwrap(), image.places().collect())
}

/// A root of so many files in packages' folders, some of them with tails behind their inodes.
fn release(files: u64) -> Tree {
    let mut b = Builder::new();
    for folder in 0..files / 50 {
        let id = b.directory(Tree::ROOT, format!("package-{folder:03}"));
        for number in 0..50 {
            let seed = folder * 50 + number;
            b.file(id, format!("{number}"), pattern((seed * 7919 % 30_000) as usize, seed));
        }
    }
    b.tree
}

fn put(tree: &mut Tree, path: &str, bytes: Vec<u8>) {
    let path = TreePath::parse(path.as_bytes()).unwrap();
    if tree.lookup(&path).is_ok() {
        tree.remove(&path).unwrap();
    }
    let inode = Inode::new(super::trees::metadata(0o644), Kind::File(Content::from_bytes(bytes)));
    tree.insert(&path, inode).unwrap();
}

/// Blocks of the second that are not in the same place of the first.
fn moved(one: &[u8], other: &[u8]) -> usize {
    let blocks = other.chunks(4096).enumerate();
    blocks.filter(|(at, block)| one.get(at * 4096..at * 4096 + block.len()) != Some(*block)).count()
}

#[test]
fn the_same_tree_has_the_same_image_and_a_change_is_all_that_changes() {
    let tree = release(3000);
    let (first, places) = like(&tree, &Places::default());
    assert_eq!(like(&tree, &places), (first.clone(), places.clone()));

    let mut next = tree;
    put(&mut next, "/package-007/3", pattern(20_000, 1_000_000));
    put(&mut next, "/package-013/49", pattern(300_000, 1_000_001));
    put(&mut next, "/package-013/new", pattern(9_000, 1_000_002));
    next.remove(&TreePath::parse(b"/package-020/10").unwrap()).unwrap();
    let (second, _) = like(&next, &places);
    // The contents that are new, and a block for each inode, directory and the superblock.
    let changed = [20_000usize, 300_000, 9_000].iter().map(|len| len.div_ceil(4096)).sum::<usize>();
    let found = moved(&first, &second);
    assert!(found <= changed + 12, "{found} blocks differ, of which {changed} are new contents");
    let (anew, _) = like(&next, &Places::default());
    assert!(moved(&first, &anew) > 20 * found, "{} where nothing is kept", moved(&first, &anew));
}

#[test]
fn an_image_that_would_be_full_of_holes_is_laid_out_anew() {
    let (_, places) = like(&release(3000), &Places::default());
    let few = release(500);
    let (kept, _) = like(&few, &places);
    let (anew, _) = like(&few, &Places::default());
    assert_eq!(kept.len(), anew.len(), "what is left lies at the start anyway");
    // What is left of each folder lies scattered.
    let mut scattered = release(3000);
    for folder in 0..60 {
        for number in 0..45 {
            let path = format!("/package-{folder:03}/{number}");
            scattered.remove(&TreePath::parse(path.as_bytes()).unwrap()).unwrap();
        }
    }
    assert_eq!(like(&scattered, &places).0, like(&scattered, &Places::default()).0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the places say: of this tree's own image, of another's, mixed up, impossible.
    #[test]
    fn no_place_harms_an_image(
        lens in prop::collection::vec((0usize..12_000, any::<bool>()), 1..60),
        noise in prop::collection::vec((any::<u16>(), 0u64..200_000, 0u32..400), 0..60),
    ) {
        let mut b = Builder::new();
        for (number, (len, _)) in lens.iter().enumerate() {
            b.file(Tree::ROOT, format!("{number}"), pattern(*len, number as u64));
        }
        let image = Image::plan(&b.tree, &options()).unwrap();
        let mut places: HashMap<Box<[u8]>, Place> = image.places().collect();
        for (number, nid, block) in noise {
            let path = format!("/{}", usize::from(number) % lens.len()).into_bytes().into();
            places.insert(path, Place { nid, block, shares: None, sha256: None });
        }
        let mut next = Builder::new();
        for (number, (len, grows)) in lens.iter().enumerate() {
            let len = if *grows { len + 5000 } else { *len };
            next.file(Tree::ROOT, format!("{number}"), pattern(len, number as u64));
        }
        like(&next.tree, &places);
    }
}
