//! Parts of an image, copied out: what a user can name, and where it may go.
//!
//! Nothing is written through a symbolic link and nothing is overwritten: the destination must not exist, and all below
//! it is made new. Names come from file systems whose readers take no `/`, `..` or empty component.

mod folder;

pub use folder::{Extracted, to_folder, to_new_file};

use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use graven_boot::initramfs::{Initramfs, Kind as ArchiveKind};
use graven_image::fat::EntryKind;
use graven_image::tar::{self, TarError};
use graven_image::tree::{self, Content, DeviceNumber, Inode, InodeId, Kind, Metadata, Tree, TreePath};
use graven_verity::io::{ReadAt, Window, read_through};

use crate::contents::{Contents, ContentsError, Part};
use crate::links::shown;
use crate::prove::Disk;

/// What a user names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// `/path`: of the root.
    Root(TreePath),
    /// `initramfs:/path`
    Initramfs(TreePath),
    /// `esp:/path`: of the EFI system partition.
    Esp(TreePath),
    /// `uki`, `kernel`, `policy` …
    Part(Part),
    /// `esp`, `root`, `root-verity`, `root-verity-sig`: the partition's raw bytes.
    Partition(&'static str),
    /// `partition:NAME`: the raw bytes of the partition that the table names so, a volume's for one.
    Named(String),
}

/// Partitions that can be named.
pub const PARTITIONS: [&str; 4] = ["esp", "root", "root-verity", "root-verity-sig"];

/// Something that was named, found.
pub enum Selected {
    /// A file or folder of a tree.
    Tree(Tree, InodeId),
    /// A part in memory.
    Bytes(Vec<u8>),
    /// A partition.
    Partition(Window<Disk>),
}

/// Why nothing was copied out.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// No such name.
    #[error(
        "{0:?} names nothing: give a path of the root (/etc/os-release), initramfs:/PATH, esp:/PATH, partition:NAME, one \
         of {1}"
    )]
    Name(String, String),
    /// Not exactly one partition of that name.
    #[error("expected one partition named {name:?}, found {found}; `graven inspect` lists them")]
    Partition {
        /// The name.
        name: String,
        /// How many have it.
        found: usize,
    },
    /// The image.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// A path that is not there.
    #[error(transparent)]
    Path(#[from] tree::Error),
    /// Something is there already.
    #[error("{} exists; nothing is overwritten: choose another name", .0.display())]
    Exists(PathBuf),
    /// The destination or the image failed.
    #[error("{what}")]
    Io {
        /// What was being written.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something that a tar archive cannot hold.
    #[error("{path}: {problem}")]
    Tar {
        /// Which file.
        path: String,
        /// What is wrong.
        problem: &'static str,
    },
}

impl From<TarError> for ExtractError {
    fn from(error: TarError) -> Self {
        match error {
            TarError::Unfit { path, problem } => Self::Tar { path, problem },
            TarError::Io { path, source } => Self::Io { what: path, source },
        }
    }
}

impl FromStr for Selection {
    type Err = ExtractError;

    fn from_str(text: &str) -> Result<Self, ExtractError> {
        let path = |path: &str| TreePath::parse(path.as_bytes());
        if let Some(below) = text.strip_prefix("initramfs:") {
            return Ok(Self::Initramfs(path(below)?));
        }
        if let Some(below) = text.strip_prefix("esp:") {
            return Ok(Self::Esp(path(below)?));
        }
        if let Some(name) = text.strip_prefix("partition:") {
            return Ok(Self::Named(name.to_owned()));
        }
        if text.starts_with('/') {
            return Ok(Self::Root(path(text)?));
        }
        if let Some(name) = PARTITIONS.into_iter().find(|name| *name == text) {
            return Ok(Self::Partition(name));
        }
        match Part::from_name(text) {
            Some(part) => Ok(Self::Part(part)),
            None => {
                let names = Part::ALL.map(Part::name).into_iter().chain(PARTITIONS);
                Err(ExtractError::Name(text.to_owned(), names.collect::<Vec<_>>().join(", ")))
            }
        }
    }
}

/// Finds what was named. Symbolic links in paths are followed inside their file system.
///
/// # Errors
/// Where it is not there or cannot be read.
pub fn select(contents: &Contents, selection: &Selection) -> Result<Selected, ExtractError> {
    let within = |tree: Tree, path: &TreePath| {
        let id = tree.resolve(path)?;
        Ok(Selected::Tree(tree, id))
    };
    match selection {
        Selection::Root(path) => within(contents.tree()?, path),
        Selection::Initramfs(path) => within(tree_of_initramfs(&contents.boot()?.initramfs)?, path),
        Selection::Esp(path) => within(tree_of_esp(contents)?, path),
        Selection::Part(part) => Ok(Selected::Bytes(contents.part(*part)?)),
        Selection::Named(name) => {
            let table = &contents.layout().table.partitions;
            let named: Vec<_> = table.iter().filter(|partition| partition.name == *name).collect();
            match named.as_slice() {
                [partition] => Ok(Selected::Partition(contents.partition(partition))),
                _ => Err(ExtractError::Partition { name: shown(name), found: named.len() }),
            }
        }
        Selection::Partition(name) => {
            let layout = contents.layout();
            let partition = match *name {
                "esp" => &layout.esp,
                "root" => &layout.root,
                "root-verity" => &layout.verity,
                _ => &layout.signature,
            };
            Ok(Selected::Partition(contents.partition(partition)))
        }
    }
}

/// Writes what was selected, a file of a tree included, to `out`.
///
/// # Errors
/// A directory or special file, and what reading and writing say.
pub fn print(selected: &Selected, out: &mut dyn io::Write) -> Result<(), ExtractError> {
    let failed = |source| ExtractError::Io { what: "copying".to_owned(), source };
    match selected {
        Selected::Bytes(bytes) => out.write_all(bytes).map_err(failed),
        Selected::Partition(window) => copy(window, out).map_err(failed),
        Selected::Tree(tree, id) => match &tree.inode(*id).kind {
            Kind::File(content) => copy(&content.window(), out).map_err(failed),
            other => Err(tree::Error::NotAFile { path: "this".to_owned(), found: other.noun() }.into()),
        },
    }
}

/// Writes a file or folder of a tree as a pax archive, owners, devices and extended attributes included.
///
/// # Errors
/// What tar cannot hold, and what reading and writing say.
pub fn to_tar(tree: &Tree, start: InodeId, out: impl io::Write) -> Result<(), ExtractError> {
    Ok(tar::write(tree, start, out)?)
}

fn copy(source: &dyn ReadAt, out: &mut dyn io::Write) -> io::Result<()> {
    read_through(source, |piece| out.write_all(piece))
}

fn describe(path: &[u8]) -> String {
    shown(&String::from_utf8_lossy(path))
}

fn tree_of_initramfs(initramfs: &Initramfs) -> Result<Tree, ExtractError> {
    let metadata =
        |mode: u32| Metadata { mode: u16::try_from(mode & 0o7777).unwrap_or(0), ..Metadata::default() };
    let mut tree = Tree::new(metadata(0o755));
    for (path, entry) in initramfs.entries() {
        let path = TreePath::parse(path.as_bytes())?;
        let device = |major: u32, minor: u32| DeviceNumber { major, minor };
        let kind = match &entry.kind {
            ArchiveKind::Directory => Kind::directory(),
            ArchiveKind::File(contents) => Kind::File(Content::from_bytes(contents.clone())),
            ArchiveKind::Symlink(target) => Kind::Symlink(target.as_bytes().into()),
            ArchiveKind::CharDevice { major, minor } => Kind::CharDevice(device(*major, *minor)),
            ArchiveKind::BlockDevice { major, minor } => Kind::BlockDevice(device(*major, *minor)),
            ArchiveKind::Fifo => Kind::Fifo,
            ArchiveKind::Socket => Kind::Socket,
        };
        if let Some(parent) = path.parent() {
            tree.make_directories(&parent, &metadata(0o755))?;
        }
        tree.insert(&path, Inode::new(metadata(entry.mode), kind))?;
    }
    Ok(tree)
}

fn tree_of_esp(contents: &Contents) -> Result<Tree, ExtractError> {
    let reader = contents.esp()?;
    let metadata = |mode| Metadata { mode, ..Metadata::default() };
    let mut tree = Tree::new(metadata(0o755));
    for entry in reader.entries() {
        let path = TreePath::parse(entry.path.as_bytes())?;
        let inode = match entry.kind {
            EntryKind::Folder => Inode::new(metadata(0o755), Kind::directory()),
            EntryKind::File => {
                let bytes = reader.read(entry).map_err(ContentsError::Fat)?;
                Inode::new(metadata(0o644), Kind::File(Content::from_bytes(bytes)))
            }
        };
        tree.insert(&path, inode)?;
    }
    Ok(tree)
}
