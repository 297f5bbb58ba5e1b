//! Every bit of a small image broken, one at a time: each is found, and each that the code reaches is mended.

#![allow(clippy::single_range_in_vec_init, reason = "ranges are what is compared")]

use std::io;
use std::sync::RwLock;

use graven_verity::dm::{self, Params, Report, RootHash, Superblock};
use graven_verity::fec::{self, Message, Repaired, Roots};
use graven_verity::hash::Algorithm;
use graven_verity::io::{Concat, ReadAt, WriteAt};
use graven_verity::progress::Silent;

/// Bytes in memory that can be read and written in place.
struct Bytes(RwLock<Vec<u8>>);

impl Bytes {
    fn new(bytes: Vec<u8>) -> Self {
        Self(RwLock::new(bytes))
    }

    fn get(&self) -> Vec<u8> {
        self.0.read().expect("no holder panics").clone()
    }

    fn flip(&self, bit: usize) {
        self.0.write().expect("no holder panics")[bit / 8] ^= 1 << (bit % 8);
    }

    fn bits(&self) -> usize {
        8 * self.0.read().expect("no holder panics").len()
    }
}

impl ReadAt for Bytes {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read().expect("no holder panics").read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.read().expect("no holder panics").size()
    }
}

impl WriteAt for Bytes {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write().expect("no holder panics")[offset as usize..][..buf.len()].copy_from_slice(buf);
        Ok(())
    }
}

/// Data blocks of 512 bytes, and all that belongs to them.
struct Image {
    params: Params,
    root: RootHash,
    roots: Roots,
    data: Bytes,
    tree: Bytes,
    parity: Bytes,
}

impl Image {
    /// 300 data blocks, so that a code word has bytes of several; a tree of three levels.
    fn new(roots: u32) -> Self {
        Self::of(300, roots)
    }

    fn of(blocks: u64, roots: u32) -> Self {
        let params = Params::new(Algorithm::Sha256, 512, 512, blocks, "5a17".parse().expect("a salt"))
            .expect("good parameters");
        let data: Vec<u8> = (0..params.data_bytes()).map(|i| (i * i / 97 + i / 5) as u8).collect();
        let tree = Bytes::new(vec![0; params.tree_bytes() as usize]);
        let root = dm::build(&data, &params, &tree).expect("good parameters");
        let roots = Roots::new(roots).expect("good parameters");
        let blocks = params.data_blocks() + params.tree_blocks();
        let parity =
            Bytes::new(vec![0; fec::parity_bytes(blocks, 512, roots).expect("good parameters") as usize]);
        let message = Concat::new().then(&data, params.data_bytes()).then(&tree, params.tree_bytes());
        fec::encode(&message, blocks, 512, roots, &parity, &Silent).expect("good parameters");
        drop(message);
        Self { params, root, roots, data: Bytes::new(data), tree, parity }
    }

    fn message(&self) -> Message<'_> {
        Message { data: &self.data, tree: &self.tree, gap: None, parity: &self.parity, roots: self.roots }
    }

    fn parts(&self) -> [&Bytes; 3] {
        [&self.data, &self.tree, &self.parity]
    }

    fn is_good(&self) -> bool {
        let mut report = Report::new(1);
        dm::verify(&self.data, &self.tree, &self.params, &self.root, &mut report, &Silent).is_ok()
            && fec::check_parity(&self.message(), &self.params).expect("good parameters").is_empty()
    }

    fn repair(&self) -> Repaired {
        fec::repair(&self.message(), &self.params, &self.root, &Silent).expect("good parameters")
    }
}

#[test]
fn a_good_image_is_left_alone() {
    let image = Image::new(2);
    assert!(image.is_good() && image.repair().is_untouched());
}

fn every_flipped_bit_is_found_and_mended(image: &Image, step: usize) {
    let good = image.parts().map(Bytes::get);
    for (part, bytes) in image.parts().iter().enumerate() {
        for bit in (0..bytes.bits()).step_by(step) {
            bytes.flip(bit);
            assert!(!image.is_good(), "bit {bit} of part {part}");
            let repaired = image.repair();
            assert!(repaired.is_whole(), "bit {bit} of part {part}: {repaired:?}");
            let ranges = [&repaired.mended_data, &repaired.mended_tree, &repaired.mended_parity];
            for (index, ranges) in ranges.into_iter().enumerate() {
                let holds = matches!(ranges.as_slice(), [range] if range.contains(&(bit as u64 / 8)));
                assert!(
                    if index == part { holds } else { ranges.is_empty() },
                    "bit {bit} of {part}: {repaired:?}"
                );
            }
            assert!(image.parts().map(Bytes::get) == good, "bit {bit} of part {part}");
        }
    }
}

#[test]
fn flipped_bits_are_found_and_mended_to_the_bit() {
    every_flipped_bit_is_found_and_mended(&Image::new(2), 1511);
}

#[test]
#[ignore = "a minute: every single bit"]
fn each_flipped_bit_is_found_and_mended_to_the_bit() {
    // A tree of two levels, and a code word for each byte of a block.
    every_flipped_bit_is_found_and_mended(&Image::of(40, 2), 1);
}

/// The root hash does not cover the superblock; what it says of the tree must agree with it all the same.
#[test]
fn every_flipped_bit_of_a_superblock_but_for_its_uuid_is_found() {
    const UUID: std::ops::Range<usize> = 8 * 16..8 * 32;
    let image = Image::new(2);
    let superblock = Superblock { uuid: uuid::Uuid::from_u128(7), params: image.params.clone() };
    let good = superblock.to_bytes();
    for bit in 0..8 * good.len() {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        let Ok(read) = Superblock::from_bytes(&bad) else { continue };
        let proved = || {
            dm::verify(&image.data, &image.tree, &read.params, &image.root, &mut Report::new(1), &Silent)
                .is_ok()
        };
        let stray = read.to_bytes() != bad;
        assert_eq!(UUID.contains(&bit), !stray && proved(), "bit {bit}");
    }
}

#[test]
fn as_many_blocks_of_a_code_word_as_there_are_roots_can_be_lost() {
    for roots in [2, 5, 24] {
        let image = Image::new(roots);
        let good = image.parts().map(Bytes::get);
        // Blocks `regions` apart share their code words.
        let blocks = image.params.data_blocks() + image.params.tree_blocks();
        let regions = blocks.div_ceil(u64::from(255 - roots));
        let wipe = |count: u64| {
            for i in 0..count {
                image.data.write_all_at(&[0xee; 512], 512 * (3 + i * regions)).unwrap();
            }
        };
        wipe(u64::from(roots));
        let repaired = image.repair();
        assert!(repaired.is_whole(), "{roots} roots: {repaired:?}");
        assert!(image.parts().map(Bytes::get) == good, "{roots} roots");

        // One more is too much: all of them are named, and nothing is touched.
        wipe(u64::from(roots) + 1);
        let bad = image.parts().map(Bytes::get);
        let repaired = image.repair();
        let lost: u64 = repaired.lost_data.iter().map(|range| range.end - range.start).sum();
        assert_eq!(lost, 512 * (u64::from(roots) + 1), "{roots} roots: {repaired:?}");
        assert!(image.parts().map(Bytes::get) == bad, "{roots} roots");
    }
}

#[test]
fn a_tree_that_is_gone_comes_back_before_the_data_below_it_is_judged() {
    let image = Image::new(24);
    let good = image.parts().map(Bytes::get);
    let tree = image.tree.bits() / 8;
    image.tree.write_all_at(&vec![0; tree], 0).unwrap();
    image.data.write_all_at(&[1; 5 * 512], 100 * 512).unwrap();
    let repaired = image.repair();
    assert!(repaired.is_whole(), "{repaired:?}");
    assert_eq!(repaired.mended_tree, std::slice::from_ref(&(0..tree as u64)));
    assert_eq!(repaired.mended_data, std::slice::from_ref(&(100 * 512..105 * 512)));
    assert!(image.parts().map(Bytes::get) == good);
}
