//! AVX-512 (F and BW): sixteen lanes of SHA-256, eight of SHA-512.
#![allow(clippy::cast_possible_wrap, reason = "vectors are of signed words, hashes of unsigned ones")]

use std::arch::x86_64::*;

/// Truth tables of three bits for the one instruction that computes any function of them.
const XOR3: i32 = 0x96;
const CHOOSE: i32 = 0xca;
const MAJORITY: i32 = 0xe8;

/// Moves the eight 64-bit words of each of eight vectors so that vector `i` of the result has word `i` of each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose_8x64(rows: [__m512i; 8]) -> [__m512i; 8] {
    // Pairs of rows: words 0, 2, 4, 6 of both, and words 1, 3, 5, 7 of both.
    let mut pairs = rows;
    for i in 0..4 {
        pairs[2 * i] = _mm512_unpacklo_epi64(rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i + 1] = _mm512_unpackhi_epi64(rows[2 * i], rows[2 * i + 1]);
    }
    // Quarters of 128 bits: a 4×4 transposition of them, for even words and for odd ones.
    let mut words = rows;
    for odd in 0..2 {
        let [a, b, c, d] = [pairs[odd], pairs[2 + odd], pairs[4 + odd], pairs[6 + odd]];
        let (ab_02, ab_13) = (_mm512_shuffle_i64x2::<0x88>(a, b), _mm512_shuffle_i64x2::<0xdd>(a, b));
        let (cd_02, cd_13) = (_mm512_shuffle_i64x2::<0x88>(c, d), _mm512_shuffle_i64x2::<0xdd>(c, d));
        words[odd] = _mm512_shuffle_i64x2::<0x88>(ab_02, cd_02);
        words[4 + odd] = _mm512_shuffle_i64x2::<0xdd>(ab_02, cd_02);
        words[2 + odd] = _mm512_shuffle_i64x2::<0x88>(ab_13, cd_13);
        words[6 + odd] = _mm512_shuffle_i64x2::<0xdd>(ab_13, cd_13);
    }
    words
}

/// A chunk of SHA-256, half of one of SHA-512.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_64(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: `bytes` has the 64 bytes that are read; the instruction asks for no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

macro_rules! operations {
    ($word:ty, $lanes:literal, $signed:ty, $splat:ident, $add:ident, $ternary:ident, $rotate:ident, $shift:ident) => {
        type V = __m512i;
        pub(in crate::hash) const LANES: usize = $lanes;

        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        fn splat(word: $word) -> V {
            $splat(word as $signed)
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        fn from_words(words: [$word; LANES]) -> V {
            load_64(zerocopy::transmute_ref!(&words))
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        fn to_words(vector: V) -> [$word; LANES] {
            let mut words = [0; LANES];
            // SAFETY: `words` has the 64 bytes that are written; the instruction asks for no alignment.
            unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector) };
            words
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        fn add(a: V, b: V) -> V {
            $add(a, b)
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        fn xor3(a: V, b: V, c: V) -> V {
            $ternary::<XOR3>(a, b, c)
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        fn choose(e: V, f: V, g: V) -> V {
            $ternary::<CHOOSE>(e, f, g)
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        fn majority(a: V, b: V, c: V) -> V {
            $ternary::<MAJORITY>(a, b, c)
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        fn rotate<const R: i32, const L: i32>(a: V) -> V {
            $rotate::<R>(a)
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        fn shift<const R: u32>(a: V) -> V {
            $shift::<R>(a)
        }
    };
}

pub(super) mod sha256 {
    use super::*;

    operations!(
        u32,
        16,
        i32,
        _mm512_set1_epi32,
        _mm512_add_epi32,
        _mm512_ternarylogic_epi32,
        _mm512_ror_epi32,
        _mm512_srli_epi32
    );

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn load(messages: &[&[[u8; 64]]; LANES], chunk: usize) -> [V; 16] {
        let mut rows = [splat(0); LANES];
        for (row, message) in rows.iter_mut().zip(messages) {
            *row = swap_bytes(load_64(&message[chunk]));
        }
        transpose_16x32(rows)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn swap_bytes(a: V) -> V {
        let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        _mm512_shuffle_epi8(a, _mm512_broadcast_i32x4(order))
    }

    /// Moves the 16 words of each of 16 vectors so that vector `i` of the result has word `i` of each.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn transpose_16x32(rows: [V; 16]) -> [V; 16] {
        // Words 4q + {0, 1} (`low`) and 4q + {2, 3} (`high`) of two rows become one 64-bit word each; transposing
        // those gives words 4q + {0, 1} at places 2q and 2q + 1.
        let (mut low, mut high) = ([splat(0); 8], [splat(0); 8]);
        for i in 0..8 {
            low[i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
            high[i] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
        }
        let (low, high) = (transpose_8x64(low), transpose_8x64(high));
        let mut words = rows;
        for q in 0..4 {
            words[4 * q] = low[2 * q];
            words[4 * q + 1] = low[2 * q + 1];
            words[4 * q + 2] = high[2 * q];
            words[4 * q + 3] = high[2 * q + 1];
        }
        words
    }

    crate::hash::lanes::compress!(sha256, #[target_feature(enable = "avx512f,avx512bw")]);
}

pub(super) mod sha512 {
    use super::*;

    operations!(
        u64,
        8,
        i64,
        _mm512_set1_epi64,
        _mm512_add_epi64,
        _mm512_ternarylogic_epi64,
        _mm512_ror_epi64,
        _mm512_srli_epi64
    );

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn load(messages: &[&[[u8; 128]]; LANES], chunk: usize) -> [V; 16] {
        let mut w = [splat(0); 16];
        for half in 0..2 {
            let mut rows = [splat(0); LANES];
            for (row, message) in rows.iter_mut().zip(messages) {
                *row = swap_bytes(load_64(&message[chunk].as_chunks().0[half]));
            }
            w[half * 8..][..8].copy_from_slice(&transpose_8x64(rows));
        }
        w
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn swap_bytes(a: V) -> V {
        let order = _mm_set_epi64x(0x0809_0a0b_0c0d_0e0f, 0x0001_0203_0405_0607);
        _mm512_shuffle_epi8(a, _mm512_broadcast_i32x4(order))
    }

    crate::hash::lanes::compress!(sha512, #[target_feature(enable = "avx512f,avx512bw")]);
}
