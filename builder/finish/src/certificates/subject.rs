//! The number under which OpenSSL looks for a certificate: SHA-1 over its subject's canonical form, first four bytes.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use sha1::{Digest as _, Sha1};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;

/// The number of a certificate in DER; none where that is no certificate.
pub(crate) fn hash(certificate: &[u8]) -> Option<u32> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    // [0] version, where it is not the first.
    if rest.first() == Some(&0xa0) {
        rest = any(rest)?.2;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        rest = any(rest)?.2;
    }
    let (mut names, _) = element(rest, SEQUENCE)?;
    let mut canonical = Vec::new();
    while !names.is_empty() {
        let (mut set, after) = element(names, SET)?;
        names = after;
        let mut members = Vec::new();
        while !set.is_empty() {
            let (attribute, after) = element(set, SEQUENCE)?;
            set = after;
            members.push(canonical_attribute(attribute)?);
        }
        members.sort();
        canonical.extend(encoded(SET, &members.concat()));
    }
    let digest = Sha1::digest(&canonical);
    let first: [u8; 4] = digest.get(..4)?.try_into().ok()?;
    Some(u32::from_le_bytes(first))
}

/// Type and value; a text in lower case, blanks at its ends gone and those inside single, as UTF-8.
fn canonical_attribute(attribute: &[u8]) -> Option<Vec<u8>> {
    let (kind, value) = element(attribute, OBJECT_IDENTIFIER)?;
    let (tag, bytes, _) = any(value)?;
    let text = match tag {
        // UTF8String, PrintableString, IA5String, VisibleString.
        UTF8_STRING | 0x13 | 0x16 | 0x1a => Some(String::from_utf8(bytes.to_vec()).ok()?),
        // T61String is read as Latin-1.
        0x14 => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        // BMPString
        0x1e => {
            let units: Vec<u16> = bytes
                .chunks_exact(2)
                .filter_map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?)))
                .collect();
            Some(String::from_utf16(&units).ok()?)
        }
        _ => None,
    };
    let value = match text {
        None => encoded(tag, bytes),
        Some(text) => {
            let words = text.split(|c: char| c.is_ascii_whitespace()).filter(|word| !word.is_empty());
            let folded = words.collect::<Vec<_>>().join(" ").to_ascii_lowercase();
            encoded(UTF8_STRING, folded.as_bytes())
        }
    };
    Some(encoded(SEQUENCE, &[encoded(OBJECT_IDENTIFIER, kind), value].concat()))
}

/// Tag, contents, and what follows.
fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(*short), rest),
        long @ 0x81..=0x83 => {
            let (octets, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let length = octets.iter().fold(0usize, |length, octet| (length << 8) | usize::from(*octet));
            (length, rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((*tag, contents, rest))
}

/// Contents of an element with this tag, and what follows.
fn element(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    any(bytes).filter(|(tag, ..)| *tag == wanted).map(|(_, contents, rest)| (contents, rest))
}

fn encoded(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u8::try_from(contents.len()) {
        Ok(short @ 0..=0x7f) => out.push(short),
        _ => {
            let bytes = contents.len().to_be_bytes();
            let significant: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            out.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
            out.extend(significant);
        }
    }
    out.extend_from_slice(contents);
    out
}
