//! Folders.
//!
//! A folder in a recipe usually comes out of version control, which keeps names, contents, links and one
//! executable bit. [`Attributes::Normalised`] takes just those, so that the same commit gives the same image
//! whoever checks it out, under whatever umask and whenever.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use graven_image::tree::{Content, DeviceNumber, Inode, Kind, Metadata, TreePath};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::file::{FolderFile, Identity};
use crate::{Entry, Error, Item, Layer, Problem};

/// What is taken over from the folder beside names and contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attributes {
    /// Owner 0:0; folders 0755, files 0755 where their owner may execute them, else 0644; no extended
    /// attributes; hard links become files of their own; devices, pipes and sockets are refused.
    Normalised {
        /// Time of every entry in seconds since 1970, usually the source date.
        mtime: i64,
    },
    /// Owners, modes, times (whole seconds), extended attributes, hard links and special files as on disk, the
    /// folder's own attributes for the root.
    Kept,
}

/// Scans a folder. Symbolic links in it are taken as they are and never followed; contents are read when the
/// image is written, and refused if a file is no longer the one that was scanned.
///
/// # Errors
/// [`Error`], which names the entry.
pub fn scan(folder: &Path, attributes: Attributes, origin: Option<Arc<str>>) -> Result<Layer, Error> {
    let mut scan = Scan { attributes, origin, entries: Vec::new(), first_names: HashMap::new() };
    scan.folder(folder).map_err(|(path, problem)| Error {
        input: folder.display().to_string(),
        member: (!path.is_root()).then(|| path.to_string()),
        problem,
    })?;
    let newest_mtime = match attributes {
        Attributes::Normalised { .. } => None,
        Attributes::Kept => scan.entries.iter().filter_map(mtime).max(),
    };
    Ok(Layer { input: folder.display().to_string(), entries: scan.entries, sha256: None, newest_mtime })
}

fn mtime(entry: &Entry) -> Option<i64> {
    match &entry.item {
        Item::Inode(inode) => Some(inode.metadata.mtime),
        Item::HardLink(_) => None,
    }
}

struct Scan {
    attributes: Attributes,
    origin: Option<Arc<str>>,
    entries: Vec<Entry>,
    /// The first name of each file with more than one, by device and inode number.
    first_names: HashMap<(u64, u64), TreePath>,
}

/// A folder that is still to be read: where it goes in the tree, where it is, what it was when it was met.
struct Pending {
    path: TreePath,
    folder: Arc<Path>,
    identity: Option<Identity>,
}

type Failure = (TreePath, Problem);

impl Scan {
    fn folder(&mut self, folder: &Path) -> Result<(), Failure> {
        let mut pending = vec![Pending { path: TreePath::root(), folder: folder.into(), identity: None }];
        while let Some(next) = pending.pop() {
            let path = next.path.clone();
            let below = self.read(&next).map_err(|(name, problem)| {
                let at = name.and_then(|name| path.join(&name).ok()).unwrap_or_else(|| path.clone());
                (at, problem)
            })?;
            // The last is read first: folders come in byte order, each behind the one it is in.
            pending.extend(below.into_iter().rev());
        }
        Ok(())
    }

    /// Takes in the entries of one folder and returns the folders among them.
    fn read(&mut self, next: &Pending) -> Result<Vec<Pending>, (Option<Vec<u8>>, Problem)> {
        let here = |doing| move |error: Errno| (None, Problem::Io { doing, error: error.into() });
        // The folder itself may be a link, since its user named it; nothing below may be.
        let follow = if next.identity.is_some() { OFlags::NOFOLLOW } else { OFlags::empty() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | follow;
        let handle =
            rustix::fs::open(&*next.folder, flags, Mode::empty()).map_err(here("opening the folder"))?;
        let stat = rustix::fs::fstat(&handle).map_err(here("reading the folder"))?;
        match next.identity {
            Some(identity) if identity != Identity::from(&stat) => {
                let error = io::Error::other("the folder changed while it was scanned");
                return Err((None, Problem::Io { doing: "reading the folder", error }));
            }
            None if self.attributes == Attributes::Kept => {
                let metadata = self.metadata(&next.folder, &stat).map_err(|problem| (None, problem))?;
                self.enter(next.path.clone(), metadata, Kind::directory());
            }
            _ => {}
        }
        let mut names = Vec::new();
        let listing = rustix::fs::Dir::read_from(&handle).map_err(here("reading the folder"))?;
        for entry in listing {
            let entry = entry.map_err(here("reading the folder"))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable();
        let mut folders = Vec::new();
        for name in names {
            match self.entry(&handle, next, &name) {
                Ok(folder) => folders.extend(folder),
                Err(problem) => return Err((Some(name), problem)),
            }
        }
        Ok(folders)
    }

    fn entry(
        &mut self,
        handle: &impl rustix::fd::AsFd,
        parent: &Pending,
        name: &[u8],
    ) -> Result<Option<Pending>, Problem> {
        let failed = |error: Errno| Problem::Io { doing: "reading its attributes", error: error.into() };
        let path = parent.path.join(name)?;
        let stat = rustix::fs::statat(handle, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let on_disk = || parent.folder.join(OsStr::from_bytes(name));
        let kept = self.attributes == Attributes::Kept;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let folder: Arc<Path> = on_disk().into();
                let metadata = self.metadata(&folder, &stat)?;
                self.enter(path.clone(), metadata, Kind::directory());
                return Ok(Some(Pending { path, folder, identity: Some(Identity::from(&stat)) }));
            }
            FileType::RegularFile => Kind::File(Content {
                source: Arc::new(FolderFile::new(Arc::clone(&parent.folder), name, &stat)),
                offset: 0,
                len: u64::try_from(stat.st_size).unwrap_or(0),
            }),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(handle, name, Vec::new()).map_err(failed)?;
                Kind::Symlink(target.into_bytes().into())
            }
            FileType::CharacterDevice if kept => Kind::CharDevice(device(&stat)),
            FileType::BlockDevice if kept => Kind::BlockDevice(device(&stat)),
            FileType::Fifo if kept => Kind::Fifo,
            FileType::Socket if kept => Kind::Socket,
            FileType::CharacterDevice => return Err(Problem::SpecialFile("character device")),
            FileType::BlockDevice => return Err(Problem::SpecialFile("block device")),
            FileType::Fifo => return Err(Problem::SpecialFile("named pipe")),
            FileType::Socket => return Err(Problem::SpecialFile("socket")),
            FileType::Unknown => return Err(Problem::SpecialFile("file of unknown kind")),
        };
        if kept && stat.st_nlink > 1 {
            match self.first_names.entry(inode_number(&stat)) {
                std::collections::hash_map::Entry::Occupied(first) => {
                    self.entries.push(Entry { path, item: Item::HardLink(first.get().clone()) });
                    return Ok(None);
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(path.clone());
                }
            }
        }
        let metadata = self.metadata(&on_disk(), &stat)?;
        self.enter(path, metadata, kind);
        Ok(None)
    }

    fn enter(&mut self, path: TreePath, metadata: Metadata, kind: Kind) {
        let inode = Inode { metadata, kind, origin: self.origin.clone() };
        self.entries.push(Entry { path, item: Item::Inode(inode) });
    }

    fn metadata(&self, on_disk: &Path, stat: &Stat) -> Result<Metadata, Problem> {
        match self.attributes {
            Attributes::Normalised { mtime } => {
                let mode = match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Symlink => 0o777,
                    FileType::RegularFile if stat.st_mode & 0o100 == 0 => 0o644,
                    _ => 0o755,
                };
                Ok(Metadata { mode, mtime, ..Metadata::default() })
            }
            Attributes::Kept => Ok(Metadata {
                mode: u16::try_from(stat.st_mode & 0o7777).unwrap_or(0),
                uid: stat.st_uid,
                gid: stat.st_gid,
                mtime: seconds(stat),
                xattrs: xattrs(on_disk).map_err(|error| Problem::Io {
                    doing: "reading its extended attributes",
                    error: error.into(),
                })?,
            }),
        }
    }
}

#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
fn seconds(stat: &Stat) -> i64 {
    stat.st_mtime as i64
}

#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
fn inode_number(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
fn device(stat: &Stat) -> DeviceNumber {
    let number = stat.st_rdev as u64;
    DeviceNumber { major: rustix::fs::major(number), minor: rustix::fs::minor(number) }
}

type Xattrs = std::collections::BTreeMap<Box<[u8]>, Box<[u8]>>;

fn xattrs(on_disk: &Path) -> Result<Xattrs, Errno> {
    // Grown until they fit, since attributes may be added between asking for the size and reading.
    let mut names = vec![0; 256];
    let len = loop {
        match rustix::fs::llistxattr(on_disk, &mut names) {
            Ok(len) => break len,
            Err(Errno::RANGE) if names.len() < 1 << 16 => names.resize(names.len() * 2, 0),
            Err(Errno::NOTSUP) => return Ok(Xattrs::new()),
            Err(error) => return Err(error),
        }
    };
    let mut xattrs = Xattrs::new();
    for name in names.get(..len).unwrap_or_default().split(|byte| *byte == 0).filter(|name| !name.is_empty())
    {
        let mut value = vec![0; 256];
        let len = loop {
            match rustix::fs::lgetxattr(on_disk, name, &mut value) {
                Ok(len) => break len,
                Err(Errno::RANGE) if value.len() < 1 << 16 => value.resize(value.len() * 2, 0),
                Err(error) => return Err(error),
            }
        };
        value.truncate(len);
        xattrs.insert(name.into(), value.into());
    }
    Ok(xattrs)
}
