//! PKCS#7 SignedData (RFC 2315, RFC 5652), as the kernel and UEFI firmware take it.
//!
//! Made here is one small fixed form: version 1, one signer named by issuer and serial, SHA-256 (SHA-384 for a P-384 key),
//! `rsaEncryption` as the signature algorithm (the kernel answers ENOPKG to `sha256WithRSAEncryption`). With an RSA key
//! its bytes are those of `openssl smime -sign -binary -noattr -nocerts -nosmimecap -outform der`. Sources:
//! `crypto/asymmetric_keys/pkcs7_parser.c`, `pkcs7_verify.c`, `certs/system_keyring.c` of Linux 7.3.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod encode;
mod kernel;
mod message;
mod verify;

pub use kernel::{LONGEST_POLICY, Verified, verify_policy, verify_root_hash};
pub use verify::{SignedData, SignerId};

pub(crate) use encode::{Message, sign};

use graven_verity::fsverity::formatted_digest;
use graven_verity::hash as fsverity;
use thiserror::Error;

use crate::sign::{Algorithm, Answer, BadSignature, Purpose, SignError, Signer};
use crate::x509::{CertificateError, ChainError};

/// Signs the text of an IPE policy: content attached, no attributes, no certificates. The result is what goes into
/// `new_policy`, at most [`LONGEST_POLICY`] bytes.
pub fn sign_policy(policy: &[u8], signer: &dyn Signer) -> Result<Answer, Pkcs7Error> {
    let answer = sign(&Message::data(policy).attached(), Purpose::Policy, signer)?;
    answer.try_map(|p7b| match p7b.len() {
        length if length > LONGEST_POLICY => Err(Pkcs7Error::TooLong { length }),
        _ => Ok(p7b),
    })
}

/// Signs a dm-verity root hash given as the hex text of the kernel's table (`root_hash.to_string()`, lower case):
/// detached, no attributes, no certificates. The result is what the `root_hash_sig_key_desc` key holds.
pub fn sign_root_hash(root_hash_hex: &str, signer: &dyn Signer) -> Result<Answer, Pkcs7Error> {
    sign(&Message::data(root_hash_hex.as_bytes()), Purpose::Root, signer)
}

/// Signs a file's fs-verity digest, given as the kernel formats it ([`formatted_digest`]): detached, no attributes, no
/// certificates; an RSA key signs with the digest's own hash function, as `fsverity sign` does. The result is what
/// `fsverity enable --signature` takes.
pub fn sign_fsverity(
    hash: fsverity::Algorithm,
    digest: &fsverity::Digest,
    signer: &dyn Signer,
) -> Result<Answer, Pkcs7Error> {
    let formatted = formatted_digest(hash, digest)
        .ok_or(Pkcs7Error::Digest { found: format!("{hash} for fs-verity") })?;
    let message = Message::data(&formatted);
    let message = match (Algorithm::of(signer.certificate())?, hash) {
        (Algorithm::RsaPkcs1Sha256, fsverity::Algorithm::Sha512) => {
            message.in_algorithm(Algorithm::RsaPkcs1Sha512)
        }
        _ => message,
    };
    sign(&message, Purpose::Fsverity, signer)
}

/// Why a PKCS#7 message was not made, or does not prove what it should.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Pkcs7Error {
    /// The signer refused.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A value that DER cannot hold, or bytes that are not strict DER of a SignedData.
    #[error("not a PKCS#7 SignedData in strict DER: {0}")]
    Der(#[from] der::Error),
    /// Longer than the kernel's decoder takes.
    #[error(
        "the signed policy is {length} bytes, the kernel takes at most {LONGEST_POLICY}; bind by root hash, not file by file"
    )]
    TooLong {
        /// Bytes of the message.
        length: usize,
    },
    /// The outer content type is not SignedData.
    #[error("expected content type signedData (1.2.840.113549.1.7.2), found {found}")]
    NotSignedData {
        /// The OID found.
        found: String,
    },
    /// Not exactly one signer.
    #[error("expected exactly one signer, found {found}")]
    Signers {
        /// Their number.
        found: usize,
    },
    /// Version numbers that do not fit the way in which the signer is named.
    #[error(
        "SignedData has version {outer} and its signer version {inner}; expected {expected} in both, as the kernel asks"
    )]
    Version {
        /// SignedData.version.
        outer: u8,
        /// SignerInfo.version.
        inner: u8,
        /// 1 for issuer and serial, 3 for a key identifier.
        expected: u8,
    },
    /// The content's type is another.
    #[error("expected content of type {expected}, found {found}")]
    ContentType {
        /// OID expected.
        expected: String,
        /// OID found.
        found: String,
    },
    /// Content is missing where it has to be inside.
    #[error("the message carries no content; expected it attached")]
    Detached,
    /// Content is inside where the kernel refuses it.
    #[error("the message carries its content; expected a detached signature")]
    Attached,
    /// Attached content differs from what was to be proved.
    #[error("the message's content is not the one that was to be proved ({expected} bytes, found {found})")]
    OtherContent {
        /// Length expected.
        expected: usize,
        /// Length found.
        found: usize,
    },
    /// A digest that we and the kernel's users do not take.
    #[error("digest algorithm {found} is not accepted; expected sha256, sha384 or sha512")]
    Digest {
        /// The OID found.
        found: String,
    },
    /// The list of digests does not name the signer's.
    #[error("the signer uses digest {found}, which the message does not announce")]
    UnannouncedDigest {
        /// The signer's OID.
        found: String,
    },
    /// The signature algorithm does not fit the digest, or the kernel does not know it here.
    #[error(
        "signature algorithm {found} is not accepted here; expected rsaEncryption or ECDSA with the signer's digest"
    )]
    SignatureAlgorithm {
        /// The OID found.
        found: String,
    },
    /// Signed attributes are missing, doubled or contradict the content.
    #[error("signed attributes: {0}")]
    Attributes(&'static str),
    /// A certificate inside the message is broken.
    #[error("a certificate inside the message: {0}")]
    Certificate(#[from] CertificateError),
    /// No certificate at hand fits the signer.
    #[error(
        "no certificate at hand is the signer's: the message names {signer}; trust that certificate if it is wanted"
    )]
    UnknownSigner {
        /// The signer as the message names it.
        signer: String,
    },
    /// The signer's certificate leads to no trusted one.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The signature does not hold.
    #[error("signer «{subject}»: {source}")]
    Signature {
        /// Subject of the signer's certificate.
        subject: String,
        /// What is wrong.
        source: BadSignature,
    },
}
