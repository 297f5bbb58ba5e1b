//! A private key at hand, of whatever kind.

use const_oid::ObjectIdentifier;
use const_oid::db::fips204::ID_ML_DSA_65;
use const_oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1};
use der::asn1::{AnyRef, BitString, OctetStringRef};
use der::{Decode as _, Encode as _, Tag, Tagged as _};
use ml_dsa::MlDsa65;
use ml_dsa::signature::{Keypair as _, SignatureEncoding as _, Signer as _};
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::pkcs8::DecodePrivateKey as _;
use ring::rand::SystemRandom;
use ring::signature::{
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair,
};
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::{DecodePrivateKey as _, PrivateKeyInfoRef};
use spki::AlgorithmIdentifierOwned;

use super::{Algorithm, pss};
use crate::x509::PublicKey;

/// A private key that signs at once. With RSA PKCS#1 v1.5, ECDSA (RFC 6979) and ML-DSA (its deterministic variant) the same
/// message always gives the same signature.
pub(crate) enum PrivateKey {
    /// Of 2048 to 4096 bits.
    Rsa(Box<RsaKey>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    MlDsa65(Box<ml_dsa::SigningKey<MlDsa65>>),
}

/// One RSA key, for the two libraries that sign with it.
pub(crate) struct RsaKey {
    /// PKCS#1 v1.5.
    ring: RsaKeyPair,
    /// PSS with a salt longer than its digest, which ring has not. The key wipes itself when dropped.
    rsa: rsa::PrivateKey,
}

/// How the DER of a private key is wrapped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `PRIVATE KEY`: says itself what it is.
    Pkcs8,
    /// `RSA PRIVATE KEY`.
    Pkcs1,
    /// `EC PRIVATE KEY`.
    Sec1,
}

impl PrivateKey {
    /// Reads a key; the error says why it cannot be used.
    pub(crate) fn from_der(der: &[u8], form: Form) -> Result<Self, String> {
        match form {
            Form::Pkcs8 => Self::from_pkcs8(der),
            Form::Pkcs1 => {
                let ring = RsaKeyPair::from_der(der).map_err(|rejected| rejected.to_string())?;
                let rsa = rsa::PrivateKey::from_pkcs1_der(der).map_err(|error| error.to_string())?;
                Ok(Self::Rsa(Box::new(RsaKey { ring, rsa })))
            }
            Form::Sec1 => match (p256::SecretKey::from_sec1_der(der), p384::SecretKey::from_sec1_der(der)) {
                (Ok(key), _) => Ok(Self::P256(key.into())),
                (_, Ok(key)) => Ok(Self::P384(key.into())),
                _ => Err("it is an elliptic curve key of another curve".to_owned()),
            },
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, String> {
        let info = PrivateKeyInfoRef::from_der(der).map_err(|error| error.to_string())?;
        let curve = || info.algorithm.parameters_oid().ok();
        match info.algorithm.oid {
            RSA_ENCRYPTION => {
                let ring = RsaKeyPair::from_pkcs8(der).map_err(|rejected| rejected.to_string())?;
                let rsa = rsa::PrivateKey::from_pkcs8_der(der).map_err(|error| error.to_string())?;
                Ok(Self::Rsa(Box::new(RsaKey { ring, rsa })))
            }
            ID_EC_PUBLIC_KEY if curve() == Some(SECP_256_R_1) => {
                let key = p256::SecretKey::from_pkcs8_der(der).map_err(|error| error.to_string())?;
                Ok(Self::P256(key.into()))
            }
            ID_EC_PUBLIC_KEY if curve() == Some(SECP_384_R_1) => {
                let key = p384::SecretKey::from_pkcs8_der(der).map_err(|error| error.to_string())?;
                Ok(Self::P384(key.into()))
            }
            ID_ML_DSA_65 => {
                let seed = ml_dsa_seed(info.private_key.as_bytes()).map_err(|error| error.to_string())?;
                let seed = seed.and_then(|seed| seed.try_into().ok());
                let seed = seed.ok_or("it has no seed of 32 bytes, only the key that was made from one")?;
                Ok(Self::MlDsa65(Box::new(ml_dsa::SigningKey::from_seed(&seed))))
            }
            other => Err(format!("it is of type {}", name(other))),
        }
    }

    /// What verifies its signatures.
    pub(crate) fn public_key(&self) -> PublicKey {
        match self {
            Self::Rsa(key) => PublicKey::Rsa {
                pkcs1: key.ring.public_key().as_ref().to_vec(),
                bits: key.ring.public().modulus_len().saturating_mul(8),
            },
            Self::P256(key) => {
                PublicKey::P256(key.verifying_key().to_encoded_point(false).as_bytes().to_vec())
            }
            Self::P384(key) => {
                PublicKey::P384(key.verifying_key().to_encoded_point(false).as_bytes().to_vec())
            }
            Self::MlDsa65(key) => PublicKey::MlDsa65(key.verifying_key().encode().to_vec()),
        }
    }

    /// The algorithm in which it signs where nothing asks for another, and that algorithm's name in certificates.
    pub(crate) fn usual(&self) -> (Algorithm, AlgorithmIdentifierOwned) {
        use const_oid::db::rfc5912::{ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, SHA_256_WITH_RSA_ENCRYPTION};
        let bare = |oid| AlgorithmIdentifierOwned { oid, parameters: None };
        match self {
            Self::Rsa(_) => (Algorithm::RsaPkcs1Sha256, with_null(SHA_256_WITH_RSA_ENCRYPTION)),
            Self::P256(_) => (Algorithm::EcdsaP256Sha256, bare(ECDSA_WITH_SHA_256)),
            Self::P384(_) => (Algorithm::EcdsaP384Sha384, bare(ECDSA_WITH_SHA_384)),
            Self::MlDsa65(_) => (Algorithm::MlDsa65, bare(ID_ML_DSA_65)),
        }
    }

    /// Signs `message`; `None` where the key cannot sign so, or the operation failed.
    pub(crate) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
        match (self, algorithm) {
            (Self::Rsa(key), _) => key.sign(algorithm, message),
            (Self::P256(key), Algorithm::EcdsaP256Sha256) => {
                let signature: p256::ecdsa::DerSignature =
                    key.sign_prehash(&algorithm.digest(message)).ok()?;
                Some(signature.as_bytes().to_vec())
            }
            (Self::P384(key), Algorithm::EcdsaP384Sha384) => {
                let signature: p384::ecdsa::DerSignature =
                    key.sign_prehash(&algorithm.digest(message)).ok()?;
                Some(signature.as_bytes().to_vec())
            }
            (Self::MlDsa65(key), Algorithm::MlDsa65) => Some(key.try_sign(message).ok()?.to_vec()),
            _ => None,
        }
    }
}

impl RsaKey {
    fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
        let encoding: &dyn RsaEncoding = match algorithm {
            Algorithm::RsaPkcs1Sha256 => &RSA_PKCS1_SHA256,
            Algorithm::RsaPkcs1Sha384 => &RSA_PKCS1_SHA384,
            Algorithm::RsaPkcs1Sha512 => &RSA_PKCS1_SHA512,
            algorithm => return pss::sign(&self.rsa, algorithm, message),
        };
        // ring checks the signature with the public key before it returns it; the randomness is for blinding only.
        let mut signature = vec![0; self.ring.public().modulus_len()];
        self.ring.sign(encoding, &SystemRandom::new(), message, &mut signature).ok()?;
        Some(signature)
    }
}

/// The seed in an `ML-DSA-65-PrivateKey` (RFC 9881 §6): alone as `[0]`, or first of two. `None` where there is only the key
/// that was made from it.
fn ml_dsa_seed(private_key: &[u8]) -> Result<Option<&[u8]>, der::Error> {
    let element = AnyRef::from_der(private_key)?;
    Ok(match element.tag() {
        Tag::ContextSpecific { .. } => Some(element.value()),
        Tag::Sequence => {
            let mut parts = der::SliceReader::new(element.value())?;
            Some(<&OctetStringRef>::decode(&mut parts)?.as_bytes())
        }
        _ => None,
    })
}

/// DER of the `SubjectPublicKeyInfo` of a key.
pub(crate) fn subject_public_key_info(key: &PublicKey) -> Result<Vec<u8>, der::Error> {
    let curve = |oid: ObjectIdentifier| -> Result<_, der::Error> {
        Ok(AlgorithmIdentifierOwned { oid: ID_EC_PUBLIC_KEY, parameters: Some(der::Any::encode_from(&oid)?) })
    };
    let (algorithm, bits) = match key {
        PublicKey::Rsa { pkcs1, .. } => (with_null(RSA_ENCRYPTION), pkcs1),
        PublicKey::P256(point) => (curve(SECP_256_R_1)?, point),
        PublicKey::P384(point) => (curve(SECP_384_R_1)?, point),
        PublicKey::MlDsa65(key) => (AlgorithmIdentifierOwned { oid: ID_ML_DSA_65, parameters: None }, key),
        PublicKey::Other(_) => return Err(der::ErrorKind::Failed.into()),
    };
    spki::SubjectPublicKeyInfoOwned { algorithm, subject_public_key: BitString::from_bytes(bits)? }.to_der()
}

fn with_null(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid, parameters: Some(der::Any::null()) }
}

fn name(oid: ObjectIdentifier) -> String {
    const_oid::db::DB.by_oid(&oid).map_or_else(|| oid.to_string(), str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// RFC 6979 A.2.5, with SHA-256, message = "sample".
    #[test]
    fn ecdsa_is_rfc_6979s() {
        let number = |hex: &str| graven_handoff::hex::decode(hex).unwrap();
        let key = number("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
        let r = number("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716");
        let s = number("f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8");
        let key = PrivateKey::P256(p256::ecdsa::SigningKey::from_slice(&key).unwrap());
        let expected = [&b"\x30\x46\x02\x21\x00"[..], &r, b"\x02\x21\x00", &s].concat();
        assert_eq!(key.sign(Algorithm::EcdsaP256Sha256, b"sample"), Some(expected));
    }
}
