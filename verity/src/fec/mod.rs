//! Forward error correction for dm-verity: Reed–Solomon parity that repairs blocks which fail their check.
//!
//! The layout is that of the kernel's `drivers/md/dm-verity-fec.c` (7.3) and of cryptsetup's `lib/verity/verity_fec.c`: code words of
//! 255 bytes, `roots` of them parity; neighbouring bytes of a block belong to different code words, and the bytes of a
//! code word lie as far apart as the message allows.
//!
//! ```
//! use graven_verity::dm::{self, Params, Salt};
//! use graven_verity::fec::{self, Message, Roots};
//! use graven_verity::hash::Algorithm;
//! use graven_verity::io::{Concat, WriteAt};
//! use graven_verity::progress::Silent;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let params = Params::new(Algorithm::Sha256, 4096, 4096, 500, Salt::default())?;
//! let (data, tree, parity) = (tempfile::tempfile()?, tempfile::tempfile()?, tempfile::tempfile()?);
//! data.write_all_at(&vec![7; 500 * 4096], 0)?;
//! let root_hash = dm::build(&data, &params, &tree)?;
//!
//! let (roots, blocks) = (Roots::new(2)?, params.data_blocks() + params.tree_blocks());
//! let message = Concat::new().then(&data, params.data_bytes()).then(&tree, params.tree_bytes());
//! fec::encode(&message, blocks, 4096, roots, &parity, &Silent)?;
//!
//! // A block is lost, found by the tree, and made good by the parity.
//! data.write_all_at(&[0xee; 4096], 123 * 4096)?;
//! let broken = Message { data: &data, tree: &tree, gap: None, parity: &parity, roots };
//! let repaired = fec::repair(&broken, &params, &root_hash, &Silent)?;
//! assert!(repaired.is_whole());
//! assert_eq!(repaired.mended_data.len(), 1);
//! # Ok(())
//! # }
//! ```

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod code;
mod decode;
mod encode;
mod field;
#[cfg(target_arch = "aarch64")]
mod neon;
mod repair;

use std::fmt;

pub use self::encode::{encode, parity_bytes};
pub use self::repair::{Message, Repaired, check_parity, repair};

/// Parity bytes in a code word of 255: 2 to 24. Half as many bad bytes a code word can be repaired, or as many as are
/// known to be bad, which they are under dm-verity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Roots(u8);

impl Roots {
    /// Takes `roots` parity bytes a code word.
    ///
    /// # Errors
    /// When it is not in 2..=24.
    pub fn new(roots: u32) -> Result<Self, RootsError> {
        match u8::try_from(roots) {
            Ok(number @ 2..=24) => Ok(Self(number)),
            _ => Err(RootsError { found: roots }),
        }
    }

    /// Parity bytes a code word.
    #[must_use]
    pub fn get(self) -> u32 {
        u32::from(self.0)
    }

    /// Message bytes a code word.
    #[must_use]
    pub fn message_bytes(self) -> u32 {
        255 - self.get()
    }
}

impl fmt::Display for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number of roots that the kernel does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("FEC with {found} roots: expected 2 to 24")]
pub struct RootsError {
    /// The number.
    pub found: u32,
}
