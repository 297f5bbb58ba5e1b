//! The texts of options, and what they mean.

use uuid::Uuid;

use crate::dm::{HashType, Salt, SaltError};
use crate::fec::{Roots, RootsError};
use crate::hash::{Algorithm, UnknownAlgorithm};

/// What a device is to be laid out by, with veritysetup's defaults; the salt is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `--hash`
    pub algorithm: Algorithm,
    /// `--format`
    pub hash_type: HashType,
    /// `--data-block-size`, bytes
    pub data_block_size: u32,
    /// `--hash-block-size`, bytes
    pub hash_block_size: u32,
    /// `--data-blocks`; without it, as many as the data device holds whole
    pub data_blocks: Option<u64>,
    /// `--hash-offset`: where the superblock lies, or without one the tree; bytes
    pub hash_offset: u64,
    /// Not `--no-superblock`
    pub superblock: bool,
    /// `--salt`
    pub salt: Salt,
    /// `--fec-roots` and `--fec-offset` in bytes, where there is a `--fec-device`
    pub fec: Option<(Roots, u64)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Sha256,
            hash_type: HashType::Normal,
            data_block_size: 4096,
            hash_block_size: 4096,
            data_blocks: None,
            hash_offset: 0,
            superblock: true,
            salt: Salt::default(),
            fec: None,
        }
    }
}

/// A text that is no value of its option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// Something else than digits, or too large.
    #[error("{found:?} is not a number: expected decimal digits, at most {most}")]
    Number {
        /// The text.
        found: String,
        /// The largest value.
        most: u64,
    },
    /// Not a UUID.
    #[error("{found:?} is not a UUID: expected 8-4-4-4-12 hexadecimal digits")]
    Uuid {
        /// The text.
        found: String,
    },
    /// Neither 0 nor 1.
    #[error("hash type {found:?}: expected 1 (normal) or 0 (original Chrome OS)")]
    HashType {
        /// The text.
        found: String,
    },
    /// Not a salt.
    #[error(transparent)]
    Salt(#[from] SaltError),
    /// Not a hash function of ours.
    #[error(transparent)]
    Algorithm(#[from] UnknownAlgorithm),
    /// Not a number of roots.
    #[error(transparent)]
    Roots(#[from] RootsError),
}

/// A decimal number.
///
/// # Errors
/// Anything but digits, and more than 2^64 − 1.
pub fn number(text: &str) -> Result<u64, OptionError> {
    bounded(text, u64::MAX)
}

/// The same below 2^32.
///
/// # Errors
/// Anything but digits, and more than 2^32 − 1.
pub fn number32(text: &str) -> Result<u32, OptionError> {
    let most = u32::MAX;
    bounded(text, most.into()).map(|number| u32::try_from(number).unwrap_or(most))
}

fn bounded(text: &str, most: u64) -> Result<u64, OptionError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten().filter(|number| *number <= most);
    number.ok_or_else(|| OptionError::Number { found: text.to_owned(), most })
}

/// A hash function by its name, in letters of either case.
///
/// # Errors
/// One that we do not have.
pub fn algorithm(text: &str) -> Result<Algorithm, OptionError> {
    Ok(text.to_ascii_lowercase().parse()?)
}

/// 1 or 0.
///
/// # Errors
/// Anything else.
pub fn hash_type(text: &str) -> Result<HashType, OptionError> {
    match number(text) {
        Ok(0) => Ok(HashType::ChromeOs),
        Ok(1) => Ok(HashType::Normal),
        _ => Err(OptionError::HashType { found: text.to_owned() }),
    }
}

/// Hexadecimal digits, or `-` for none.
///
/// # Errors
/// Anything else, and more than 256 bytes.
pub fn salt(text: &str) -> Result<Salt, OptionError> {
    Ok(text.parse()?)
}

/// 2 to 24.
///
/// # Errors
/// Anything else.
pub fn roots(text: &str) -> Result<Roots, OptionError> {
    Ok(Roots::new(number32(text)?)?)
}

/// A UUID in the one form that veritysetup takes: 36 characters, hexadecimal digits of either case in groups of 8, 4, 4, 4
/// and 12.
///
/// # Errors
/// Anything else, though it be a UUID in another form.
pub fn uuid(text: &str) -> Result<Uuid, OptionError> {
    let hyphenated = text.len() == 36;
    let uuid = hyphenated.then(|| Uuid::try_parse(text).ok()).flatten();
    uuid.ok_or_else(|| OptionError::Uuid { found: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_digits_are_numbers() {
        assert_eq!(number("0"), Ok(0));
        assert_eq!(number("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(number32("4294967295"), Ok(u32::MAX));
        for wrong in ["", "-1", "+1", " 1", "0x10", "1k", "18446744073709551616", "١"] {
            assert!(number(wrong).is_err(), "{wrong:?}");
        }
        assert!(number32("4294967296").is_err());
    }

    #[test]
    fn other_options_take_what_veritysetup_takes() {
        assert_eq!(algorithm("SHA256"), Ok(Algorithm::Sha256));
        assert!(algorithm("md5").is_err());
        assert_eq!((hash_type("0"), hash_type("1")), (Ok(HashType::ChromeOs), Ok(HashType::Normal)));
        assert!(hash_type("2").is_err());
        assert!(roots("1").is_err() && roots("2").is_ok() && roots("24").is_ok() && roots("25").is_err());
        assert!(uuid("11111111-2222-3333-4444-5555555555AB").is_ok());
        for wrong in ["", "11111111222233334444555555555555", "{11111111-2222-3333-4444-555555555555}"] {
            assert!(uuid(wrong).is_err(), "{wrong:?}");
        }
    }
}
