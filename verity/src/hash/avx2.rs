//! AVX2: eight lanes of SHA-256, four of SHA-512.
#![allow(clippy::cast_possible_wrap, reason = "vectors are of signed words, hashes of unsigned ones")]

use std::arch::x86_64::*;

/// Moves the four 64-bit words of each of four vectors so that vector `i` of the result has word `i` of each.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_4x64(rows: [__m256i; 4]) -> [__m256i; 4] {
    let low = [_mm256_unpacklo_epi64(rows[0], rows[1]), _mm256_unpacklo_epi64(rows[2], rows[3])];
    let high = [_mm256_unpackhi_epi64(rows[0], rows[1]), _mm256_unpackhi_epi64(rows[2], rows[3])];
    [
        _mm256_permute2x128_si256::<0x20>(low[0], low[1]),
        _mm256_permute2x128_si256::<0x20>(high[0], high[1]),
        _mm256_permute2x128_si256::<0x31>(low[0], low[1]),
        _mm256_permute2x128_si256::<0x31>(high[0], high[1]),
    ]
}

/// Half a chunk of SHA-256, a quarter of one of SHA-512.
#[inline]
#[target_feature(enable = "avx2")]
fn load_32(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: `bytes` has the 32 bytes that are read; the instruction asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

macro_rules! operations {
    ($word:ty, $lanes:literal, $signed:ty, $splat:ident, $add:ident, $right:ident, $left:ident) => {
        type V = __m256i;
        pub(in crate::hash) const LANES: usize = $lanes;

        #[inline]
        #[target_feature(enable = "avx2")]
        fn splat(word: $word) -> V {
            $splat(word as $signed)
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        fn from_words(words: [$word; LANES]) -> V {
            load_32(zerocopy::transmute_ref!(&words))
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        fn to_words(vector: V) -> [$word; LANES] {
            let mut words = [0; LANES];
            // SAFETY: `words` has the 32 bytes that are written; the instruction asks for no alignment.
            unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) };
            words
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        fn add(a: V, b: V) -> V {
            $add(a, b)
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        fn xor3(a: V, b: V, c: V) -> V {
            _mm256_xor_si256(a, _mm256_xor_si256(b, c))
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        fn choose(e: V, f: V, g: V) -> V {
            _mm256_xor_si256(g, _mm256_and_si256(e, _mm256_xor_si256(f, g)))
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        fn majority(a: V, b: V, c: V) -> V {
            // a ^ b is the next round's b ^ c, which the compiler sees.
            _mm256_xor_si256(b, _mm256_and_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(b, c)))
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        fn rotate<const R: i32, const L: i32>(a: V) -> V {
            _mm256_or_si256($right::<R>(a), $left::<L>(a))
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        fn shift<const R: i32>(a: V) -> V {
            $right::<R>(a)
        }
    };
}

pub(super) mod sha256 {
    use super::*;

    operations!(u32, 8, i32, _mm256_set1_epi32, _mm256_add_epi32, _mm256_srli_epi32, _mm256_slli_epi32);

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(messages: &[&[[u8; 64]]; LANES], chunk: usize) -> [V; 16] {
        let mut w = [splat(0); 16];
        for half in 0..2 {
            let mut rows = [splat(0); LANES];
            for (row, message) in rows.iter_mut().zip(messages) {
                *row = load_32(&message[chunk].as_chunks().0[half]);
            }
            for (to, from) in w[half * 8..].iter_mut().zip(transpose_8x32(rows)) {
                *to = swap_bytes(from);
            }
        }
        w
    }

    /// Moves the eight words of each of eight vectors so that vector `i` of the result has word `i` of each.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn transpose_8x32(rows: [V; 8]) -> [V; 8] {
        // Words 2k and 2k + 1 of two rows become one 64-bit word each; then it is a transposition of those.
        let mut pairs = [splat(0); 8];
        for i in 0..4 {
            pairs[i] = _mm256_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
            pairs[i + 4] = _mm256_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
        }
        let [w0, w1, w4, w5] = transpose_4x64([pairs[0], pairs[1], pairs[2], pairs[3]]);
        let [w2, w3, w6, w7] = transpose_4x64([pairs[4], pairs[5], pairs[6], pairs[7]]);
        [w0, w1, w2, w3, w4, w5, w6, w7]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn swap_bytes(a: V) -> V {
        let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        _mm256_shuffle_epi8(a, _mm256_broadcastsi128_si256(order))
    }

    crate::hash::lanes::compress!(sha256, #[target_feature(enable = "avx2")]);
}

pub(super) mod sha512 {
    use super::*;

    operations!(u64, 4, i64, _mm256_set1_epi64x, _mm256_add_epi64, _mm256_srli_epi64, _mm256_slli_epi64);

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(messages: &[&[[u8; 128]]; LANES], chunk: usize) -> [V; 16] {
        let mut w = [splat(0); 16];
        for quarter in 0..4 {
            let mut rows = [splat(0); LANES];
            for (row, message) in rows.iter_mut().zip(messages) {
                *row = load_32(&message[chunk].as_chunks().0[quarter]);
            }
            for (to, from) in w[quarter * 4..].iter_mut().zip(transpose_4x64(rows)) {
                *to = swap_bytes(from);
            }
        }
        w
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn swap_bytes(a: V) -> V {
        let order = _mm_set_epi64x(0x0809_0a0b_0c0d_0e0f, 0x0001_0203_0405_0607);
        _mm256_shuffle_epi8(a, _mm256_broadcastsi128_si256(order))
    }

    crate::hash::lanes::compress!(sha512, #[target_feature(enable = "avx2")]);
}
