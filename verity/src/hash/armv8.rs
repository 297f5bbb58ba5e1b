//! ARMv8's SHA-2 extension: SHA-256 of one to four messages interleaved, so that one's latency is another's time.

use std::arch::aarch64::*;

use super::constants::K256;

/// Takes the chunks of each message, as many in all of them, into its state.
#[allow(clippy::needless_range_loop, reason = "chunk and lane are indices of several arrays")]
#[target_feature(enable = "neon,sha2")]
pub(super) fn compress<const N: usize>(states: &mut [[u32; 8]; N], messages: &[&[[u8; 64]]; N]) {
    let (mut abcd, mut efgh) = ([vdupq_n_u32(0); N], [vdupq_n_u32(0); N]);
    for lane in 0..N {
        let [a, b, c, d, e, f, g, h] = states[lane];
        abcd[lane] = from_words([a, b, c, d]);
        efgh[lane] = from_words([e, f, g, h]);
    }
    let chunks = messages.iter().map(|message| message.len()).min().unwrap_or(0);
    let messages = messages.map(|message| &message[..chunks]);
    for chunk in 0..chunks {
        let (abcd_before, efgh_before) = (abcd, efgh);
        let mut w = [[vdupq_n_u32(0); N]; 4];
        // Four rounds of every lane; the words for them are loaded at first, made of the last sixteen later on.
        macro_rules! rounds {
            ($($i:literal)*) => {$(
                let k = from_words([K256[4 * $i], K256[4 * $i + 1], K256[4 * $i + 2], K256[4 * $i + 3]]);
                for lane in 0..N {
                    if $i < 4 {
                        w[$i % 4][lane] = load(&messages[lane][chunk].as_chunks().0[$i % 4]);
                    } else {
                        let [w0, w1] = [w[$i % 4][lane], w[($i + 1) % 4][lane]];
                        let [w2, w3] = [w[($i + 2) % 4][lane], w[($i + 3) % 4][lane]];
                        w[$i % 4][lane] = vsha256su1q_u32(vsha256su0q_u32(w0, w1), w2, w3);
                    }
                }
                for lane in 0..N {
                    let wk = vaddq_u32(w[$i % 4][lane], k);
                    let before = abcd[lane];
                    abcd[lane] = vsha256hq_u32(before, efgh[lane], wk);
                    efgh[lane] = vsha256h2q_u32(efgh[lane], before, wk);
                }
            )*};
        }
        rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for lane in 0..N {
            abcd[lane] = vaddq_u32(abcd[lane], abcd_before[lane]);
            efgh[lane] = vaddq_u32(efgh[lane], efgh_before[lane]);
        }
    }
    for lane in 0..N {
        let ([a, b, c, d], [e, f, g, h]) = (to_words(abcd[lane]), to_words(efgh[lane]));
        states[lane] = [a, b, c, d, e, f, g, h];
    }
}

/// Four big-endian words.
#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[u8; 16]) -> uint32x4_t {
    // SAFETY: `bytes` has the 16 bytes that are read; the instruction asks for no alignment.
    vreinterpretq_u32_u8(vrev32q_u8(unsafe { vld1q_u8(bytes.as_ptr()) }))
}

#[inline]
#[target_feature(enable = "neon")]
fn from_words(words: [u32; 4]) -> uint32x4_t {
    // SAFETY: `words` has the 16 bytes that are read.
    unsafe { vld1q_u32(words.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn to_words(vector: uint32x4_t) -> [u32; 4] {
    let mut words = [0; 4];
    // SAFETY: `words` has the 16 bytes that are written.
    unsafe { vst1q_u32(words.as_mut_ptr(), vector) };
    words
}
