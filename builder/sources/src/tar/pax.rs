//! Extended headers of the POSIX format (POSIX.1-2017 `pax`, "pax Extended Header") and the keywords that GNU
//! tar, star and libarchive add.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use base64::Engine as _;

use crate::Problem;

/// What extended headers say of the member that follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Extended {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) linkpath: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) mtime: Option<i64>,
    pub(crate) xattrs: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

/// Longest value that Linux takes (`XATTR_SIZE_MAX`).
const MAX_XATTR: usize = 65_536;

impl Extended {
    /// Takes over the records of one extended header: `LENGTH KEYWORD=VALUE\n`, length in bytes, in decimal and of
    /// the whole record.
    pub(crate) fn read(&mut self, mut records: &[u8]) -> Result<(), Problem> {
        // libarchive writes each attribute twice, in star's form and in its own, both with the name percent-encoded.
        let mut of_libarchive = Vec::new();
        while !records.is_empty() {
            let (record, rest) =
                split_record(records).ok_or_else(|| bad("it has a record without proper length"))?;
            records = rest;
            let equals =
                record.iter().position(|byte| *byte == b'=').ok_or_else(|| bad("a record has no `=`"))?;
            let (keyword, value) = record.split_at(equals);
            let value = value.get(1..).unwrap_or_default();
            if let Some(name) = keyword.strip_prefix(b"LIBARCHIVE.xattr.") {
                of_libarchive.push((name, value));
            } else {
                self.record(keyword, value)?;
            }
        }
        for (name, value) in of_libarchive {
            let value = match self.xattrs.remove(name) {
                Some(value) => value.into_vec(),
                None => base64_decoded(value)?,
            };
            self.xattr(&percent_decoded(name)?, value)?;
        }
        Ok(())
    }

    fn record(&mut self, keyword: &[u8], value: &[u8]) -> Result<(), Problem> {
        match keyword {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.linkpath = Some(value.to_vec()),
            b"size" => self.size = Some(decimal(keyword, value)?),
            b"uid" => self.uid = Some(decimal(keyword, value)?),
            b"gid" => self.gid = Some(decimal(keyword, value)?),
            b"mtime" => self.mtime = Some(seconds(value).ok_or_else(|| not_a_number(keyword, value))?),
            // SELinux labels are stored with their NUL.
            b"RHT.security.selinux" => self.xattr(b"security.selinux", [value, b"\0"].concat())?,
            _ if keyword.starts_with(b"SCHILY.xattr.") => {
                let name = keyword.get(b"SCHILY.xattr.".len()..).unwrap_or_default();
                self.xattr(name, value.to_vec())?;
            }
            _ if keyword.starts_with(b"GNU.sparse.") => return Err(sparse()),
            _ if keyword.starts_with(b"SCHILY.acl.") => {
                let what = "a member with a POSIX access control list".to_owned();
                return Err(Problem::Unsupported { what, instead: "repack without --acls" });
            }
            // Names of users, other times, comments, file flags, checksums.
            _ => {}
        }
        Ok(())
    }

    fn xattr(&mut self, name: &[u8], value: Vec<u8>) -> Result<(), Problem> {
        if name.is_empty() || name.len() > 255 || name.contains(&0) || value.len() > MAX_XATTR {
            return Err(bad("it has an extended attribute that no Linux file can have"));
        }
        self.xattrs.insert(name.into(), value.into());
        Ok(())
    }
}

/// Why sparse members are refused, in whatever format.
pub(crate) fn sparse() -> Problem {
    Problem::Unsupported { what: "a sparse member".to_owned(), instead: "repack without --sparse" }
}

fn bad(what: &str) -> Problem {
    Problem::Damaged(format!("damaged extended header: {what}"))
}

fn not_a_number(keyword: &[u8], value: &[u8]) -> Problem {
    bad(&format!("`{}` is no number that can be used: {}", keyword.escape_ascii(), value.escape_ascii()))
}

/// The first record without its length and newline, and what follows it.
fn split_record(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = records.iter().take(20).position(|byte| *byte == b' ')?;
    let len = usize::try_from(digits(records.get(..space)?)?).ok()?;
    let record = records.get(space.checked_add(1)?..len.checked_sub(1)?)?;
    (records.get(len.checked_sub(1)?) == Some(&b'\n')).then_some((record, records.get(len..)?))
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit.wrapping_sub(b'0'))),
        _ => None,
    })
}

fn decimal(keyword: &[u8], value: &[u8]) -> Result<u64, Problem> {
    digits(value).ok_or_else(|| not_a_number(keyword, value))
}

/// Whole seconds, rounded down.
fn seconds(value: &[u8]) -> Option<i64> {
    let (negative, value) = value.strip_prefix(b"-").map_or((false, value), |rest| (true, rest));
    let mut parts = value.splitn(2, |byte| *byte == b'.');
    let whole = i64::try_from(digits(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    match (negative, fraction.iter().all(|digit| *digit == b'0')) {
        (false, _) => Some(whole),
        (true, true) => whole.checked_neg(),
        (true, false) => whole.checked_neg()?.checked_sub(1),
    }
}

/// With or without padding.
fn base64_decoded(text: &[u8]) -> Result<Vec<u8>, Problem> {
    use base64::engine::{DecodePaddingMode, GeneralPurpose, general_purpose::PAD};
    let lenient = PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, lenient);
    engine.decode(text).map_err(|_| bad("an extended attribute is no base64"))
}

fn percent_decoded(name: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let mut half = || rest.next().and_then(|digit| char::from(*digit).to_digit(16));
        let value = half().zip(half()).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
        decoded.push(value.ok_or_else(|| bad("the name of an extended attribute is not percent-encoded"))?);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(records: &[u8]) -> Result<Extended, String> {
        let mut extended = Extended::default();
        extended.read(records).map_err(|problem| problem.to_string())?;
        Ok(extended)
    }

    #[test]
    fn times_are_rounded_down() {
        for (text, value) in [("12.75", 12), ("-1.5", -2), ("-1.0", -1), ("0", 0), ("5.", 5)] {
            assert_eq!(seconds(text.as_bytes()), Some(value), "{text}");
        }
        for text in ["", "-", "1e5", "1.x", "99999999999999999999"] {
            assert_eq!(seconds(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn attributes_of_star_and_libarchive() {
        let extended = read(b"31 LIBARCHIVE.xattr.user.b=aGk\n23 SCHILY.xattr.user.a=\0").unwrap_err();
        assert!(extended.contains("without proper length"), "{extended}");
        let extended = read(b"33 LIBARCHIVE.xattr.user.%62=aGk\n25 SCHILY.xattr.user.a=\0\n").unwrap();
        let expected = [
            (b"user.a".as_slice().into(), b"\0".as_slice().into()),
            (b"user.b".as_slice().into(), b"hi".as_slice().into()),
        ];
        assert_eq!(extended.xattrs, BTreeMap::from(expected));
    }

    #[test]
    fn damaged_records_are_refused() {
        for records in [
            b"x".as_slice(),
            b"5 a=b",
            b"6 a=b\n6",
            b"0 a=b\n",
            b"99 a=b\n",
            b"7 a=b\n",
            b"4 a\n",
            b" a=b\n",
            b"18446744073709551615 a=b\n",
            b"10 size=x\n",
            b"11 mtime=-\n",
        ] {
            assert!(read(records).is_err(), "{}", records.escape_ascii());
        }
    }
}
