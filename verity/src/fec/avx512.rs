//! The code's inner loop with AVX-512 and GFNI: products as 8×8 matrices of bits, one instruction for 64 of them.
#![allow(unsafe_code, reason = "vector instructions")]

use std::arch::x86_64::*;

use super::code::{Code, LANES, Lane, Take};
use super::field::multiply;

/// The loop for as many roots as `code` has, where the machine has the instructions.
pub(super) fn take(roots: usize) -> Option<Take> {
    if !is_x86_feature_detected!("avx512f")
        || !is_x86_feature_detected!("avx512bw")
        || !is_x86_feature_detected!("gfni")
    {
        return None;
    }
    /// The loop for `$roots` registers of `$side` lanes at a time: few registers leave room for more lanes, which fill the
    /// time that one product takes.
    macro_rules! of {
        ($($roots:literal: $side:literal),*) => {
            match roots {
                $($roots => Some(|code, pieces, stride, registers| {
                    // SAFETY: AVX-512 and GFNI were found to be there.
                    unsafe { take_gfni::<$roots, $side>(code, pieces, stride, registers) }
                }),)*
                _ => None,
            }
        };
    }
    of!(2: 8, 3: 6, 4: 5, 5: 4, 6: 4, 7: 3, 8: 3, 9: 2, 10: 2, 11: 2, 12: 2, 13: 1, 14: 1, 15: 1, 16: 1, 17: 1, 18: 1,
        19: 1, 20: 1, 21: 1, 22: 1, 23: 1, 24: 1)
}

#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn take_gfni<const ROOTS: usize, const SIDE: usize>(
    code: &Code,
    pieces: &[u8],
    stride: usize,
    registers: &mut [Lane],
) {
    let mut matrices = [_mm512_setzero_si512(); ROOTS];
    for (matrix, coefficient) in matrices.iter_mut().zip(code.generator()) {
        *matrix = _mm512_set1_epi64(times(*coefficient).cast_signed());
    }
    let mut offset = 0;
    let mut lanes = registers.chunks_exact_mut(ROOTS * SIDE);
    for registers in &mut lanes {
        side_by_side::<ROOTS, SIDE>(&matrices, pieces, stride, offset, registers);
        offset += SIDE * LANES;
    }
    for registers in lanes.into_remainder().chunks_exact_mut(ROOTS) {
        side_by_side::<ROOTS, 1>(&matrices, pieces, stride, offset, registers);
        offset += LANES;
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn side_by_side<const ROOTS: usize, const SIDE: usize>(
    matrices: &[__m512i; ROOTS],
    pieces: &[u8],
    stride: usize,
    offset: usize,
    registers: &mut [Lane],
) {
    let mut sums = [[_mm512_setzero_si512(); ROOTS]; SIDE];
    for (sum, register) in sums.as_flattened_mut().iter_mut().zip(&*registers) {
        *sum = load(register);
    }
    for piece in pieces.chunks_exact(stride) {
        let (bytes, _) = piece[offset..].as_chunks();
        for (sums, bytes) in sums.iter_mut().zip(bytes) {
            let factor = _mm512_xor_si512(sums[0], load(bytes));
            for i in 0..ROOTS - 1 {
                let product = _mm512_gf2p8affine_epi64_epi8::<0>(factor, matrices[i]);
                sums[i] = _mm512_xor_si512(sums[i + 1], product);
            }
            sums[ROOTS - 1] = _mm512_gf2p8affine_epi64_epi8::<0>(factor, matrices[ROOTS - 1]);
        }
    }
    for (sum, register) in sums.as_flattened().iter().zip(registers) {
        store(register, *sum);
    }
}

/// Multiplication by `coefficient` as the instruction takes a matrix: byte 7 − i says which bits of a factor bit i of the
/// product is the sum of.
fn times(coefficient: u8) -> u64 {
    let mut rows = [0; 8];
    for bit in 0..8 {
        let product = multiply(coefficient, 1 << bit);
        for (i, row) in rows.iter_mut().rev().enumerate() {
            *row |= (product >> i & 1) << bit;
        }
    }
    u64::from_le_bytes(rows)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn load(bytes: &Lane) -> __m512i {
    // SAFETY: `bytes` has the 64 bytes that are read; the instruction asks for no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn store(bytes: &mut Lane, vector: __m512i) {
    // SAFETY: `bytes` has the 64 bytes that are written; the instruction asks for no alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), vector) }
}
