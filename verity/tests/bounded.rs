//! Memory stays bounded whatever the size of the data. Alone in its process, since the peak is the process's.

use std::fs::{self, File};

use graven_verity::dm::{self, Params, Report, Salt, TreeBuilder};
use graven_verity::fsverity::{self, Digester};
use graven_verity::hash::Algorithm;
use graven_verity::io::WriteAt;
use graven_verity::progress::Silent;
use graven_verity::stream::{self, WINDOW};

const LEN: u64 = 1 << 30;

/// The most memory that this process has had, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB")
}

fn sparse() -> File {
    let file = tempfile::tempfile().expect("a temporary file");
    file.set_len(LEN).expect("a sparse file");
    for offset in (0..LEN).step_by(1 << 20) {
        file.write_all_at(&offset.to_le_bytes(), offset + 5000).expect("room for a few blocks");
    }
    file
}

#[test]
fn a_gibibyte_is_hashed_and_checked_in_two_windows_and_little_more() {
    let data = sparse();
    let tree = tempfile::tempfile().expect("a temporary file");
    let params =
        Params::new(Algorithm::Sha256, 4096, 4096, LEN / 4096, Salt::default()).expect("good parameters");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().expect("threads to start");
    pool.install(|| {
        let mut builder = TreeBuilder::new(params.clone(), &tree);
        let mut digester = Digester::new(&fsverity::Params::default());
        stream::run(&data, LEN, &mut [&mut builder, &mut digester], &Silent).expect("a pass");
        let root = builder.finish().expect("a root hash");
        assert_eq!(digester.finish_descriptor().data_size(), LEN);
        dm::verify(&data, &tree, &params, &root, &mut Report::new(10), &Silent).expect("good data");
    });
    let bound = 2 * WINDOW as u64 + (48 << 20);
    assert!(peak() < bound, "{} of {bound} bytes", peak());
    eprintln!("peak: {} MiB", peak() >> 20);
}
