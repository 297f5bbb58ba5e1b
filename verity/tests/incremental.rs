//! What an update costs, in bytes read, written and so hashed: work counted, not time.

#![allow(clippy::single_range_in_vec_init, reason = "ranges are what is updated")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use graven_verity::dm::{self, Params, Salt};
use graven_verity::hash::Algorithm;
use graven_verity::io::{ReadAt, WriteAt};

const BLOCK: u64 = 4096;

/// A file that counts what goes in and out.
struct Counted {
    file: File,
    bytes: AtomicU64,
}

impl Counted {
    fn new(len: u64) -> Self {
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(len).expect("a sparse file");
        Self { file, bytes: AtomicU64::new(0) }
    }

    fn count(&self, len: usize) {
        self.bytes.fetch_add(len as u64, Ordering::Relaxed);
    }

    fn taken(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }
}

impl ReadAt for Counted {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.count(buf.len());
        ReadAt::read_exact_at(&self.file, buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn next_data(&self, from: u64) -> io::Result<Range<u64>> {
        self.file.next_data(from)
    }
}

impl WriteAt for Counted {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.count(buf.len());
        WriteAt::write_all_at(&self.file, buf, offset)
    }
}

#[test]
fn one_block_of_two_gibibytes_costs_a_path_and_no_more() {
    let params =
        Params::new(Algorithm::Sha256, 4096, 4096, (2 << 30) / BLOCK, Salt::new(&[3; 32]).expect("a salt"))
            .expect("good parameters");
    let full_build = params.data_bytes() + params.tree_bytes();
    let data = Counted::new(params.data_bytes());
    let tree = Counted::new(params.tree_bytes());
    for block in [0, 1000, params.data_blocks() - 1] {
        data.file.write_all_at(&block.to_le_bytes(), block * BLOCK + 99).expect("room for a block");
    }
    let before = dm::build(&data, &params, &tree).expect("a tree");

    let changed = 400_123;
    data.file.write_all_at(b"new", changed * BLOCK).expect("room for a block");
    data.taken();
    tree.taken();
    let after = dm::update(&data, &params, &tree, &[changed..changed + 1]).expect("an update");
    let work = data.taken() + tree.taken();
    assert!(work < full_build / 100, "{work} of {full_build} bytes");
    // One data block; three levels read, written, and each read again for its digest.
    assert_eq!(work, BLOCK * (1 + 3 * 3), "{work} bytes");

    let fresh = Counted::new(params.tree_bytes());
    assert_ne!(after, before);
    assert_eq!(after, dm::build(&data, &params, &fresh).expect("a tree"));
}
