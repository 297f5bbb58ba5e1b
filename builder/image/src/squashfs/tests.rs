//! Small images that say they hold a lot.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use super::format::XattrId;
use super::walk::Room;
use super::*;

/// An image that is one metadata block of all tables, and a set of attributes for each place in it.
fn reader(block: &[u8], sets: &[(u16, u32)]) -> Reader<Vec<u8>> {
    let image = [&(0x8000 | block.len() as u16).to_le_bytes(), block].concat();
    let set = |(place, count): &(u16, u32)| XattrId {
        place: u64::from(*place).into(),
        count: (*count).into(),
        len: 0.into(),
    };
    let tables = Tables {
        ids: vec![0],
        fragments: Vec::new(),
        xattrs: sets.iter().map(set).collect(),
        xattr_start: 0,
    };
    let source = Source {
        bytes: image.len() as u64,
        image,
        algorithm: Algorithm::Zlib,
        block_size: 1 << 20,
        cache: Cache::default(),
    };
    Reader { source: Arc::new(source), superblock: Superblock::read_from_bytes(&[0; 96]).unwrap(), tables }
}

/// An inode's first sixteen bytes.
fn head(kind: u16) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &[0; 14]].concat()
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[test]
fn names_of_attributes_count_as_their_values_do() {
    let attribute = |name: &[u8], value: &[u8]| {
        let head = [[0, 0], (name.len() as u16).to_le_bytes()].concat();
        [&head, name, &numbers(&[value.len() as u32]), value].concat()
    };
    let reader = reader(&attribute(&[b'n'; 250], b"value"), &[(0, 1)]);
    let one = 255 + 64 + 5;
    let mut room = 2 * one;
    for left in [one, 0] {
        assert_eq!(reader.xattrs(0, &mut room).unwrap().len(), 1);
        assert_eq!(room, left);
    }
    for mut room in [0, 255, 255 + 63, one - 1] {
        assert!(matches!(reader.xattrs(0, &mut room), Err(ReadError::Metadata(_))), "{room}");
    }
}

#[test]
fn longer_names_than_the_kernels_are_refused() {
    for len in [251u16, 8000, u16::MAX] {
        let block = [&[0, 0][..], &len.to_le_bytes(), &[b'n'; 8000]].concat();
        let error = reader(&block, &[(0, 1)]).xattrs(0, &mut u64::MAX.clone()).unwrap_err().to_string();
        assert_eq!(error, "the table of attributes is damaged: a name is longer than 255 bytes");
    }
}

#[test]
fn targets_of_symbolic_links_are_counted() {
    let block = [head(3), numbers(&[1, 4095]), vec![b't'; 4095]].concat();
    let reader = reader(&block, &[]);
    let mut room = Room::of(&reader);
    room.lists = 4095 + 4094;
    assert!(reader.inode(0, &mut room).is_ok());
    assert_eq!(room.lists, 4094);
    assert!(matches!(reader.inode(0, &mut room), Err(ReadError::Metadata(_))));
}

/// A file of 1 GiB that is a hole, 4 KiB in the image.
#[test]
fn holes_end_somewhere() {
    let file =
        [head(9), numbers(&[0, 0, 1 << 30, 0, 0, 0, 1, u32::MAX, 0, u32::MAX]), vec![0; 4096]].concat();
    let reader = reader(&file, &[]);
    let mut room = Room::of(&reader);
    assert_eq!(room.contents, 1 << 40);
    for _ in 0..1024 {
        assert!(reader.inode(0, &mut room).is_ok());
    }
    let error = reader.inode(0, &mut room).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("too long for such an image: over 1 TiB"), "{error}");
}
