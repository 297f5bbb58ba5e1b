//! Digests as the properties `dmverity_roothash=` and `fsverity_digest=` name them.

use std::fmt;

use crate::errno::Errno;

/// A digest algorithm that a property can usefully name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// SHA-256: 32 bytes.
    Sha256,
    /// SHA-384: 48 bytes; dm-verity only.
    Sha384,
    /// SHA-512: 64 bytes.
    Sha512,
}

impl Algorithm {
    /// The kernel crypto API's name, as the policy text must write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the digest in bytes.
    pub const fn digest_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The algorithm of that exact (case-sensitive) name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        [Self::Sha256, Self::Sha384, Self::Sha512].into_iter().find(|a| a.name().as_bytes() == name)
    }
}

/// `ALGORITHM:HEX` of a property. One that was parsed may name an algorithm the kernel does not know, or have a length
/// that fits none: the kernel takes such a one and it never matches (the linter says so).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Vec<u8>,
    bytes: Vec<u8>,
}

/// Why a text is no digest of the algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no {} digest: expected {} hex digits", .algorithm.name(), .algorithm.digest_bytes().saturating_mul(2))]
pub struct DigestError {
    text: String,
    algorithm: Algorithm,
}

impl Digest {
    /// The digest of `algorithm` written as exactly as many hex digits as it needs.
    pub fn from_hex(algorithm: Algorithm, hex: &str) -> Result<Self, DigestError> {
        let error = || DigestError { text: hex.to_owned(), algorithm };
        let bytes = hex2bin(hex.as_bytes()).ok_or_else(error)?;
        if bytes.len() != algorithm.digest_bytes() {
            return Err(error());
        }
        Ok(Self { algorithm: algorithm.name().into(), bytes })
    }

    /// Reads a property's value as the kernel does (`ipe_digest_parse`): everything before the first colon is the
    /// algorithm, unchecked; the rest is hex of any even length, none included.
    pub(crate) fn from_kernel(value: &[u8]) -> Result<Self, Errno> {
        let colon = value.iter().position(|&b| b == b':').ok_or(Errno::Ebadmsg)?;
        let (algorithm, rest) = value.split_at(colon);
        let bytes = rest.get(1..).and_then(hex2bin).ok_or(Errno::Einval)?;
        Ok(Self { algorithm: algorithm.to_vec(), bytes })
    }

    /// The algorithm's name as written.
    pub fn algorithm_name(&self) -> &[u8] {
        &self.algorithm
    }

    /// The algorithm, if it is one the kernel's dm-verity or fs-verity reports and the length fits it.
    pub fn algorithm(&self) -> Option<Algorithm> {
        Algorithm::from_name(&self.algorithm).filter(|a| a.digest_bytes() == self.bytes.len())
    }

    /// The digest itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `ALGORITHM:hex`, byte for byte as the policy text holds it.
    pub(crate) fn render(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.algorithm);
        out.push(b':');
        for byte in &self.bytes {
            out.extend_from_slice(format!("{byte:02x}").as_bytes());
        }
    }
}

impl Digest {
    /// As audit records write it: the algorithm in quotes, or in hex where it has blanks, quotes or bytes that are not
    /// printed; upper case (`ipe_digest_audit`, `audit_log_untrustedstring`).
    pub(crate) fn audited(&self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        let plain = self.algorithm.iter().all(|byte| matches!(byte, b'!' | b'#'..=b'~'));
        let algorithm = match plain {
            true => format!("\"{}\"", String::from_utf8_lossy(&self.algorithm)),
            false => hex(&self.algorithm),
        };
        format!("{algorithm}:{}", hex(&self.bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.render(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// Hex of either case and even length to bytes.
fn hex2bin(hex: &[u8]) -> Option<Vec<u8>> {
    let nibble = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    hex.chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
            _ => None,
        })
        .collect()
}
