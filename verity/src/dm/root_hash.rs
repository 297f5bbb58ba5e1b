//! The root hash, on which everything hangs.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::hash::{Digest, DigestError};

/// The digest at the top of a tree. Shown in lower-case hexadecimal: exactly the bytes that a root hash signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RootHash(Digest);

impl RootHash {
    /// The shortest digest that dm-verity is used with, SHA-1's, in bytes; partition UUIDs need 16.
    const MIN: usize = 20;

    /// Takes a digest of at least 20 bytes as a root hash.
    ///
    /// # Errors
    /// When it is shorter.
    pub fn new(digest: Digest) -> Result<Self, RootHashError> {
        let found = digest.as_bytes().len();
        if found < Self::MIN { Err(RootHashError::Length { found }) } else { Ok(Self(digest)) }
    }

    /// The bytes, as many as the tree's hash function makes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0
    }

    /// The unique partition GUID of the data, as the Discoverable Partitions Specification derives it: the first 128 bits
    /// of the root hash, its hexadecimal digits in order.
    #[must_use]
    pub fn root_partition_uuid(&self) -> Uuid {
        Uuid::from_bytes(self.0.as_bytes().first_chunk().copied().unwrap_or_default())
    }

    /// The unique partition GUID of superblock and tree: the last 128 bits of the root hash.
    #[must_use]
    pub fn verity_partition_uuid(&self) -> Uuid {
        Uuid::from_bytes(self.0.as_bytes().last_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why something is not a root hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootHashError {
    /// Shorter than any hash function of dm-verity.
    #[error("a root hash has at least 20 bytes (sha256: 32), found {found}")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// No digest at all.
    #[error("not a root hash: {0}")]
    Digest(#[from] DigestError),
}

impl FromStr for RootHash {
    type Err = RootHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_uuids_are_the_first_and_last_digits_in_order() {
        let text = "a656ad29a03c42bf4af9a0988c55ba4f864ee375223d4c087bfdaa4b6aca0295";
        let root: RootHash = text.to_uppercase().parse().unwrap();
        assert_eq!(root.to_string(), text);
        assert_eq!(root.root_partition_uuid().to_string(), "a656ad29-a03c-42bf-4af9-a0988c55ba4f");
        assert_eq!(root.verity_partition_uuid().to_string(), "864ee375-223d-4c08-7bfd-aa4b6aca0295");
        assert_eq!("00".repeat(19).parse::<RootHash>(), Err(RootHashError::Length { found: 19 }));
    }
}
