//! What a key is for, and what kinds of keys those take who check its signatures.

use std::fmt;

use super::KeysError;

/// What a key of a folder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// UEFI's platform key.
    Pk,
    /// UEFI's key exchange key.
    Kek,
    /// In UEFI's db.
    Db,
    /// In U-Boot's control device tree.
    Fit,
    /// In a kernel for U-Boot boards.
    Policy,
    /// With whoever asks what an image was built from; no link of the boot chain knows it.
    Provenance,
}

impl Role {
    /// All of them, in the order in which they are made.
    pub const ALL: [Self; 6] = [Self::Pk, Self::Kek, Self::Db, Self::Fit, Self::Policy, Self::Provenance];

    /// The name of its files, without an ending.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pk => "pk",
            Self::Kek => "kek",
            Self::Db => "db",
            Self::Fit => "fit",
            Self::Policy => "policy",
            Self::Provenance => "provenance",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// What it signs.
    pub fn signs(self) -> &'static str {
        match self {
            Self::Pk => "what may stand in KEK, and its own successor",
            Self::Kek => "what may stand in db and dbx",
            Self::Db => "boot artefact, policy and root hash of UEFI targets",
            Self::Fit => "the boot artefact of U-Boot targets",
            Self::Policy => "policy and root hash of U-Boot targets",
            Self::Provenance => "what images were built from: no part of an image",
        }
    }

    /// The kind that its key is of where nobody says: what every verifier of the boot chain takes, and the small one that
    /// every verifier of statements takes.
    pub(super) fn usual(self) -> Kind {
        match self {
            Self::Provenance => Kind::EcdsaP256,
            _ => Kind::Rsa(2048),
        }
    }

    /// An error where whoever checks its signatures does not take such a key.
    pub(super) fn refuse(self, kind: Kind) -> Result<(), KeysError> {
        let reason = match (self, kind) {
            (_, Kind::Rsa(_)) | (Self::Policy | Self::Provenance, _) => return Ok(()),
            (Self::Pk | Self::Kek | Self::Db, _) => {
                "UEFI firmware (EDK2) checks Secure Boot signatures with RSA alone"
            }
            (Self::Fit, _) => "U-Boot has no software that checks other signatures than RSA's",
        };
        Err(KeysError::Unfit { role: self, kind, reason })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A kind of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RSA with a modulus of so many bits: 2048, 3072 or 4096.
    Rsa(usize),
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// ML-DSA-65.
    MlDsa65,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Rsa(2048), Self::Rsa(3072), Self::Rsa(4096), Self::EcdsaP256, Self::EcdsaP384, Self::MlDsa65];

    /// The one of that name: `rsa-2048`, `ecdsa-p256` …
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.to_string() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "rsa-{bits}"),
            Self::EcdsaP256 => write!(f, "ecdsa-p256"),
            Self::EcdsaP384 => write!(f, "ecdsa-p384"),
            Self::MlDsa65 => write!(f, "ml-dsa-65"),
        }
    }
}
