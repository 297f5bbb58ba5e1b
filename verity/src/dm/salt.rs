//! The salt of a tree.

use std::fmt;
use std::str::FromStr;

use crate::hash::from_hex;

/// 0 to 256 bytes that go into every hash of a tree. Shown as the kernel's table line has it: lower-case hexadecimal,
/// `-` for none; parsed from the same, or from an empty string.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Salt(Vec<u8>);

impl Salt {
    /// The longest salt that a superblock can hold, in bytes.
    pub const MAX: usize = 256;

    /// Takes `bytes` as a salt.
    ///
    /// # Errors
    /// When there are more than 256.
    pub fn new(bytes: &[u8]) -> Result<Self, SaltError> {
        if bytes.len() > Self::MAX {
            return Err(SaltError::Length { found: bytes.len() });
        }
        Ok(Self(bytes.to_vec()))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Why something is not a salt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SaltError {
    /// Too long.
    #[error("a dm-verity salt has at most 256 bytes, found {found}")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// Not pairs of hexadecimal digits.
    #[error("salt {found:?} is not a string of hexadecimal byte values; write `-` for no salt")]
    Hex {
        /// The text as it was given.
        found: String,
    },
}

impl FromStr for Salt {
    type Err = SaltError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "-" {
            return Ok(Self::default());
        }
        Self::new(&from_hex(text).ok_or_else(|| SaltError::Hex { found: text.to_owned() })?)
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("-");
        }
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Salt({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_the_table_lines() {
        for text in ["-", "00", "aabb"] {
            assert_eq!(text.parse::<Salt>().unwrap().to_string(), text);
        }
        assert_eq!("".parse::<Salt>().unwrap(), Salt::default());
        assert_eq!("ff".repeat(256).parse::<Salt>().unwrap().as_bytes(), [255; 256]);
        assert_eq!("ff".repeat(257).parse::<Salt>(), Err(SaltError::Length { found: 257 }));
        assert!("a".parse::<Salt>().is_err());
    }
}
