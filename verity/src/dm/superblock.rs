//! The superblock that veritysetup puts before a tree.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use uuid::Uuid;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{HashType, Params, ParamsError, Salt};
use crate::hash::{Algorithm, UnknownAlgorithm};

/// What a superblock says: the parameters of the tree that follows, and a UUID. Not the root hash.
///
/// The kernel never reads it; veritysetup and systemd do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Identifies the hash device. Random in veritysetup; a reproducible image derives it.
    pub uuid: Uuid,
    /// The tree's parameters.
    pub params: Params,
}

/// `struct verity_sb` of cryptsetup's `lib/verity/verity.c`, 512 bytes.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Layout {
    /// Offset 0: `verity\0\0`.
    signature: [u8; 8],
    /// 8: 1.
    version: U32,
    /// 12: 0 or 1.
    hash_type: U32,
    /// 16: in RFC 4122 byte order.
    uuid: [u8; 16],
    /// 32: the kernel's name, lower case, NUL padded.
    algorithm: [u8; 32],
    /// 64: bytes.
    data_block_size: U32,
    /// 68: bytes.
    hash_block_size: U32,
    /// 72: data blocks.
    data_blocks: U64,
    /// 80: bytes of the salt that count.
    salt_size: U16,
    /// 82: zero.
    pad1: [u8; 6],
    /// 88: zero past `salt_size`.
    salt: [u8; Salt::MAX],
    /// 344: zero.
    pad2: [u8; 168],
}

const SIGNATURE: [u8; 8] = *b"verity\0\0";
const VERSION: u32 = 1;

/// Why bytes are not a superblock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    /// Fewer bytes than a superblock has.
    #[error("a dm-verity superblock has 512 bytes, found {found}")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// Something else is here.
    #[error("no dm-verity superblock: expected the signature \"verity\", found {found:02x?}")]
    Signature {
        /// The first eight bytes.
        found: [u8; 8],
    },
    /// A later format.
    #[error("dm-verity superblock of version {found}: only version 1 is known")]
    Version {
        /// The version it gives.
        found: u32,
    },
    /// Neither 0 nor 1.
    #[error("dm-verity superblock with hash type {found}: expected 0 or 1")]
    HashType {
        /// The type it gives.
        found: u32,
    },
    /// A hash function that we do not have.
    #[error("dm-verity superblock: {0}")]
    Algorithm(#[from] UnknownAlgorithm),
    /// A salt longer than its field.
    #[error("dm-verity superblock with a salt of {found} bytes: at most 256 fit")]
    SaltSize {
        /// The length it gives.
        found: u16,
    },
    /// Parameters that no tree can have.
    #[error("dm-verity superblock: {0}")]
    Params(#[from] ParamsError),
}

impl Superblock {
    /// Its length in bytes. What follows up to the next hash block is zero.
    pub const SIZE: usize = 512;

    /// Where the tree starts when a superblock lies at `offset` of the hash device: the next hash block. Bytes from the
    /// start of the device; divided by `hash_block_size` it is the table line's hash start.
    ///
    /// `None` when that is past 2^64.
    #[must_use]
    pub fn tree_offset(offset: u64, hash_block_size: u32) -> Option<u64> {
        offset.checked_add(Self::SIZE as u64)?.checked_next_multiple_of(u64::from(hash_block_size))
    }

    /// The bytes on disk.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let params = &self.params;
        let salt = params.salt().as_bytes();
        let layout = Layout {
            signature: SIGNATURE,
            version: VERSION.into(),
            hash_type: params.hash_type().number().into(),
            uuid: *self.uuid.as_bytes(),
            algorithm: padded(params.algorithm().name().as_bytes()),
            data_block_size: params.data_block_size().into(),
            hash_block_size: params.hash_block_size().into(),
            data_blocks: params.data_blocks().into(),
            // A salt has at most 256 bytes.
            salt_size: U16::new(salt.len() as u16),
            pad1: [0; 6],
            salt: padded(salt),
            pad2: [0; 168],
        };
        zerocopy::transmute!(layout)
    }

    /// Reads a superblock from the first 512 of `bytes`. Padding is not looked at, as veritysetup does not.
    ///
    /// # Errors
    /// When there is none, or it describes a tree that cannot be.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SuperblockError> {
        let (layout, _) =
            Layout::ref_from_prefix(bytes).map_err(|_| SuperblockError::Length { found: bytes.len() })?;
        if layout.signature != SIGNATURE {
            return Err(SuperblockError::Signature { found: layout.signature });
        }
        if layout.version != VERSION {
            return Err(SuperblockError::Version { found: layout.version.get() });
        }
        let hash_type = match layout.hash_type.get() {
            0 => HashType::ChromeOs,
            1 => HashType::Normal,
            found => return Err(SuperblockError::HashType { found }),
        };
        let name = layout.algorithm.split(|byte| *byte == 0).next().unwrap_or_default();
        let algorithm: Algorithm = String::from_utf8_lossy(name).parse()?;
        let salt_size = layout.salt_size.get();
        let salt = layout
            .salt
            .get(..usize::from(salt_size))
            .and_then(|salt| Salt::new(salt).ok())
            .ok_or(SuperblockError::SaltSize { found: salt_size })?;
        let params = Params::new(
            algorithm,
            layout.data_block_size.get(),
            layout.hash_block_size.get(),
            layout.data_blocks.get(),
            salt,
        )?;
        Ok(Self { uuid: Uuid::from_bytes(layout.uuid), params: params.with_hash_type(hash_type)? })
    }
}

/// `bytes` and zeros up to `N`. What does not fit is left out.
fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut field = [0; N];
    field.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblock() -> Superblock {
        let salt = Salt::new(&[9; 256]).unwrap();
        let params = Params::new(Algorithm::Sha512, 512, 4096, 77, salt).unwrap();
        Superblock {
            uuid: Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
            params: params.with_hash_type(HashType::ChromeOs).unwrap(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let superblock = superblock();
        assert_eq!(Superblock::from_bytes(&superblock.to_bytes()), Ok(superblock));
    }

    #[test]
    fn broken_fields_are_named() {
        let good = superblock().to_bytes();
        let broken = |offset: usize, value: u8| {
            let mut bytes = good;
            bytes[offset] = value;
            Superblock::from_bytes(&bytes).unwrap_err()
        };
        assert_eq!(Superblock::from_bytes(&good[..511]), Err(SuperblockError::Length { found: 511 }));
        assert!(matches!(broken(0, b'V'), SuperblockError::Signature { .. }));
        assert_eq!(broken(8, 2), SuperblockError::Version { found: 2 });
        assert_eq!(broken(12, 2), SuperblockError::HashType { found: 2 });
        assert!(matches!(broken(32, b'S'), SuperblockError::Algorithm(_)));
        assert!(matches!(broken(64, 1), SuperblockError::Params(ParamsError::BlockSize { .. })));
        assert!(matches!(broken(79, 0xff), SuperblockError::Params(ParamsError::TooLarge { .. })));
        assert_eq!(broken(80, 1), SuperblockError::SaltSize { found: 257 });
    }

    #[test]
    fn the_tree_follows_at_the_next_hash_block() {
        assert_eq!(Superblock::tree_offset(0, 4096), Some(4096));
        assert_eq!(Superblock::tree_offset(0, 512), Some(512));
        assert_eq!(Superblock::tree_offset(512, 1024), Some(1024));
        assert_eq!(Superblock::tree_offset(3584, 4096), Some(4096));
        assert_eq!(Superblock::tree_offset(8192, 4096), Some(12288));
        assert_eq!(Superblock::tree_offset(u64::MAX, 4096), None);
    }
}
