//! A digest and its hexadecimal form.

use std::fmt;
use std::str::FromStr;

/// The longest digest of all, SHA-512's, in bytes.
const MAX: usize = 64;

/// A digest of up to 64 bytes, kept inline. Shown and parsed as hexadecimal digits; shown in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    /// Zero past `len`.
    bytes: [u8; MAX],
    len: u8,
}

impl Digest {
    /// Takes `bytes` as a digest.
    ///
    /// # Errors
    /// When there are none or more than 64.
    pub fn new(bytes: &[u8]) -> Result<Self, DigestError> {
        if bytes.is_empty() || bytes.len() > MAX {
            return Err(DigestError::Length { found: bytes.len() });
        }
        Ok(Self::from_hash(bytes))
    }

    /// Takes the output of a hash function, which is never longer than 64 bytes.
    pub(crate) fn from_hash(hash: &[u8]) -> Self {
        let mut bytes = [0; MAX];
        bytes[..hash.len()].copy_from_slice(hash);
        Self { bytes, len: hash.len() as u8 }
    }

    /// The bytes, as many as the hash function makes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 2 * MAX];
        for (pair, byte) in text.as_chunks_mut().0.iter_mut().zip(self.as_bytes()) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        f.write_str(str::from_utf8(&text[..2 * usize::from(self.len)]).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Why something is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Too short or too long.
    #[error("a digest has 1 to 64 bytes, found {found}")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// Not pairs of hexadecimal digits.
    #[error("{found:?} is not a string of hexadecimal byte values (two digits each)")]
    Hex {
        /// The text as it was given.
        found: String,
    },
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = from_hex(text).ok_or_else(|| DigestError::Hex { found: text.to_owned() })?;
        Self::new(&bytes)
    }
}

/// The bytes that pairs of hexadecimal digits of either case stand for.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match *pair {
            [high, low] => Some((nibble(high)? << 4 | nibble(low)?) as u8),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_of_either_case_is_read_and_lower_case_is_shown() {
        let digest: Digest = "00FFa5".parse().unwrap();
        assert_eq!(digest.as_bytes(), [0, 255, 0xa5]);
        assert_eq!(digest.to_string(), "00ffa5");
        for wrong in ["", "0", "0g", "+1", " 00", "é0", &"00".repeat(65)] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong:?}");
        }
    }
}
