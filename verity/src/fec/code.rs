//! The Reed–Solomon code itself: RS(255, 255 − roots) over GF(256), 64 code words side by side.
//!
//! GF(256) with the polynomial 0x11d and α = 2; generator ∏(x − αⁱ) for i in 0..roots; systematic.

use super::Roots;

/// Code words that are worked on side by side.
pub(super) const LANES: usize = 64;

/// One byte of each of [`LANES`] code words.
pub(super) type Lane = [u8; LANES];

/// A byte of each code word times 1, 2, 4 … 128.
pub(super) type Powers = [Lane; 8];

/// The remainder registers of a code are `roots` lanes; this is how a message byte is shifted into them.
pub(super) struct Code {
    /// For each register: the bits of its generator coefficient.
    coefficients: Vec<Vec<usize>>,
    /// Bits that the largest coefficient has.
    bits: usize,
}

impl Code {
    pub(super) fn new(roots: Roots) -> Self {
        let generator = generator(roots.get() as usize);
        let bits_of = |byte: &u8| (0..8).filter(|bit| byte >> bit & 1 == 1).collect();
        let coefficients: Vec<Vec<usize>> = generator.iter().map(bits_of).collect();
        let bits = coefficients.iter().flatten().max().map_or(0, |bit| bit + 1);
        Self { coefficients, bits }
    }

    /// Registers.
    pub(super) fn roots(&self) -> usize {
        self.coefficients.len()
    }

    /// Takes the next message byte of each code word into the registers. `powers` is scratch space, kept by the caller
    /// because clearing it each time would cost as much as two roots do.
    ///
    /// The product of a byte and a coefficient is the sum of byte·2ᵇ over the bits b of the coefficient: additions
    /// and doublings only, which become vector instructions.
    pub(super) fn push(&self, message: &Lane, registers: &mut [Lane], powers: &mut Powers) {
        let mut power = *message;
        add(&mut power, &registers[0]);
        for to in &mut powers[..self.bits] {
            *to = power;
            power.iter_mut().for_each(|byte| *byte = double(*byte));
        }
        for (register, bits) in self.coefficients.iter().enumerate() {
            let mut sum = registers.get(register + 1).copied().unwrap_or([0; LANES]);
            for &bit in bits {
                add(&mut sum, &powers[bit]);
            }
            registers[register] = sum;
        }
    }
}

fn add(to: &mut Lane, from: &Lane) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to ^= from);
}

/// Times α.
const fn double(byte: u8) -> u8 {
    byte << 1 ^ if byte >> 7 == 1 { 0x1d } else { 0 }
}

fn multiply(a: u8, b: u8) -> u8 {
    let (mut product, mut power) = (0, a);
    for bit in 0..8 {
        if b >> bit & 1 == 1 {
            product ^= power;
        }
        power = double(power);
    }
    product
}

/// The coefficients of the generator after the leading 1, highest degree first.
fn generator(roots: usize) -> Vec<u8> {
    let mut polynomial = vec![1];
    let mut root = 1;
    for _ in 0..roots {
        // Times (x + root).
        polynomial.push(0);
        for i in (1..polynomial.len()).rev() {
            polynomial[i] ^= multiply(polynomial[i - 1], root);
        }
        root = double(root);
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
    fn a_code_word_is_zero_at_every_root() {
        for roots in 2..=24 {
            let code = Code::new(Roots::new(roots).unwrap());
            let mut registers = vec![[0; LANES]; roots as usize];
            let message: Vec<u8> = (0..255 - roots).map(|i| (i * i + 7) as u8).collect();
            let mut powers = [[0; LANES]; 8];
            for byte in &message {
                code.push(&[*byte; LANES], &mut registers, &mut powers);
            }
            let word = message.into_iter().chain(registers.iter().map(|lane| lane[LANES - 1]));
            let word: Vec<u8> = word.collect();
            let mut root = 1;
            for _ in 0..roots {
                assert_eq!(word.iter().fold(0, |sum, byte| multiply(sum, root) ^ byte), 0);
                root = double(root);
            }
        }
    }
}
