//! A signer whose private key lies in a file.

use std::fmt;
use std::fs;
use std::path::Path;

use zeroize::Zeroizing;

use super::private::{Form, PrivateKey};
use super::{Answer, Request, SignError, Signer};
use crate::x509::{Certificate, pem_blocks};

/// Signs at once with a key from a PEM file: RSA of 2048 to 4096 bits, ECDSA P-256 or P-384, ML-DSA-65. But for RSA with PSS the
/// same request always gives the same signature.
pub struct FileSigner {
    certificate: Certificate,
    key: PrivateKey,
}

impl FileSigner {
    /// Reads a private key (PEM, PKCS#8, PKCS#1 or SEC 1, not encrypted) and its certificate (PEM or DER), and refuses a pair
    /// that does not belong together.
    pub fn load(key: &Path, certificate: &Path) -> Result<Self, SignError> {
        Self::new(key, read_certificate(certificate)?)
    }

    /// The same with a certificate at hand.
    pub fn new(key: &Path, own: Certificate) -> Result<Self, SignError> {
        let pair = read_key(key)?;
        if pair.public_key() != *own.public_key() {
            return Err(SignError::KeyMismatch {
                path: key.to_owned(),
                subject: own.subject(),
                fingerprint: own.fingerprint().to_string(),
            });
        }
        Ok(Self { certificate: own, key: pair })
    }

    /// A signer from a key that was just made.
    pub(crate) fn from_parts(key: PrivateKey, certificate: Certificate) -> Self {
        Self { certificate, key }
    }
}

impl Signer for FileSigner {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn sign(&self, request: &Request) -> Result<Answer, SignError> {
        request.refuse_foreign(&self.certificate)?;
        let failed = || SignError::Failed { purpose: request.purpose(), subject: self.certificate.subject() };
        let signature = self.key.sign(request.algorithm(), request.to_be_signed()).ok_or_else(failed)?;
        Ok(Answer::Signed(signature))
    }
}

impl fmt::Debug for FileSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSigner({:?})", self.certificate)
    }
}

fn read_certificate(path: &Path) -> Result<Certificate, SignError> {
    let contents = fs::read(path).map_err(|source| SignError::Read { path: path.to_owned(), source })?;
    let mut all = Certificate::read_all(&contents)
        .map_err(|source| SignError::Certificate { path: path.to_owned(), source })?;
    match (all.len(), all.pop()) {
        (1, Some(only)) => Ok(only),
        (found, _) => Err(SignError::SeveralCertificates { path: path.to_owned(), found }),
    }
}

fn read_key(path: &Path) -> Result<PrivateKey, SignError> {
    let contents = fs::read(path).map_err(|source| SignError::Read { path: path.to_owned(), source })?;
    let contents = Zeroizing::new(contents);
    let has = |label: &str| {
        let mark = format!("-----BEGIN {label}-----");
        contents.windows(mark.len()).any(|window| window == mark.as_bytes())
    };
    if has("ENCRYPTED PRIVATE KEY") || contents.windows(8).any(|window| window == b"DEK-Info") {
        return Err(SignError::EncryptedKey { path: path.to_owned() });
    }
    let (label, form) = match () {
        () if has("RSA PRIVATE KEY") => ("RSA PRIVATE KEY", Form::Pkcs1),
        () if has("EC PRIVATE KEY") => ("EC PRIVATE KEY", Form::Sec1),
        () => ("PRIVATE KEY", Form::Pkcs8),
    };
    let blocks =
        pem_blocks(&contents, label).map_err(|source| SignError::KeyPem { path: path.to_owned(), source })?;
    let blocks: Vec<_> = blocks.into_iter().map(Zeroizing::new).collect();
    let [key] = blocks.as_slice() else {
        let reason = format!("the file holds {} keys", blocks.len());
        return Err(SignError::Key { path: path.to_owned(), reason });
    };
    PrivateKey::from_der(key, form).map_err(|reason| SignError::Key { path: path.to_owned(), reason })
}
