//! Correcting one code word: errors at unknown places and erasures at known ones.

use super::Roots;
use super::field::{alpha, divide, multiply};

/// Bytes of a code word, parity included.
pub(super) const WORD: usize = 255;

/// A wrong byte of a code word and what to add to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Correction {
    /// Its place, from the start of the code word.
    pub(super) place: usize,
    /// The sum of what it is and what it should be.
    pub(super) difference: u8,
}

/// Where and how the code word of these syndromes differs from the nearest one, the bytes at the places `erasures` being
/// not to be relied on. Syndrome `j` is the word's value at αʲ, its first byte being the highest coefficient.
///
/// `None` where twice the errors and once the erasures are more than the syndromes. Not every such word is recognised:
/// what was corrected must be hashed.
pub(super) fn correct(roots: Roots, syndromes: &[u8], erasures: &[usize]) -> Option<Vec<Correction>> {
    let roots = roots.get() as usize;
    if erasures.len() > roots {
        return None;
    }
    if syndromes.iter().all(|syndrome| *syndrome == 0) {
        return Some(Vec::new());
    }
    let locator = locator(syndromes, erasures);
    let degree = locator.iter().rposition(|coefficient| *coefficient != 0)?;

    // The evaluator: the product with the syndromes, without what lies at xʳᵒᵒᵗˢ and above.
    let evaluator: Vec<u8> = (0..roots)
        .map(|i| (0..=i.min(degree)).fold(0, |sum, j| sum ^ multiply(locator[j], syndromes[i - j])))
        .collect();
    let mut corrections = Vec::with_capacity(degree);
    for place in 0..WORD {
        // A byte at this place stands before x to this power; the locator has a root at its inverse.
        let power = WORD - 1 - place;
        let inverse = alpha(WORD - power);
        if evaluate(&locator, inverse) != 0 {
            continue;
        }
        // The formal derivative: of a sum of powers only the odd ones stay, each one lower.
        let slope = locator.iter().enumerate().skip(1).step_by(2).fold(0, |sum, (i, coefficient)| {
            sum ^ multiply(*coefficient, alpha((WORD - power) % WORD * (i - 1)))
        });
        if slope == 0 {
            return None;
        }
        let difference = multiply(alpha(power), divide(evaluate(&evaluator, inverse), slope));
        corrections.push(Correction { place, difference });
    }
    (corrections.len() == degree).then_some(corrections)
}

/// Berlekamp and Massey's algorithm, begun with the polynomial whose roots are the erasures' inverses.
fn locator(syndromes: &[u8], erasures: &[usize]) -> Vec<u8> {
    let roots = syndromes.len();
    let mut locator = vec![0; roots + 1];
    locator[0] = 1;
    for (index, place) in erasures.iter().enumerate() {
        let root = alpha(WORD - 1 - place);
        for i in (1..=index + 1).rev() {
            locator[i] ^= multiply(locator[i - 1], root);
        }
    }
    let mut before = locator.clone();
    let mut errors = erasures.len();
    for step in erasures.len()..roots {
        let discrepancy = (0..=step).fold(0, |sum, i| sum ^ multiply(locator[i], syndromes[step - i]));
        // Times x.
        before.rotate_right(1);
        before[0] = 0;
        if discrepancy == 0 {
            continue;
        }
        let next: Vec<u8> = locator.iter().zip(&before).map(|(a, b)| a ^ multiply(discrepancy, *b)).collect();
        if 2 * errors <= step + erasures.len() {
            errors = step + 1 + erasures.len() - errors;
            before = locator.iter().map(|coefficient| divide(*coefficient, discrepancy)).collect();
        }
        locator = next;
    }
    locator
}

/// The value of a polynomial, lowest coefficient first.
fn evaluate(polynomial: &[u8], x: u8) -> u8 {
    polynomial.iter().rev().fold(0, |sum, coefficient| multiply(sum, x) ^ coefficient)
}

#[cfg(test)]
mod tests {
    use super::super::code::{Code, LANES};
    use super::*;

    /// A code word over bytes that follow from `seed`.
    fn word(roots: Roots, seed: usize) -> Vec<u8> {
        let message: Vec<u8> =
            (0..roots.message_bytes() as usize).map(|i| (i * i * 7 + i * seed + seed) as u8).collect();
        let mut registers = vec![[0; LANES]; roots.get() as usize];
        let lanes: Vec<_> = message.iter().map(|byte| [*byte; LANES]).collect();
        Code::new(roots).take(lanes.as_flattened(), LANES, &mut registers);
        message.into_iter().chain(registers.iter().map(|lane| lane[0])).collect()
    }

    fn syndromes(roots: Roots, word: &[u8]) -> Vec<u8> {
        (0..roots.get() as usize)
            .map(|j| word.iter().fold(0, |sum, byte| multiply(sum, alpha(j)) ^ byte))
            .collect()
    }

    #[test]
    fn every_pattern_within_the_codes_reach_is_corrected() {
        for roots in 2..=24 {
            let roots = Roots::new(roots).unwrap();
            let good = word(roots, 3);
            assert_eq!(syndromes(roots, &good), vec![0; roots.get() as usize]);
            for erased in 0..=roots.get() as usize {
                let wrong = (roots.get() as usize - erased) / 2;
                for round in 0..8 {
                    let mut bad = good.clone();
                    // Places are distinct: 37 has no divisor in common with 255.
                    let places: Vec<usize> =
                        (0..erased + wrong).map(|i| (i + 11 * round + 1) * 37 % WORD).collect();
                    for (index, place) in places.iter().enumerate() {
                        // Some erasures are right by chance.
                        bad[*place] ^=
                            if index < erased && index % 5 == 4 { 0 } else { (index + round) as u8 | 1 };
                    }
                    let corrections = correct(roots, &syndromes(roots, &bad), &places[..erased]).unwrap();
                    for Correction { place, difference } in corrections {
                        bad[place] ^= difference;
                    }
                    assert!(bad == good, "{roots} roots, {erased} erasures, {wrong} errors");
                }
            }
        }
    }

    #[test]
    fn what_is_out_of_reach_is_never_taken_for_the_original() {
        let roots = Roots::new(4).unwrap();
        let good = word(roots, 9);
        for round in 0..100 {
            let mut bad = good.clone();
            for i in 0..3 {
                bad[(i * 37 + round) % WORD] ^= (round + 1) as u8;
            }
            for Correction { place, difference } in
                correct(roots, &syndromes(roots, &bad), &[]).unwrap_or_default()
            {
                bad[place] ^= difference;
            }
            assert!(bad != good);
        }
        assert_eq!(correct(roots, &[1; 4], &[0, 1, 2, 3, 4]), None);
    }
}
