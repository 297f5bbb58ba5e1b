//! Checking a raw signature.

use const_oid::ObjectIdentifier;
use const_oid::db::fips204::ID_ML_DSA_65;
use const_oid::db::rfc5912 as oid;
use ml_dsa::signature::Verifier as _;
use ml_dsa::{MlDsa65, VerifyingKey};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use thiserror::Error;

use super::{Algorithm, pss};
use crate::x509::{Certificate, PublicKey};

/// Why a signature does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadSignature {
    /// The algorithm is not one for this key, or not one that we check.
    #[error("a {key} cannot be checked with {algorithm}")]
    Unsupported {
        /// What the key is.
        key: String,
        /// The algorithm's name or OID.
        algorithm: String,
    },
    /// The signature is not this key's over this message.
    #[error("the signature is not the one of the {key} over these bytes")]
    Mismatch {
        /// What the key is.
        key: String,
    },
}

/// Checks `signature` over `message` (the message itself, not its digest) with `certificate`'s key.
pub fn verify(
    certificate: &Certificate,
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    verify_with(certificate.public_key(), algorithm, message, signature)
}

/// The same with a key that need not come from a certificate.
pub(crate) fn verify_with(
    key: &PublicKey,
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    let oid = match algorithm {
        Algorithm::RsaPkcs1Sha256 => oid::SHA_256_WITH_RSA_ENCRYPTION,
        Algorithm::RsaPkcs1Sha384 => oid::SHA_384_WITH_RSA_ENCRYPTION,
        Algorithm::RsaPkcs1Sha512 => oid::SHA_512_WITH_RSA_ENCRYPTION,
        Algorithm::EcdsaP256Sha256 => oid::ECDSA_WITH_SHA_256,
        Algorithm::EcdsaP384Sha384 => oid::ECDSA_WITH_SHA_384,
        Algorithm::MlDsa65 => ID_ML_DSA_65,
        Algorithm::RsaPssSha256 | Algorithm::RsaPssSha384 | Algorithm::RsaPssSha512 => {
            return pss::verify(key, algorithm, message, signature);
        }
    };
    verify_by_oid(key, oid, message, signature)
}

/// The same with the algorithm named by its OID, digest included (`sha256WithRSAEncryption`, `ecdsa-with-SHA384` …).
pub(crate) fn verify_by_oid(
    key: &PublicKey,
    algorithm: ObjectIdentifier,
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    if let (PublicKey::MlDsa65(encoded), ID_ML_DSA_65) = (key, algorithm) {
        return verify_ml_dsa(encoded, message, signature)
            .ok_or_else(|| BadSignature::Mismatch { key: key.to_string() });
    }
    let (scheme, bytes): (&dyn VerificationAlgorithm, &[u8]) = match (key, algorithm) {
        (PublicKey::Rsa { pkcs1, .. }, oid::SHA_256_WITH_RSA_ENCRYPTION) => {
            (&signature::RSA_PKCS1_2048_8192_SHA256, pkcs1)
        }
        (PublicKey::Rsa { pkcs1, .. }, oid::SHA_384_WITH_RSA_ENCRYPTION) => {
            (&signature::RSA_PKCS1_2048_8192_SHA384, pkcs1)
        }
        (PublicKey::Rsa { pkcs1, .. }, oid::SHA_512_WITH_RSA_ENCRYPTION) => {
            (&signature::RSA_PKCS1_2048_8192_SHA512, pkcs1)
        }
        (PublicKey::P256(point), oid::ECDSA_WITH_SHA_256) => (&signature::ECDSA_P256_SHA256_ASN1, point),
        (PublicKey::P256(point), oid::ECDSA_WITH_SHA_384) => (&signature::ECDSA_P256_SHA384_ASN1, point),
        (PublicKey::P384(point), oid::ECDSA_WITH_SHA_256) => (&signature::ECDSA_P384_SHA256_ASN1, point),
        (PublicKey::P384(point), oid::ECDSA_WITH_SHA_384) => (&signature::ECDSA_P384_SHA384_ASN1, point),
        _ => {
            return Err(BadSignature::Unsupported { key: key.to_string(), algorithm: name(algorithm) });
        }
    };
    UnparsedPublicKey::new(scheme, bytes)
        .verify(message, signature)
        .map_err(|_| BadSignature::Mismatch { key: key.to_string() })
}

/// `None` where the signature is not this key's over this message, or one of the two is none.
fn verify_ml_dsa(encoded: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    let key = VerifyingKey::<MlDsa65>::decode(&encoded.try_into().ok()?);
    key.verify(message, &signature.try_into().ok()?).ok()
}

fn name(algorithm: ObjectIdentifier) -> String {
    match const_oid::db::DB.by_oid(&algorithm) {
        Some(name) => format!("{name} ({algorithm})"),
        None => algorithm.to_string(),
    }
}
