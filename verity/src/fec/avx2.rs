//! The code's inner loop with AVX2: products by looking up the two halves of each byte.
#![allow(unsafe_code, reason = "vector instructions")]

use std::arch::x86_64::*;

use super::code::{Code, LANES, Lane, MOST_ROOTS, Take};

/// The loop, where the machine has the instructions.
pub(super) fn take() -> Option<Take> {
    if !is_x86_feature_detected!("avx2") {
        return None;
    }
    Some(|code, pieces, stride, registers| {
        // SAFETY: AVX2 was found to be there.
        unsafe { take_avx2(code, pieces, stride, registers) }
    })
}

#[target_feature(enable = "avx2")]
fn take_avx2(code: &Code, pieces: &[u8], stride: usize, registers: &mut [Lane]) {
    let roots = code.roots();
    let mut tables = [[_mm256_setzero_si256(); 2]; MOST_ROOTS];
    for (table, [low, high]) in tables.iter_mut().zip(code.products()) {
        *table = [load(low), load(high)];
    }
    for (lane, registers) in registers.chunks_exact_mut(roots).enumerate() {
        for half in 0..LANES / 32 {
            let offset = lane * LANES + 32 * half;
            // Two roots, the usual number, have their registers and tables in the machine's.
            if roots == 2 {
                take_half::<2>(2, &tables, pieces, stride, offset, half, registers);
            } else {
                take_half::<MOST_ROOTS>(roots, &tables, pieces, stride, offset, half, registers);
            }
        }
    }
}

/// The 32 bytes at `offset` of each piece into half of one lane's registers, which are `roots` and at most `MOST`.
#[inline]
#[target_feature(enable = "avx2")]
fn take_half<const MOST: usize>(
    roots: usize,
    tables: &[[__m256i; 2]; MOST_ROOTS],
    pieces: &[u8],
    stride: usize,
    offset: usize,
    half: usize,
    registers: &mut [Lane],
) {
    let roots = roots.min(MOST);
    let mask = _mm256_set1_epi8(0x0f);
    let mut sums = [_mm256_setzero_si256(); MOST];
    for (sum, register) in sums.iter_mut().zip(&*registers) {
        *sum = load(&register.as_chunks().0[half]);
    }
    for piece in pieces.chunks_exact(stride) {
        let Some(bytes) = piece[offset..].first_chunk() else { return };
        let factor = _mm256_xor_si256(sums[0], load(bytes));
        let low = _mm256_and_si256(factor, mask);
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(factor), mask);
        for i in 0..roots {
            let [table_low, table_high] = tables[i];
            let product =
                _mm256_xor_si256(_mm256_shuffle_epi8(table_low, low), _mm256_shuffle_epi8(table_high, high));
            // What comes after the last register is zero.
            sums[i] = if i + 1 < roots { _mm256_xor_si256(sums[i + 1], product) } else { product };
        }
    }
    for (sum, register) in sums.iter().zip(&mut *registers) {
        store(&mut register.as_chunks_mut().0[half], *sum);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: `bytes` has the 32 bytes that are read; the instruction asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(bytes: &mut [u8; 32], vector: __m256i) {
    // SAFETY: `bytes` has the 32 bytes that are written; the instruction asks for no alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) }
}
