//! The algorithms of hashes and signatures, as FIT properties name them.

use std::fmt;

use sha2::Digest as _;

use crate::sign;
use crate::x509::PublicKey;

/// A digest that can carry a chain of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Hash {
    /// SHA-256, 32 bytes.
    #[default]
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl Hash {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name in `algo`: `sha256` …
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.name() == name)
    }

    /// The digest of `data`.
    pub fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => sha2::Sha256::digest(data).to_vec(),
            Self::Sha384 => sha2::Sha384::digest(data).to_vec(),
            Self::Sha512 => sha2::Sha512::digest(data).to_vec(),
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a digest is padded to the length of an RSA modulus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Padding {
    /// PKCS#1 v1.5: the same signature every time; what U-Boot takes where `padding` is not there.
    #[default]
    Pkcs1,
    /// PSS, the salt as long as fits; needs CONFIG_FIT_RSASSA_PSS in U-Boot.
    Pss,
}

impl Padding {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Pkcs1, Self::Pss];

    /// The name in `padding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pkcs1 => "pkcs-1.5",
            Self::Pss => "pss",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|padding| padding.name() == name)
    }
}

/// A signature's algorithm, as `algo` and `padding` of a signature node name it: `sha256,rsa2048`, `pkcs-1.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureAlgorithm {
    /// The digest.
    pub hash: Hash,
    /// Length of the RSA modulus in bits: 2048, 3072 or 4096.
    pub bits: usize,
    /// The padding.
    pub padding: Padding,
}

/// The lengths of RSA moduli that U-Boot has names for.
const BITS: [usize; 3] = [2048, 3072, 4096];

impl SignatureAlgorithm {
    /// The algorithm with a key; `None` for keys that U-Boot has no software verifier for.
    pub fn of(key: &PublicKey, hash: Hash, padding: Padding) -> Option<Self> {
        match key {
            PublicKey::Rsa { bits, .. } if BITS.contains(bits) => Some(Self { hash, bits: *bits, padding }),
            _ => None,
        }
    }

    /// Reads `algo` and `padding`; `None` for any that is not listed here.
    pub fn named(algo: &str, padding: Option<&str>) -> Option<Self> {
        let (hash, key) = algo.split_once(',')?;
        let bits = BITS.into_iter().find(|bits| key.strip_prefix("rsa") == Some(&bits.to_string()))?;
        let padding = padding.map_or(Some(Padding::Pkcs1), Padding::named)?;
        Some(Self { hash: Hash::named(hash)?, bits, padding })
    }

    /// The value of `algo`.
    pub fn name(self) -> String {
        format!("{},rsa{}", self.hash, self.bits)
    }

    /// The same as signers name it.
    pub fn signing(self) -> sign::Algorithm {
        match (self.padding, self.hash) {
            (Padding::Pkcs1, Hash::Sha256) => sign::Algorithm::RsaPkcs1Sha256,
            (Padding::Pkcs1, Hash::Sha384) => sign::Algorithm::RsaPkcs1Sha384,
            (Padding::Pkcs1, Hash::Sha512) => sign::Algorithm::RsaPkcs1Sha512,
            (Padding::Pss, Hash::Sha256) => sign::Algorithm::RsaPssSha256,
            (Padding::Pss, Hash::Sha384) => sign::Algorithm::RsaPssSha384,
            (Padding::Pss, Hash::Sha512) => sign::Algorithm::RsaPssSha512,
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.padding {
            Padding::Pkcs1 => f.write_str(&self.name()),
            Padding::Pss => write!(f, "{} pss", self.name()),
        }
    }
}
