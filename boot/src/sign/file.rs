//! A signer whose private key lies in a file.

use std::fmt;
use std::fs;
use std::path::Path;

use ring::rand::SystemRandom;
use ring::signature::{
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair,
};
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use zeroize::Zeroizing;

use super::{Algorithm, Answer, Request, SignError, Signer, pss};
use crate::x509::{Certificate, PublicKey, pem_blocks};

/// Signs at once with an RSA key (2048 to 4096 bits) from a PEM file. With PKCS#1 v1.5 the same request always gives the
/// same signature.
pub struct FileSigner {
    certificate: Certificate,
    key: PrivateKey,
}

/// One private key, for the two libraries that sign with it.
pub(crate) struct PrivateKey {
    /// PKCS#1 v1.5.
    pub(crate) ring: RsaKeyPair,
    /// PSS with a salt longer than its digest, which ring has not. The key wipes itself when dropped.
    pub(crate) rsa: rsa::PrivateKey,
}

impl FileSigner {
    /// Reads a private key (PEM, PKCS#8 or PKCS#1, not encrypted) and its certificate (PEM or DER), and refuses a pair
    /// that does not belong together.
    pub fn load(key: &Path, certificate: &Path) -> Result<Self, SignError> {
        let own = read_certificate(certificate)?;
        let pair = read_key(key)?;
        let public = pair.ring.public_key();
        let belongs = matches!(own.public_key(), PublicKey::Rsa { pkcs1, .. } if pkcs1 == public.as_ref());
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
        let encoding: &dyn RsaEncoding = match request.algorithm() {
            Algorithm::RsaPkcs1Sha256 => &RSA_PKCS1_SHA256,
            Algorithm::RsaPkcs1Sha384 => &RSA_PKCS1_SHA384,
            Algorithm::RsaPkcs1Sha512 => &RSA_PKCS1_SHA512,
            algorithm => {
                let signature = pss::sign(&self.key.rsa, algorithm, request.to_be_signed());
                return signature.map(Answer::Signed).ok_or_else(failed);
            }
        };
        // ring checks the signature with the public key before it returns it; the randomness is for blinding only.
        let mut signature = vec![0; self.key.ring.public().modulus_len()];
        self.key
            .ring
            .sign(encoding, &SystemRandom::new(), request.to_be_signed(), &mut signature)
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
    let unusable = |reason: String| SignError::Key { path: path.to_owned(), reason };
    let ring = if pkcs1 { RsaKeyPair::from_der(key) } else { RsaKeyPair::from_pkcs8(key) };
    let ring = ring.map_err(|rejected| unusable(rejected.to_string()))?;
    let rsa = match pkcs1 {
        true => rsa::PrivateKey::from_pkcs1_der(key).map_err(|error| unusable(error.to_string()))?,
        false => rsa::PrivateKey::from_pkcs8_der(key).map_err(|error| unusable(error.to_string()))?,
    };
    Ok(PrivateKey { ring, rsa })
}
