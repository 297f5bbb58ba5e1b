//! A hundred gibibytes that are almost all hole: in seconds, and in little memory. Alone in its process, since the peak
//! is the process's.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use graven_verity::dm::{self, Params, Report, Salt};
use graven_verity::hash::Algorithm;
use graven_verity::io::{ReadAt, WriteAt};
use graven_verity::progress::Silent;

const GIB: u64 = 1 << 30;
const LEN: u64 = 100 * GIB;

/// The most memory that this process has had, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB")
}

/// A file that counts what is read of it.
struct Counting(fs::File, AtomicU64);

impl ReadAt for Counting {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.1.fetch_add(buf.len() as u64, Ordering::Relaxed);
        ReadAt::read_exact_at(&self.0, buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn next_data(&self, from: u64) -> io::Result<std::ops::Range<u64>> {
        self.0.next_data(from)
    }
}

#[test]
fn a_hundred_sparse_gibibytes_take_seconds_and_under_64_megabytes() {
    let data = Counting(tempfile::tempfile().expect("a temporary file"), AtomicU64::new(0));
    data.0.set_len(LEN).expect("a sparse file");
    let written = [0, 17 * GIB + 12_345, 63 * GIB - 4096, LEN - 1];
    for offset in written {
        data.0.write_all_at(&[7], offset).expect("room for a few blocks");
    }
    let tree = tempfile::tempfile().expect("a temporary file");
    let params = Params::new(Algorithm::Sha256, 4096, 4096, LEN / 4096, Salt::new(&[5; 32]).expect("a salt"))
        .expect("good parameters");
    let start = Instant::now();
    let root = dm::build(&data, &params, &tree).expect("a tree");
    dm::verify(&data, &tree, &params, &root, &mut Report::new(1), &Silent).expect("good data");
    let took = start.elapsed();
    // Two passes over the pieces that the four blocks are in.
    assert!(data.1.load(Ordering::Relaxed) <= 2 * 4 * (1 << 20), "{:?} bytes read", data.1);
    assert!(took < Duration::from_secs(120), "{took:?}");
    assert!(peak() < 64_000_000, "{} bytes", peak());

    // What is not a hole counts: a byte changed in the middle of nowhere is found.
    data.0.write_all_at(&[1], 50 * GIB + 5).expect("room for a block");
    let mut report = Report::new(1);
    dm::verify(&data, &tree, &params, &root, &mut report, &Silent).expect_err("bad data");
    assert_eq!(report.bad_data_blocks(), 1);
    eprintln!("built and checked in {took:?}, peak {} MB", peak() / 1_000_000);
}
