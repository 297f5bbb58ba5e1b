//! The certificate table: where signatures lie in an image.

use const_oid::ObjectIdentifier;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{AuthenticodeError, indirect};
use crate::pe::{DataDirectory, Image, PeError};
use crate::pkcs7::{Pkcs7Error, SignedData};
use crate::x509::Certificate;

/// WIN_CERTIFICATE, 8 bytes; the PKCS#7 message follows, then zeros up to a multiple of 8.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct EntryHeader {
    /// dwLength: this head and the message. (Some signers count the padding in.)
    length: U32,
    /// wRevision: 0x0200.
    revision: U16,
    /// wCertificateType: 0x0002, PKCS#7 SignedData.
    kind: U16,
}

/// One signature of an image.
pub struct Signature<'a> {
    /// Its place in the table, counted from 1.
    pub number: usize,
    message: SignedData<'a>,
}

impl<'a> Signature<'a> {
    /// The image digest that is signed.
    pub fn digest(&self) -> Result<[u8; 32], AuthenticodeError> {
        let content = |reason| AuthenticodeError::Content { number: self.number, reason };
        let element = self.message.content_element().ok_or_else(|| content("there is none".to_owned()))?;
        indirect::read_digest(element).map_err(content)
    }

    /// The PKCS#7 message.
    pub fn message(&self) -> &SignedData<'a> {
        &self.message
    }

    /// Proves the signature over the digest it names (whether that is the image's is for the caller to see) and returns
    /// the trusted certificate behind it.
    pub fn verify<'t>(&self, trusted: &'t [Certificate]) -> Result<&'t Certificate, AuthenticodeError> {
        let failed = |source| AuthenticodeError::Signature { number: self.number, source };
        if !self.message.has_signed_attributes() {
            return Err(failed(Pkcs7Error::Attributes("none; Authenticode demands them")));
        }
        // The octets of the content without its tag and length are what messageDigest is about.
        let content = self.message.content().ok_or_else(|| failed(Pkcs7Error::Detached))?;
        self.message.verify(content, trusted).map_err(failed)
    }
}

/// The signatures of an image, each an entry of type PKCS#7 with content of type SpcIndirectData.
pub(super) fn signatures<'a>(image: &Image<'a>) -> Result<Vec<Signature<'a>>, AuthenticodeError> {
    let mut signatures = Vec::new();
    let mut rest = image.bytes().get(image.certificates.clone()).unwrap_or_default();
    while !rest.is_empty() {
        let number = signatures.len().saturating_add(1);
        let offset = image.bytes().len().saturating_sub(rest.len());
        let wrong = |field, found: u64, expected: &str| AuthenticodeError::Table {
            number,
            offset,
            field,
            found,
            expected: expected.to_owned(),
        };
        let (header, _) = EntryHeader::ref_from_prefix(rest)
            .map_err(|_| wrong("the remaining length", rest.len() as u64, "at least 8"))?;
        if (header.revision.get(), header.kind.get()) != (REVISION, PKCS_SIGNED_DATA) {
            let found = (u64::from(header.kind.get()) << 16) | u64::from(header.revision.get());
            return Err(wrong("type and revision", found, "0x20200, PKCS#7"));
        }
        let length = header.length.get() as usize;
        let entry = rest
            .get(..length)
            .and_then(|entry| entry.get(size_of::<EntryHeader>()..))
            .ok_or_else(|| wrong("dwLength", length as u64, &format!("8 to {}", rest.len())))?;
        let failed = |source| AuthenticodeError::Signature { number, source };
        let message = SignedData::parse(without_padding(entry)).map_err(failed)?;
        if message.content_type() != indirect::SPC_INDIRECT_DATA {
            return Err(AuthenticodeError::Content { number, reason: other_type(message.content_type()) });
        }
        signatures.push(Signature { number, message });
        let taken = length.checked_next_multiple_of(8).unwrap_or(rest.len());
        rest = rest.get(taken..).unwrap_or_default();
    }
    Ok(signatures)
}

/// The image with `pkcs7` as its last signature. `image` must be padded to 8 bytes.
pub(super) fn append(image: &Image<'_>, pkcs7: &[u8]) -> Result<Vec<u8>, AuthenticodeError> {
    let too_long = PeError::Field {
        field: "the signed image's length",
        found: image.bytes().len() as u64,
        expected: "less than 4 GiB",
    };
    let length = size_of::<EntryHeader>().saturating_add(pkcs7.len());
    let header = EntryHeader {
        length: U32::new(u32::try_from(length).map_err(|_| too_long.clone())?),
        revision: U16::new(REVISION),
        kind: U16::new(PKCS_SIGNED_DATA),
    };
    let padding = vec![0; length.next_multiple_of(8).saturating_sub(length)];
    let mut signed = [image.bytes(), header.as_bytes(), pkcs7, &padding].concat();

    let start = image.certificates.start;
    let directory = DataDirectory {
        address: U32::new(u32::try_from(start).map_err(|_| too_long.clone())?),
        size: U32::new(u32::try_from(signed.len().saturating_sub(start)).map_err(|_| too_long)?),
    };
    let place = signed.get_mut(image.certificate_directory_offset()..).unwrap_or_default();
    if let Some(place) = place.first_chunk_mut::<8>() {
        place.copy_from_slice(directory.as_bytes());
    }
    Ok(signed)
}

/// The image padded with zeros to a multiple of 8, before it is hashed: the table must start at such an offset, and the
/// padding then belongs to what is signed.
pub(super) fn pad(pe: &[u8]) -> Result<Vec<u8>, PeError> {
    let image = Image::parse(pe)?;
    let mut padded = pe.to_vec();
    if image.certificates.is_empty() {
        padded.resize(pe.len().next_multiple_of(8), 0);
    }
    Ok(padded)
}

/// An entry without the zeros at its end that some signers count into dwLength: at most 7, after a whole DER element.
fn without_padding(entry: &[u8]) -> &[u8] {
    use der::Reader as _;
    let whole = der::SliceReader::new(entry).and_then(|mut reader| reader.tlv_bytes());
    match whole {
        Ok(element) => match entry.get(element.len()..) {
            Some(tail) if tail.len() < 8 && tail.iter().all(|byte| *byte == 0) => element,
            _ => entry,
        },
        Err(_) => entry,
    }
}

fn other_type(found: ObjectIdentifier) -> String {
    format!("the content's type is {found}")
}

const REVISION: u16 = 0x0200;
const PKCS_SIGNED_DATA: u16 = 0x0002;
