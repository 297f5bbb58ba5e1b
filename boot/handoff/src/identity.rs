//! What is known by a number: partitions, root hash, policy version.

use std::fmt;
use std::str::FromStr;

use crate::hex;

/// A GPT partition's unique GUID in textual byte order (the order of its hexadecimal digits, not GPT's mixed one).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartUuid(pub [u8; 16]);

impl fmt::Display for PartUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g, h, i, j, k, rest @ ..] = self.0;
        let groups: [&[u8]; 5] = [&[a, b, c, d], &[e, g], &[h, i], &[j, k], &rest];
        f.write_str(&groups.map(hex::encode).join("-"))
    }
}

impl fmt::Debug for PartUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PartUuid {
    type Err = IdentityError;

    /// 8-4-4-4-12 lower-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let wrong = || IdentityError::new("a UUID in lower case (8-4-4-4-12 digits)", text);
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        if lengths != [8, 4, 4, 4, 12] {
            return Err(wrong());
        }
        let bytes = hex::decode(&text.replace('-', "")).ok_or_else(wrong)?;
        Ok(PartUuid(bytes.try_into().map_err(|_| wrong())?))
    }
}

/// dm-verity's root hash: the digest over the topmost hash block, 32 (SHA-256), 48 or 64 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct RootHash(Vec<u8>);

impl RootHash {
    /// From its bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, IdentityError> {
        match bytes.len() {
            32 | 48 | 64 => Ok(RootHash(bytes.to_vec())),
            _ => Err(IdentityError::new("a root hash of 32, 48 or 64 bytes", &hex::encode(bytes))),
        }
    }

    /// From lower-case hexadecimal text, the only spelling: the root hash signature is made over the text.
    pub fn from_hex(text: &str) -> Result<Self, IdentityError> {
        let wrong = || IdentityError::new("a root hash of 64, 96 or 128 lower-case hexadecimal digits", text);
        RootHash::new(&hex::decode(text).ok_or_else(wrong)?).map_err(|_| wrong())
    }

    /// The digest itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The root partition's UUID: the first 128 bits (Discoverable Partitions Specification).
    pub fn data_partition(&self) -> PartUuid {
        PartUuid(self.0.first_chunk().copied().unwrap_or_default())
    }

    /// The hash tree partition's UUID: the last 128 bits.
    pub fn hash_partition(&self) -> PartUuid {
        PartUuid(self.0.last_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An IPE policy's version, `major.minor.revision`; ordered as the kernel orders it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyVersion(pub u16, pub u16, pub u16);

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromStr for PolicyVersion {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let parts: Option<Vec<u16>> = text.split('.').map(|part| part.parse().ok()).collect();
        let version = match parts.as_deref() {
            Some([major, minor, revision]) => Some(PolicyVersion(*major, *minor, *revision)),
            _ => None,
        };
        // The kernel takes `+1` and `007`; here each version has one spelling.
        version
            .filter(|version| version.to_string() == text)
            .ok_or_else(|| IdentityError::new("a version A.B.C, each 0 to 65535", text))
    }
}

/// A text that is no such number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityError {
    /// What is written there otherwise.
    pub expected: &'static str,
    /// What was there.
    pub found: String,
}

impl IdentityError {
    fn new(expected: &'static str, found: &str) -> Self {
        IdentityError { expected, found: found.to_owned() }
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found {:?}", self.expected, self.found)
    }
}

impl std::error::Error for IdentityError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_from_the_root_hash() {
        let hash =
            RootHash::from_hex("a656ad29a03c42bf4af9a0988c55ba4f864ee375223d4c087bfdaa4b6aca0295").unwrap();
        assert_eq!(hash.data_partition().to_string(), "a656ad29-a03c-42bf-4af9-a0988c55ba4f");
        assert_eq!(hash.hash_partition().to_string(), "864ee375-223d-4c08-7bfd-aa4b6aca0295");
        assert_eq!("864ee375-223d-4c08-7bfd-aa4b6aca0295".parse(), Ok(hash.hash_partition()));
    }

    #[test]
    fn other_spellings_are_refused() {
        assert!(RootHash::from_hex(&"AB".repeat(32)).is_err());
        assert!(RootHash::from_hex(&"ab".repeat(20)).is_err());
        for text in ["", "A656ad29-a03c-42bf-4af9-a0988c55ba4f", "a656ad29a03c42bf4af9a0988c55ba4f"] {
            assert!(text.parse::<PartUuid>().is_err(), "{text}");
        }
        for text in ["1.0", "1.0.0.0", "1.0.65536", "+1.0.0", "01.0.0", "1.0.0 ", ""] {
            assert!(text.parse::<PolicyVersion>().is_err(), "{text}");
        }
        assert!(PolicyVersion(1, 10, 0) > PolicyVersion(1, 9, 65535));
    }
}
