//! Which instructions compute the digests, and in what order they are tried.

use std::fmt;
use std::sync::OnceLock;

use sha2::digest::Output;

use super::constants::{H256, H384, H512};
use super::cpu::Cpu;
use super::salted::Salted;
use super::steps::{steps_256, steps_512};
use super::{Algorithm, Salting};

/// A way to hash many blocks of one length at a time.
///
/// All of them compute the same. [`Kernel::best`] is what trees are hashed with; the others are here to be measured and
/// tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// One block after the other with the `sha1` and `sha2` crates, which use SHA extensions where a CPU has them.
    Portable,
    /// SHA-256 of two blocks interleaved with x86's SHA extensions.
    ShaNi2,
    /// The same of four.
    ShaNi4,
    /// SHA-256 of eight blocks, SHA-512 of four, in the lanes of AVX2.
    Avx2,
    /// SHA-256 of sixteen blocks, SHA-512 of eight, in the lanes of AVX-512.
    Avx512,
    /// SHA-256 of two blocks interleaved with ARMv8's SHA-2 extension.
    Armv8x2,
    /// The same of four.
    Armv8x4,
}

impl Kernel {
    /// All of them, on whatever machine.
    pub const ALL: [Self; 7] =
        [Self::Avx512, Self::ShaNi4, Self::ShaNi2, Self::Armv8x4, Self::Armv8x2, Self::Avx2, Self::Portable];

    /// Whether this machine has it, and it computes `algorithm`.
    #[must_use]
    pub fn is_available(self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::Sha1 => self == Self::Portable,
            Algorithm::Sha256 => steps_256(self).is_some(),
            Algorithm::Sha384 | Algorithm::Sha512 => steps_512(self).is_some(),
        }
    }

    /// What trees are hashed with here: the fastest by what was measured on this kind of CPU, or what
    /// [`use_for`](Self::use_for) said. Found once: each candidate must first compute what the portable kernel does, for
    /// not every one was ever run on the machine at hand.
    #[must_use]
    pub fn best(algorithm: Algorithm) -> Self {
        *chosen(algorithm).get_or_init(|| {
            let order = Cpu::here().order(algorithm);
            let mut right = order
                .iter()
                .copied()
                .filter(|kernel| kernel.is_available(algorithm) && kernel.is_right(algorithm));
            right.next().unwrap_or(Self::Portable)
        })
    }

    /// Makes this the kernel of the whole process for `algorithm`, for tests and measurements. Must come before anything
    /// is hashed: `false`, with nothing changed, when it comes too late or the kernel is not
    /// [available](Self::is_available).
    #[must_use]
    pub fn use_for(self, algorithm: Algorithm) -> bool {
        self.is_available(algorithm) && chosen(algorithm).set(self).is_ok()
    }

    /// Whether it computes what the portable kernel does: more messages than any has lanes, no word like another.
    fn is_right(self, algorithm: Algorithm) -> bool {
        const LEN: usize = 300;
        let bytes: Vec<u8> =
            (0..40 * LEN as u32).map(|i| (i.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
        let blocks: Vec<&[u8]> = bytes.chunks_exact(LEN).collect();
        let digests = |kernel| {
            let mut all = Vec::new();
            Prepared::new(kernel, algorithm, Salting::Before(b"salt"))
                .digest_many(&blocks, |_, digest| all.push(digest.to_vec()));
            all
        };
        digests(self) == digests(Self::Portable)
    }
}

/// The kernel that each algorithm has got in this process.
fn chosen(algorithm: Algorithm) -> &'static OnceLock<Kernel> {
    static CHOSEN: [OnceLock<Kernel>; Algorithm::ALL.len()] =
        [const { OnceLock::new() }; Algorithm::ALL.len()];
    match algorithm {
        Algorithm::Sha1 => &CHOSEN[0],
        Algorithm::Sha256 => &CHOSEN[1],
        Algorithm::Sha384 => &CHOSEN[2],
        Algorithm::Sha512 => &CHOSEN[3],
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::ShaNi2 => "SHA-NI ×2",
            Self::ShaNi4 => "SHA-NI ×4",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512",
            Self::Armv8x2 => "ARMv8 SHA-2 ×2",
            Self::Armv8x4 => "ARMv8 SHA-2 ×4",
        })
    }
}

/// One hash function with its salt already taken in, and the kernel that computes it.
pub(super) enum Prepared {
    Sha1(Sha1),
    Sha256(Salted<u32, 64>),
    Sha512(Salted<u64, 128>),
}

impl Prepared {
    /// With the portable kernel where `kernel` is not available.
    pub(super) fn new(kernel: Kernel, algorithm: Algorithm, salting: Salting<'_>) -> Self {
        let size = algorithm.digest_size();
        let long = |initial| {
            let steps = steps_512(kernel).or(steps_512(Kernel::Portable)).unwrap_or_default();
            Self::Sha512(Salted::new(steps, initial, size, salting))
        };
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(Sha1::new(salting)),
            Algorithm::Sha256 => {
                let steps = steps_256(kernel).or(steps_256(Kernel::Portable)).unwrap_or_default();
                Self::Sha256(Salted::new(steps, H256, size, salting))
            }
            Algorithm::Sha384 => long(H384),
            Algorithm::Sha512 => long(H512),
        }
    }

    /// Hashes `blocks`, all of one length, and hands `put` the index and digest of each.
    pub(super) fn digest_many(&self, blocks: &[&[u8]], mut put: impl FnMut(usize, &[u8])) {
        match self {
            Self::Sha1(salted) => {
                for (index, block) in blocks.iter().enumerate() {
                    put(index, &salted.digest(block));
                }
            }
            Self::Sha256(salted) => salted.digest_many(blocks, put),
            Self::Sha512(salted) => salted.digest_many(blocks, put),
        }
    }
}

/// SHA-1, to read old images: the state after the leading salt, and the salt that follows the block.
pub(super) struct Sha1 {
    state: sha1::Sha1,
    suffix: Vec<u8>,
}

impl Sha1 {
    fn new(salting: Salting<'_>) -> Self {
        use sha1::Digest;
        match salting {
            Salting::Before(salt) => Self { state: sha1::Sha1::new_with_prefix(salt), suffix: Vec::new() },
            Salting::After(salt) => Self { state: sha1::Sha1::new(), suffix: salt.to_vec() },
        }
    }

    fn digest(&self, block: &[u8]) -> Output<sha1::Sha1> {
        use sha1::Digest;
        self.state.clone().chain_update(block).chain_update(&self.suffix).finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::super::steps::Step;
    use super::super::{constants, lanes};
    use super::*;

    /// Messages of one length, none like another, the first at an odd address.
    fn messages(count: usize, len: usize) -> Vec<u8> {
        (0..=count * len).map(|i| (i * i / 251 + i / 7 + i) as u8).collect()
    }

    fn expect_digests(prepared: &Prepared, algorithm: Algorithm, salting: Salting<'_>, what: &str) {
        for len in [1, 31, 55, 56, 63, 64, 65, 111, 112, 119, 127, 128, 129, 512, 1000, 4096] {
            for count in (0..20).chain([31, 33, 64]) {
                let bytes = messages(count, len);
                let blocks: Vec<&[u8]> = bytes[1..].chunks_exact(len).collect();
                let mut seen = 0;
                prepared.digest_many(&blocks, |index, digest| {
                    let expected = match salting {
                        Salting::Before(salt) => algorithm.digest(&[salt, blocks[index]].concat()),
                        Salting::After(salt) => algorithm.digest(&[blocks[index], salt].concat()),
                    };
                    assert_eq!(digest, expected.as_bytes(), "{what}: block {index} of {count}×{len}");
                    seen += 1;
                });
                assert_eq!(seen, count, "{what}");
            }
        }
    }

    #[test]
    fn every_kernel_here_computes_what_the_sha1_and_sha2_crates_do() {
        let salt: Vec<u8> = (0..=255).collect();
        for algorithm in Algorithm::ALL {
            for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.is_available(algorithm)) {
                for len in [0, 1, 31, 32, 64, 100, 127, 128, 256] {
                    for salting in [Salting::Before(&salt[..len]), Salting::After(&salt[..len])] {
                        let what = format!("{kernel}, {algorithm}, {salting:?}");
                        let prepared = Prepared::new(kernel, algorithm, salting);
                        expect_digests(&prepared, algorithm, salting, &what);
                    }
                }
            }
        }
    }

    /// What AVX-512 runs are these rounds on vectors of as many lanes; the machine that runs the test may not have it.
    #[test]
    fn the_rounds_written_for_wide_vectors_are_sha2s() {
        let salting = Salting::Before(&[5; 70]);
        let steps = const {
            &[
                Step {
                    lanes: 16,
                    at_least: 1,
                    compress: |states, messages| {
                        let (states, messages) = (states.try_into(), messages.try_into());
                        lanes::emulated::sha256::compress(states.unwrap(), messages.unwrap());
                    },
                },
                Step {
                    lanes: 1,
                    at_least: 1,
                    compress: |states, messages| sha2::block_api::compress256(&mut states[0], messages[0]),
                },
            ]
        };
        let wide = Prepared::Sha256(Salted::new(steps, constants::H256, 32, salting));
        expect_digests(&wide, Algorithm::Sha256, salting, "sixteen lanes");
        let steps = const {
            &[
                Step {
                    lanes: 8,
                    at_least: 1,
                    compress: |states, messages| {
                        let (states, messages) = (states.try_into(), messages.try_into());
                        lanes::emulated::sha512::compress(states.unwrap(), messages.unwrap());
                    },
                },
                Step {
                    lanes: 1,
                    at_least: 1,
                    compress: |states, messages| sha2::block_api::compress512(&mut states[0], messages[0]),
                },
            ]
        };
        let wide = Prepared::Sha512(Salted::new(steps, constants::H512, 64, salting));
        expect_digests(&wide, Algorithm::Sha512, salting, "eight lanes");
    }
}
