//! What the kernel accepts as a signed policy or root hash, judged offline.

use const_oid::db::fips204::ID_ML_DSA_65;
use const_oid::db::{rfc5911, rfc5912};
use der::{Tag, Tagged};

use super::verify::name;
use super::{Pkcs7Error, SignedData};
use crate::x509::Certificate;

/// Bytes of the longest message that the kernel's ASN.1 decoder takes (`lib/asn1_decoder.c`).
pub const LONGEST_POLICY: usize = 65_535;

/// A policy whose signature holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Verified<'a, 't> {
    /// The policy's text.
    pub content: &'a [u8],
    /// The trusted certificate behind it.
    pub certificate: &'t Certificate,
}

/// Proves a signed IPE policy as the kernel would with `trusted` in its keyrings.
pub fn verify_policy<'a, 't>(
    p7b: &'a [u8],
    trusted: &'t [Certificate],
) -> Result<Verified<'a, 't>, Pkcs7Error> {
    let message = parse(p7b)?;
    let content = message.content().ok_or(Pkcs7Error::Detached)?;
    let certificate = message.verify(content, trusted)?;
    Ok(Verified { content, certificate })
}

/// Proves the signature of a dm-verity root hash (the hex text of the kernel's table, lower case) as the kernel would with
/// `trusted` in its keyrings, and returns the trusted certificate behind it.
pub fn verify_root_hash<'t>(
    p7s: &[u8],
    root_hash_hex: &str,
    trusted: &'t [Certificate],
) -> Result<&'t Certificate, Pkcs7Error> {
    let message = parse(p7s)?;
    if message.content().is_some() {
        return Err(Pkcs7Error::Attached);
    }
    message.verify(root_hash_hex.as_bytes(), trusted)
}

fn parse(der: &[u8]) -> Result<SignedData<'_>, Pkcs7Error> {
    if der.len() > LONGEST_POLICY {
        return Err(Pkcs7Error::TooLong { length: der.len() });
    }
    let message = SignedData::parse(der)?;
    if message.content_type() != rfc5911::ID_DATA {
        let (expected, found) = (name(rfc5911::ID_DATA), name(message.content_type()));
        return Err(Pkcs7Error::ContentType { expected, found });
    }
    if let Some(element) = message.content_element() {
        element.tag().assert_eq(Tag::OctetString)?;
    }
    // «sha256WithRSAEncryption» stands in many messages and is right elsewhere; the kernel answers ENOPKG to it.
    let accepted = [
        rfc5912::RSA_ENCRYPTION,
        rfc5912::ECDSA_WITH_SHA_256,
        rfc5912::ECDSA_WITH_SHA_384,
        rfc5912::ECDSA_WITH_SHA_512,
        ID_ML_DSA_65,
    ];
    if !accepted.contains(&message.signature_algorithm()) {
        return Err(Pkcs7Error::SignatureAlgorithm { found: name(message.signature_algorithm()) });
    }
    Ok(message)
}
