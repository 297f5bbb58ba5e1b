//! Forward error correction for dm-verity: Reed–Solomon parity that repairs blocks which fail their check.
//!
//! The layout is that of the kernel's `drivers/md/dm-verity-fec.c` (7.3) and of cryptsetup's `lib/verity/verity_fec.c`: code words of
//! 255 bytes, `roots` of them parity; neighbouring bytes of a block belong to different code words, and the bytes of a
//! code word lie as far apart as the message allows.

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
