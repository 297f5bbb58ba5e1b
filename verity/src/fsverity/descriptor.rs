//! The descriptor whose hash is a file's digest, and the message that a signature covers.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Params, ParamsError};
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
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
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

/// Why bytes are not a descriptor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// Fewer bytes than a descriptor has.
    #[error("an fs-verity descriptor has 256 bytes, found {found}")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// A field with a value that it cannot have.
    #[error("no fs-verity descriptor: {field} is {found}, expected {expected}")]
    Field {
        /// Its name in `linux/fsverity.h`.
        field: &'static str,
        /// Its value.
        found: u64,
        /// What is possible.
        expected: &'static str,
    },
    /// A field that has to be zero, and is not.
    #[error("no fs-verity descriptor: {field} is not zero past its end")]
    NotZero {
        /// Its name in `linux/fsverity.h`.
        field: &'static str,
    },
    /// Parameters that no file can have.
    #[error("no fs-verity descriptor: {0}")]
    Params(#[from] ParamsError),
}

impl Descriptor {
    /// Its length in bytes.
    pub const SIZE: usize = 256;

    /// Reads a descriptor from the first 256 of `bytes`, as strictly as the kernel does; and the length of the signature that
    /// it says follows.
    ///
    /// # Errors
    /// Anything that the kernel would refuse.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, u32), DescriptorError> {
        let (layout, _) =
            Layout::ref_from_prefix(bytes).map_err(|_| DescriptorError::Length { found: bytes.len() })?;
        let field = |field, found, expected| Err(DescriptorError::Field { field, found, expected });
        if layout.version != 1 {
            return field("version", layout.version.into(), "1");
        }
        let algorithm = match layout.hash_algorithm {
            1 => Algorithm::Sha256,
            2 => Algorithm::Sha512,
            found => return field("hash_algorithm", found.into(), "1 (sha256) or 2 (sha512)"),
        };
        let Some(block_size) = 1u32.checked_shl(layout.log_blocksize.into()) else {
            return field("log_blocksize", layout.log_blocksize.into(), "10 to 16");
        };
        let salt_size = usize::from(layout.salt_size);
        let Some((salt, padding)) = layout.salt.split_at_checked(salt_size) else {
            return field("salt_size", layout.salt_size.into(), "at most 32");
        };
        let params = Params::new(algorithm, block_size, salt)?;
        let (root, after) = layout.root_hash.split_at(algorithm.digest_size());
        let data_size = layout.data_size.get();
        let none = if data_size == 0 { root } else { &[] };
        for (field, bytes) in
            [("salt", padding), ("root_hash", after), ("root_hash", none), ("reserved", &layout.reserved)]
        {
            if bytes.iter().any(|byte| *byte != 0) {
                return Err(DescriptorError::NotZero { field });
            }
        }
        if data_size > i64::MAX as u64 {
            return field("data_size", data_size, "less than 2^63");
        }
        let root = (data_size != 0).then(|| Digest::from_hash(root));
        Ok((Self::new(params, data_size, root), layout.sig_size.get()))
    }

    /// Hash function, block size and salt.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

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
        Self::layout(&self.params, self.data_size, self.root.as_ref(), signature_size)
    }

    pub(super) fn layout(
        params: &Params,
        data_size: u64,
        root: Option<&Digest>,
        signature_size: u32,
    ) -> [u8; Self::SIZE] {
        let mut layout = Layout {
            version: 1,
            hash_algorithm: algorithm_number(params.algorithm()) as u8,
            log_blocksize: params.block_size().ilog2() as u8,
            salt_size: params.salt().len() as u8,
            sig_size: signature_size.into(),
            data_size: data_size.into(),
            root_hash: [0; 64],
            salt: [0; Params::MAX_SALT],
            reserved: [0; 144],
        };
        if let Some(root) = root {
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
    fn what_is_written_is_read_back_and_every_other_byte_judged() {
        let params = Params::new(Algorithm::Sha512, 1024, &[7; 5]).unwrap();
        let root = Algorithm::Sha512.digest(b"root");
        let descriptor = Descriptor::new(params, 1 << 40, Some(root));
        let bytes = descriptor.to_bytes(400);
        assert_eq!(Descriptor::from_bytes(&bytes), Ok((descriptor, 400)));
        assert_eq!(Descriptor::from_bytes(&bytes[..255]), Err(DescriptorError::Length { found: 255 }));
        for offset in [0, 1, 2, 3, 15, 85, 111, 112, 255] {
            let mut broken = bytes;
            broken[offset] ^= 0x80;
            assert!(Descriptor::from_bytes(&broken).is_err(), "{offset}");
        }
        let empty = Descriptor::new(Params::default(), 0, None);
        let mut bytes = empty.to_bytes(0);
        assert_eq!(Descriptor::from_bytes(&bytes), Ok((empty, 0)));
        bytes[16] = 1;
        assert_eq!(Descriptor::from_bytes(&bytes), Err(DescriptorError::NotZero { field: "root_hash" }));
    }

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
