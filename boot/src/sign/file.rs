//! A signer whose private key lies in a file.

use std::fmt;
use std::fs;
use std::path::Path;

use ring::rand::SystemRandom;
use ring::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use zeroize::Zeroizing;

use super::{Algorithm, Answer, Request, SignError, Signer};
use crate::x509::{Certificate, PublicKey, pem_blocks};

/// Signs at once with an RSA key (2048 to 4096 bits) from a PEM file. PKCS#1 v1.5: the same request always gives the same
/// signature.
pub struct FileSigner {
    certificate: Certificate,
    key: RsaKeyPair,
}

impl FileSigner {
    /// Reads a private key (PEM, PKCS#8 or PKCS#1, not encrypted) and its certificate (PEM or DER), and refuses a pair
    /// that does not belong together.
    pub fn load(key: &Path, certificate: &Path) -> Result<Self, SignError> {
        let own = read_certificate(certificate)?;
        let pair = read_key(key)?;
        let belongs =
            matches!(own.public_key(), PublicKey::Rsa { pkcs1, .. } if pkcs1 == pair.public_key().as_ref());
        if !belongs {
            return Err(SignError::KeyMismatch {
                path: key.to_owned(),
                subject: own.subject(),
                fingerprint: own.fingerprint().to_string(),
            });
        }
        Ok(Self { certificate: own, key: pair })
    }

    /// A signer from a key that was just made.
    pub(crate) fn from_parts(key: RsaKeyPair, certificate: Certificate) -> Self {
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
        if request.algorithm() != Algorithm::RsaPkcs1Sha256 {
            return Err(failed());
        }
        // ring checks the signature with the public key before it returns it; the randomness is for blinding only.
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), request.to_be_signed(), &mut signature)
            .map_err(|_| failed())?;
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

fn read_key(path: &Path) -> Result<RsaKeyPair, SignError> {
    let contents = fs::read(path).map_err(|source| SignError::Read { path: path.to_owned(), source })?;
    let contents = Zeroizing::new(contents);
    let has = |label: &str| {
        let mark = format!("-----BEGIN {label}-----");
        contents.windows(mark.len()).any(|window| window == mark.as_bytes())
    };
    if has("ENCRYPTED PRIVATE KEY") || contents.windows(8).any(|window| window == b"DEK-Info") {
        return Err(SignError::EncryptedKey { path: path.to_owned() });
    }
    if has("EC PRIVATE KEY") {
        let reason = "it is an elliptic curve key".to_owned();
        return Err(SignError::Key { path: path.to_owned(), reason });
    }
    let pkcs1 = has("RSA PRIVATE KEY");
    let label = if pkcs1 { "RSA PRIVATE KEY" } else { "PRIVATE KEY" };
    let blocks =
        pem_blocks(&contents, label).map_err(|source| SignError::KeyPem { path: path.to_owned(), source })?;
    let blocks: Vec<_> = blocks.into_iter().map(Zeroizing::new).collect();
    let [key] = blocks.as_slice() else {
        let reason = format!("the file holds {} keys", blocks.len());
        return Err(SignError::Key { path: path.to_owned(), reason });
    };
    let pair = if pkcs1 { RsaKeyPair::from_der(key) } else { RsaKeyPair::from_pkcs8(key) };
    pair.map_err(|rejected| SignError::Key { path: path.to_owned(), reason: rejected.to_string() })
}
