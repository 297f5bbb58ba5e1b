//! A root file system in memory: metadata here, contents by reference.
//!
//! Nothing of the host's file system is touched by a [`Tree`]: device nodes, owners and capabilities are
//! data, so that a build needs no privilege. Symbolic links are resolved inside the tree only.

use std::collections::BTreeMap;
use std::sync::Arc;

use graven_verity::io::ReadAt;

/// Index of an inode in its [`Tree`]. Two names with one `InodeId` are hard links of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(u32);

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

/// Device number of a character or block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceNumber {
    /// Major, 12 bits.
    pub major: u32,
    /// Minor, 20 bits.
    pub minor: u32,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Content({} bytes at {})", self.len, self.offset)
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

/// A root file system. See the [module](self).
#[derive(Debug, Clone)]
pub struct Tree {
    inodes: Vec<Inode>,
}

impl Tree {
    /// A tree of one directory, the root.
    pub fn new(root: Metadata) -> Self {
        Self { inodes: vec![Inode { metadata: root, kind: Kind::Directory(BTreeMap::new()), origin: None }] }
    }

    /// The root directory.
    pub const ROOT: InodeId = InodeId(0);

    /// The inode behind an id of this tree.
    ///
    /// # Panics
    /// When `id` is of another tree.
    pub fn inode(&self, id: InodeId) -> &Inode {
        &self.inodes[id.0 as usize]
    }

    /// The inode behind an id of this tree, to change.
    ///
    /// # Panics
    /// When `id` is of another tree.
    pub fn inode_mut(&mut self, id: InodeId) -> &mut Inode {
        &mut self.inodes[id.0 as usize]
    }
}
