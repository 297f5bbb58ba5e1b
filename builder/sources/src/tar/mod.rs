//! Tar archives: V7, POSIX ustar and pax, GNU; plain, or compressed with gzip, xz or zstd.
//!
//! Stricter than tar programs, since two that read one archive differently are how things get smuggled past a
//! check: nothing is guessed, nothing skipped, and what is not understood is an error. Sub-second times and the
//! names of owners are dropped; owners are numbers.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod check;
mod header;
mod pax;

use std::path::Path;
use std::sync::Arc;

use graven_image::tree::{DeviceNumber, Error as TreeError, Inode, Kind, Metadata, TreePath, show};
use graven_verity::io::ReadAt;

use crate::file::OpenFile;
use crate::stream::Stream;
use crate::{Entry, Error, Item, Layer, Limits, Problem, Sha256, Spool};
use check::{Below, Checker};
use header::{BLOCK, Format, Header};
use pax::Extended;

/// Longest extended header or long name in bytes: 64 KiB for each of a few attributes.
const MAX_EXTENDED: u64 = 1 << 20;
/// Longest symbolic link target in bytes (`PATH_MAX` without the NUL).
const MAX_TARGET: usize = 4095;

/// Reads an archive whole and checks it, its SHA-256 first.
///
/// Contents of a plain archive are referred to in place, so that the file must stay as it is; those of a
/// compressed one go to the spool. `origin` is what [`Inode::origin`] is to say.
///
/// # Errors
/// [`Error`], which names the archive and, where it is one's fault, the member.
pub fn read(
    path: &Path,
    origin: Option<Arc<str>>,
    expected: Option<&Sha256>,
    spool: &Spool,
    limits: &Limits,
) -> Result<Layer, Error> {
    let (source, sha256) = open(path, expected)?;
    let entries = parse(source, origin, spool, limits).map_err(|bad| bad.of(path))?;
    Ok(layer(path, entries, sha256))
}

/// Opens an input and holds it against its digest, before anything in it is looked at.
pub(crate) fn open(path: &Path, expected: Option<&Sha256>) -> Result<(Arc<dyn ReadAt>, Sha256), Error> {
    let failed = |doing| move |error| Error::new(path, Problem::Io { doing, error });
    let file = OpenFile::open(path).map_err(failed("opening"))?;
    let found = Sha256::of(&file).map_err(failed("reading"))?;
    if let Some(expected) = expected.filter(|expected| **expected != found) {
        return Err(Error::new(path, Problem::Digest { expected: *expected, found }));
    }
    Ok((Arc::new(file), found))
}

pub(crate) fn layer(path: &Path, entries: Vec<Entry>, sha256: Sha256) -> Layer {
    let times = entries.iter().filter_map(|entry| match &entry.item {
        Item::Inode(inode) => Some(inode.metadata.mtime),
        Item::HardLink(_) => None,
    });
    let newest_mtime = times.max();
    Layer { input: path.display().to_string(), entries, sha256: Some(sha256), newest_mtime }
}

/// A problem and the member that has it.
#[derive(Debug)]
pub(crate) struct Bad {
    pub(crate) member: Option<String>,
    pub(crate) problem: Problem,
}

impl Bad {
    pub(crate) fn of(self, path: &Path) -> Error {
        Error { input: path.display().to_string(), member: self.member, problem: self.problem }
    }
}

/// The entries of an archive that is a file or lies within one.
pub(crate) fn parse(
    source: Arc<dyn ReadAt>,
    origin: Option<Arc<str>>,
    spool: &Spool,
    limits: &Limits,
) -> Result<Vec<Entry>, Bad> {
    let stream = Stream::open(source, spool, limits).map_err(|problem| Bad { member: None, problem })?;
    let mut reader = Reader::new(stream, origin, limits, Below::Nothing);
    reader.entries().map_err(|problem| Bad { member: reader.member, problem })
}

/// What one archive changes in what lies below it.
pub(crate) struct Changes {
    pub(crate) entries: Vec<Entry>,
    /// How the archive is compressed; none where it is not.
    pub(crate) compression: Option<&'static str>,
    /// SHA-256 of the archive unpacked; none where it is not compressed.
    pub(crate) unpacked_sha256: Option<Sha256>,
    /// Bytes of the archive unpacked.
    pub(crate) unpacked_bytes: u64,
    /// Headers that it has.
    pub(crate) members: u64,
}

/// The entries of an archive that lies over others, of which its hard links may name files.
pub(crate) fn parse_changes(
    source: Arc<dyn ReadAt>,
    origin: Option<Arc<str>>,
    spool: &Spool,
    limits: &Limits,
) -> Result<Changes, Bad> {
    let stream = Stream::open(source, spool, limits).map_err(|problem| Bad { member: None, problem })?;
    let mut reader = Reader::new(stream.hashed(), origin, limits, Below::Layers);
    match reader.entries() {
        Ok(entries) => Ok(Changes {
            entries,
            compression: reader.stream.compression(),
            unpacked_sha256: reader.stream.digest(),
            unpacked_bytes: reader.stream.position(),
            members: reader.headers,
        }),
        Err(problem) => Err(Bad { member: reader.member, problem }),
    }
}

struct Reader<'a> {
    stream: Stream<'a>,
    origin: Option<Arc<str>>,
    limits: &'a Limits,
    headers: u64,
    global: Extended,
    checker: Checker,
    /// The member that is being read, for messages.
    member: Option<String>,
}

/// What stands before a member and belongs to it.
#[derive(Default)]
struct Before {
    extended: Option<Extended>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<'a> Reader<'a> {
    fn new(stream: Stream<'a>, origin: Option<Arc<str>>, limits: &'a Limits, below: Below) -> Self {
        let checker = Checker::new(below);
        Self { stream, origin, limits, headers: 0, global: Extended::default(), checker, member: None }
    }

    fn entries(&mut self) -> Result<Vec<Entry>, Problem> {
        let mut entries = Vec::new();
        let mut before = Before::default();
        while let Some(header) = self.header()? {
            match header.typeflag {
                b'x' => {
                    let mut extended = self.global.clone();
                    extended.read(&self.body(&header)?)?;
                    once(&mut before.extended, extended, "extended headers")?;
                }
                b'L' => once(&mut before.long_name, self.long(&header)?, "long names")?,
                b'K' => once(&mut before.long_link, self.long(&header)?, "long link targets")?,
                b'g' => {
                    let records = self.body(&header)?;
                    self.global.read(&records)?;
                    if self.global.path.is_some()
                        || self.global.linkpath.is_some()
                        || self.global.size.is_some()
                    {
                        let message = "a global header gives all members one name or size".to_owned();
                        return Err(Problem::Damaged(message));
                    }
                }
                _ => {
                    let entry = self.entry(&header, std::mem::take(&mut before))?;
                    self.checker.admit(&entry)?;
                    entries.push(entry);
                    self.member = None;
                }
            }
        }
        if before.extended.is_some() || before.long_name.is_some() || before.long_link.is_some() {
            return Err(Problem::Damaged(
                "the archive ends after a header that belongs to a member".to_owned(),
            ));
        }
        Ok(entries)
    }

    /// The next header; none after the end-of-archive blocks, after which there must be nothing.
    fn header(&mut self) -> Result<Option<Header>, Problem> {
        let mut block = [0; BLOCK];
        let position = self.stream.position();
        self.stream.fill_all(&mut block, "the next header (or the two blocks of zeros at the end)")?;
        if block == [0; BLOCK] {
            self.stream.fill_all(&mut block, "the second block of zeros at the end")?;
            loop {
                let position = self.stream.position();
                if block != [0; BLOCK] {
                    let message = "there is something after the end of the archive, before byte ";
                    return Err(Problem::Damaged(format!("{message}{position}")));
                }
                let filled = self.stream.fill(&mut block)?;
                if filled == 0 {
                    return Ok(None);
                }
                block.get_mut(filled..).unwrap_or_default().fill(0);
            }
        }
        self.headers = self.headers.saturating_add(1);
        if self.headers > self.limits.members {
            let limit = self.limits.members;
            return Err(Problem::Limit { name: "members", what: "members", limit });
        }
        let header = Header::parse(&block).map_err(|problem| match problem {
            Problem::Damaged(message) => Problem::Damaged(format!("{message} (at byte {position})")),
            other => other,
        })?;
        // The header's own name tells more than the name of the member before.
        self.member = Some(show(&header.name()));
        Ok(Some(header))
    }

    /// The contents of a header that is no file: small, and kept in memory.
    fn body(&mut self, header: &Header) -> Result<Vec<u8>, Problem> {
        let size = header.size()?;
        if size > MAX_EXTENDED {
            let message = format!("an extended header of {size} bytes; at most {MAX_EXTENDED} are sensible");
            return Err(Problem::Damaged(message));
        }
        self.stream.announce(size, "an extended header")?;
        let mut body = vec![0; usize::try_from(size).unwrap_or(0)];
        self.stream.fill_all(&mut body, "an extended header")?;
        self.padding(size)?;
        Ok(body)
    }

    /// A GNU long name: ended by NUL.
    fn long(&mut self, header: &Header) -> Result<Vec<u8>, Problem> {
        let mut name = self.body(header)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    fn padding(&mut self, size: u64) -> Result<(), Problem> {
        let over = size.checked_rem(BLOCK as u64).and_then(|over| usize::try_from(over).ok()).unwrap_or(0);
        let mut padding = [0; BLOCK];
        if let Some(rest) = padding.get_mut(over..).filter(|_| over > 0) {
            self.stream.fill_all(rest, "the padding of the last block")?;
        }
        Ok(())
    }

    fn entry(&mut self, header: &Header, before: Before) -> Result<Entry, Problem> {
        let extended = before.extended.unwrap_or_else(|| self.global.clone());
        let name = one_of(extended.path, before.long_name, "names")?.unwrap_or_else(|| header.name());
        self.member = Some(show(&name));
        let path = path_of(&name)?;
        let link = one_of(extended.linkpath, before.long_link, "link targets")?
            .unwrap_or_else(|| header.linkname().to_vec());
        let size = match extended.size {
            Some(size) => size,
            None => header.size()?,
        };
        let directory_by_name = name.ends_with(b"/");
        let typeflag = match header.typeflag {
            0 | b'0' if directory_by_name && header.format() == Format::V7 => b'5',
            0 | b'7' => b'0',
            other => other,
        };
        if typeflag != b'0' && size != 0 {
            let kind = char::from(typeflag).escape_default();
            let message =
                format!("a member of type `{kind}` has no contents, but this one says {size} bytes");
            return Err(Problem::Damaged(message));
        }
        let kind = match typeflag {
            b'0' if directory_by_name => {
                return Err(Problem::Damaged("a regular file whose name ends in `/`".to_owned()));
            }
            b'0' => {
                let content = self.stream.contents(size)?;
                self.padding(size)?;
                Kind::File(content)
            }
            b'1' => return Ok(Entry { path, item: Item::HardLink(hard_link_target(&link)?) }),
            b'2' => Kind::Symlink(symlink_target(&path, &link)?),
            b'3' => Kind::CharDevice(device(header)?),
            b'4' => Kind::BlockDevice(device(header)?),
            b'5' => Kind::directory(),
            b'6' => Kind::Fifo,
            b'S' => return Err(pax::sparse()),
            other => {
                let what = format!("a member of type `{}`", char::from(other).escape_default());
                return Err(Problem::Unsupported { what, instead: "repack with `tar --format=pax`" });
            }
        };
        let metadata = Metadata {
            mode: header.mode()?,
            uid: owner("owner", extended.uid.map_or_else(|| header.uid(), Ok)?)?,
            gid: owner("group", extended.gid.map_or_else(|| header.gid(), Ok)?)?,
            mtime: extended.mtime.map_or_else(|| header.mtime(), Ok)?,
            xattrs: extended.xattrs,
        };
        Ok(Entry { path, item: Item::Inode(Inode { metadata, kind, origin: self.origin.clone() }) })
    }
}

fn once<T>(place: &mut Option<T>, value: T, what: &str) -> Result<(), Problem> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Problem::Damaged(format!("two {what} for one member"))),
    }
}

fn one_of<T>(pax: Option<T>, gnu: Option<T>, what: &str) -> Result<Option<T>, Problem> {
    match (pax, gnu) {
        (Some(_), Some(_)) => Err(Problem::Damaged(format!("two {what}, in POSIX's and in GNU's form"))),
        (pax, gnu) => Ok(pax.or(gnu)),
    }
}

fn path_of(name: &[u8]) -> Result<TreePath, Problem> {
    if name.starts_with(b"/") {
        return Err(Problem::Absolute);
    }
    TreePath::parse(name).map_err(|error| match error {
        TreeError::Path { problem, .. } => Problem::Name(problem),
        other => Problem::Tree(other),
    })
}

fn hard_link_target(link: &[u8]) -> Result<TreePath, Problem> {
    if link.starts_with(b"/") {
        return Err(Problem::LinkOutOfTree(show(link)));
    }
    TreePath::parse(link).map_err(|_| Problem::LinkOutOfTree(show(link)))
}

/// The target as it is. It must not climb above the root, counted from where the link is; what it meets on the way
/// is another matter, which [`TreePath`] resolution settles inside the tree.
fn symlink_target(path: &TreePath, target: &[u8]) -> Result<Box<[u8]>, Problem> {
    if target.is_empty() || target.len() > MAX_TARGET || target.contains(&0) {
        let message = format!("a symbolic link needs a target of 1 to {MAX_TARGET} bytes without NUL");
        return Err(Problem::Damaged(message));
    }
    let start = if target.starts_with(b"/") { 0 } else { path.components().count().saturating_sub(1) };
    let end = target.split(|byte| *byte == b'/').try_fold(start, |depth, component| match component {
        b"" | b"." => Some(depth),
        b".." => depth.checked_sub(1),
        _ => depth.checked_add(1),
    });
    end.map(|_| target.into()).ok_or_else(|| Problem::LinkOutOfTree(show(target)))
}

fn device(header: &Header) -> Result<DeviceNumber, Problem> {
    let (major, minor) = header.device()?;
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) if major < 1 << 12 && minor < 1 << 20 => Ok(DeviceNumber { major, minor }),
        _ => {
            let message = format!("device number {major}:{minor}; Linux has 12 and 20 bits for it");
            Err(Problem::Damaged(message))
        }
    }
}

fn owner(which: &str, id: u64) -> Result<u32, Problem> {
    // 2^32 - 1 is "no such id" in system calls.
    u32::try_from(id)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or_else(|| Problem::Damaged(format!("{which} {id}; Linux has ids up to 4294967294")))
}
