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

/// The most registers that a code has.
pub(super) const MOST_ROOTS: usize = 24;

/// Takes the bytes of each piece of `stride` bytes into the registers: those of the first lane, one a root, then those of
/// the second, and so on.
pub(super) type Take = fn(code: &Code, pieces: &[u8], stride: usize, registers: &mut [Lane]);

impl Code {
    /// With the fastest instructions that the machine has for it.
    pub(super) fn new(roots: Roots) -> Self {
        Self::all(roots).next().unwrap_or_else(|| Self::portable(roots))
    }

    /// Every way of computing it that the machine has, the fastest first.
    fn all(roots: Roots) -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let takes = [super::avx512::take(roots.get() as usize), super::avx2::take()];
        #[cfg(target_arch = "aarch64")]
        let takes = [super::neon::take()];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let takes: [Option<Take>; 0] = [];
        let portable: Take = take_portable;
        let with = move |take| Self { take, ..Self::portable(roots) };
        takes.into_iter().flatten().chain([portable]).map(with)
    }

    fn portable(roots: Roots) -> Self {
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

    /// The generator's coefficients, one a register.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn generator(&self) -> &[u8] {
        &self.generator
    }

    /// Of the generator's coefficients, one a register.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    pub(super) fn products(&self) -> &[Products] {
        &self.products
    }

    /// Takes the next message bytes of the code words into their registers. `pieces` are of `stride` bytes each, one for
    /// each message byte of a word; the words' bytes lie side by side at their starts, [`LANES`] for every
    /// [`roots`](Self::roots) registers.
    pub(super) fn take(&self, pieces: &[u8], stride: usize, registers: &mut [Lane]) {
        (self.take)(self, pieces, stride, registers);
    }
}

/// The product of a byte and a coefficient is the sum of byte·2ᵇ over the bits b of the coefficient: additions and
/// doublings only, which become vector instructions anywhere.
fn take_portable(code: &Code, pieces: &[u8], stride: usize, registers: &mut [Lane]) {
    for (lane, registers) in registers.chunks_exact_mut(code.roots()).enumerate() {
        let mut powers = [[0; LANES]; 8];
        for piece in pieces.chunks_exact(stride) {
            let mut power = registers[0];
            power.iter_mut().zip(&piece[lane * LANES..]).for_each(|(to, byte)| *to ^= byte);
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
            // Eleven lanes, which no number of lanes side by side divides; no word like another; pieces longer than them.
            const WORDS: usize = 11 * LANES;
            let stride = WORDS + 70;
            let message: Vec<u8> =
                (0..roots.message_bytes() as usize * stride).map(|i| (i * i / 7 + i) as u8).collect();
            let count = roots.get() as usize;
            for code in Code::all(roots) {
                let mut registers = vec![[0; LANES]; 11 * count];
                // In two goes.
                let (first, second) = message.split_at(100 * stride);
                code.take(first, stride, &mut registers);
                code.take(second, stride, &mut registers);
                for at in 0..WORDS {
                    let parity = registers[at / LANES * count..][..count].iter();
                    let word = message.chunks(stride).map(|piece| piece[at]);
                    let word: Vec<u8> = word.chain(parity.map(|register| register[at % LANES])).collect();
                    for root in (0..count).map(alpha) {
                        assert_eq!(word.iter().fold(0, |sum, byte| multiply(sum, root) ^ byte), 0);
                    }
                }
            }
        }
    }
}
