//! x86's SHA extensions: SHA-256 of one to four messages interleaved, so that one's latency is another's time.
#![allow(clippy::cast_possible_wrap, reason = "vectors are of signed words, hashes of unsigned ones")]

use std::arch::x86_64::*;

use super::constants::K256;

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn load(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: `bytes` has the 16 bytes that are read; the instruction asks for no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn from_words(words: [u32; 4]) -> __m128i {
    load(zerocopy::transmute_ref!(&words))
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn to_words(vector: __m128i) -> [u32; 4] {
    let mut words = [0; 4];
    // SAFETY: `words` has the 16 bytes that are written; the instruction asks for no alignment.
    unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), vector) };
    words
}

/// Bytes from what is hashed to what is hashed next, where blocks of 4 KiB follow each other and four are hashed at a time.
/// They are asked for meanwhile: the CPU by itself does so only within a page. Worth 6 % of data that lies in memory.
const AHEAD: usize = 4 * 4096;

/// Takes the chunks of each message, as many in all of them, into its state.
#[allow(clippy::needless_range_loop, reason = "chunk and lane are indices of several arrays")]
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(super) fn compress<const N: usize>(states: &mut [[u32; 8]; N], messages: &[&[[u8; 64]]; N]) {
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    // The instructions keep the state as {a, b, e, f} and {c, d, g, h}, the first in the highest word.
    let (mut abef, mut cdgh) = ([_mm_setzero_si128(); N], [_mm_setzero_si128(); N]);
    for lane in 0..N {
        let [a, b, c, d, e, f, g, h] = states[lane];
        abef[lane] = from_words([f, e, b, a]);
        cdgh[lane] = from_words([h, g, d, c]);
    }
    let chunks = messages.iter().map(|message| message.len()).min().unwrap_or(0);
    let messages = messages.map(|message| &message[..chunks]);
    for chunk in 0..chunks {
        for message in messages {
            _mm_prefetch::<_MM_HINT_T1>(message[chunk].as_ptr().wrapping_add(AHEAD).cast());
        }
        let (abef_before, cdgh_before) = (abef, cdgh);
        let mut w = [[_mm_setzero_si128(); N]; 4];
        // Four rounds of every lane; the words for them are loaded at first, made of the last sixteen later on.
        macro_rules! rounds {
            ($($i:literal)*) => {$(
                let k = from_words([K256[4 * $i], K256[4 * $i + 1], K256[4 * $i + 2], K256[4 * $i + 3]]);
                for lane in 0..N {
                    if $i < 4 {
                        let bytes = &messages[lane][chunk].as_chunks().0[$i % 4];
                        w[$i % 4][lane] = _mm_shuffle_epi8(load(bytes), swap);
                    } else {
                        let [w0, w1] = [w[$i % 4][lane], w[($i + 1) % 4][lane]];
                        let [w2, w3] = [w[($i + 2) % 4][lane], w[($i + 3) % 4][lane]];
                        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8::<4>(w3, w2));
                        w[$i % 4][lane] = _mm_sha256msg2_epu32(sum, w3);
                    }
                }
                for lane in 0..N {
                    let wk = _mm_add_epi32(w[$i % 4][lane], k);
                    cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], wk);
                    let wk = _mm_shuffle_epi32::<0x0e>(wk);
                    abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], wk);
                }
            )*};
        }
        rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for lane in 0..N {
            abef[lane] = _mm_add_epi32(abef[lane], abef_before[lane]);
            cdgh[lane] = _mm_add_epi32(cdgh[lane], cdgh_before[lane]);
        }
    }
    for lane in 0..N {
        let [f, e, b, a] = to_words(abef[lane]);
        let [h, g, d, c] = to_words(cdgh[lane]);
        states[lane] = [a, b, c, d, e, f, g, h];
    }
}
