//! Names that must not be random: every UUID and the salt follow from what the image is.

use graven_verity::dm::{Salt, SaltError};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A 128-bit name (RFC 9562 version 8) that follows from `purpose` and what is named.
pub(crate) fn uuid(purpose: &str, named: &[&str]) -> Uuid {
    let digest = digest("uuid", purpose, named);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// The salt of an image whose recipe gives none: 32 bytes that differ between products and versions.
pub(crate) fn salt(named: &[&str]) -> Result<Salt, SaltError> {
    Salt::new(&digest("salt", "dm-verity", named))
}

/// A FAT volume id.
pub(crate) fn volume_id(named: &[&str]) -> u32 {
    let digest = digest("volume-id", "esp", named);
    u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// SHA-256 over the parts, each with its length before it so that no two lists read the same.
fn digest(kind: &str, purpose: &str, named: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in ["graven", kind, purpose].iter().chain(named) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_where_anything_differs() {
        let all =
            [uuid("a", &["b"]), uuid("a", &["c"]), uuid("b", &["b"]), uuid("a", &["b", ""]), uuid("ab", &[])];
        for (index, one) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other != one));
        }
        assert_eq!(uuid("a", &["b"]), uuid("a", &["b"]));
    }
}
