//! GF(256) with the polynomial 0x11d, whose powers of α = 2 are all its elements but zero.

/// α to the powers 0 to 509: the sum of two logarithms needs no reduction.
const EXP: [u8; 510] = {
    let mut table = [0; 510];
    let (mut i, mut power) = (0, 1);
    while i < table.len() {
        table[i] = power;
        power = double(power);
        i += 1;
    }
    table
};

/// The logarithm of each element to the base α; of zero there is none.
const LOG: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 255 {
        table[EXP[i] as usize] = i as u8;
        i += 1;
    }
    table
};

/// Times α.
pub(super) const fn double(byte: u8) -> u8 {
    byte << 1 ^ if byte >> 7 == 1 { 0x1d } else { 0 }
}

/// α to the power `exponent`.
pub(super) fn alpha(exponent: usize) -> u8 {
    EXP[exponent % 255]
}

pub(super) fn multiply(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    EXP[usize::from(LOG[usize::from(a)]) + usize::from(LOG[usize::from(b)])]
}

/// `a` divided by `b`, which is not zero.
pub(super) fn divide(a: u8, b: u8) -> u8 {
    debug_assert_ne!(b, 0);
    if a == 0 {
        return 0;
    }
    EXP[usize::from(LOG[usize::from(a)]) + 255 - usize::from(LOG[usize::from(b)])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_multiply_as_sums_of_doublings_do() {
        for a in 0..=255 {
            for b in 0..=255 {
                let (mut product, mut power) = (0, a);
                for bit in 0..8 {
                    product ^= power * (b >> bit & 1);
                    power = double(power);
                }
                assert_eq!(multiply(a, b), product);
                assert!(b == 0 || divide(product, b) == a);
            }
        }
    }
}
