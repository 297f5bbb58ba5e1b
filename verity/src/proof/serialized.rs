//! The form in which proofs travel: `docs/formats/merkle-proof.md`.

use serde::{Deserialize, Serialize};

use super::{Proof, normal};
use crate::hash::from_hex;

/// The only version so far.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Wire {
    version: u32,
    /// Bytes of a digest.
    digest_size: usize,
    /// First leaf, and the one after the last, of each run.
    leaves: Vec<(u64, u64)>,
    /// Digests one after the other, in hexadecimal digits.
    siblings: String,
}

/// Why something is no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("a proof of version {0}: only version {VERSION} is known")]
    Version(u32),
    #[error("leaves have to be ranges in order, none empty and none touching the next")]
    Leaves,
    #[error("siblings have to be digests of {0} bytes in hexadecimal digits")]
    Siblings(usize),
}

impl TryFrom<Wire> for Proof {
    type Error = WireError;

    fn try_from(wire: Wire) -> Result<Self, WireError> {
        if wire.version != VERSION {
            return Err(WireError::Version(wire.version));
        }
        let leaves: Vec<_> = wire.leaves.iter().map(|(start, end)| *start..*end).collect();
        if leaves.is_empty() || normal(&leaves) != leaves {
            return Err(WireError::Leaves);
        }
        let digest_size = wire.digest_size;
        let siblings = from_hex(&wire.siblings)
            .filter(|bytes| (20..=64).contains(&digest_size) && bytes.len().is_multiple_of(digest_size))
            .ok_or(WireError::Siblings(digest_size))?;
        Ok(Self { leaves, digest_size, siblings })
    }
}

impl From<Proof> for Wire {
    fn from(proof: Proof) -> Self {
        let mut siblings = String::with_capacity(proof.siblings.len().saturating_mul(2));
        for byte in &proof.siblings {
            siblings.push_str(&format!("{byte:02x}"));
        }
        Self {
            version: VERSION,
            digest_size: proof.digest_size,
            leaves: proof.leaves.iter().map(|range| (range.start, range.end)).collect(),
            siblings,
        }
    }
}
