//! One block of a tar archive (POSIX.1-2017 `pax`, "ustar Interchange Format"; GNU `tar.h` for its extensions).
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Problem;

/// Archives are made of blocks of this many bytes.
pub(crate) const BLOCK: usize = 512;

/// A member's header.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone)]
#[repr(C)]
pub(crate) struct Header {
    /// Offset 0: the name, or its last part; not terminated when it fills the field.
    name: [u8; 100],
    /// 100: permission bits, octal.
    mode: [u8; 8],
    /// 108: owner.
    uid: [u8; 8],
    /// 116: group.
    gid: [u8; 8],
    /// 124: bytes of contents that follow.
    size: [u8; 12],
    /// 136: seconds since 1970.
    mtime: [u8; 12],
    /// 148: sum of all bytes of the block, these eight taken as spaces.
    checksum: [u8; 8],
    /// 156: what the member is.
    pub(crate) typeflag: u8,
    /// 157: target of a link.
    linkname: [u8; 100],
    /// 257: `ustar\0` and `00`, or `ustar  \0` for GNU, or nothing before 1988.
    magic: [u8; 8],
    /// 265: owner's and group's names, which mean nothing on another machine.
    names: [u8; 64],
    /// 329: device number.
    major: [u8; 8],
    /// 337: device number.
    minor: [u8; 8],
    /// 345: what comes before `name`, in the POSIX format only.
    prefix: [u8; 155],
    /// 500: fills the block.
    padding: [u8; 12],
}

/// Which tar wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Before POSIX: directories are told by a trailing slash.
    V7,
    Posix,
    Gnu,
}

impl Header {
    /// Reads a block and checks its sum.
    pub(crate) fn parse(block: &[u8; BLOCK]) -> Result<Self, Problem> {
        let header: Self = zerocopy::transmute!(*block);
        let sum = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| sum.saturating_add(u64::from(*byte)));
        let spaces = 8 * u64::from(b' ');
        let found = sum(block).saturating_sub(sum(&header.checksum)).saturating_add(spaces);
        let stored = octal(&header.checksum)
            .ok_or_else(|| Problem::Damaged("this is no tar header: it has no checksum".into()))?;
        if stored != found {
            let message = format!("the header's checksum is wrong: {found} was found, it says {stored}");
            return Err(Problem::Damaged(message));
        }
        Ok(header)
    }

    pub(crate) fn format(&self) -> Format {
        match &self.magic {
            b"ustar\x0000" => Format::Posix,
            b"ustar  \0" => Format::Gnu,
            _ => Format::V7,
        }
    }

    /// The name as far as the header has it.
    pub(crate) fn name(&self) -> Vec<u8> {
        let (prefix, name) = (text(&self.prefix), text(&self.name));
        // GNU keeps times and a sparse map where POSIX has the prefix.
        if self.format() != Format::Posix || prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/".as_slice(), name].concat()
    }

    pub(crate) fn linkname(&self) -> &[u8] {
        text(&self.linkname)
    }

    /// Permission bits; the kind's bits that old archives have above them are dropped.
    pub(crate) fn mode(&self) -> Result<u16, Problem> {
        let mode = unsigned("mode", &self.mode)?;
        if mode & !0o177_777 != 0 {
            return Err(Problem::Damaged(format!("the mode {mode:o} is none")));
        }
        Ok(u16::try_from(mode & 0o7777).unwrap_or(0))
    }

    pub(crate) fn uid(&self) -> Result<u64, Problem> {
        unsigned("uid", &self.uid)
    }

    pub(crate) fn gid(&self) -> Result<u64, Problem> {
        unsigned("gid", &self.gid)
    }

    pub(crate) fn size(&self) -> Result<u64, Problem> {
        unsigned("size", &self.size)
    }

    pub(crate) fn mtime(&self) -> Result<i64, Problem> {
        number("mtime", &self.mtime)
    }

    /// Major and minor.
    pub(crate) fn device(&self) -> Result<(u64, u64), Problem> {
        Ok((unsigned("devmajor", &self.major)?, unsigned("devminor", &self.minor)?))
    }
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits between optional spaces, ended by NUL, space or the field; an empty field is 0.
fn octal(field: &[u8]) -> Option<u64> {
    let digits = text(field).trim_ascii();
    digits.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit & 7)),
        _ => None,
    })
}

/// Octal, or GNU's big-endian binary with the first bit set (two's complement when the second is, too).
fn number(name: &'static str, field: &[u8]) -> Result<i64, Problem> {
    let bad =
        || Problem::Damaged(format!("the header's field `{name}` is no number: {}", field.escape_ascii()));
    let value = match field.first() {
        Some(first) if first & 0x80 != 0 => {
            let negative = first & 0x40 != 0;
            // Seven bits and the sign: the marker bit is not part of the value.
            let start =
                if negative { i128::from(*first).checked_sub(0x100) } else { Some(i128::from(first & 0x3f)) };
            field.iter().skip(1).try_fold(start.ok_or_else(bad)?, |value, byte| {
                value.checked_mul(0x100)?.checked_add(i128::from(*byte))
            })
        }
        _ => octal(field).map(i128::from),
    };
    value.and_then(|value| i64::try_from(value).ok()).ok_or_else(bad)
}

fn unsigned(name: &'static str, field: &[u8]) -> Result<u64, Problem> {
    let value = number(name, field)?;
    u64::try_from(value)
        .map_err(|_| Problem::Damaged(format!("the header's field `{name}` is negative: {value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_posix_and_gnu_write_them() {
        for (field, value) in [
            (b"0000644\0".as_slice(), 0o644),
            (b"   644 \0", 0o644),
            (b"00000000012 ", 10),
            (b"\0\0\0\0", 0),
            (b"\x80\0\0\0\0\0\0\0\x02\0\0\0", 2 << 24),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
        ] {
            assert_eq!(number("x", field).unwrap(), value, "{}", field.escape_ascii());
        }
        for field in [b"0000648\0".as_slice(), b"-1", b"\x81\0\0\0\0\0\0\0\0\0\0\0", b"1 2"] {
            assert!(number("x", field).is_err(), "{}", field.escape_ascii());
        }
        assert!(unsigned("uid", b"\xff\xff\xff\xff").is_err());
    }
}
