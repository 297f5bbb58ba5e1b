//! Extended attributes behind an inode: names by prefix, sizes, bytes.

use std::collections::BTreeMap;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::format::{XattrEntry, XattrHeader};

/// Prefixes by their number in an entry (`EROFS_XATTR_INDEX_*`). The two ACL names are whole names: what
/// follows is empty.
const PREFIXES: [(u8, &[u8]); 6] = [
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (5, b"lustre."),
    (6, b"security."),
];

/// Longest whole name (Linux `XATTR_NAME_MAX`).
pub(crate) const MAX_NAME: usize = 255;
/// Longest value that its 16-bit size field can say.
pub(crate) const MAX_VALUE: usize = 65_535;
/// Most bytes of all attributes of an inode that the 16-bit count in the inode can say.
pub(crate) const MAX_BYTES: usize = 12 + 4 * 65_534;

/// An attribute that an EROFS image cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XattrProblem {
    /// No prefix that the format knows.
    #[error(
        "EROFS has no place for its name: only user., trusted., security. and the two system.posix_acl_ names"
    )]
    Name,
    /// Longer than Linux takes.
    #[error("its name has {0} bytes, at most {MAX_NAME} are possible")]
    NameLength(usize),
    /// Longer than the size field says.
    #[error("its value has {0} bytes, at most {MAX_VALUE} are possible")]
    ValueLength(usize),
    /// All of them together are too many.
    #[error("with it the attributes take {0} bytes, at most {MAX_BYTES} are possible")]
    Total(usize),
}

/// Splits a name into prefix number and rest.
fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    let exact = |index: u8| index == 2 || index == 3;
    PREFIXES
        .iter()
        .filter_map(|(index, prefix)| Some((*index, name.strip_prefix(*prefix)?)))
        .find(|(index, rest)| exact(*index) == rest.is_empty() && !rest.contains(&0))
}

/// The whole name from prefix number and rest; `None` where no such name exists.
pub(crate) fn join(index: u8, rest: &[u8]) -> Option<Box<[u8]>> {
    let (_, prefix) = PREFIXES.iter().find(|(known, _)| *known == index)?;
    let name = [prefix, rest].concat();
    (name.len() <= MAX_NAME && split(&name) == Some((index, rest))).then(|| name.into())
}

/// Bytes that the attributes take behind the inode: 0 without any, else a multiple of 4. The error comes with
/// the name of the attribute.
pub(crate) fn bytes(xattrs: &BTreeMap<Box<[u8]>, Box<[u8]>>) -> Result<u32, (Box<[u8]>, XattrProblem)> {
    if xattrs.is_empty() {
        return Ok(0);
    }
    let mut total = size_of::<XattrHeader>();
    for (name, value) in xattrs {
        let refuse = |problem| Err((name.clone(), problem));
        let Some((_, rest)) = split(name) else { return refuse(XattrProblem::Name) };
        if name.len() > MAX_NAME {
            return refuse(XattrProblem::NameLength(name.len()));
        }
        if value.len() > MAX_VALUE {
            return refuse(XattrProblem::ValueLength(value.len()));
        }
        total += entry_bytes(rest.len(), value.len());
        if total > MAX_BYTES {
            return refuse(XattrProblem::Total(total));
        }
    }
    Ok(total as u32)
}

/// Appends what [`bytes`] measured.
pub(crate) fn render(xattrs: &BTreeMap<Box<[u8]>, Box<[u8]>>, out: &mut Vec<u8>) {
    if xattrs.is_empty() {
        return;
    }
    let header = XattrHeader { name_filter: U32::ZERO, shared_count: 0, reserved: [0; 7] };
    out.extend_from_slice(header.as_bytes());
    for (name, value) in xattrs {
        let Some((index, rest)) = split(name) else { continue };
        let entry = XattrEntry {
            name_len: rest.len() as u8,
            name_index: index,
            value_size: U16::new(value.len() as u16),
        };
        let start = out.len();
        out.extend_from_slice(entry.as_bytes());
        out.extend_from_slice(rest);
        out.extend_from_slice(value);
        out.resize(start + entry_bytes(rest.len(), value.len()), 0);
    }
}

fn entry_bytes(name: usize, value: usize) -> usize {
    (size_of::<XattrEntry>() + name + value).next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_and_join() {
        for name in [
            b"user.x".as_slice(),
            b"security.capability",
            b"trusted.overlay.opaque",
            b"system.posix_acl_access",
            b"system.posix_acl_default",
        ] {
            let (index, rest) = split(name).unwrap();
            assert_eq!(join(index, rest).unwrap().as_ref(), name);
        }
        for name in [b"user.".as_slice(), b"system.posix_acl_access2", b"system.nfs4_acl", b"x", b"user.a\0b"]
        {
            assert_eq!(split(name), None, "{}", name.escape_ascii());
        }
        assert_eq!(join(2, b"x"), None);
        assert_eq!(join(1, b""), None);
        assert_eq!(join(7, b"x"), None);
    }
}
