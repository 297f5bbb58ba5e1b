//! Self-signed certificates for new keys.

use const_oid::ObjectIdentifier;
use const_oid::db::{rfc4519, rfc5280};
use der::asn1::{Any, BitString, GeneralizedTime, OctetString, SetOfVec, UtcTime, Utf8StringRef};
use der::{DateTime, Decode, Encode, Sequence};
use sha2::{Digest, Sha256};
use std::time::Duration;
use thiserror::Error;

use super::{Certificate, CertificateError, DEVELOPMENT_MARK};
use crate::sign::{PrivateKey, subject_public_key_info};

/// Whom a new certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// `CN`.
    pub common_name: String,
    /// Whether [`DEVELOPMENT_MARK`] goes into the subject as `OU`.
    pub development: bool,
}

/// First and last second of a certificate, as Unix time in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Unix time, seconds.
    pub not_before: u64,
    /// Unix time, seconds; at most 9999-12-31T23:59:59Z.
    pub not_after: u64,
}

impl Validity {
    /// 1970-01-01 to 9999-12-31T23:59:59Z, the value RFC 5280 §4.1.2.5 gives for «no well-defined end». Firmware clocks
    /// start anywhere; a Secure Boot key's end is its removal from `db`.
    pub const ALWAYS: Self = Self { not_before: 0, not_after: 253_402_300_799 };
}

/// Why no certificate could be made.
#[derive(Debug, Error)]
pub enum IssueError {
    /// A date outside 1970..=9999, or a name that DER cannot hold.
    #[error("cannot encode the certificate of «{common_name}»: {source}")]
    Encode {
        /// The subject's `CN`.
        common_name: String,
        /// What the encoder said.
        source: der::Error,
    },
    /// The signature operation failed.
    #[error("signing the certificate of «{common_name}» failed")]
    Sign {
        /// The subject's `CN`.
        common_name: String,
    },
    /// What was made cannot be read back: a bug.
    #[error("the new certificate of «{common_name}» cannot be read back: {source}")]
    ReadBack {
        /// The subject's `CN`.
        common_name: String,
        /// What the reader said.
        source: CertificateError,
    },
}

/// A self-signed version 3 certificate for `key`: basic constraints CA (firmware and the kernel take it
/// as a trust anchor), subject and authority key identifier (so that the kernel finds it by SKID too).
///
/// `serial` is 16 random bytes; the top bit is cleared and the next set, so that it is positive and of full length.
pub(crate) fn self_signed(
    key: &PrivateKey,
    subject: &Subject,
    validity: Validity,
    serial: [u8; 16],
) -> Result<Certificate, IssueError> {
    let common_name = subject.common_name.clone();
    let encode = |source| IssueError::Encode { common_name: common_name.clone(), source };

    let tbs = tbs_certificate(key, subject, validity, serial).map_err(encode)?;
    let (usual, algorithm) = key.usual();
    let signature =
        key.sign(usual, &tbs).ok_or_else(|| IssueError::Sign { common_name: common_name.clone() })?;

    let certificate = SignedCertificate {
        tbs: Any::from_der(&tbs).map_err(encode)?,
        algorithm,
        signature: BitString::from_bytes(&signature).map_err(encode)?,
    };
    let der = certificate.to_der().map_err(encode)?;
    Certificate::from_der(&der).map_err(|source| IssueError::ReadBack { common_name, source })
}

fn tbs_certificate(
    key: &PrivateKey,
    subject: &Subject,
    validity: Validity,
    serial: [u8; 16],
) -> Result<Vec<u8>, der::Error> {
    let name = name(subject)?;
    let (_, signature) = key.usual();
    let spki = subject_public_key_info(&key.public_key())?;
    let bits = spki::SubjectPublicKeyInfoRef::from_der(&spki)?.subject_public_key;
    let key_id = key_identifier(bits.raw_bytes());
    let tbs = TbsCertificate {
        version: 2, // v3
        serial: x509_cert::serial_number::SerialNumber::new(&positive(serial))?,
        signature,
        issuer: name.clone(),
        validity: Times { not_before: time(validity.not_before)?, not_after: time(validity.not_after)? },
        subject: name,
        spki: Any::from_der(&spki)?,
        extensions: vec![
            basic_constraints()?,
            subject_key_identifier(&key_id)?,
            authority_key_identifier(&key_id)?,
        ],
    };
    tbs.to_der()
}

fn positive(mut serial: [u8; 16]) -> [u8; 16] {
    let [first, ..] = &mut serial;
    *first = (*first & 0x7f) | 0x40;
    serial
}

/// RFC 7093 method 1: the leftmost 160 bits of the SHA-256 of the key's bits.
fn key_identifier(public_key: &[u8]) -> Vec<u8> {
    Sha256::digest(public_key).iter().take(20).copied().collect()
}

fn name(subject: &Subject) -> Result<Vec<SetOfVec<AttributeValue>>, der::Error> {
    let mut parts = Vec::new();
    if subject.development {
        parts.push(attribute(rfc4519::ORGANIZATIONAL_UNIT_NAME, DEVELOPMENT_MARK)?);
    }
    parts.push(attribute(rfc4519::COMMON_NAME, &subject.common_name)?);
    Ok(parts)
}

fn attribute(oid: ObjectIdentifier, text: &str) -> Result<SetOfVec<AttributeValue>, der::Error> {
    let value = Any::encode_from(&Utf8StringRef::new(text)?)?;
    SetOfVec::try_from(vec![AttributeValue { oid, value }])
}

fn basic_constraints() -> Result<Extension, der::Error> {
    let value = CaConstraint { ca: true }.to_der()?;
    Ok(Extension { oid: rfc5280::ID_CE_BASIC_CONSTRAINTS, critical: true, value: OctetString::new(value)? })
}

fn subject_key_identifier(id: &[u8]) -> Result<Extension, der::Error> {
    let value = OctetString::new(id)?.to_der()?;
    Ok(Extension {
        oid: rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER,
        critical: false,
        value: OctetString::new(value)?,
    })
}

fn authority_key_identifier(id: &[u8]) -> Result<Extension, der::Error> {
    let value = AuthorityKeyId { key_id: OctetString::new(id)? }.to_der()?;
    Ok(Extension {
        oid: rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER,
        critical: false,
        value: OctetString::new(value)?,
    })
}

fn time(unix: u64) -> Result<Any, der::Error> {
    let date = DateTime::from_unix_duration(Duration::from_secs(unix))?;
    match UtcTime::from_date_time(date) {
        Ok(short) => Any::encode_from(&short),
        Err(_) => Any::encode_from(&GeneralizedTime::from_date_time(date)),
    }
}

/// `Certificate`, RFC 5280 §4.1.
#[derive(Sequence)]
struct SignedCertificate {
    tbs: Any,
    algorithm: spki::AlgorithmIdentifierOwned,
    signature: BitString,
}

/// `TBSCertificate`, RFC 5280 §4.1.
#[derive(Sequence)]
struct TbsCertificate {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: u8,
    serial: x509_cert::serial_number::SerialNumber,
    signature: spki::AlgorithmIdentifierOwned,
    issuer: Vec<SetOfVec<AttributeValue>>,
    validity: Times,
    subject: Vec<SetOfVec<AttributeValue>>,
    spki: Any,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

/// `AttributeTypeAndValue`, RFC 5280 §4.1.2.4.
#[derive(Clone, PartialEq, Eq, Sequence, der::ValueOrd)]
struct AttributeValue {
    oid: ObjectIdentifier,
    value: Any,
}

/// `Validity`, RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime after.
#[derive(Sequence)]
struct Times {
    not_before: Any,
    not_after: Any,
}

/// `Extension`, RFC 5280 §4.2.
#[derive(Clone, Sequence)]
struct Extension {
    oid: ObjectIdentifier,
    #[asn1(default = "Default::default")]
    critical: bool,
    value: OctetString,
}

/// `BasicConstraints`, RFC 5280 §4.2.1.9.
#[derive(Sequence)]
struct CaConstraint {
    #[asn1(default = "Default::default")]
    ca: bool,
}

/// `AuthorityKeyIdentifier`, RFC 5280 §4.2.1.1, key identifier only.
#[derive(Sequence)]
struct AuthorityKeyId {
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    key_id: OctetString,
}
