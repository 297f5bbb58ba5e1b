//! What is asked of a signer, and the file `to-sign.json` that carries it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

use super::{Algorithm, Purpose, SignError};
use crate::x509::{Certificate, Fingerprint};

/// A signature that is wanted. Its fields agree with one another by construction, also after reading it from a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Wire", try_from = "Wire")]
pub struct Request {
    purpose: Purpose,
    algorithm: Algorithm,
    to_be_signed: Vec<u8>,
    certificate: Fingerprint,
    key_id: Option<Vec<u8>>,
    subject: String,
}

/// Names a request: SHA-256 over purpose, algorithm, certificate fingerprint and message. Displayed as lower-case hex; the answer to
/// a request is the file `ID.sig`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId([u8; 32]);

impl Request {
    /// Asks for the signature of `certificate`'s key over `to_be_signed` (the message itself, not its digest).
    pub fn new(purpose: Purpose, certificate: &Certificate, to_be_signed: &[u8]) -> Result<Self, SignError> {
        Self::with_algorithm(purpose, certificate, Algorithm::of(certificate)?, to_be_signed)
    }

    /// The same in an algorithm that the format of the signed thing asks for.
    pub fn with_algorithm(
        purpose: Purpose,
        certificate: &Certificate,
        algorithm: Algorithm,
        to_be_signed: &[u8],
    ) -> Result<Self, SignError> {
        if !algorithm.fits(certificate.public_key()) {
            let (subject, found) = (certificate.subject(), certificate.public_key().to_string());
            return Err(SignError::UnfitAlgorithm { subject, found, algorithm });
        }
        Ok(Self {
            purpose,
            algorithm,
            to_be_signed: to_be_signed.to_vec(),
            certificate: certificate.fingerprint(),
            key_id: certificate.subject_key_id(),
            subject: certificate.subject(),
        })
    }

    /// The request's name.
    pub fn id(&self) -> RequestId {
        let mut hash = Sha256::new();
        hash.update(ID_DOMAIN);
        hash.update(self.purpose.to_string());
        hash.update([0]);
        hash.update(self.algorithm.to_string());
        hash.update([0]);
        hash.update(self.certificate.0);
        hash.update(&self.to_be_signed);
        RequestId(hash.finalize().into())
    }

    /// What the signature is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// How it is to be made.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The message, exactly the bytes that are hashed.
    pub fn to_be_signed(&self) -> &[u8] {
        &self.to_be_signed
    }

    /// The message's digest, for signers that take one (32, 48 or 64 bytes).
    pub fn digest(&self) -> Vec<u8> {
        self.algorithm.digest(&self.to_be_signed)
    }

    /// Fingerprint of the certificate whose key is to sign.
    pub fn certificate(&self) -> Fingerprint {
        self.certificate
    }

    /// That certificate's subject, for people.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// An error unless the request is for `certificate`'s key.
    pub(super) fn refuse_foreign(&self, certificate: &Certificate) -> Result<(), SignError> {
        let found = certificate.fingerprint();
        if found == self.certificate {
            return Ok(());
        }
        Err(SignError::ForeignRequest {
            id: self.id().to_string(),
            expected: self.certificate.to_string(),
            found: found.to_string(),
        })
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Fingerprint(self.0).fmt(f)
    }
}

impl FromStr for RequestId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = parse_fingerprint(text);
        found.map(|id| Self(id.0)).ok_or_else(|| format!("expected 64 hex digits, found «{text}»"))
    }
}

/// The file `to-sign.json`: every request of one round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToSign {
    /// The file's format; 1.
    pub format: u32,
    /// What is to be signed.
    pub requests: Vec<Request>,
}

/// Why a `to-sign.json` cannot be used.
#[derive(Debug, Error)]
pub enum ToSignError {
    /// Not JSON, or a request that contradicts itself.
    #[error("not a list of signing requests: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by another version.
    #[error(
        "the list of signing requests has format {found}, expected {FORMAT}; make it again with this version"
    )]
    Format {
        /// The format that the file names.
        found: u32,
    },
}

impl ToSign {
    /// A list of requests.
    pub fn new(requests: Vec<Request>) -> Self {
        Self { format: FORMAT, requests }
    }

    /// The file's contents, newline at the end.
    pub fn to_json(&self) -> Result<String, ToSignError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Reads the file's contents. Each request's digest and id are computed again and must agree.
    pub fn from_json(json: &str) -> Result<Self, ToSignError> {
        let list: Self = serde_json::from_str(json)?;
        if list.format != FORMAT {
            return Err(ToSignError::Format { found: list.format });
        }
        Ok(list)
    }
}

/// A request as it stands in `to-sign.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Wire {
    /// [`RequestId`], hex.
    id: String,
    purpose: Purpose,
    algorithm: Algorithm,
    /// The message's digest, hex.
    digest: String,
    /// The message, base64.
    to_be_signed: String,
    /// SHA-256 of the certificate, hex.
    certificate: String,
    /// The certificate's subject key identifier, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    subject: String,
}

impl From<Request> for Wire {
    fn from(request: Request) -> Self {
        use base64::Engine as _;
        Self {
            id: request.id().to_string(),
            purpose: request.purpose,
            algorithm: request.algorithm,
            digest: hex(&request.digest()),
            to_be_signed: base64::engine::general_purpose::STANDARD.encode(&request.to_be_signed),
            certificate: request.certificate.to_string(),
            key_id: request.key_id.as_deref().map(hex),
            subject: request.subject,
        }
    }
}

impl TryFrom<Wire> for Request {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Self, String> {
        use base64::Engine as _;
        let engine = base64::engine::general_purpose::STANDARD;
        let request = Self {
            purpose: wire.purpose,
            algorithm: wire.algorithm,
            to_be_signed: engine
                .decode(&wire.to_be_signed)
                .map_err(|error| format!("to-be-signed is not base64: {error}"))?,
            certificate: parse_fingerprint(&wire.certificate).ok_or_else(|| {
                format!("certificate: expected 64 hex digits, found «{}»", wire.certificate)
            })?,
            key_id: match wire.key_id {
                None => None,
                Some(text) => Some(
                    graven_handoff::hex::decode(&text)
                        .ok_or_else(|| format!("key-id: expected hex digits, found «{text}»"))?,
                ),
            },
            subject: wire.subject,
        };
        let digest = hex(&request.digest());
        if digest != wire.digest {
            return Err(format!("the request's digest is {}, but its message has {digest}", wire.digest));
        }
        let id = request.id().to_string();
        if id != wire.id {
            return Err(format!("the request calls itself {}, but its contents make it {id}", wire.id));
        }
        Ok(request)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_fingerprint(text: &str) -> Option<Fingerprint> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(Fingerprint(bytes))
}

const FORMAT: u32 = 1;
/// Keeps request ids apart from every other use of SHA-256.
const ID_DOMAIN: &[u8] = b"graven signing request 1\0";
