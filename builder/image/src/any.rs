//! Whichever of the file systems of a root an image holds, read the same way.

use graven_verity::io::ReadAt;
use uuid::Uuid;

use crate::damage;
use crate::erofs;
use crate::ext4;
use crate::probe::{self, FileSystem, ProbeError};
use crate::squashfs;
use crate::tree::{self, Inode, Kind, Tree, TreePath};

/// An image whose superblock has been found good.
#[derive(Debug)]
pub enum Reader<R> {
    /// EROFS, compressed or not.
    Erofs(erofs::Reader<R>),
    /// squashfs.
    Squashfs(squashfs::Reader<R>),
    /// ext4.
    Ext4(ext4::Reader<R>),
}

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// None of the three, or not mountable as it is.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// As EROFS.
    #[error(transparent)]
    Erofs(#[from] erofs::ReadError),
    /// As squashfs or ext4.
    #[error(transparent)]
    Other(#[from] damage::ReadError),
}

/// What a path leads to.
#[derive(Debug, Clone)]
pub struct Found {
    /// The path without symbolic links.
    pub path: TreePath,
    /// The inode; of a directory without its children.
    pub inode: Inode,
}

/// Why a path leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The image cannot be read, or is bad.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// As EROFS.
    #[error(transparent)]
    Erofs(#[from] erofs::read::LookupError),
    /// There is nothing.
    #[error(transparent)]
    Path(#[from] tree::Error),
}

impl<R: ReadAt + 'static> Reader<R> {
    /// Tells the file system from its superblock, and opens it.
    ///
    /// # Errors
    /// [`ReadError`] of that file system.
    pub fn open(image: R) -> Result<Self, ReadError> {
        Ok(match probe::probe(&image)?.file_system {
            FileSystem::Erofs => Self::Erofs(erofs::Reader::open(image)?),
            FileSystem::Squashfs => Self::Squashfs(squashfs::Reader::open(image)?),
            FileSystem::Ext4 => Self::Ext4(ext4::Reader::open(image)?),
        })
    }

    /// Which it is.
    pub fn file_system(&self) -> FileSystem {
        match self {
            Self::Erofs(_) => FileSystem::Erofs,
            Self::Squashfs(_) => FileSystem::Squashfs,
            Self::Ext4(_) => FileSystem::Ext4,
        }
    }

    /// Length of the file system in bytes, whole blocks of 4,096: squashfs counts single bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Erofs(reader) => reader.bytes(),
            Self::Squashfs(reader) => reader.bytes().next_multiple_of(4096),
            Self::Ext4(reader) => reader.bytes(),
        }
    }

    /// Identity of the file system; squashfs has none.
    pub fn uuid(&self) -> Option<Uuid> {
        match self {
            Self::Erofs(reader) => Some(reader.uuid()),
            Self::Squashfs(_) => None,
            Self::Ext4(reader) => Some(reader.uuid()),
        }
    }

    /// Everything that the image holds. Contents of files stay in the image and are read through it.
    ///
    /// # Errors
    /// [`ReadError`] with the path and what is wrong with it.
    pub fn tree(&self) -> Result<Tree, ReadError> {
        Ok(match self {
            Self::Erofs(reader) => reader.tree()?,
            Self::Squashfs(reader) => reader.tree()?,
            Self::Ext4(reader) => reader.tree()?,
        })
    }

    /// The inode at `path`, symbolic links followed inside the image. Of EROFS only what is on the way is read, of the others
    /// all that is not contents.
    ///
    /// # Errors
    /// [`LookupError`], which names the path and what is wrong on the way.
    pub fn lookup(&self, path: &TreePath) -> Result<Found, LookupError> {
        if let Self::Erofs(reader) = self {
            let erofs::read::Found { path, inode, .. } = reader.lookup(path)?;
            return Ok(Found { path, inode });
        }
        let tree = self.tree()?;
        let mut inode = tree.inode(tree.resolve(path)?).clone();
        if let Kind::Directory(children) = &mut inode.kind {
            children.clear();
        }
        Ok(Found { path: tree.canonical(path)?, inode })
    }
}

impl LookupError {
    /// Whether the image is at fault, rather than the path.
    pub fn is_bad_image(&self) -> bool {
        matches!(self, Self::Read(_) | Self::Erofs(erofs::read::LookupError::Read(_)))
    }

    /// Whether what holds the image failed.
    pub fn is_io(&self) -> bool {
        match self {
            Self::Read(error) => error.is_io(),
            Self::Erofs(erofs::read::LookupError::Read(error)) => {
                matches!(error, erofs::ReadError::Io { .. })
            }
            _ => false,
        }
    }
}

impl ReadError {
    /// Whether what holds the image failed, rather than the image.
    pub fn is_io(&self) -> bool {
        matches!(
            self,
            Self::Probe(ProbeError::Io(_))
                | Self::Erofs(erofs::ReadError::Io { .. })
                | Self::Other(damage::ReadError::Io { .. })
        )
    }
}
