//! An initramfs, read as the kernel unpacks it, but strictly: nothing is skipped, nothing hides behind a trailer.

use std::collections::BTreeMap;

use super::newc::{
    NAME_LIMIT, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, TRAILER,
};
use super::{Entry, Initramfs, Kind};
use crate::compression::{Compression, DecompressError};

/// Bounds of what is read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of decompressed archives and of files, all together.
    pub bytes: u64,
    /// Entries of all archives together.
    pub entries: usize,
}

impl Default for Limits {
    /// 512 MiB and 100,000 entries.
    fn default() -> Self {
        Self { bytes: 512 << 20, entries: 100_000 }
    }
}

/// One entry as it stands in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which of the concatenated archives it is in, from 0.
    pub archive: usize,
    /// Path without leading slash.
    pub path: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u32,
    /// Mode and kind.
    pub entry: Entry,
}

/// Why an initramfs cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Neither an archive, nor zeros, nor a compression that is known here.
    #[error(
        "at offset {offset} of the initramfs: expected a newc archive, gzip, xz or zstd, found bytes {found}"
    )]
    Unknown {
        /// In the bytes given (or in the decompressed ones).
        offset: usize,
        /// The first eight in hex.
        found: String,
    },
    /// A header or its file is cut off.
    #[error("the archive ends inside {what} at offset {offset}")]
    Truncated {
        /// What is cut.
        what: &'static str,
        /// Where it begins.
        offset: usize,
    },
    /// A header that cannot be meant.
    #[error("at offset {offset} of the archive: {what}")]
    Header {
        /// Where the header begins.
        offset: usize,
        /// What is wrong with it.
        what: String,
    },
    /// One path in two members: which of them the system would see depends on the kernel's unpacking.
    #[error("'{path}' is in the initramfs more than once")]
    Twice {
        /// The path.
        path: String,
    },
    /// An owner or a time that ours never have.
    #[error("'{path}' has owner {uid}:{gid} and time {mtime}: expected 0:0 and 0")]
    Metadata {
        /// The path.
        path: String,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Seconds since 1970.
        mtime: u32,
    },
    /// More than the limits allow.
    #[error("the initramfs has more than {limit} {what}")]
    TooMuch {
        /// Bytes or entries.
        what: &'static str,
        /// How many it may have.
        limit: u64,
    },
    /// A compressed part.
    #[error("at offset {offset} of the initramfs: {source}")]
    Decompress {
        /// Where the stream begins.
        offset: usize,
        /// Why.
        source: DecompressError,
    },
}

/// Reads an initramfs of ours: each path once, owner and time 0.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Initramfs, ReadError> {
    let mut entries = BTreeMap::new();
    for member in members(bytes, limits)? {
        let Member { path, uid, gid, mtime, entry, .. } = member;
        if (uid, gid, mtime) != (0, 0, 0) {
            return Err(ReadError::Metadata { path, uid, gid, mtime });
        }
        if entries.insert(path.clone(), entry).is_some() {
            return Err(ReadError::Twice { path });
        }
    }
    Ok(Initramfs { entries })
}

/// Every member of every archive, in order: concatenated ones, compressed ones, and those behind a trailer.
pub fn members(bytes: &[u8], limits: Limits) -> Result<Vec<Member>, ReadError> {
    let mut reader = Reader { limits, left: limits.bytes, archive: 0, members: Vec::new() };
    reader.stream(bytes, Nesting::Outer)?;
    Ok(reader.members)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Nesting {
    Outer,
    /// Already decompressed: the kernel decompresses no second time.
    Inner,
}

struct Reader {
    limits: Limits,
    left: u64,
    archive: usize,
    members: Vec<Member>,
}

impl Reader {
    fn stream(&mut self, bytes: &[u8], nesting: Nesting) -> Result<(), ReadError> {
        let mut offset = 0;
        while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
            // As the kernel: zeros between archives are skipped, and an archive begins at a multiple of 4.
            if rest.first() == Some(&0) {
                offset = offset.saturating_add(rest.iter().take_while(|&&b| b == 0).count());
            } else if rest.starts_with(b"07070") && offset.is_multiple_of(4) {
                offset = self.archive(bytes, offset)?;
                self.archive = self.archive.saturating_add(1);
            } else if nesting == Nesting::Outer && Compression::of(rest) != Compression::None {
                let decompressed = Compression::of(rest).decompress_prefix(rest, self.left);
                let (inner, taken) = decompressed.map_err(|source| match source {
                    DecompressError::TooLarge { .. } => self.too_many_bytes(),
                    source => ReadError::Decompress { offset, source },
                })?;
                self.take(inner.len())?;
                self.stream(&inner, Nesting::Inner)?;
                offset = offset.saturating_add(taken.max(1));
            } else {
                let found = rest.iter().take(8).map(|b| format!("{b:02x}")).collect();
                return Err(ReadError::Unknown { offset, found });
            }
        }
        Ok(())
    }

    fn too_many_bytes(&self) -> ReadError {
        ReadError::TooMuch { what: "bytes", limit: self.limits.bytes }
    }

    fn take(&mut self, bytes: usize) -> Result<(), ReadError> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(bytes).ok_or_else(|| self.too_many_bytes())?;
        Ok(())
    }

    /// Reads one archive from `offset` on; returns the offset behind its trailer.
    fn archive(&mut self, bytes: &[u8], mut offset: usize) -> Result<usize, ReadError> {
        loop {
            let header = Header::parse(bytes, offset)?;
            if header.name == TRAILER {
                if header.size != 0 {
                    return Err(header.error("the trailer has contents"));
                }
                return Ok(header.contents);
            }
            if self.members.len() >= self.limits.entries {
                let limit = u64::try_from(self.limits.entries).unwrap_or(u64::MAX);
                return Err(ReadError::TooMuch { what: "entries", limit });
            }
            let end = header.contents.saturating_add(header.size);
            let contents = bytes
                .get(header.contents..end)
                .ok_or(ReadError::Truncated { what: "a file's contents", offset: header.contents })?;
            self.take(contents.len())?;
            let entry = header.entry(contents)?;
            let path = header.path()?;
            // The root directory's own entry says nothing.
            if !path.is_empty() {
                self.members.push(Member {
                    archive: self.archive,
                    path,
                    uid: header.uid,
                    gid: header.gid,
                    mtime: header.mtime,
                    entry,
                });
            }
            offset = end.saturating_add(3) & !3;
        }
    }
}

/// A newc header and its name.
struct Header {
    offset: usize,
    mode: u32,
    uid: u32,
    gid: u32,
    links: u32,
    mtime: u32,
    size: usize,
    device: (u32, u32),
    name: String,
    /// Offset of the contents.
    contents: usize,
}

impl Header {
    fn parse(bytes: &[u8], offset: usize) -> Result<Self, ReadError> {
        let truncated = |what| ReadError::Truncated { what, offset };
        let error = |what: String| ReadError::Header { offset, what };
        let header = bytes.get(offset..offset.saturating_add(110)).ok_or_else(|| truncated("a header"))?;
        let fields = header
            .strip_prefix(b"070701")
            .ok_or_else(|| error("expected the magic 070701 of newc".to_owned()))?;
        let mut numbers = fields.chunks_exact(8).map(|digits| {
            let plain = digits.iter().all(u8::is_ascii_hexdigit);
            let text = std::str::from_utf8(digits).ok().filter(|_| plain);
            text.and_then(|text| u32::from_str_radix(text, 16).ok())
                .ok_or_else(|| error("a field is not eight hex digits".to_owned()))
        });
        let mut next = || numbers.next().unwrap_or(Ok(0));
        let _inode = next()?;
        let (mode, uid, gid, links, mtime) = (next()?, next()?, next()?, next()?, next()?);
        let size = usize::try_from(next()?).unwrap_or(usize::MAX);
        let _device = (next()?, next()?);
        let device = (next()?, next()?);
        let name_size = usize::try_from(next()?).unwrap_or(usize::MAX);

        if !(1..=NAME_LIMIT).contains(&name_size) {
            return Err(error(format!("a name of {name_size} bytes: expected 1 to {NAME_LIMIT}")));
        }
        let name_at = offset.saturating_add(110);
        let name_end = name_at.saturating_add(name_size);
        let name = bytes.get(name_at..name_end).ok_or_else(|| truncated("a name"))?;
        let name = name
            .strip_suffix(&[0])
            .filter(|name| !name.contains(&0))
            .and_then(|name| std::str::from_utf8(name).ok())
            .ok_or_else(|| error("a name that is no UTF-8 text ended by one NUL".to_owned()))?;
        Ok(Self {
            offset,
            mode,
            uid,
            gid,
            links,
            mtime,
            size,
            device,
            name: name.to_owned(),
            contents: name_end.saturating_add(3) & !3,
        })
    }

    fn error(&self, what: impl Into<String>) -> ReadError {
        ReadError::Header { offset: self.offset, what: format!("'{}': {}", self.name, what.into()) }
    }

    fn path(&self) -> Result<String, ReadError> {
        let path = self.name.strip_prefix('/').unwrap_or(&self.name);
        let path = path.strip_prefix("./").unwrap_or(path);
        if path == "." || path.is_empty() {
            return Ok(String::new());
        }
        if path.split('/').any(|component| matches!(component, "" | "." | "..")) {
            return Err(self.error("a path with an empty, '.' or '..' component"));
        }
        Ok(path.to_owned())
    }

    fn entry(&self, contents: &[u8]) -> Result<Entry, ReadError> {
        let (major, minor) = self.device;
        let format = self.mode & S_IFMT;
        if !matches!(format, S_IFREG | S_IFLNK) && !contents.is_empty() {
            return Err(self.error("contents in what is no file"));
        }
        let kind = match format {
            S_IFDIR => Kind::Directory,
            // The contents of hard links hang on one of their names, so that a name alone says nothing.
            S_IFREG if self.links > 1 => return Err(self.error("a hard link, which ours never have")),
            S_IFREG => Kind::File(contents.to_vec()),
            S_IFLNK => {
                let target =
                    std::str::from_utf8(contents).ok().filter(|t| !t.is_empty() && !t.contains('\0'));
                Kind::Symlink(target.ok_or_else(|| self.error("a link without a target"))?.to_owned())
            }
            S_IFCHR => Kind::CharDevice { major, minor },
            S_IFBLK => Kind::BlockDevice { major, minor },
            S_IFIFO => Kind::Fifo,
            S_IFSOCK => Kind::Socket,
            _ => return Err(self.error(format!("unknown file type in mode {:o}", self.mode))),
        };
        Ok(Entry { mode: self.mode & 0o7777, kind })
    }
}
