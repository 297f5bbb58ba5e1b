//! The verity-sig partition (Discoverable Partitions Specification): a JSON object with the signature of the root
//! hash, then NUL bytes to the end. Read as strictly as stage0 reads it.

use graven_handoff::{base64, hex};
use serde::Deserialize;

/// What is in the partition; nothing of it is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootHashSignature {
    /// The root hash that it says it is for, lower-case hexadecimal.
    pub root_hash: String,
    /// PKCS#7, DER, detached, over the root hash's hexadecimal text.
    pub message: Vec<u8>,
    /// SHA-256 of the signer's certificate, where it is given.
    pub fingerprint: Option<[u8; 32]>,
}

/// Why the partition's bytes are none.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// Bytes after the padding began.
    #[error("expected NUL bytes from byte {start} on, found {found:#04x} at byte {offset}")]
    Padding {
        /// End of the text.
        start: usize,
        /// Where the byte is.
        offset: usize,
        /// The byte.
        found: u8,
    },
    /// Not the JSON that it must be.
    #[error("not a JSON object with the strings rootHash, signature and certificateFingerprint: {0}")]
    Json(serde_json::Error),
    /// Something that stage0 would not read, or read otherwise.
    #[error("{key} is not {expected}")]
    Value {
        /// Which.
        key: &'static str,
        /// What is written there.
        expected: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    #[serde(rename = "rootHash")]
    root_hash: String,
    signature: String,
    #[serde(rename = "certificateFingerprint", default)]
    fingerprint: Option<String>,
}

impl RootHashSignature {
    /// Bytes of the partition that anyone looks at.
    pub const MOST_BYTES: u64 = 1 << 20;

    /// Reads the partition's bytes.
    ///
    /// # Errors
    /// Anything but what stage0 reads.
    pub fn parse(partition: &[u8]) -> Result<Self, SignatureError> {
        let start = partition.iter().position(|byte| *byte == 0).unwrap_or(partition.len());
        let (text, padding) = partition.split_at_checked(start).unwrap_or((partition, &[]));
        if let Some((place, found)) = padding.iter().enumerate().find(|(_, byte)| **byte != 0) {
            return Err(SignatureError::Padding {
                start,
                offset: start.saturating_add(place),
                found: *found,
            });
        }
        if text.contains(&b'\\') {
            return Err(SignatureError::Value { key: "a string", expected: "without escapes" });
        }
        let object: Object = serde_json::from_slice(text).map_err(SignatureError::Json)?;
        let value = |key, expected| SignatureError::Value { key, expected };
        if !hex::decode(&object.root_hash).is_some_and(|bytes| matches!(bytes.len(), 32 | 48 | 64)) {
            return Err(value("rootHash", "a root hash in lower-case hexadecimal digits"));
        }
        let message = base64::decode(&object.signature).filter(|message| !message.is_empty());
        let fingerprint = match &object.fingerprint {
            None => None,
            Some(text) => Some(
                hex::decode(text)
                    .and_then(|bytes| bytes.try_into().ok())
                    .ok_or_else(|| value("certificateFingerprint", "64 lower-case hexadecimal digits"))?,
            ),
        };
        Ok(Self {
            root_hash: object.root_hash,
            message: message.ok_or_else(|| value("signature", "padded base64"))?,
            fingerprint,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stage0_reads_is_read() {
        let hash = "ab".repeat(32);
        let good = format!(r#"{{"rootHash":"{hash}","signature":"MAMC"}}"#);
        let mut padded = good.clone().into_bytes();
        padded.resize(4096, 0);
        assert_eq!(RootHashSignature::parse(&padded).unwrap().message, [0x30, 3, 2]);
        padded[4000] = b'x';
        assert!(matches!(
            RootHashSignature::parse(&padded),
            Err(SignatureError::Padding { offset: 4000, .. })
        ));
        let bad = [
            String::new(),
            "{}".into(),
            format!("{good} x"),
            good.replace("MAMC", "MAM"),
            good.replace("MAMC", ""),
            good.replace("MAMC", r"MA\u004dC"),
            good.replace(&hash, &hash.to_uppercase()),
            good.replace('}', r#","signature":"MAMC"}"#),
            good.replace('}', r#","more":"x"}"#),
            good.replace('}', r#","certificateFingerprint":"0"}"#),
        ];
        for text in bad {
            assert!(RootHashSignature::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
