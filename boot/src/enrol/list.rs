//! `EFI_SIGNATURE_LIST`: what a Secure Boot variable holds.

use uuid::{Uuid, uuid};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::EnrolError;
use crate::x509::Certificate;

/// Type of lists whose entries are X.509 certificates in DER.
const CERT_X509: Uuid = uuid!("a5c059a1-94e4-4aa7-87b5-ab155c2bf072");
/// Type of lists whose entries are SHA-256 digests of PE images.
const CERT_SHA256: Uuid = uuid!("c1c41626-504c-4092-aca9-41f936934328");

/// Head of an `EFI_SIGNATURE_LIST`; 28 bytes, all little-endian.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ListHeader {
    /// SignatureType, a GUID in its mixed-endian form.
    kind: [u8; 16],
    /// SignatureListSize: bytes of the whole list, this head included.
    list_size: U32,
    /// SignatureHeaderSize: bytes between this head and the first entry; 0 for every type in use.
    header_size: U32,
    /// SignatureSize: bytes of one entry, its owner's GUID included.
    entry_size: U32,
}

/// One `EFI_SIGNATURE_LIST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureList {
    /// Its entries with their owners.
    pub entries: Vec<(Uuid, Entry)>,
}

/// One entry of a signature list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// A certificate whose key may sign.
    Certificate(Box<Certificate>),
    /// SHA-256 of a PE image (its Authenticode digest).
    ImageSha256([u8; 32]),
    /// Data of a type that is not interpreted here.
    Other {
        /// The list's type.
        kind: Uuid,
        /// The entry without its owner.
        data: Vec<u8>,
    },
}

/// The signature list that holds one certificate (a `.esl` file).
pub fn certificate_list(owner: Uuid, certificate: &Certificate) -> Result<Vec<u8>, EnrolError> {
    let der = certificate.der();
    let too_long = || EnrolError::TooLong { what: "a certificate", length: der.len() };
    let entry_size = der.len().checked_add(OWNER_BYTES).ok_or_else(too_long)?;
    let list_size = entry_size.checked_add(size_of::<ListHeader>()).ok_or_else(too_long)?;
    let header = ListHeader {
        kind: CERT_X509.to_bytes_le(),
        list_size: U32::new(u32::try_from(list_size).map_err(|_| too_long())?),
        header_size: U32::new(0),
        entry_size: U32::new(u32::try_from(entry_size).map_err(|_| too_long())?),
    };
    Ok([header.as_bytes(), &owner.to_bytes_le(), der].concat())
}

/// Reads what a Secure Boot variable holds: any number of lists, one after the other.
pub fn parse_lists(bytes: &[u8]) -> Result<Vec<SignatureList>, EnrolError> {
    let mut lists = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let offset = bytes.len().saturating_sub(rest.len());
        let layout = |field, found: u64, expected: &str| EnrolError::Layout {
            offset,
            field,
            found,
            expected: expected.to_owned(),
        };
        let (header, _) = ListHeader::ref_from_prefix(rest).map_err(|_| {
            layout("the remaining length", rest.len() as u64, "at least a list's head of 28 bytes")
        })?;
        let list_size = header.list_size.get();
        let list = rest
            .get(..list_size as usize)
            .filter(|list| list.len() >= size_of::<ListHeader>())
            .ok_or_else(|| layout("SignatureListSize", list_size.into(), &format!("28 to {}", rest.len())))?;
        let body = list.get(size_of::<ListHeader>()..).unwrap_or_default();
        let entries = body.get(header.header_size.get() as usize..).ok_or_else(|| {
            layout("SignatureHeaderSize", header.header_size.get().into(), "less than the list")
        })?;
        let entry_size = header.entry_size.get() as usize;
        if entry_size <= OWNER_BYTES || entries.len().checked_rem(entry_size) != Some(0) {
            let expected = format!("more than 16, and a divisor of {}", entries.len());
            return Err(layout("SignatureSize", entry_size as u64, &expected));
        }
        let kind = Uuid::from_bytes_le(header.kind);
        let entries = entries.chunks(entry_size).map(|entry| read_entry(kind, entry, offset));
        lists.push(SignatureList { entries: entries.collect::<Result<_, _>>()? });
        rest = rest.get(list.len()..).unwrap_or_default();
    }
    Ok(lists)
}

fn read_entry(kind: Uuid, entry: &[u8], offset: usize) -> Result<(Uuid, Entry), EnrolError> {
    let (owner, data) = entry.split_first_chunk::<OWNER_BYTES>().ok_or(EnrolError::Layout {
        offset,
        field: "SignatureSize",
        found: entry.len() as u64,
        expected: "more than 16".to_owned(),
    })?;
    let entry = match kind {
        CERT_X509 => {
            let certificate =
                Certificate::from_der(data).map_err(|source| EnrolError::Certificate { offset, source })?;
            Entry::Certificate(Box::new(certificate))
        }
        CERT_SHA256 => match data.try_into() {
            Ok(digest) => Entry::ImageSha256(digest),
            Err(_) => Entry::Other { kind, data: data.to_vec() },
        },
        _ => Entry::Other { kind, data: data.to_vec() },
    };
    Ok((Uuid::from_bytes_le(*owner), entry))
}

/// Bytes of SignatureOwner, a GUID, at the start of each entry.
const OWNER_BYTES: usize = 16;
