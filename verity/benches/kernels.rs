//! Bare rate of every kernel that this machine has: blocks of 4 KiB that lie in the cache, on one core.
//!
//! Of many short runs the best is shown, in bytes a second: other work on the machine makes runs slower, never faster.
//! `cargo bench -p graven-verity --bench kernels`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use graven_verity::hash::{self, Algorithm, Kernel};

const BLOCK: usize = 4096;
const RUNS: usize = 400;

fn main() {
    let blocks: Vec<u8> =
        (0..64 * BLOCK as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        for salt in [0, 32] {
            for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.is_available(algorithm)) {
                let best = (0..RUNS).map(|_| time(kernel, algorithm, &vec![1; salt], &blocks)).min();
                let rate = blocks.len() as f64 / best.unwrap_or(Duration::MAX).as_secs_f64();
                println!(
                    "{algorithm}, salt of {salt:>2} bytes, {:<16} {:.2} GB/s",
                    kernel.to_string(),
                    rate / 1e9
                );
            }
        }
    }
}

fn time(kernel: Kernel, algorithm: Algorithm, salt: &[u8], blocks: &[u8]) -> Duration {
    let start = Instant::now();
    black_box(hash::digests(kernel, algorithm, salt, BLOCK, black_box(blocks)));
    start.elapsed()
}
