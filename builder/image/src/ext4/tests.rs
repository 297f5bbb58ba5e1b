//! Small images that say they hold a lot.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use super::*;
use crate::tree::Kind;

/// Blocks of an image; the inodes' table is the second of them.
const BLOCKS: u64 = 16;
const TABLE: u64 = 1;
const ROOT: u32 = 2;
/// Kinds, with permissions.
const DIRECTORY: u16 = 0o040_755;
const FILE: u16 = 0o100_644;

/// An image of the test's own.
struct Made(Vec<u8>);

impl Made {
    fn new() -> Self {
        Self(vec![0; (BLOCKS * BLOCK) as usize])
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.0[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    /// An inode of one name with a node of its tree of extents.
    fn inode(&mut self, number: u32, mode: u16, size: u64, node: &[u8]) {
        let at = TABLE * BLOCK + u64::from(number - 1) * 128;
        self.put(at, &mode.to_le_bytes());
        self.put(at + 4, &(size as u32).to_le_bytes());
        self.put(at + 108, &((size >> 32) as u32).to_le_bytes());
        self.put(at + 26, &1u16.to_le_bytes());
        self.put(at + 32, &inode::EXTENTS.to_le_bytes());
        self.put(at + 40, node);
    }

    /// The root, and in it files of one letter each.
    fn root(&mut self, files: &[(u8, u32)]) {
        self.inode(ROOT, DIRECTORY, BLOCK, &leaf(&[(0, 1, 2)]));
        let entry = |number: u32, name: &[u8], len: u16| {
            let mut entry =
                [&number.to_le_bytes()[..], &len.to_le_bytes(), &[name.len() as u8, 0], name].concat();
            entry.resize(len.into(), 0);
            entry
        };
        let mut block = [entry(ROOT, b".", 12), entry(ROOT, b"..", 12)].concat();
        for (name, number) in files {
            block.extend(entry(*number, &[*name], 12));
        }
        let rest = BLOCK as usize - block.len();
        block.extend(entry(0, b"", rest as u16));
        self.put(2 * BLOCK, &block);
    }

    fn reader(self) -> Reader<Vec<u8>> {
        let facts = Facts {
            blocks: BLOCKS,
            inodes: 32,
            inode_size: 128,
            uuid: Uuid::nil(),
            inodes_per_group: 32,
            tables: vec![TABLE],
        };
        Reader { image: Arc::new(self.0), facts }
    }

    fn refused(self) -> String {
        self.reader().tree().unwrap_err().to_string()
    }
}

/// A node of extents: first block in the file, how many, first block in the image.
fn leaf(extents: &[(u32, u16, u32)]) -> Vec<u8> {
    let mut node = head(extents.len(), 0);
    for (first, blocks, start) in extents {
        node.extend(first.to_le_bytes());
        node.extend([blocks.to_le_bytes(), [0; 2]].concat());
        node.extend(start.to_le_bytes());
    }
    node
}

/// A node of nodes: the blocks where they lie.
fn above(nodes: &[u32]) -> Vec<u8> {
    let mut node = head(nodes.len(), 1);
    for place in nodes {
        node.extend([[0; 4], place.to_le_bytes(), [0; 4]].concat());
    }
    node
}

fn head(entries: usize, depth: u16) -> Vec<u8> {
    [0xf30a, entries as u16, 340, depth, 0, 0].into_iter().flat_map(u16::to_le_bytes).collect()
}

const SHARED: &str = "have more blocks than the file system: some are shared";

#[test]
fn what_is_sound_is_read() {
    let mut made = Made::new();
    made.root(&[(b'a', 11), (b'b', 12), (b'c', 13)]);
    made.inode(11, FILE, 2 * BLOCK, &leaf(&[(0, 1, 5), (1, 1, 4)]));
    made.inode(12, FILE, 3, &above(&[6]));
    made.put(6 * BLOCK, &leaf(&[(0, 1, 7)]));
    made.put(7 * BLOCK, b"yes");
    // The longest file there can be is a hole of 16 TiB; 512 GiB are still taken.
    made.inode(13, FILE, 512 << 30, &leaf(&[(1000, 1, 8)]));
    let tree = made.reader().tree().unwrap();
    let Kind::File(content) = &tree.inode(tree.child(Tree::ROOT, b"b").unwrap()).kind else { panic!() };
    let mut bytes = [0; 3];
    content.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"yes");
}

#[test]
fn files_do_not_share_the_blocks_of_their_trees() {
    let shared = leaf(&(0..12).map(|number| (number, 1, 8)).collect::<Vec<_>>());
    let mut made = Made::new();
    made.root(&[(b'a', 11), (b'b', 12)]);
    for number in [11, 12] {
        made.inode(number, FILE, 100 * BLOCK, &above(&[6]));
    }
    made.put(6 * BLOCK, &shared);
    let error = made.refused();
    assert!(error.contains(SHARED) && error.starts_with("`/b` (inode 12)"), "{error}");
}

#[test]
fn a_file_has_no_more_extents_than_the_image_has_blocks() {
    let mut made = Made::new();
    made.root(&[(b'a', 11)]);
    made.inode(11, FILE, 1000 * BLOCK, &above(&[6]));
    let one_block: Vec<_> = (0..340).map(|number| (number, 1, 8)).collect();
    made.put(6 * BLOCK, &leaf(&one_block));
    let mut room = BLOCKS;
    let reader = made.reader();
    let raw = reader.inode(11).unwrap_or_else(|_| panic!());
    assert!(
        matches!(reader.extents(&raw, &mut room), Err(Refusal::Bad(problem)) if problem.contains(SHARED))
    );
    assert_eq!(room, 0, "it is over as soon as there are no more");
}

#[test]
fn extents_out_of_order_end_at_the_first() {
    let mut made = Made::new();
    made.root(&[(b'a', 11)]);
    made.inode(11, FILE, 1000 * BLOCK, &above(&[6, 6, 6]));
    made.put(6 * BLOCK, &leaf(&[(0, 1, 8)]));
    let error = made.refused();
    assert!(error.contains("its extents overlap"), "{error}");
}

#[test]
fn holes_end_somewhere() {
    for (size, words) in [
        (8 << 60, "it is longer than a file can be"),
        ((16 << 40) + 1, "it is longer than a file can be"),
        (16 << 40, "too long for such an image"),
        ((1 << 40) + 1, "too long for such an image"),
        // Each could be, both not.
        (600 << 30, "too long for such an image"),
    ] {
        let mut made = Made::new();
        made.root(&[(b'a', 11), (b'b', 12)]);
        for number in [11, 12] {
            made.inode(number, FILE, size, &leaf(&[]));
        }
        let error = made.refused();
        assert!(error.contains(words), "{size}: {error}");
    }
}

#[test]
fn directories_count_before_they_are_read() {
    let mut made = Made::new();
    let names: Vec<_> = (0..BLOCKS as u8).map(|number| (b'a' + number, 11 + u32::from(number))).collect();
    made.root(&names);
    for (_, number) in &names {
        made.inode(*number, DIRECTORY, 0, &leaf(&[]));
    }
    let error = made.refused();
    assert!(error.contains("it and the directories before it are longer than the image"), "{error}");
}

/// Attributes of one inode, in it and in a block, whose values are all the same bytes.
#[test]
fn attributes_are_counted_by_what_they_take() {
    let entry = |number: u8, len: u32| {
        let head = [4, 6, 0, 0, 0, 0, 0, 0].into_iter().chain(len.to_le_bytes()).chain([0; 4]);
        head.chain([b'n', b'a', b'0' + number / 10, b'0' + number % 10]).collect::<Vec<u8>>()
    };
    let magic = 0xea02_0000u32.to_le_bytes();
    let mut made = Made::new();
    let block: Vec<u8> = [magic.to_vec(), vec![0; 28]].concat();
    let block =
        (0..100).map(|number| entry(number, 4096)).fold(block, |block, entry| [block, entry].concat());
    made.put(5 * BLOCK, &block);
    made.inode(11, FILE, 0, &leaf(&[]));
    let reader = made.reader();
    let mut raw = reader.inode(11).unwrap_or_else(|_| panic!());
    let one = |len: u64| "security.na00".len() as u64 + len + 64;

    raw.xattr_block = 5;
    let mut room = 1 << 20;
    assert_eq!(reader.xattrs(&raw, &mut room).ok().unwrap().len(), 100);
    assert_eq!(room, (1 << 20) - 100 * one(4096));
    // What is left is for two inodes with the same block.
    for left in [true, false] {
        assert_eq!(reader.xattrs(&raw, &mut room).is_ok(), left);
    }
    assert!(room < one(4096));

    raw.xattr_block = 0;
    raw.room = [magic.to_vec(), entry(1, 40), entry(2, 40), vec![0; 8]].concat();
    let mut room = 2 * one(40);
    assert_eq!(reader.xattrs(&raw, &mut room).ok().unwrap().len(), 2);
    assert_eq!(room, 0);
    let mut room = 2 * one(40) - 1;
    assert!(
        matches!(reader.xattrs(&raw, &mut room), Err(Refusal::Bad(problem)) if problem.contains("repeat"))
    );
}
