//! Instructions that kernels, and what is around them, take: counted by Valgrind, so that a slower one is noticed without a
//! clock. `cargo bench -p graven-verity --bench instructions`; needs valgrind and gungraun-runner (`tests/setup.sh`).
//!
//! A count past its limit is an error. Limits lie a twentieth above what was counted with Rust 1.95; where a change makes the
//! work cheaper, lower them with it. Valgrind has neither SHA-NI nor AVX-512 nor GFNI to offer, so what is counted is the
//! portable kernel, AVX2 (it must be there), and everything above them.
#![allow(missing_docs, reason = "gungraun's macros make undocumented functions")]

use std::hint::black_box;
use std::io;
use std::sync::{Mutex, OnceLock};

use graven_verity::dm::{self, Params, Report, RootHash};
use graven_verity::fec::{self, Roots};
use graven_verity::fsverity::{self, Digester};
use graven_verity::hash::{self, Algorithm, Kernel};
use graven_verity::io::WriteAt;
use graven_verity::progress::Silent;
use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};

const BLOCK: u32 = 4096;
const BLOCKS: u64 = 256;

/// So many instructions, and no more.
fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions)]).clone());
    config
}

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

/// A mebibyte, no two blocks alike, none zero.
fn data() -> Vec<u8> {
    alone(|| {
        (0..BLOCKS * u64::from(BLOCK))
            .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 | 1)
            .collect()
    })
}

fn zeros() -> Vec<u8> {
    alone(|| vec![0; (BLOCKS * u64::from(BLOCK)) as usize])
}

/// Everything on the thread that is counted. What is called first, before counting, makes the pool.
fn alone<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    static POOL: OnceLock<rayon::ThreadPool> = OnceLock::new();
    let new = || rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
    POOL.get_or_init(|| new().expect("no thread needs to start")).install(work)
}

fn params(algorithm: Algorithm) -> Params {
    Params::new(algorithm, BLOCK, BLOCK, BLOCKS, "c0ffee".parse().expect("a salt")).expect("good parameters")
}

fn built() -> (Vec<u8>, Vec<u8>, Params, RootHash) {
    let (data, params) = (data(), params(Algorithm::Sha256));
    let tree = Memory::new(params.tree_bytes());
    let root = alone(|| dm::build(&data, &params, &tree)).expect("a tree");
    (data, tree.0.into_inner().expect("no writer panics"), params, root)
}

#[library_benchmark]
#[bench::sha256_portable(args = (Kernel::Portable, Algorithm::Sha256, data()), config = at_most(58_500_000))]
#[bench::sha512_portable(args = (Kernel::Portable, Algorithm::Sha512, data()), config = at_most(39_300_000))]
#[bench::sha256_avx2(args = (Kernel::Avx2, Algorithm::Sha256, data()), config = at_most(8_150_000))]
#[bench::sha512_avx2(args = (Kernel::Avx2, Algorithm::Sha512, data()), config = at_most(10_150_000))]
fn kernel(kernel: Kernel, algorithm: Algorithm, data: Vec<u8>) -> Vec<u8> {
    black_box(hash::digests(kernel, algorithm, &[5; 32], BLOCK as usize, black_box(&data)))
}

#[library_benchmark]
#[bench::sha256(args = (params(Algorithm::Sha256), data()), config = at_most(9_800_000))]
#[bench::sha512(args = (params(Algorithm::Sha512), data()), config = at_most(11_500_000))]
fn tree(params: Params, data: Vec<u8>) -> RootHash {
    let tree = Memory::new(params.tree_bytes());
    alone(|| dm::build(black_box(&data), &params, &tree)).expect("a tree")
}

#[library_benchmark]
#[bench::whole(args = (built()), config = at_most(8_950_000))]
fn check((data, tree, params, root): (Vec<u8>, Vec<u8>, Params, RootHash)) {
    alone(|| dm::verify(black_box(&data), &tree, &params, &root, &mut Report::new(1), &Silent))
        .expect("good data");
}

#[library_benchmark]
#[bench::zeros(args = (zeros()), config = at_most(2_200_000))]
#[bench::data(args = (data()), config = at_most(9_800_000))]
fn file(data: Vec<u8>) -> hash::Digest {
    let mut digester = Digester::new(&fsverity::Params::default());
    alone(|| digester.update(black_box(&data)));
    digester.finish()
}

#[library_benchmark]
#[bench::two_roots(args = (2, data()), config = at_most(2_900_000))]
#[bench::most_roots(args = (24, data()), config = at_most(28_600_000))]
fn parity(roots: u32, data: Vec<u8>) -> Memory {
    let roots = Roots::new(roots).expect("2 and 24 are allowed");
    let parity = Memory::new(fec::parity_bytes(BLOCKS, BLOCK, roots).expect("parity that fits"));
    alone(|| fec::encode(black_box(&data), BLOCKS, BLOCK, roots, &parity, &Silent)).expect("parity");
    parity
}

library_benchmark_group!(name = engine, benchmarks = [kernel, tree, check, file, parity]);
main!(library_benchmark_groups = engine);
