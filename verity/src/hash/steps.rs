//! The compression functions that this machine has, in the order in which they are worth using.

use super::Kernel;

/// The most lanes that any compression function has.
pub(super) const MOST_LANES: usize = 16;

/// A compression function for some number of messages at a time.
pub(super) struct Step<W: 'static, const CHUNK: usize> {
    /// Messages that it takes.
    pub(super) lanes: usize,
    /// As many messages at least make it faster than the steps after it, the other lanes being idle.
    pub(super) at_least: usize,
    /// Takes `lanes` states and as many messages.
    pub(super) compress: Compress<W, CHUNK>,
}

/// Takes as many whole chunks as each message has into the state of the same index.
pub(super) type Compress<W, const CHUNK: usize> = fn(&mut [[W; 8]], &[&[[u8; CHUNK]]]);

pub(super) type Steps256 = &'static [Step<u32, 64>];
pub(super) type Steps512 = &'static [Step<u64, 128>];

/// A [`Step`] of a function on arrays. Its instructions are the caller's to ask for: `steps_256` and `steps_512` hand
/// it out only on a machine that has them.
macro_rules! step {
    ($lanes:expr, $at_least:literal, $compress:path) => {
        Step {
            lanes: $lanes,
            at_least: $at_least,
            compress: |states, messages| {
                let (Ok(states), Ok(messages)) = (states.try_into(), messages.try_into()) else {
                    unreachable!("as many states and messages as lanes");
                };
                // SAFETY: the kernel that this step is of was found to be available before it was handed out.
                #[allow(unused_unsafe, reason = "some functions need no instructions beyond the target's")]
                unsafe {
                    $compress(states, messages);
                }
            },
        }
    };
}

const PORTABLE_256: Step<u32, 64> = step!(1, 1, one_256);
const PORTABLE_512: Step<u64, 128> = step!(1, 1, one_512);

fn one_256(states: &mut [[u32; 8]; 1], messages: &[&[[u8; 64]]; 1]) {
    sha2::block_api::compress256(&mut states[0], messages[0]);
}

fn one_512(states: &mut [[u64; 8]; 1], messages: &[&[[u8; 128]]; 1]) {
    sha2::block_api::compress512(&mut states[0], messages[0]);
}

/// The steps of SHA-256 with `kernel`; `None` where the machine does not have it, or it is not for SHA-256.
///
/// What does not fill the lanes of a vector goes to the SHA extensions where there are both.
pub(super) fn steps_256(kernel: Kernel) -> Option<Steps256> {
    #[cfg(target_arch = "x86_64")]
    use super::{avx2, avx512, sha_ni};
    match kernel {
        Kernel::Portable => Some(const { &[PORTABLE_256] }),
        #[cfg(target_arch = "x86_64")]
        Kernel::ShaNi2 if has_sha_ni() => Some(const { &[step!(2, 2, sha_ni::compress::<2>), PORTABLE_256] }),
        #[cfg(target_arch = "x86_64")]
        Kernel::ShaNi4 if has_sha_ni() => Some(
            const { &[step!(4, 4, sha_ni::compress::<4>), step!(2, 2, sha_ni::compress::<2>), PORTABLE_256] },
        ),
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 if is_x86_feature_detected!("avx2") => {
            Some(const { &[step!(avx2::sha256::LANES, 3, avx2::sha256::compress), PORTABLE_256] })
        }
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512 if has_avx512() && has_sha_ni() => Some(
            const {
                &[
                    step!(avx512::sha256::LANES, 11, avx512::sha256::compress),
                    step!(4, 4, sha_ni::compress::<4>),
                    step!(2, 2, sha_ni::compress::<2>),
                    PORTABLE_256,
                ]
            },
        ),
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512 if has_avx512() => Some(
            const {
                &[
                    step!(avx512::sha256::LANES, 9, avx512::sha256::compress),
                    step!(avx2::sha256::LANES, 3, avx2::sha256::compress),
                    PORTABLE_256,
                ]
            },
        ),
        #[cfg(target_arch = "aarch64")]
        Kernel::Armv8x2 if std::arch::is_aarch64_feature_detected!("sha2") => {
            Some(const { &[step!(2, 2, super::armv8::compress::<2>), PORTABLE_256] })
        }
        #[cfg(target_arch = "aarch64")]
        Kernel::Armv8x4 if std::arch::is_aarch64_feature_detected!("sha2") => Some(
            const {
                &[
                    step!(4, 4, super::armv8::compress::<4>),
                    step!(2, 2, super::armv8::compress::<2>),
                    PORTABLE_256,
                ]
            },
        ),
        _ => None,
    }
}

/// The steps of SHA-512 and SHA-384 with `kernel`; `None` where the machine does not have it, or it is not for them.
pub(super) fn steps_512(kernel: Kernel) -> Option<Steps512> {
    match kernel {
        Kernel::Portable => Some(const { &[PORTABLE_512] }),
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 if is_x86_feature_detected!("avx2") => {
            use super::avx2::sha512::{LANES, compress};
            Some(const { &[step!(LANES, 2, compress), PORTABLE_512] })
        }
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512 if has_avx512() => {
            use super::{avx2::sha512 as narrow, avx512::sha512 as wide};
            Some(
                const {
                    &[
                        step!(wide::LANES, 5, wide::compress),
                        step!(narrow::LANES, 2, narrow::compress),
                        PORTABLE_512,
                    ]
                },
            )
        }
        _ => None,
    }
}

#[cfg(target_arch = "x86_64")]
fn has_sha_ni() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") && is_x86_feature_detected!("ssse3")
}

/// All that the AVX-512 kernels and what they leave to AVX2 are made of.
#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx2")
}
