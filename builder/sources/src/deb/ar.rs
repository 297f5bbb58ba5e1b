//! The outer archive of a package (deb(5); `ar.h`): members one after the other, each behind 60 bytes of text.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::sync::Arc;

use graven_verity::io::{ReadAt, Window};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::Problem;

const MAGIC: &[u8; 8] = b"!<arch>\n";

/// A member's header; all text, filled up with spaces.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    /// Offset 0; `dpkg-deb` writes no `/` after it, GNU `ar` does.
    name: [u8; 16],
    /// 16: time, 28: owner, 34: group, 40: mode; none of them means anything in a package.
    attributes: [u8; 32],
    /// 48: bytes that follow, decimal.
    size: [u8; 10],
    /// 58: a backtick and a newline.
    end: [u8; 2],
}

/// A member of the outer archive.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) source: Arc<dyn ReadAt>,
}

/// All members; more than 16 are no package.
pub(super) fn members(source: &Arc<dyn ReadAt>) -> Result<Vec<Member>, Problem> {
    let reading = |error| Problem::Io { doing: "reading", error };
    let len = source.size().map_err(reading)?;
    let mut magic = [0; 8];
    if len < 8 {
        return Err(Problem::Truncated { what: "the package's first line", wanted: 8, left: len });
    }
    source.read_exact_at(&mut magic, 0).map_err(reading)?;
    if &magic != MAGIC {
        return Err(Problem::Damaged(
            "this is no Debian package: it does not begin with `!<arch>`".to_owned(),
        ));
    }
    let mut members = Vec::new();
    let mut position = 8u64;
    while position < len {
        let left = len.saturating_sub(position);
        if left < 60 {
            return Err(Problem::Truncated { what: "the header of a member", wanted: 60, left });
        }
        let mut header = [0; 60];
        source.read_exact_at(&mut header, position).map_err(reading)?;
        let header: Header = zerocopy::transmute!(header);
        let bad = |what: &str| Problem::Damaged(format!("{what} in the member header at byte {position}"));
        if &header.end != b"`\n" {
            return Err(bad("no end mark"));
        }
        let size = decimal(&header.size).ok_or_else(|| bad("no size"))?;
        let name = header.name.trim_ascii_end();
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let name =
            std::str::from_utf8(name).ok().filter(|name| !name.is_empty()).ok_or_else(|| bad("no name"))?;
        let start = position.saturating_add(60);
        let left = len.saturating_sub(start);
        if size > left {
            return Err(Problem::Truncated { what: "a member of the package", wanted: size, left });
        }
        if members.len() == 16 {
            return Err(Problem::Damaged("a package has three members, this one has over 16".to_owned()));
        }
        let window = Window::new(Arc::clone(source), start, size);
        members.push(Member { name: name.to_owned(), source: Arc::new(window) });
        // Members begin at even bytes; the last one's padding may be missing.
        position = start.saturating_add(size).saturating_add(size % 2);
    }
    Ok(members)
}

fn decimal(field: &[u8]) -> Option<u64> {
    let digits = field.trim_ascii_end();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
