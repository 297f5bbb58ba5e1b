//! The descriptor whose hash is a file's digest, and the message that a signature covers.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{Immutable, IntoBytes, Unaligned};

use super::Params;
use crate::hash::{Algorithm, Digest};

/// A file's size and the root of its tree, under some [`Params`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    params: Params,
    data_size: u64,
    /// `None` for an empty file, which has no tree.
    root: Option<Digest>,
}

/// `struct fsverity_descriptor` of `include/uapi/linux/fsverity.h` (Linux 7.3), 256 bytes.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    /// Offset 0: 1.
    version: u8,
    /// 1: 1 for SHA-256, 2 for SHA-512.
    hash_algorithm: u8,
    /// 2: binary logarithm of the block size in bytes.
    log_blocksize: u8,
    /// 3: bytes of the salt that count.
    salt_size: u8,
    /// 4: 0 while hashing; on disk the length of the signature that follows.
    sig_size: U32,
    /// 8: bytes of the file.
    data_size: U64,
    /// 16: zero past the digest.
    root_hash: [u8; 64],
    /// 80: zero past `salt_size`.
    salt: [u8; Params::MAX_SALT],
    /// 112: zero.
    reserved: [u8; 144],
}

/// `struct fsverity_formatted_digest` without its digest, 12 bytes.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct FormattedHeader {
    /// Offset 0: `FSVerity`.
    magic: [u8; 8],
    /// 8: as in the descriptor.
    digest_algorithm: U16,
    /// 10: bytes.
    digest_size: U16,
}

impl Descriptor {
    /// Its length in bytes.
    pub const SIZE: usize = 256;

    pub(super) fn new(params: Params, data_size: u64, root: Option<Digest>) -> Self {
        Self { params, data_size, root }
    }

    /// Bytes of the file.
    #[must_use]
    pub fn data_size(&self) -> u64 {
        self.data_size
    }

    /// The root of the tree; `None` for an empty file, whose descriptor has zeros there.
    #[must_use]
    pub fn root_hash(&self) -> Option<Digest> {
        self.root
    }

    /// The bytes as a file system stores them before a signature of `signature_size` bytes; 0 for none.
    #[must_use]
    pub fn to_bytes(&self, signature_size: u32) -> [u8; Self::SIZE] {
        let params = &self.params;
        let mut layout = Layout {
            version: 1,
            hash_algorithm: algorithm_number(params.algorithm()) as u8,
            log_blocksize: params.block_size().ilog2() as u8,
            salt_size: params.salt().len() as u8,
            sig_size: signature_size.into(),
            data_size: self.data_size.into(),
            root_hash: [0; 64],
            salt: [0; Params::MAX_SALT],
            reserved: [0; 144],
        };
        if let Some(root) = self.root {
            layout.root_hash[..root.as_bytes().len()].copy_from_slice(root.as_bytes());
        }
        layout.salt[..params.salt().len()].copy_from_slice(params.salt());
        zerocopy::transmute!(layout)
    }

    /// The file's digest: the hash of the descriptor without a signature.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.params.algorithm().digest(&self.to_bytes(0))
    }
}

/// What a built-in signature signs: `FSVerity`, the hash function, the digest's length, the file's digest. 44 or 76 bytes.
///
/// `None` for hash functions that fs-verity does not have, or a digest that is not theirs.
#[must_use]
pub fn formatted_digest(algorithm: Algorithm, digest: &Digest) -> Option<Vec<u8>> {
    let number = algorithm_number(algorithm);
    if number == 0 || digest.as_bytes().len() != algorithm.digest_size() {
        return None;
    }
    let header = FormattedHeader {
        magic: *b"FSVerity",
        digest_algorithm: number.into(),
        digest_size: U16::new(algorithm.digest_size() as u16),
    };
    Some([header.as_bytes(), digest.as_bytes()].concat())
}

/// `FS_VERITY_HASH_ALG_…`; 0 is none.
fn algorithm_number(algorithm: Algorithm) -> u16 {
    match algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
        Algorithm::Sha1 | Algorithm::Sha384 => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_message_is_header_and_digest() {
        let digest = Algorithm::Sha512.digest(b"x");
        let message = formatted_digest(Algorithm::Sha512, &digest).unwrap();
        assert_eq!(message[..12], *b"FSVerity\x02\x00\x40\x00");
        assert_eq!(message[12..], *digest.as_bytes());
        assert_eq!(formatted_digest(Algorithm::Sha256, &digest), None);
        assert_eq!(formatted_digest(Algorithm::Sha1, &Algorithm::Sha1.digest(b"x")), None);
    }
}
