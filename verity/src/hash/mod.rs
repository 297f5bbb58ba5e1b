//! The hash functions of dm-verity and fs-verity.
//!
//! Everything above asks for one thing only: the digests of many blocks of one length under one salt
//! (`BlockHasher`). How they are computed is the [`Kernel`]'s affair, and all `unsafe` code of this crate is theirs:
//! vector loads, stores, and calls of functions for instructions that were found to be there.
//!
//! # Example
//!
//! Which instructions hash trees here, and what each kernel that this machine has makes of the same blocks:
//!
//! ```
//! use graven_verity::hash::{Algorithm, Kernel, digests};
//!
//! println!("{}", Kernel::best(Algorithm::Sha256));
//!
//! let blocks = vec![7u8; 20 * 4096];
//! let salted = [b"salt", &blocks[..4096]].concat();
//! for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.is_available(Algorithm::Sha256)) {
//!     let all = digests(kernel, Algorithm::Sha256, b"salt", 4096, &blocks);
//!     assert!(all.chunks(32).all(|digest| digest == Algorithm::Sha256.digest(&salted).as_bytes()));
//! }
//! ```
#![allow(unsafe_code, reason = "vector instructions")]

#[cfg(target_arch = "aarch64")]
mod armv8;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod block;
mod constants;
mod cpu;
mod digest;
mod kernel;
#[cfg(any(target_arch = "x86_64", test))]
mod lanes;
mod salted;
#[cfg(target_arch = "x86_64")]
mod sha_ni;
mod steps;

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

pub(crate) use self::block::{BlockHasher, Salting};
pub(crate) use self::digest::from_hex;
pub use self::digest::{Digest, DigestError};
pub use self::kernel::Kernel;

/// A hash function by the name that kernel, veritysetup and fsverity give it.
///
/// New images use [`Sha256`](Algorithm::Sha256) or [`Sha512`](Algorithm::Sha512); the others are there so that existing
/// dm-verity images can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-1, 20 bytes. Broken; old Android images.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The kernel's name, as in superblock and table line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of its digests in bytes.
    #[must_use]
    pub const fn digest_size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Length in bytes of the blocks that its compression function takes; fs-verity pads its salt to this.
    #[must_use]
    pub const fn input_block_size(self) -> usize {
        match self {
            Self::Sha1 | Self::Sha256 => 64,
            Self::Sha384 | Self::Sha512 => 128,
        }
    }

    /// The plain digest of `bytes`.
    #[must_use]
    pub fn digest(self, bytes: &[u8]) -> Digest {
        match self {
            Self::Sha1 => Digest::from_hash(&sha1::Sha1::digest(bytes)),
            Self::Sha256 => Digest::from_hash(&sha2::Sha256::digest(bytes)),
            Self::Sha384 => Digest::from_hash(&sha2::Sha384::digest(bytes)),
            Self::Sha512 => Digest::from_hash(&sha2::Sha512::digest(bytes)),
        }
    }
}

/// The digests of `blocks`, whole blocks of `block_size` bytes one after the other, each hashed after `salt`, with a
/// kernel of one's choice on one core; one after the other too. For measurements: trees choose for themselves.
///
/// # Panics
/// When `block_size` is zero, `blocks` no multiple of it, `salt` longer than 256 bytes, or the kernel not
/// [available](Kernel::is_available).
#[must_use]
pub fn digests(
    kernel: Kernel,
    algorithm: Algorithm,
    salt: &[u8],
    block_size: usize,
    blocks: &[u8],
) -> Vec<u8> {
    assert!(kernel.is_available(algorithm) && salt.len() <= 256 && blocks.len().is_multiple_of(block_size));
    let hasher = BlockHasher::with_kernel(kernel, algorithm, Salting::Before(salt), block_size);
    let mut out = vec![0; blocks.len() / block_size * algorithm.digest_size()];
    hasher.digest_run(blocks, algorithm.digest_size(), &mut out);
    out
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no hash function of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown hash algorithm {found:?}: expected sha256, sha512, sha384 or sha1")]
pub struct UnknownAlgorithm {
    /// The name as it was given.
    pub found: String,
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| UnknownAlgorithm { found: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
            assert_eq!(algorithm.digest(b"").as_bytes().len(), algorithm.digest_size());
        }
        assert!("SHA256".parse::<Algorithm>().is_err());
    }
}
