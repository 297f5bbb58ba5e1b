//! X.509 certificates: read strictly, kept with their exact bytes; and made, self-signed, for new keys.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod chain;
mod issue;
mod standing;

pub use chain::{BrokenChain, ChainError, above, anchor, check_issuers};
pub(crate) use issue::self_signed;
pub use issue::{IssueError, Subject, Validity};
pub use standing::Standing;

use std::fmt;

use der::asn1::BitStringRef;
use der::{Decode, Encode, Reader, SliceReader, Tag, TagNumber};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The organisational unit that tells development keys from release keys.
pub const DEVELOPMENT_MARK: &str = "DEVELOPMENT KEYS DO NOT SHIP";

/// An X.509 certificate with its exact DER bytes.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    tbs: Vec<u8>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    spki: Vec<u8>,
    public_key: PublicKey,
    parsed: x509_cert::Certificate,
}

/// The public key of a certificate, as far as this crate can check signatures with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicKey {
    /// RSA; `pkcs1` is the DER `RSAPublicKey`, `bits` the length of the modulus.
    Rsa {
        /// DER `RSAPublicKey` (RFC 8017).
        pkcs1: Vec<u8>,
        /// Length of the modulus in bits.
        bits: usize,
    },
    /// ECDSA on P-256; the uncompressed point.
    P256(Vec<u8>),
    /// ECDSA on P-384; the uncompressed point.
    P384(Vec<u8>),
    /// ML-DSA-65 (FIPS 204); the encoded key of 1952 bytes.
    MlDsa65(Vec<u8>),
    /// Anything else, by the OID of its algorithm.
    Other(String),
}

/// Why bytes are not a certificate.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// Not DER, or not the DER of a certificate.
    #[error("not an X.509 certificate in DER: {0}")]
    Der(#[from] der::Error),
    /// A PEM file without a certificate, or with a broken one.
    #[error("{0}")]
    Pem(#[from] PemError),
    /// Outer and inner signature algorithm differ.
    #[error("the certificate names two different signature algorithms, {outer} outside and {inner} inside")]
    AlgorithmMismatch {
        /// OID in `Certificate.signatureAlgorithm`.
        outer: String,
        /// OID in `TBSCertificate.signature`.
        inner: String,
    },
}

/// Why text is not the PEM that was expected.
#[derive(Debug, Error)]
pub enum PemError {
    /// No block of the wanted label.
    #[error("no «-----BEGIN {label}-----» block found: expected PEM or DER")]
    Missing {
        /// The label that was looked for.
        label: &'static str,
    },
    /// A block that cannot be decoded.
    #[error("the PEM block number {number} ({label}) is broken: {reason}")]
    Broken {
        /// Counted from 1.
        number: usize,
        /// The label that was looked for.
        label: &'static str,
        /// What the decoder found.
        reason: String,
    },
}

impl Certificate {
    /// Reads one certificate from strict DER, nothing before or after it.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let parsed = x509_cert::Certificate::from_der(der)?;
        let outer = parsed.signature_algorithm();
        let inner = parsed.tbs_certificate().signature();
        if outer != inner {
            return Err(CertificateError::AlgorithmMismatch {
                outer: outer.oid.to_string(),
                inner: inner.oid.to_string(),
            });
        }
        let parts = Parts::slice(der)?;
        Ok(Self {
            der: der.to_vec(),
            tbs: parts.tbs.to_vec(),
            issuer: parts.issuer.to_vec(),
            subject: parts.subject.to_vec(),
            spki: parts.spki.to_vec(),
            public_key: PublicKey::from_spki(parts.spki)?,
            parsed,
        })
    }

    /// Reads every certificate of a file's contents: one in DER, or one or more PEM blocks with any text around them.
    pub fn read_all(contents: &[u8]) -> Result<Vec<Self>, CertificateError> {
        if contents.first() == Some(&0x30) {
            return Ok(vec![Self::from_der(contents)?]);
        }
        let blocks = pem_blocks(contents, "CERTIFICATE")?;
        blocks.iter().map(|der| Self::from_der(der)).collect()
    }

    /// The certificate's exact bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate as one PEM block.
    pub fn to_pem(&self) -> String {
        pem_block("CERTIFICATE", &self.der)
    }

    /// SHA-256 of the DER bytes.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::digest(&self.der).into())
    }

    /// The subject as RFC 4514 text (`CN=acme db`).
    pub fn subject(&self) -> String {
        self.parsed.tbs_certificate().subject().to_string()
    }

    /// The issuer as RFC 4514 text.
    pub fn issuer(&self) -> String {
        self.parsed.tbs_certificate().issuer().to_string()
    }

    /// DER of the subject `Name`.
    pub fn subject_der(&self) -> &[u8] {
        &self.subject
    }

    /// DER of the issuer `Name`.
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    /// The serial number's content octets, big-endian two's complement as they stand in the certificate.
    pub fn serial(&self) -> &[u8] {
        self.parsed.tbs_certificate().serial_number().as_bytes()
    }

    /// DER of `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The subject key identifier, where the certificate has one.
    pub fn subject_key_id(&self) -> Option<Vec<u8>> {
        type Skid = x509_cert::ext::pkix::SubjectKeyIdentifier;
        let (_, skid) = self.parsed.tbs_certificate().get_extension::<Skid>().ok()??;
        Some(skid.0.into_bytes().into())
    }

    /// Whether the basic constraints say that this certificate may issue others.
    pub fn is_ca(&self) -> bool {
        type Constraints = x509_cert::ext::pkix::BasicConstraints;
        matches!(self.parsed.tbs_certificate().get_extension::<Constraints>(), Ok(Some((_, c))) if c.ca)
    }

    /// First and last second of validity, as Unix time in seconds. (Neither the kernel's policy check nor this crate
    /// looks at a clock; the dates are for people.)
    pub fn validity(&self) -> (u64, u64) {
        let validity = self.parsed.tbs_certificate().validity();
        (validity.not_before.to_unix_duration().as_secs(), validity.not_after.to_unix_duration().as_secs())
    }

    /// The same as people write it: `2026-01-31T00:00:00Z`.
    pub fn dates(&self) -> (String, String) {
        let validity = self.parsed.tbs_certificate().validity();
        (validity.not_before.to_string(), validity.not_after.to_string())
    }

    /// Whether the subject carries [`DEVELOPMENT_MARK`].
    pub fn is_development(&self) -> bool {
        let unit = const_oid::db::rfc4519::ORGANIZATIONAL_UNIT_NAME;
        let names = self.parsed.tbs_certificate().subject();
        names.iter().any(|name| name.oid == unit && name.value.value() == DEVELOPMENT_MARK.as_bytes())
    }

    /// Whether the certificate's signature was made with its own key.
    pub fn is_self_signed(&self) -> bool {
        self.subject == self.issuer && chain::issued_by(self, self)
    }

    fn tbs_der(&self) -> &[u8] {
        &self.tbs
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, sha256:{})", self.subject(), self.fingerprint())
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

/// SHA-256 of a certificate's DER bytes; displayed as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The parts of a certificate whose exact bytes matter, as slices of it (RFC 5280 §4.1).
struct Parts<'a> {
    tbs: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    spki: &'a [u8],
}

impl<'a> Parts<'a> {
    fn slice(der: &'a [u8]) -> Result<Self, der::Error> {
        let tbs = SliceReader::new(der)?.sequence(|certificate| {
            let tbs = certificate.tlv_bytes()?;
            certificate.tlv_bytes()?; // signatureAlgorithm
            certificate.tlv_bytes()?; // signature
            Ok::<_, der::Error>(tbs)
        })?;
        SliceReader::new(tbs)?.sequence(|fields| {
            let version = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };
            if Tag::peek(fields)? == version {
                fields.tlv_bytes()?;
            }
            fields.tlv_bytes()?; // serialNumber
            fields.tlv_bytes()?; // signature
            let issuer = fields.tlv_bytes()?;
            fields.tlv_bytes()?; // validity
            let subject = fields.tlv_bytes()?;
            let spki = fields.tlv_bytes()?;
            fields.drain(fields.remaining_len())?; // unique identifiers, extensions: x509-cert has read them
            Ok::<_, der::Error>(Self { tbs, issuer, subject, spki })
        })
    }
}

impl PublicKey {
    fn from_spki(spki: &[u8]) -> Result<Self, der::Error> {
        use const_oid::db::{fips204::ID_ML_DSA_65, rfc5912, rfc5912::ID_EC_PUBLIC_KEY};
        let info = spki::SubjectPublicKeyInfo::<der::AnyRef<'_>, BitStringRef<'_>>::from_der(spki)?;
        let key = info.subject_public_key.raw_bytes();
        let oid = info.algorithm.oid;
        if oid == rfc5912::RSA_ENCRYPTION {
            return Ok(Self::Rsa { pkcs1: key.to_vec(), bits: rsa_modulus_bits(key)? });
        }
        if oid == ID_ML_DSA_65 && info.algorithm.parameters.is_none() {
            return Ok(Self::MlDsa65(key.to_vec()));
        }
        let curve = match (oid == ID_EC_PUBLIC_KEY, info.algorithm.parameters_oid()) {
            (true, Ok(curve)) => curve,
            _ => return Ok(Self::Other(oid.to_string())),
        };
        Ok(match curve {
            rfc5912::SECP_256_R_1 => Self::P256(key.to_vec()),
            rfc5912::SECP_384_R_1 => Self::P384(key.to_vec()),
            other => Self::Other(other.to_string()),
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits, .. } => write!(f, "RSA-{bits}"),
            Self::P256(_) => write!(f, "ECDSA P-256"),
            Self::P384(_) => write!(f, "ECDSA P-384"),
            Self::MlDsa65(_) => write!(f, "ML-DSA-65"),
            Self::Other(oid) => write!(f, "public key of type {oid}"),
        }
    }
}

fn rsa_modulus_bits(pkcs1: &[u8]) -> Result<usize, der::Error> {
    SliceReader::new(pkcs1)?.sequence(|key| {
        let modulus = der::asn1::UintRef::decode(key)?;
        key.drain(key.remaining_len())?;
        let bytes = modulus.as_bytes();
        let leading = bytes.first().map_or(0, |byte| byte.leading_zeros() as usize);
        Ok(bytes.len().saturating_mul(8).saturating_sub(leading))
    })
}

/// Every PEM block with `label` in `contents`, decoded; text around the blocks is passed over.
pub(crate) fn pem_blocks(contents: &[u8], label: &'static str) -> Result<Vec<Vec<u8>>, PemError> {
    let text = std::str::from_utf8(contents).map_err(|_| PemError::Missing { label })?;
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut blocks = Vec::new();
    for piece in text.split(begin.as_str()).skip(1) {
        let number = blocks.len().saturating_add(1);
        let broken = |reason: String| PemError::Broken { number, label, reason };
        let (body, _) = piece.split_once(end.as_str()).ok_or_else(|| broken(format!("no «{end}»")))?;
        let body: zeroize::Zeroizing<String> =
            zeroize::Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect());
        use base64::Engine as _;
        let engine = base64::engine::general_purpose::STANDARD;
        blocks.push(engine.decode(body.as_bytes()).map_err(|error| broken(error.to_string()))?);
    }
    if blocks.is_empty() {
        return Err(PemError::Missing { label });
    }
    Ok(blocks)
}

/// `der` as one PEM block of 64-character lines.
pub(crate) fn pem_block(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// The serial number as the DER `INTEGER` of a certificate, for issuer-and-serial identifiers.
pub(crate) fn serial_der(certificate: &Certificate) -> Result<Vec<u8>, der::Error> {
    certificate.parsed.tbs_certificate().serial_number().to_der()
}
