//! The verity-sig partition: a JSON object with the root hash's signature, then NUL bytes.
//!
//! Strict: one flat object of strings, the keys of the Discoverable Partitions Specification, each at most once.

use std::fmt;

use graven_handoff::{RootHash, base64, hex};

/// The partition's content, of which nothing has been verified.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RootHashSignature {
    /// PKCS#7, DER, detached, over the root hash's hexadecimal text.
    pub(crate) message: Vec<u8>,
}

/// Why the partition's content cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SignatureError {
    NoObject(&'static str),
    Key(String),
    Missing(&'static str),
    Value(&'static str),
    OtherRoot(String),
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoObject(expected) => write!(f, "not a JSON object of strings: expected {expected}"),
            Self::Key(key) => write!(f, "{key:?} is unknown or there twice"),
            Self::Missing(key) => write!(f, "{key} is missing"),
            Self::Value(key) => write!(f, "{key} cannot be decoded"),
            Self::OtherRoot(found) => write!(f, "it is for the root hash {found}"),
        }
    }
}

impl std::error::Error for SignatureError {}

/// Reads the partition's bytes; the signature must be for this root hash.
pub(crate) fn parse(partition: &[u8], root_hash: &RootHash) -> Result<RootHashSignature, SignatureError> {
    let end = partition.iter().position(|byte| *byte == 0).unwrap_or(partition.len());
    let (text, padding) = partition.split_at_checked(end).unwrap_or((partition, &[]));
    if padding.iter().any(|byte| *byte != 0) {
        return Err(SignatureError::NoObject("NUL bytes to the end of the partition"));
    }
    let text = std::str::from_utf8(text).map_err(|_| SignatureError::NoObject("UTF-8 text"))?;
    let (mut root, mut signature, mut fingerprint) = (None, None, None);
    for (key, value) in object(text)? {
        let place = match key {
            "rootHash" => &mut root,
            "signature" => &mut signature,
            "certificateFingerprint" => &mut fingerprint,
            other => return Err(SignatureError::Key(other.to_owned())),
        };
        if place.replace(value).is_some() {
            return Err(SignatureError::Key(key.to_owned()));
        }
    }
    let root = root.ok_or(SignatureError::Missing("rootHash"))?;
    if root != root_hash.to_string() {
        return Err(SignatureError::OtherRoot(root.to_owned()));
    }
    // For people and tools; the kernel finds the key by the signature's own issuer and serial number.
    if fingerprint.is_some_and(|text| hex::decode(text).is_none_or(|bytes| bytes.len() != 32)) {
        return Err(SignatureError::Value("certificateFingerprint"));
    }
    let signature = signature.ok_or(SignatureError::Missing("signature"))?;
    let message = base64::decode(signature).filter(|message| !message.is_empty());
    Ok(RootHashSignature { message: message.ok_or(SignatureError::Value("signature"))? })
}

/// The members of a flat object of strings without escapes: none of the values ever needs one.
fn object(text: &str) -> Result<Vec<(&str, &str)>, SignatureError> {
    let mut rest = text;
    let mut members = Vec::new();
    token(&mut rest, '{', "`{`")?;
    loop {
        let key = string(&mut rest)?;
        token(&mut rest, ':', "`:`")?;
        members.push((key, string(&mut rest)?));
        if token(&mut rest, ',', "`,`").is_err() {
            break;
        }
    }
    token(&mut rest, '}', "`,` or `}`")?;
    if blank(rest).is_empty() { Ok(members) } else { Err(SignatureError::NoObject("nothing behind `}`")) }
}

fn blank(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\n', '\r'])
}

fn token(rest: &mut &str, token: char, expected: &'static str) -> Result<(), SignatureError> {
    *rest = blank(rest).strip_prefix(token).ok_or(SignatureError::NoObject(expected))?;
    Ok(())
}

fn string<'a>(rest: &mut &'a str) -> Result<&'a str, SignatureError> {
    token(rest, '"', "a string")?;
    let (string, after) = rest.split_once('"').ok_or(SignatureError::NoObject("the end of a string"))?;
    if string.contains(|c: char| c == '\\' || c.is_control()) {
        return Err(SignatureError::NoObject("a string without escapes"));
    }
    *rest = after;
    Ok(string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> RootHash {
        RootHash::new(&[0xab; 32]).unwrap()
    }

    fn read(json: &str) -> Result<RootHashSignature, SignatureError> {
        let mut partition = json.as_bytes().to_vec();
        partition.resize(4096, 0);
        parse(&partition, &root())
    }

    #[test]
    fn repart_and_our_own_spelling_are_read() {
        let hash = root();
        let print = "00".repeat(32);
        for json in [
            format!(r#"{{"rootHash":"{hash}","certificateFingerprint":"{print}","signature":"MAMC"}}"#),
            format!("{{\n\t\"signature\" : \"MAMC\",\n\t\"rootHash\" : \"{hash}\"\n}}\n"),
        ] {
            assert_eq!(read(&json), Ok(RootHashSignature { message: vec![0x30, 3, 2] }), "{json}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let hash = root();
        let other = "cd".repeat(32);
        let bad = [
            String::new(),
            "{}".to_owned(),
            "[]".to_owned(),
            format!(r#"{{"rootHash":"{hash}"}}"#),
            r#"{"signature":"MAMC"}"#.to_owned(),
            format!(r#"{{"rootHash":"{other}","signature":"MAMC"}}"#),
            format!(r#"{{"rootHash":"{}","signature":"MAMC"}}"#, hash.to_string().to_uppercase()),
            format!(r#"{{"rootHash":"{hash}","signature":"MAMC","signature":"MAMC"}}"#),
            format!(r#"{{"rootHash":"{hash}","signature":"MAMC","more":"x"}}"#),
            format!(r#"{{"rootHash":"{hash}","signature":"MAM"}}"#),
            format!(r#"{{"rootHash":"{hash}","signature":""}}"#),
            format!(r#"{{"rootHash":"{hash}","signature":"MA\u004dC"}}"#),
            format!(r#"{{"rootHash":"{hash}","signature":"MAMC"}} x"#),
            format!(r#"{{"rootHash":"{hash}","signature":"MAMC",}}"#),
            format!(r#"{{"rootHash":"{hash}","signature":1}}"#),
            format!(r#"{{"rootHash":"{hash}","certificateFingerprint":"0","signature":"MAMC"}}"#),
        ];
        for json in bad {
            assert!(read(&json).is_err(), "{json}");
        }
        let good = format!(r#"{{"rootHash":"{hash}","signature":"MAMC"}}"#);
        assert!(parse(format!("{good}\0\0x").as_bytes(), &root()).is_err());
        assert!(parse(good.as_bytes(), &root()).is_ok());
    }
}
