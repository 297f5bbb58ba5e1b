//! Signing as a station: a [`Request`] goes in, a signature or «pending» comes out.
//!
//! Requests are plain data and small (the message to be signed is inside), so that they can travel as `to-sign.json` to
//! wherever the key lives. Answers come back as raw signature bytes and are checked before anyone uses them.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod answers;
mod attached;
mod chained;
mod detached;
mod file;
mod private;
mod program;
mod pss;
mod request;
mod token;
mod verify;

pub use answers::{AnswerProblem, answer_path, check_answers};
pub use attached::AttachedSigner;
pub use chained::ChainedSigner;
pub use detached::DetachedSigner;
pub use file::FileSigner;
pub(crate) use private::{Form, PrivateKey, subject_public_key_info};
pub use program::{ProgramProblem, ProgramSigner};
pub use request::{Request, RequestId, ToSign, ToSignError};
pub use token::{Pin, TokenProblem, TokenSigner, TokenUri, UriError};
pub use verify::{BadSignature, verify};
pub(crate) use verify::{verify_by_oid, verify_with};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

use crate::x509::{Certificate, CertificateError, PemError, PublicKey};

/// What a signature is for; a key's holder decides by this whether to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Purpose {
    /// A boot artefact: kernel, initramfs and command line.
    Boot,
    /// An IPE policy.
    Policy,
    /// A dm-verity root hash.
    Root,
    /// A Secure Boot variable.
    Enrolment,
    /// A file's fs-verity digest.
    Fsverity,
    /// A seed: files for a machine's state.
    Seed,
    /// A statement of what an image was built from.
    Provenance,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boot => "boot",
            Self::Policy => "policy",
            Self::Root => "root",
            Self::Enrolment => "enrolment",
            Self::Fsverity => "fsverity",
            Self::Seed => "seed",
            Self::Provenance => "provenance",
        })
    }
}

/// A signature algorithm, its digest included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, modulus of 2048 to 4096 bits. Signature: as long as the modulus. Deterministic.
    #[serde(rename = "rsa-pkcs1-sha256")]
    RsaPkcs1Sha256,
    /// The same with SHA-384.
    #[serde(rename = "rsa-pkcs1-sha384")]
    RsaPkcs1Sha384,
    /// The same with SHA-512.
    #[serde(rename = "rsa-pkcs1-sha512")]
    RsaPkcs1Sha512,
    /// RSASSA-PSS with SHA-256 in digest and mask, modulus of 2048 to 4096 bits, and the longest salt that the modulus
    /// has room for, which is what U-Boot checks (`openssl … -sigopt rsa_pss_saltlen:max`). Every signature is another.
    #[serde(rename = "rsa-pss-longest-salt-sha256")]
    RsaPssSha256,
    /// The same with SHA-384.
    #[serde(rename = "rsa-pss-longest-salt-sha384")]
    RsaPssSha384,
    /// The same with SHA-512.
    #[serde(rename = "rsa-pss-longest-salt-sha512")]
    RsaPssSha512,
    /// ECDSA on P-256 with SHA-256. Signature: DER `SEQUENCE { r, s }`.
    #[serde(rename = "ecdsa-p256-sha256")]
    EcdsaP256Sha256,
    /// ECDSA on P-384 with SHA-384. Signature: DER `SEQUENCE { r, s }`.
    #[serde(rename = "ecdsa-p384-sha384")]
    EcdsaP384Sha384,
    /// ML-DSA-65 (FIPS 204), pure, with an empty context: over the message itself, no digest. Signature: 3309 bytes.
    #[serde(rename = "ml-dsa-65")]
    MlDsa65,
}

impl Algorithm {
    /// The algorithm in which a certificate's key signs where nothing asks for another.
    pub fn of(certificate: &Certificate) -> Result<Self, SignError> {
        match certificate.public_key() {
            PublicKey::Rsa { bits, .. } if (2048..=4096).contains(bits) => Ok(Self::RsaPkcs1Sha256),
            PublicKey::P256(_) => Ok(Self::EcdsaP256Sha256),
            PublicKey::P384(_) => Ok(Self::EcdsaP384Sha384),
            PublicKey::MlDsa65(_) => Ok(Self::MlDsa65),
            other => Err(SignError::UnusableKey { subject: certificate.subject(), found: other.to_string() }),
        }
    }

    /// Whether `key` can sign so.
    pub fn fits(self, key: &PublicKey) -> bool {
        match self {
            Self::EcdsaP256Sha256 => matches!(key, PublicKey::P256(_)),
            Self::EcdsaP384Sha384 => matches!(key, PublicKey::P384(_)),
            Self::MlDsa65 => matches!(key, PublicKey::MlDsa65(_)),
            _ => matches!(key, PublicKey::Rsa { bits, .. } if (2048..=4096).contains(bits)),
        }
    }

    /// Whether the signature is made over a digest of the message, so that a signer needs no more than that.
    pub fn is_over_digest(self) -> bool {
        self != Self::MlDsa65
    }

    /// The digest of `message` that the signature is made over: 32, 48 or 64 bytes. With ML-DSA, which takes the message itself,
    /// only its name.
    pub fn digest(self, message: &[u8]) -> Vec<u8> {
        use sha2::Digest as _;
        match self {
            Self::RsaPkcs1Sha256 | Self::RsaPssSha256 | Self::EcdsaP256Sha256 => {
                sha2::Sha256::digest(message).to_vec()
            }
            Self::RsaPkcs1Sha384 | Self::RsaPssSha384 | Self::EcdsaP384Sha384 => {
                sha2::Sha384::digest(message).to_vec()
            }
            Self::RsaPkcs1Sha512 | Self::RsaPssSha512 | Self::MlDsa65 => {
                sha2::Sha512::digest(message).to_vec()
            }
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RsaPkcs1Sha256 => "rsa-pkcs1-sha256",
            Self::RsaPkcs1Sha384 => "rsa-pkcs1-sha384",
            Self::RsaPkcs1Sha512 => "rsa-pkcs1-sha512",
            Self::RsaPssSha256 => "rsa-pss-longest-salt-sha256",
            Self::RsaPssSha384 => "rsa-pss-longest-salt-sha384",
            Self::RsaPssSha512 => "rsa-pss-longest-salt-sha512",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::EcdsaP384Sha384 => "ecdsa-p384-sha384",
            Self::MlDsa65 => "ml-dsa-65",
        })
    }
}

/// What a signer says: the signed thing, or that someone else has to sign first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T = Vec<u8>> {
    /// The signature, or whatever was made with it.
    Signed(T),
    /// No answer yet: bring this request to the key.
    Pending(Request),
}

impl<T> Answer<T> {
    /// Carries a signature on into what is made with it; a pending request stays one.
    pub fn try_map<U, E>(self, make: impl FnOnce(T) -> Result<U, E>) -> Result<Answer<U>, E> {
        Ok(match self {
            Self::Signed(signature) => Answer::Signed(make(signature)?),
            Self::Pending(request) => Answer::Pending(request),
        })
    }

    /// The signed thing, where there is one.
    pub fn signed(self) -> Option<T> {
        match self {
            Self::Signed(signed) => Some(signed),
            Self::Pending(_) => None,
        }
    }
}

/// Whoever can sign with the key of one certificate.
pub trait Signer: Send + Sync {
    /// The certificate whose key signs.
    fn certificate(&self) -> &Certificate;

    /// Where it is not the certificate itself that is trusted, but an issuer: those between the two, the certificate's own first. They
    /// and the certificate travel in its signatures.
    fn issuers(&self) -> Option<&[Certificate]> {
        None
    }

    /// The certificate, and the issuers that are known to stand behind it, in order, the root too: what whoever verifies is given.
    fn chain(&self) -> Vec<&Certificate> {
        vec![self.certificate()]
    }

    /// Signs the request's message, or answers that the signature is not there yet. A signature that is returned has
    /// been checked against the certificate.
    fn sign(&self, request: &Request) -> Result<Answer, SignError>;
}

/// Why nothing was signed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SignError {
    /// A key or certificate file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate file holds none.
    #[error("{}: {source}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// A certificate file holds several.
    #[error("{}: expected one certificate, found {found}; a signer needs exactly its own", path.display())]
    SeveralCertificates {
        /// The file.
        path: PathBuf,
        /// Their number.
        found: usize,
    },
    /// A key file holds no private key.
    #[error("{}: {source}; expected an unencrypted PKCS#8 key in PEM", path.display())]
    KeyPem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: PemError,
    },
    /// The private key is protected by a passphrase.
    #[error(
        "{}: the private key is encrypted; decrypt it (openssl pkcs8) or sign outside and bring back the answers",
        path.display()
    )]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key is of a kind that cannot be used.
    #[error("{}: unusable private key: {reason}; expected RSA of 2048 to 4096 bits, ECDSA P-256 or P-384, or ML-DSA-65", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Key and certificate do not belong together.
    #[error(
        "{} does not hold the key of certificate «{subject}» (sha256:{fingerprint}); give the two files of one pair",
        path.display()
    )]
    KeyMismatch {
        /// The key's file.
        path: PathBuf,
        /// The certificate's subject.
        subject: String,
        /// The certificate's fingerprint.
        fingerprint: String,
    },
    /// The certificate's key is of a kind that nothing here signs with.
    #[error(
        "certificate «{subject}» has a {found}; expected RSA of 2048 to 4096 bits, ECDSA P-256, ECDSA P-384 or ML-DSA-65"
    )]
    UnusableKey {
        /// The certificate's subject.
        subject: String,
        /// What its key is.
        found: String,
    },
    /// The algorithm asked for is not one for the certificate's key.
    #[error("certificate «{subject}» has a {found}, which cannot sign with {algorithm}")]
    UnfitAlgorithm {
        /// The certificate's subject.
        subject: String,
        /// What its key is.
        found: String,
        /// The algorithm asked for.
        algorithm: Algorithm,
    },
    /// A request was brought to the wrong key.
    #[error("the request {id} is for certificate sha256:{expected}, this signer's is sha256:{found}")]
    ForeignRequest {
        /// The request.
        id: String,
        /// The certificate that the request names.
        expected: String,
        /// The signer's certificate.
        found: String,
    },
    /// An answer's signature is not the certificate's over the request's message.
    #[error("the answer {} does not fit request {id} ({purpose}): {source}; sign the request's digest again", path.display())]
    BadAnswer {
        /// The answer's file.
        path: PathBuf,
        /// The request.
        id: String,
        /// What was to be signed.
        purpose: Purpose,
        /// What is wrong with it.
        source: BadSignature,
    },
    /// A program that signs gave no signature.
    #[error("{}, asked to sign for {purpose} with the key of «{subject}»: {problem}", program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// What was to be signed.
        purpose: Purpose,
        /// The certificate's subject.
        subject: String,
        /// What is wrong.
        problem: Box<ProgramProblem>,
    },
    /// A token gave no signature.
    #[error("{uri}: {problem}")]
    Token {
        /// The key's URI.
        uri: String,
        /// What is wrong.
        problem: Box<TokenProblem>,
    },
    /// The signature operation failed.
    #[error("signing for {purpose} with the key of «{subject}» failed")]
    Failed {
        /// What was to be signed.
        purpose: Purpose,
        /// The certificate's subject.
        subject: String,
    },
}
