//! The Reed–Solomon code itself: RS(255, 255 − roots) over GF(256), 64 code words side by side.
//!
//! Generator ∏(x − αⁱ) for i in 0..roots; systematic.

use super::Roots;
use super::field::{alpha, double, multiply};

/// Code words that are worked on side by side.
pub(super) const LANES: usize = 64;

/// One byte of each of [`LANES`] code words.
pub(super) type Lane = [u8; LANES];

/// The remainder registers of a code are `roots` lanes; this is how message bytes are shifted into them.
pub(super) struct Code {
    /// For each register its generator coefficient.
    generator: Vec<u8>,
    products: Vec<Products>,
    take: Take,
}

/// Products of a coefficient with 0 to 15, and with 0, 16 … 240; each twice, for the two halves of a vector.
pub(super) type Products = [[u8; 32]; 2];

/// Takes the bytes at `offset`, one lane of them, of each piece of `stride` bytes into the registers.
type Take = fn(code: &Code, pieces: &[u8], stride: usize, offset: usize, registers: &mut [Lane]);

impl Code {
    pub(super) fn new(roots: Roots) -> Self {
        let code = Self::portable(roots);
        #[cfg(target_arch = "x86_64")]
        if let Some(take) = super::avx2::take() {
            return Self { take, ..code };
        }
        code
    }

    pub(super) fn portable(roots: Roots) -> Self {
        let generator = generator(roots.get() as usize);
        let products = generator.iter().map(|coefficient| {
            let low = std::array::from_fn(|i| multiply(*coefficient, (i % 16) as u8));
            let high = std::array::from_fn(|i| multiply(*coefficient, (i % 16) as u8 * 16));
            [low, high]
        });
        Self { products: products.collect(), generator, take: take_portable }
    }

    /// Registers.
    pub(super) fn roots(&self) -> usize {
        self.generator.len()
    }

    /// Of the generator's coefficients, one a register.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn products(&self) -> &[Products] {
        &self.products
    }

    /// Takes the next message bytes of [`LANES`] code words into their registers. `pieces` are of `stride` bytes each,
    /// one for each message byte of a word; the words' bytes lie in them from `offset` on.
    pub(super) fn take(&self, pieces: &[u8], stride: usize, offset: usize, registers: &mut [Lane]) {
        (self.take)(self, pieces, stride, offset, registers);
    }
}

/// The product of a byte and a coefficient is the sum of byte·2ᵇ over the bits b of the coefficient: additions and
/// doublings only, which become vector instructions anywhere.
fn take_portable(code: &Code, pieces: &[u8], stride: usize, offset: usize, registers: &mut [Lane]) {
    let mut powers = [[0; LANES]; 8];
    for piece in pieces.chunks_exact(stride) {
        let mut power = registers[0];
        power.iter_mut().zip(&piece[offset..]).for_each(|(to, byte)| *to ^= byte);
        for to in &mut powers {
            *to = power;
            power.iter_mut().for_each(|byte| *byte = double(*byte));
        }
        for (register, coefficient) in code.generator.iter().enumerate() {
            let mut sum = registers.get(register + 1).copied().unwrap_or([0; LANES]);
            for (bit, power) in powers.iter().enumerate() {
                if coefficient >> bit & 1 == 1 {
                    sum.iter_mut().zip(power).for_each(|(to, from)| *to ^= from);
                }
            }
            registers[register] = sum;
        }
    }
}

/// The coefficients of the generator after the leading 1, highest degree first.
fn generator(roots: usize) -> Vec<u8> {
    let mut polynomial = vec![1];
    for root in (0..roots).map(alpha) {
        // Times (x + root).
        polynomial.push(0);
        for i in (1..polynomial.len()).rev() {
            polynomial[i] ^= multiply(polynomial[i - 1], root);
        }
    }
    polynomial.remove(0);
    polynomial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_for_two_roots_is_the_known_one() {
        assert_eq!(generator(2), [3, 2]);
    }

    #[test]
    fn a_code_word_is_zero_at_every_root_whatever_computes_it() {
        for roots in (2..=24).map(|roots| Roots::new(roots).unwrap()) {
            // A lane in the middle of each piece; no word like another.
            let stride = 3 * LANES;
            let message: Vec<u8> =
                (0..roots.message_bytes() as usize * stride).map(|i| (i * i / 7 + i) as u8).collect();
            for code in [Code::portable(roots), Code::new(roots)] {
                let mut registers = vec![[0; LANES]; roots.get() as usize];
                // In two goes.
                let (first, second) = message.split_at(100 * stride);
                code.take(first, stride, 70, &mut registers);
                code.take(second, stride, 70, &mut registers);
                for lane in 0..LANES {
                    let word = message.chunks(stride).map(|piece| piece[70 + lane]);
                    let word: Vec<u8> = word.chain(registers.iter().map(|register| register[lane])).collect();
                    for root in (0..roots.get() as usize).map(alpha) {
                        assert_eq!(word.iter().fold(0, |sum, byte| multiply(sum, root) ^ byte), 0);
                    }
                }
            }
        }
    }
}
