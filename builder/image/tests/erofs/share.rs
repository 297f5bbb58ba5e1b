//! Files that share blocks: everything comes back, nothing lies there twice, and nobody is fooled.

use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use graven_image::erofs::{self, Contents, Image, Place, Places, Reader, SourceError};
use graven_image::tree::{Content, InodeId, Kind, Metadata, Tree, diff};
use graven_verity::fsverity;
use graven_verity::hash::Algorithm;
use graven_verity::io::ReadAt;
use graven_verity::progress::Silent;
use proptest::prelude::*;

use super::trees::{self, Builder, metadata, options, pattern, xattrs};
use super::{read, written};

fn planned<'t>(tree: &'t Tree, old: &Places) -> Image<'t> {
    Image::plan_sharing(tree, &options(), old, Contents::read(tree).unwrap()).unwrap()
}

/// The image of a tree whose files share blocks, after everything that can be said of any such image held.
fn shared(tree: &Tree, old: &Places) -> (Vec<u8>, Places) {
    let image = planned(tree, old);
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(image.len()).unwrap();
    let records = erofs::write(&image, file.as_file(), &mut [], &Silent).unwrap().files;
    let bytes = std::fs::read(file.path()).unwrap();
    let mut rendered = vec![0xaa; bytes.len()];
    // Windows that end inside blocks, as nobody reads but anybody could.
    for (number, part) in rendered.chunks_mut(9_999).enumerate() {
        image.read_exact_at(part, number as u64 * 9_999).unwrap();
    }
    assert!(rendered == bytes, "written and rendered bytes differ");
    assert_eq!(diff(tree, &read(file.reopen().unwrap())), Vec::<String>::new());
    let (_, plain) = written(tree);
    assert_eq!(records, plain, "the files are those of an image whose files share nothing");
    for record in &records {
        let bytes = contents(tree, record.inode);
        assert_eq!(record.sha256, Algorithm::Sha256.digest(&bytes), "{:?}", record.paths);
        assert_eq!(record.fsverity, fsverity::digest(&bytes, &fsverity::Params::default()).unwrap());
    }
    let fsck = Command::new("fsck.erofs").args(["-d3", "--extract"]).arg(file.path()).output();
    let fsck = fsck.expect("Debian package erofs-utils");
    let said = String::from_utf8_lossy(&[fsck.stdout, fsck.stderr].concat()).into_owned();
    assert!(said.contains("No errors found") && !said.contains("<W>") && !said.contains("<E>"), "{said}");
    (bytes, image.places().collect())
}

fn contents(tree: &Tree, id: InodeId) -> Vec<u8> {
    let Kind::File(content) = &tree.inode(id).kind else { panic!("not a file") };
    let mut bytes = vec![0; content.len as usize];
    content.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// So many whole blocks that no other seed has, one behind the other.
fn blocks(count: usize, seed: u64) -> Vec<u8> {
    pattern(count * 4096, seed)
}

/// Blocks of files in the image of some files in one directory, the superblock and the inodes' left out.
fn file_blocks(files: &[Vec<u8>]) -> usize {
    let mut b = Builder::new();
    for (number, bytes) in files.iter().enumerate() {
        b.file(Tree::ROOT, format!("{number}"), bytes.clone());
    }
    let (image, _) = shared(&b.tree, &Places::default());
    // The inodes of a few files, their tails and lists: less than a block here.
    image.len() / 4096 - 2
}

#[test]
fn what_files_have_in_common_lies_there_once() {
    let (a, b, c) = (blocks(10, 1), blocks(10, 2), blocks(10, 3));
    let zeros = |count: usize| vec![0; count * 4096];
    let join = |parts: &[&[u8]]| parts.concat();
    assert_eq!(file_blocks(&[a.clone(), b.clone()]), 20);
    assert_eq!(file_blocks(&[a.clone(), a.clone(), a.clone()]), 10, "twins");
    assert_eq!(file_blocks(&[join(&[&a, b"tail"]), join(&[&a, b"tail"])]), 10, "twins with tails");
    assert_eq!(file_blocks(&[join(&[&a, &b]), join(&[&b, &a])]), 20, "in another order");
    assert_eq!(file_blocks(&[join(&[&a, &b]), join(&[&b, &c]), join(&[&c, &a])]), 30, "in part");
    assert_eq!(file_blocks(&[join(&[&a, &a, &a])]), 10, "with itself");
    assert_eq!(file_blocks(&[zeros(500)]), 0, "zeros");
    assert_eq!(file_blocks(&[join(&[&zeros(20), &a, &zeros(20), &b, &zeros(1)])]), 20, "zeros between");
    // The same but for its tail, which takes a block now: nine are left to save.
    assert_eq!(file_blocks(&[join(&[&a, b"tail"]), join(&[&a, b"other"])]), 11);
    // A tail of zeros alone is no block at all.
    assert_eq!(file_blocks(&[join(&[&a, b"tail"]), join(&[&a, &[0; 100]])]), 10);
    // The last block of one, filled up with zeros, is the last block of the other.
    let long = vec![b'x'; 4090];
    assert_eq!(file_blocks(&[join(&[&a, &long]), join(&[&b, &long, &[0; 6]])]), 21);
}

#[test]
fn what_costs_more_than_it_saves_is_left_alone() {
    // A list for 2,000 blocks takes 8,000 bytes, one block is 4,096.
    let (long, one) = (blocks(2000, 1), blocks(1, 2));
    let mut b = Builder::new();
    b.file(Tree::ROOT, "a", one.clone());
    b.file(Tree::ROOT, "b", [&*long, &*one].concat());
    let (image, _) = shared(&b.tree, &Places::default());
    assert_eq!(image.len(), Image::plan(&b.tree, &options()).unwrap().len() as usize);
    assert_eq!(image[1024 + 80], 0, "no file shares blocks, and the superblock does not say so");
    assert_eq!(image, std::fs::read(written(&b.tree).0.path()).unwrap());
}

#[test]
fn the_hard_tree_shares_and_comes_back() {
    let tree = trees::hard(false);
    let (image, _) = shared(&tree, &Places::default());
    assert!(image.len() < std::fs::read(written(&tree).0.path()).unwrap().len());
    assert_eq!(image[1024 + 80], 4, "CHUNKED_FILE");
}

#[test]
fn twins_of_another_form_have_what_they_need() {
    // With attributes or another time there is less room behind the inode: the tail of one is a block of the other.
    let mut b = Builder::new();
    let bytes = [blocks(3, 1), vec![b't'; 4040]].concat();
    for (number, attribute) in [0usize, 200, 0, 3000].into_iter().enumerate() {
        let with = xattrs(&[("user.x", &vec![b'v'; attribute])]);
        for (time, mtime) in [trees::BUILD_TIME, 5].into_iter().enumerate() {
            let metadata = Metadata { mtime, xattrs: with.clone(), ..metadata(0o644) };
            let content = Content::from_bytes(bytes.clone());
            b.add(Tree::ROOT, format!("{number}-{time}"), metadata, Kind::File(content));
        }
    }
    let (image, _) = shared(&b.tree, &Places::default());
    let count = image.windows(4096).step_by(4096).filter(|block| *block == &bytes[..4096]).count();
    assert_eq!(count, 1);
}

#[test]
fn places_are_kept_and_shared_blocks_too() {
    let release = |changed: bool| {
        let mut b = Builder::new();
        for folder in 0..20u64 {
            let id = b.directory(Tree::ROOT, format!("{folder:02}"));
            for number in 0..30u64 {
                let own = blocks(number as usize % 5, 1000 + folder * 100 + number);
                let common = blocks(3, number % 7);
                b.file(id, format!("{number}"), [&*common, &*own, b"tail"].concat());
            }
            if changed && folder == 3 {
                b.file(id, "new", [blocks(3, 2), blocks(2, 77_777)].concat());
            }
        }
        b.tree
    };
    let (first, places) = shared(&release(false), &Places::default());
    assert_eq!(shared(&release(false), &places), (first.clone(), places.clone()));
    let (second, _) = shared(&release(true), &places);
    let found = moved(&first, &second);
    assert!(found < 12, "{found} blocks differ");
}

/// Blocks of the second image that are not in the same place of the first.
fn moved(first: &[u8], second: &[u8]) -> usize {
    let blocks = second.chunks(4096).enumerate();
    blocks.filter(|(at, block)| first.get(at * 4096..at * 4096 + block.len()) != Some(*block)).count()
}

/// Some files of a root by name, and others that have nothing to do with them.
fn with_others(files: &[(&str, &[u8])]) -> Tree {
    let mut b = Builder::new();
    for (name, bytes) in files {
        b.file(Tree::ROOT, name, *bytes);
    }
    for number in 0..50u64 {
        b.file(Tree::ROOT, format!("other-{number}"), blocks(20, 5000 + number));
    }
    b.tree
}

#[test]
fn whoever_stays_what_it_was_keeps_the_blocks() {
    let (common, changed) = (blocks(500, 1), blocks(500, 2));
    let twins = with_others(&[("m", &common), ("z", &common)]);
    let (first, places) = shared(&twins, &Places::default());
    for [m, z] in [[&changed, &common], [&common, &changed]] {
        let (second, _) = shared(&with_others(&[("m", m), ("z", z)]), &places);
        let found = moved(&first, &second);
        assert!(found <= 500 + 6, "{found} blocks differ, of which 500 are new contents");
    }

    // A new file that comes before and has a block of an old one: the old one keeps it, and the next time, too.
    let (first, places) = shared(&with_others(&[("m", &common)]), &Places::default());
    let new = [&common[4096 * 7..4096 * 8], &blocks(3, 9)].concat();
    let next = with_others(&[("a", &new), ("m", &common)]);
    let (second, places) = shared(&next, &places);
    let found = moved(&first, &second);
    assert!(found <= 3 + 6, "{found} blocks differ, of which 3 are new contents");
    assert_eq!(shared(&next, &places), (second, places));
}

/// A file that has other contents each time that it is read as a whole.
struct Restless {
    times: AtomicU8,
    len: u64,
}

impl ReadAt for Restless {
    fn read_exact_at(&self, buf: &mut [u8], _offset: u64) -> io::Result<()> {
        buf.fill(self.times.fetch_add(1, Ordering::Relaxed));
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len)
    }
}

#[test]
fn a_file_that_changes_between_the_two_looks_is_named() {
    for len in [100, 4096, 5000] {
        let mut b = Builder::new();
        b.file(Tree::ROOT, "other", blocks(2, 1));
        b.file(Tree::ROOT, "twin", blocks(2, 1));
        let source = Arc::new(Restless { times: AtomicU8::new(1), len });
        b.add(Tree::ROOT, "restless", metadata(0o644), Kind::File(Content { source, offset: 0, len }));
        let image = planned(&b.tree, &Places::default());
        let out = tempfile::tempfile().unwrap();
        out.set_len(image.len()).unwrap();
        let error = erofs::write(&image, &out, &mut [], &Silent).unwrap_err();
        let source: &SourceError = error.get_ref().unwrap().downcast_ref().unwrap();
        assert_eq!((source.path.as_str(), source.source.kind()), ("/restless", io::ErrorKind::InvalidData));
    }
}

/// An image of two twins, a file with a list of chunks and one that shares nothing, without its checksum.
fn small() -> Vec<u8> {
    let mut b = Builder::new();
    b.file(Tree::ROOT, "a", blocks(2, 1));
    b.file(Tree::ROOT, "b", blocks(2, 1));
    b.file(Tree::ROOT, "chunks", [vec![0; 8192], blocks(2, 1), blocks(1, 2)].concat());
    b.file(Tree::ROOT, "d", blocks(1, 9));
    let image = planned(&b.tree, &Places::default());
    let mut bytes = vec![0; image.len() as usize];
    image.read_exact_at(&mut bytes, 0).unwrap();
    bytes[1024 + 8] &= !1;
    bytes
}

#[test]
fn lists_that_nobody_honest_made_are_refused() {
    let good = small();
    let tree = Reader::open(good.clone()).unwrap().tree().unwrap();
    assert_eq!(contents(&tree, tree.child(Tree::ROOT, b"chunks").unwrap())[8192..16_384], blocks(2, 1));
    // The list: two holes, the first two blocks of `a`, one of its own.
    let list = good.windows(8).position(|bytes| bytes == [0xff; 8]).unwrap();
    let inode = list - 32;
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        match Reader::open(bytes).and_then(|reader| reader.tree()) {
            Ok(_) => panic!("the image was accepted"),
            Err(error) => error.to_string(),
        }
    };
    let entry = |at: usize, block: u32| {
        move |bytes: &mut Vec<u8>| {
            bytes[list + 4 * at..list + 4 * at + 4].copy_from_slice(&block.to_le_bytes());
        }
    };
    for (expected, found) in [
        ("`/chunks` (inode", refused(&entry(2, 0x7fff_ffff))),
        ("its contents lies outside the image", refused(&entry(4, good.len() as u32 / 4096))),
        // The superblock, and the inodes themselves.
        ("the contents of a file and the superblock", refused(&entry(0, 0))),
        ("the contents of a file and inode", refused(&entry(0, (inode / 4096) as u32))),
        ("which is not read here for a file of an image whose", refused(&|bytes| bytes[1024 + 80] = 0)),
        ("its format has bits that are not known", refused(&|bytes| bytes[inode + 16] = 0x40)),
        ("its format has bits that are not known", refused(&|bytes| bytes[inode + 18] = 1)),
        ("its chunks are longer than any image", refused(&|bytes| bytes[inode + 16] = 31)),
        ("its first block lies outside the image", {
            let mut b = Builder::new();
            let late = Metadata { mtime: 1, ..metadata(0o644) };
            b.add(Tree::ROOT, "extended", late, Kind::File(Content::from_bytes(blocks(1, 1))));
            let image = planned(&b.tree, &Places::default());
            let mut bytes = vec![0; image.len() as usize];
            image.read_exact_at(&mut bytes, 0).unwrap();
            bytes[1024 + 8] &= !1;
            // Bits 32 to 47 of its first block, to kernels from 6.15 on.
            let inode = bytes.windows(64).step_by(32).position(|inode| inode[0] == 1 && inode[32] == 1);
            bytes[inode.unwrap() * 32 + 6] = 1;
            Reader::open(bytes).unwrap().tree().unwrap_err().to_string()
        }),
        ("its list of chunks lies outside the image", refused(&|bytes| bytes[inode + 11] = 0x7f)),
        ("more than 1099511627776 bytes", {
            let mut b = Builder::new();
            let huge = Metadata { mtime: 1, ..metadata(0o644) };
            b.add(Tree::ROOT, "zeros", huge, Kind::File(Content::from_bytes(vec![0; 8 << 20])));
            let image = planned(&b.tree, &Places::default());
            let mut bytes = vec![0; image.len() as usize];
            image.read_exact_at(&mut bytes, 0).unwrap();
            bytes[1024 + 8] &= !1;
            let list = bytes.windows(64).position(|bytes| bytes == [0xff; 64]).unwrap();
            // Chunks of 4 TiB, of which there is one.
            bytes[list - 64 + 16] = 30;
            bytes[list - 64 + 8..list - 64 + 16].copy_from_slice(&(2u64 << 40).to_le_bytes());
            Reader::open(bytes).unwrap().tree().unwrap_err().to_string()
        }),
    ] {
        assert!(found.contains(expected), "expected `{expected}`, found `{found}`");
    }
    // A twin whose superblock does not say that files share.
    let mut plain = good.clone();
    plain[1024 + 80] = 0;
    let mut b = Builder::new();
    b.file(Tree::ROOT, "a", blocks(2, 1));
    b.file(Tree::ROOT, "b", blocks(2, 1));
    let image = planned(&b.tree, &Places::default());
    let mut bytes = vec![0; image.len() as usize];
    image.read_exact_at(&mut bytes, 0).unwrap();
    bytes[1024 + 8] &= !1;
    assert!(Reader::open(bytes.clone()).unwrap().tree().is_ok());
    bytes[1024 + 80] = 0;
    let error = Reader::open(bytes).unwrap().tree().unwrap_err().to_string();
    assert!(error.contains("share the bytes of the image"), "{error}");
}

/// Files made of a few kinds of blocks, so that they have much in common.
fn files() -> impl Strategy<Value = Vec<(Vec<u8>, usize, usize, bool)>> {
    let kinds = prop::collection::vec(0u8..6, 0..40);
    let tail = prop_oneof![2 => Just(0usize), 3 => 1..4096usize];
    let attribute = prop_oneof![3 => Just(0usize), 1 => 1..3000usize];
    prop::collection::vec((kinds, tail, attribute, any::<bool>()), 1..30)
}

fn of(files: &[(Vec<u8>, usize, usize, bool)]) -> Tree {
    let mut b = Builder::new();
    for (number, (kinds, tail, attribute, compact)) in files.iter().enumerate() {
        let block = |kind: &u8| if *kind == 0 { vec![0; 4096] } else { blocks(1, u64::from(*kind)) };
        let mut bytes: Vec<u8> = kinds.iter().flat_map(block).collect();
        bytes.extend(pattern(*tail, 1));
        let mut metadata = metadata(0o644);
        metadata.mtime += i64::from(!compact);
        if *attribute > 0 {
            metadata.xattrs = xattrs(&[("user.x", &vec![1; *attribute])]);
        }
        b.add(Tree::ROOT, format!("{number:02}"), metadata, Kind::File(Content::from_bytes(bytes)));
    }
    b.tree
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_files_come_back_and_no_image_grows(
        before in files(),
        after in files(),
        noise in prop::collection::vec((0usize..30, 0u64..20_000, 0u32..400), 0..30),
    ) {
        let tree = of(&before);
        let (image, mut places) = shared(&tree, &Places::default());
        // Inodes are placed by best fit: what is smaller in sum may take a block more of theirs.
        prop_assert!(image.len() as u64 <= Image::plan(&tree, &options()).unwrap().len() + 4096);
        for (number, nid, block) in noise {
            places.insert(format!("/{number:02}").into_bytes().into(), Place { nid, block, shares: None, sha256: None });
        }
        shared(&of(&after), &places);
    }

    #[test]
    fn changed_bytes_never_make_it_panic(changes in prop::collection::vec((any::<u32>(), any::<u8>()), 1..12)) {
        let mut bytes = small();
        for (at, value) in changes {
            bytes[1024 + (at % 8192) as usize] = value;
        }
        if let Ok(tree) = Reader::open(bytes).and_then(|reader| reader.tree()) {
            for entry in tree.walk() {
                if let Kind::File(content) = &entry.inode.kind {
                    let mut byte = [0; 8192];
                    let len = content.len.min(8192);
                    let _ = content.read_exact_at(&mut byte[..len as usize], content.len - len);
                }
            }
        }
    }
}
