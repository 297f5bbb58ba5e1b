//! Authenticode: signatures of PE images, as UEFI Secure Boot checks them.
//!
//! «Windows Authenticode Portable Executable Signature Format» and UEFI specification 2.10, §32.2.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod digest;
mod indirect;
mod table;

pub use digest::digest;
pub use table::Signature;

use thiserror::Error;

use crate::pe::{Image, PeError, set_checksum};
use crate::pkcs7::{self, Message, Pkcs7Error};
use crate::sign::{Answer, Purpose, SignError, Signer};
use crate::x509::Certificate;

/// Why an image was not signed, or its signatures prove nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuthenticodeError {
    /// The image's layout is wrong.
    #[error(transparent)]
    Pe(#[from] PeError),
    /// The signer's key cannot make a signature that firmware takes.
    #[error("firmware takes RSA signatures with SHA-256 only; the key of «{subject}» signs with {found}")]
    Algorithm {
        /// Subject of the signer's certificate.
        subject: String,
        /// How its key signs.
        found: String,
    },
    /// A signature could not be made or does not hold.
    #[error("Authenticode signature {number}: {source}")]
    Signature {
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        source: Pkcs7Error,
    },
    /// The signature is about another image.
    #[error(
        "Authenticode signature {number} is for an image with digest {signed}, this one has {found}: the image was changed"
    )]
    Digest {
        /// Counted from 1.
        number: usize,
        /// The signed digest, hex.
        signed: String,
        /// The image's digest, hex.
        found: String,
    },
    /// The signed content is not what Authenticode puts there.
    #[error(
        "Authenticode signature {number}: the signed content is not an SpcIndirectDataContent with a SHA-256 digest: {reason}"
    )]
    Content {
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        reason: String,
    },
    /// The certificate table is broken.
    #[error("certificate table: entry {number} at byte {offset}: {field} is {found}, expected {expected}")]
    Table {
        /// Counted from 1.
        number: usize,
        /// Where the entry starts in the file.
        offset: usize,
        /// The field that is wrong.
        field: &'static str,
        /// What it holds.
        found: u64,
        /// What it should.
        expected: String,
    },
    /// There is no signature at all.
    #[error("the image carries no signature; sign it with a key whose certificate is in db")]
    Unsigned,
}

/// Signs an image: SHA-256 digest, signed attributes contentType and messageDigest, the signer's certificate inside, no
/// time. Pads it to 8 bytes first and writes the PE CheckSum last. A signature that is already there stays; the new one
/// comes after it.
pub fn sign(pe: &[u8], signer: &dyn Signer) -> Result<Answer, AuthenticodeError> {
    let algorithm = crate::sign::Algorithm::of(signer.certificate())
        .map_err(|error| AuthenticodeError::Signature { number: 1, source: error.into() })?;
    if algorithm != crate::sign::Algorithm::RsaPkcs1Sha256 {
        let (subject, found) = (signer.certificate().subject(), algorithm.to_string());
        return Err(AuthenticodeError::Algorithm { subject, found });
    }
    let padded = table::pad(pe)?;
    let image = Image::parse(&padded)?;
    let number = table::signatures(&image)?.len().saturating_add(1);
    let failed = |source: Pkcs7Error| AuthenticodeError::Signature { number, source };

    let content = indirect::encode(&digest(&image)).map_err(|error| failed(error.into()))?;
    let element = indirect::element(&content).map_err(|error| failed(error.into()))?;
    let message = Message::typed(indirect::SPC_INDIRECT_DATA, element).with_attributes().with_certificate();
    let answer = pkcs7::sign(&message, Purpose::Boot, signer).map_err(failed)?;
    answer.try_map(|pkcs7| {
        let mut signed = table::append(&image, &pkcs7)?;
        set_checksum(&mut signed)?;
        Ok(signed)
    })
}

/// Every signature of an image, parsed but not proved.
pub fn signatures<'a>(pe: &'a [u8]) -> Result<Vec<Signature<'a>>, AuthenticodeError> {
    table::signatures(&Image::parse(pe)?)
}

/// Proves an image: **the first** signature that leads to a trusted certificate decides which one is returned, and every
/// signature, trusted or not, must be about this very image.
pub fn verify<'t>(pe: &[u8], trusted: &'t [Certificate]) -> Result<&'t Certificate, AuthenticodeError> {
    let image = Image::parse(pe)?;
    let found = digest(&image);
    let mut first_error = None;
    let mut anchor = None;
    for signature in table::signatures(&image)? {
        let number = signature.number;
        let signed = signature.digest()?;
        if signed != found {
            let (signed, found) = (hex(&signed), hex(&found));
            return Err(AuthenticodeError::Digest { number, signed, found });
        }
        match signature.verify(trusted) {
            Ok(certificate) => anchor = anchor.or(Some(certificate)),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    match (anchor, first_error) {
        (Some(certificate), _) => Ok(certificate),
        (None, Some(error)) => Err(error),
        (None, None) => Err(AuthenticodeError::Unsigned),
    }
}

impl From<SignError> for AuthenticodeError {
    fn from(error: SignError) -> Self {
        Self::Signature { number: 1, source: error.into() }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
