//! The code's inner loop with NEON: products by looking up the two halves of each byte.
#![allow(unsafe_code, reason = "vector instructions")]

use std::arch::aarch64::*;

use super::code::{Code, LANES, Lane, MOST_ROOTS, Take};

/// The loop, where the machine has the instructions.
pub(super) fn take() -> Option<Take> {
    if !std::arch::is_aarch64_feature_detected!("neon") {
        return None;
    }
    Some(|code, pieces, stride, registers| {
        // SAFETY: NEON was found to be there.
        unsafe { take_neon(code, pieces, stride, registers) }
    })
}

#[target_feature(enable = "neon")]
fn take_neon(code: &Code, pieces: &[u8], stride: usize, registers: &mut [Lane]) {
    let roots = code.roots();
    let mut tables = [[vdupq_n_u8(0); 2]; MOST_ROOTS];
    for (table, products) in tables.iter_mut().zip(code.products()) {
        *table = [load(&products[0].as_chunks().0[0]), load(&products[1].as_chunks().0[0])];
    }
    let mask = vdupq_n_u8(0x0f);
    for (lane, registers) in registers.chunks_exact_mut(roots).enumerate() {
        for part in 0..LANES / 16 {
            // One more than there are roots: what comes after the last register is zero.
            let mut sums = [vdupq_n_u8(0); MOST_ROOTS + 1];
            for (sum, register) in sums.iter_mut().zip(&*registers) {
                *sum = load(&register.as_chunks().0[part]);
            }
            for piece in pieces.chunks_exact(stride) {
                let Some(bytes) = piece[lane * LANES + 16 * part..].first_chunk() else { return };
                let factor = veorq_u8(sums[0], load(bytes));
                let (low, high) = (vandq_u8(factor, mask), vshrq_n_u8::<4>(factor));
                for i in 0..roots {
                    let [table_low, table_high] = tables[i];
                    let product = veorq_u8(vqtbl1q_u8(table_low, low), vqtbl1q_u8(table_high, high));
                    sums[i] = veorq_u8(sums[i + 1], product);
                }
            }
            for (sum, register) in sums.iter().zip(&mut *registers) {
                store(&mut register.as_chunks_mut().0[part], *sum);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: `bytes` has the 16 bytes that are read; the instruction asks for no alignment.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store(bytes: &mut [u8; 16], vector: uint8x16_t) {
    // SAFETY: `bytes` has the 16 bytes that are written; the instruction asks for no alignment.
    unsafe { vst1q_u8(bytes.as_mut_ptr(), vector) }
}
