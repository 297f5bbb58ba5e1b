//! The initramfs: a newc archive written by us, compressed as the kernel takes it, and read back strictly.
//!
//! Format: `Documentation/driver-api/early-userspace/buffer-format.rst` and `init/initramfs.c` of Linux 7.3.

mod newc;
mod read;

use std::collections::BTreeMap;

use crate::compression::Compression;
use crate::kernel::Config;

pub use newc::WriteError;
pub use read::{Limits, Member, ReadError, members, parse};

/// One entry of the archive. Owner and time are always 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Permission bits, such as 0o755.
    pub mode: u32,
    /// What it is.
    pub kind: Kind,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file and its contents.
    File(Vec<u8>),
    /// A symbolic link and its target.
    Symlink(String),
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// An initramfs under construction: each path once, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Initramfs {
    entries: BTreeMap<String, Entry>,
}

impl Initramfs {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// What every stage0 needs: `/dev/console` (the kernel opens it for descriptors 0 to 2 before it starts `/init`),
    /// the mount points, and the folder of the modules.
    pub fn for_stage0() -> Self {
        let mut initramfs = Self::new();
        for path in ["/dev", "/proc", "/sys", "/root", graven_handoff::initramfs::MODULES] {
            initramfs.directory(path, 0o755);
        }
        let console = Entry { mode: 0o600, kind: Kind::CharDevice { major: 5, minor: 1 } };
        initramfs.insert("/dev/console", console);
        initramfs
    }

    /// Puts an entry at an absolute path, in place of one that is there. Missing parents become directories of mode 755.
    pub fn insert(&mut self, path: &str, entry: Entry) {
        let path = path.trim_matches('/');
        for (end, _) in path.match_indices('/') {
            if let Some(parent) = path.get(..end) {
                let directory = Entry { mode: 0o755, kind: Kind::Directory };
                self.entries.entry(parent.to_owned()).or_insert(directory);
            }
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// Puts a directory.
    pub fn directory(&mut self, path: &str, mode: u32) {
        self.insert(path, Entry { mode, kind: Kind::Directory });
    }

    /// Puts a file.
    pub fn file(&mut self, path: &str, mode: u32, contents: impl Into<Vec<u8>>) {
        self.insert(path, Entry { mode, kind: Kind::File(contents.into()) });
    }

    /// Puts a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.insert(path, Entry { mode: 0o777, kind: Kind::Symlink(target.to_owned()) });
    }

    /// All entries by path without leading slash, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// The entry at a path.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path.trim_matches('/'))
    }

    /// The archive's bytes, uncompressed: the same for the same entries.
    pub fn write(&self) -> Result<Vec<u8>, WriteError> {
        newc::write(&self.entries)
    }

    /// The archive, compressed: the same bytes for the same entries.
    pub fn write_compressed(&self, compression: Compression) -> Result<Vec<u8>, WriteError> {
        Ok(compression.compress(&self.write()?)?)
    }
}

/// The best compression that this kernel can unpack.
pub fn compression_for(config: &Config) -> Compression {
    [("RD_ZSTD", Compression::Zstd), ("RD_XZ", Compression::Xz), ("RD_GZIP", Compression::Gzip)]
        .into_iter()
        .find(|(symbol, _)| config.is_built_in(symbol))
        .map_or(Compression::None, |(_, compression)| compression)
}
