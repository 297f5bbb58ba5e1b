//! A root file system in memory: metadata here, contents by reference.
//!
//! Nothing of the host's file system is touched by a [`Tree`]: device nodes, owners and capabilities are
//! data, so that a build needs no privilege. Symbolic links are resolved inside the tree only: an absolute
//! target starts at the tree's root, and `..` of the root is the root, as in a chroot.
//!
//! ```
//! use graven_image::tree::{Inode, Kind, Metadata, Tree, TreePath};
//!
//! let mut tree = Tree::new(Metadata { mode: 0o755, ..Metadata::default() });
//! tree.make_directories(&TreePath::parse(b"/usr/bin")?, &Metadata { mode: 0o755, ..Metadata::default() })?;
//! tree.insert(&TreePath::parse(b"/bin")?, Inode::new(Metadata::default(), Kind::Symlink(b"usr/bin".as_slice().into())))?;
//! tree.insert(&TreePath::parse(b"/bin/sh")?, Inode::new(Metadata::default(), Kind::Fifo))?;
//! assert!(tree.lookup(&TreePath::parse(b"/usr/bin/sh")?).is_ok());
//! # Ok::<(), graven_image::tree::Error>(())
//! ```

mod change;
mod compare;
mod path;
mod resolve;
#[cfg(test)]
mod tests;
mod walk;

pub use compare::{Aspect, Difference, Names, compare, diff};
pub use path::{MAX_COMPONENT, MAX_PATH, PathProblem, TreePath, show};
pub use walk::{Below, Walk, WalkEntry};

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use graven_verity::io::{ReadAt, Window};

/// Index of an inode in its [`Tree`]. Two names with one `InodeId` are hard links of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(u32);

impl InodeId {
    /// Position in tables of [`Tree::slots`] entries that a caller keeps beside the tree.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One component of a path: not empty, no `/`, no NUL, not `.` or `..`, at most 255 bytes.
pub type Name = Box<[u8]>;

/// What every inode has, whatever its kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Permission bits with set-uid, set-gid and sticky: `0o7777` at most.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time in seconds since 1970.
    pub mtime: i64,
    /// Extended attributes by full name (`security.capability`), file capabilities among them.
    pub xattrs: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

/// Bytes of a regular file, by reference: `len` bytes of `source` from `offset` on.
#[derive(Clone)]
pub struct Content {
    /// Where the bytes are; read while the image is written, several threads at once.
    pub source: Arc<dyn ReadAt>,
    /// First byte in `source`.
    pub offset: u64,
    /// Length of the file in bytes.
    pub len: u64,
}

impl Content {
    /// The bytes of `bytes`, kept in memory.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Vec<u8> = bytes.into();
        Self { offset: 0, len: bytes.len() as u64, source: Arc::new(bytes) }
    }

    /// As a source of its own.
    pub fn window(&self) -> Window<&dyn ReadAt> {
        Window::new(&*self.source, self.offset, self.len)
    }

    /// Fills `buf` with the bytes of the file from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] past the file's end, and whatever the source says.
    pub fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        let start = self.offset.checked_add(offset).ok_or(io::ErrorKind::UnexpectedEof)?;
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.source.read_exact_at(buf, start)
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Content({} bytes at {})", self.len, self.offset)
    }
}

/// Device number of a character or block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceNumber {
    /// Major, 12 bits.
    pub major: u32,
    /// Minor, 20 bits.
    pub minor: u32,
}

impl DeviceNumber {
    /// Out of 32 bits, as file systems have it (Linux's `new_decode_dev`): minor 0–7, major 8–19, minor 20–31.
    pub(crate) fn decode(number: u32) -> Self {
        Self { major: (number >> 8) & 0xfff, minor: (number & 0xff) | ((number >> 12) & 0xf_ff00) }
    }

    /// The same bits, of numbers that fit them.
    pub(crate) fn encode(self) -> u32 {
        (self.minor & 0xff) | (self.major << 8) | ((self.minor & !0xff) << 12)
    }
}

/// What an inode is, with what only that kind has.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Children by name, in byte order.
    Directory(BTreeMap<Name, InodeId>),
    /// A regular file.
    File(Content),
    /// Target, as stored: never followed outside the tree.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice(DeviceNumber),
    /// A block device.
    BlockDevice(DeviceNumber),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Kind {
    /// A directory without children, as [`Tree::insert`] takes it.
    pub fn directory() -> Self {
        Self::Directory(BTreeMap::new())
    }

    /// The kind in words, for messages.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Directory(_) => "directory",
            Self::File(_) => "regular file",
            Self::Symlink(_) => "symbolic link",
            Self::CharDevice(_) => "character device",
            Self::BlockDevice(_) => "block device",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
        }
    }
}

/// A file of whatever kind.
#[derive(Debug, Clone)]
pub struct Inode {
    /// Owner, mode, time, extended attributes.
    pub metadata: Metadata,
    /// Kind and contents.
    pub kind: Kind,
    /// The source that brought it (a package's `name=version`, a recipe line), for `files.json`.
    pub origin: Option<Arc<str>>,
}

impl Inode {
    /// An inode that names no source.
    pub fn new(metadata: Metadata, kind: Kind) -> Self {
        Self { metadata, kind, origin: None }
    }
}

/// A root file system. See the [module](self).
#[derive(Debug, Clone)]
pub struct Tree {
    inodes: Vec<Inode>,
    /// Names of each inode; 0 for a slot that is free.
    links: Vec<u32>,
    free: Vec<InodeId>,
}

impl Tree {
    /// A tree of one directory, the root.
    pub fn new(root: Metadata) -> Self {
        Self { inodes: vec![Inode::new(root, Kind::directory())], links: vec![1], free: Vec::new() }
    }

    /// The root directory.
    pub const ROOT: InodeId = InodeId(0);

    /// The inode behind an id of this tree.
    ///
    /// # Panics
    /// When `id` is of another tree.
    pub fn inode(&self, id: InodeId) -> &Inode {
        &self.inodes[id.index()]
    }

    /// The inode behind an id of this tree, to change metadata, contents or origin. Names are given and taken
    /// with [`insert`](Self::insert), [`hard_link`](Self::hard_link) and [`remove`](Self::remove), never by
    /// changing a directory's map: the count of links would be wrong.
    ///
    /// # Panics
    /// When `id` is of another tree.
    pub fn inode_mut(&mut self, id: InodeId) -> &mut Inode {
        &mut self.inodes[id.index()]
    }

    /// How many names an inode has: 1 unless there are hard links; the root has 1. (`st_nlink` of a directory,
    /// which counts `.` and `..`, is the file system writer's business.)
    ///
    /// # Panics
    /// When `id` is of another tree.
    pub fn links(&self, id: InodeId) -> u32 {
        self.links[id.index()]
    }

    /// How many inodes there are, the root included.
    #[expect(clippy::len_without_is_empty, reason = "a tree always has its root")]
    pub fn len(&self) -> usize {
        self.inodes.len() - self.free.len()
    }

    /// One more than the largest [`InodeId::index`] in use.
    pub fn slots(&self) -> usize {
        self.inodes.len()
    }

    /// No inode keeps a time later than `latest` (seconds since 1970).
    pub fn clamp_mtimes(&mut self, latest: i64) {
        for inode in &mut self.inodes {
            inode.metadata.mtime = inode.metadata.mtime.min(latest);
        }
    }
}

/// Why a tree could not be read or changed. Paths are shown as in the recipe, bytes that are not text escaped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path that no tree can have.
    #[error("`{path}` is no path inside the tree: {problem}")]
    Path {
        /// As given.
        path: String,
        /// What is wrong with it.
        problem: PathProblem,
    },
    /// Nothing has that name.
    #[error("`{path}`: no such file in the tree{}", missing_part(path, missing))]
    NotFound {
        /// What was looked for.
        path: String,
        /// The part of it that is not there.
        missing: String,
    },
    /// A path goes through something that is no directory.
    #[error("`{path}`: `{component}` is a {found}, not a directory")]
    NotADirectory {
        /// What was looked for.
        path: String,
        /// Where it stopped.
        component: String,
        /// What is there.
        found: &'static str,
    },
    /// More than 40 symbolic links, most likely a loop.
    #[error("`{0}`: more than 40 symbolic links on the way, most likely they form a loop")]
    TooManySymlinks(String),
    /// Something that is no directory would replace one with children, or the root.
    #[error("`{path}`: a {new} cannot replace a directory that has entries; remove the directory first")]
    DirectoryInTheWay {
        /// Where.
        path: String,
        /// What was to be put there.
        new: &'static str,
    },
    /// A directory would replace something else.
    #[error("`{path}`: a directory cannot replace a {found}; remove it first")]
    NotReplacedByDirectory {
        /// Where.
        path: String,
        /// What is there.
        found: &'static str,
    },
    /// Directories have one name.
    #[error("`{new}`: hard link to the directory `{existing}`; directories have one name only")]
    HardLinkToDirectory {
        /// The name that was to be made.
        new: String,
        /// The directory.
        existing: String,
    },
    /// A directory was given with children of its own.
    #[error("`{0}`: a directory is inserted without its entries; insert them one by one")]
    DirectoryWithEntries(String),
    /// The root is always there.
    #[error("the root directory cannot be {0}")]
    Root(&'static str),
    /// Ids are 32 bits.
    #[error("`{0}`: the tree has 4,294,967,295 inodes already")]
    TooManyInodes(String),
    /// Contents of something that has none.
    #[error("`{path}` is a {found}, not a regular file")]
    NotAFile {
        /// Which.
        path: String,
        /// What it is.
        found: &'static str,
    },
    /// Longer than the reader takes.
    #[error("`{path}` has {len} bytes, at most {limit} are expected here")]
    TooLarge {
        /// Which.
        path: String,
        /// Its length in bytes.
        len: u64,
        /// What the caller allows.
        limit: u64,
    },
    /// The source of the contents failed.
    #[error("`{path}`: reading its contents failed")]
    Read {
        /// Which.
        path: String,
        /// What the source said.
        source: io::Error,
    },
}

fn missing_part(path: &str, missing: &str) -> String {
    if path == missing { String::new() } else { format!(" (`{missing}` is missing)") }
}
