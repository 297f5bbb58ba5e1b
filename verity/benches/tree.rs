//! Speed of trees, file digests and parity on one core and on all, in bytes a second.
//!
//! 256 MiB of incompressible data in memory, so that nothing but the work itself is measured; the tree and the parity are
//! written to memory too. `cargo bench -p graven-verity`.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::io;
use std::sync::Mutex;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use graven_verity::dm::{self, Params, Report};
use graven_verity::fec::{self, Roots};
use graven_verity::fsverity;
use graven_verity::hash::Algorithm;
use graven_verity::io::WriteAt;
use graven_verity::progress::Silent;

const BLOCK: u32 = 4096;
const BLOCKS: u64 = 65536;

/// Takes everything, keeps what fits.
struct Memory(Mutex<Vec<u8>>);

impl Memory {
    fn new(len: u64) -> Self {
        Self(Mutex::new(vec![0; len as usize]))
    }
}

impl WriteAt for Memory {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.lock().expect("no writer panics")[offset as usize..][..buf.len()].copy_from_slice(buf);
        Ok(())
    }
}

/// xorshift64: no two blocks alike, none zero.
fn data() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = BLOCKS * u64::from(BLOCK) / 8;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..words).flat_map(|_| next().to_le_bytes()).collect()
}

fn pools() -> Vec<(usize, rayon::ThreadPool)> {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let mut sizes = vec![1, all];
    sizes.dedup();
    sizes
        .into_iter()
        .map(|threads| {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads to start");
            (threads, pool)
        })
        .collect()
}

fn benches(criterion: &mut Criterion) {
    let data = data();
    let bytes = data.len() as u64;
    let mut group = criterion.benchmark_group("verity");
    group.sample_size(10).throughput(Throughput::Bytes(bytes));
    for (threads, pool) in pools() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let salt = "c0ffee".parse().expect("a salt");
            let params = Params::new(algorithm, BLOCK, BLOCK, BLOCKS, salt).expect("good parameters");
            let tree = Memory::new(params.tree_bytes());
            let name = format!("dm-verity tree, {algorithm}");
            group.bench_function(BenchmarkId::new(name, threads), |bencher| {
                bencher.iter(|| pool.install(|| dm::build(&data, &params, &tree).expect("a tree")));
            });
            let root = pool.install(|| dm::build(&data, &params, &tree)).expect("a tree");
            let tree = tree.0.into_inner().expect("no writer panics");
            let name = format!("dm-verity check, {algorithm}");
            group.bench_function(BenchmarkId::new(name, threads), |bencher| {
                bencher.iter(|| {
                    pool.install(|| dm::verify(&data, &tree, &params, &root, &mut Report::new(1), &Silent))
                        .expect("good data");
                });
            });
            let params = fsverity::Params::new(algorithm, BLOCK, &[]).expect("good parameters");
            let name = format!("fs-verity digest, {algorithm}");
            group.bench_function(BenchmarkId::new(name, threads), |bencher| {
                bencher.iter(|| pool.install(|| fsverity::digest(&data, &params).expect("a digest")));
            });
        }
        for roots in [2, 24] {
            let roots = Roots::new(roots).expect("2 and 24 are allowed");
            let parity = Memory::new(fec::parity_bytes(BLOCKS, BLOCK, roots).expect("parity that fits"));
            group.bench_function(BenchmarkId::new(format!("FEC, {roots} roots"), threads), |bencher| {
                bencher.iter(|| {
                    pool.install(|| fec::encode(&data, BLOCKS, BLOCK, roots, &parity, &Silent))
                        .expect("parity");
                });
            });
        }
    }
    group.finish();
}

criterion_group!(tree, benches);
criterion_main!(tree);
