//! The first pass: every inode and every block gets its place, no contents are read.
//!
//! ```text
//! block 0        superblock
//! then groups    inodes with attributes and inline tails │ blocks of directories, long symlinks │ file blocks
//! ```
//!
//! Where files are to share blocks, what they hold was read before: see [`super::share`].
//!
//! The root directory's inode is the first of the first group. The entries of one directory lie side by side,
//! directories follow each other depth first. A group ends when the inline tails of files that also have blocks
//! come to [`GROUP_TAILS`]: who reads the image front to back (the writer, which hashes files as they pass) needs
//! to keep no more than that to have every file whole.

use uuid::Uuid;

use super::directory::Directory;
use super::format::{BLOCK, CompactInode, ExtendedInode, SLOT};
use super::keep::Places;
use super::share::{Contents, Sharing, list_bytes};
use super::slots::Slots;
use super::xattr::{self, XattrProblem};
use crate::tree::{DeviceNumber, Inode, InodeId, Kind, Tree};
use crate::unpack::most_contents;

/// Bytes of inline tails after which a group is closed.
const GROUP_TAILS: u64 = 8 << 20;
/// Longest target of a symbolic link (Linux `PATH_MAX` without the NUL).
pub(crate) const MAX_SYMLINK: usize = 4095;
/// Longest volume name: 16 bytes with a NUL at the end.
const MAX_VOLUME_NAME: usize = 15;

/// What goes into the superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Identity of the file system.
    pub uuid: Uuid,
    /// Seconds since 1970. Inodes with just this time take half the room.
    pub build_time: i64,
    /// At most 15 bytes, no NUL.
    pub volume_name: String,
}

/// A tree that an EROFS image cannot hold. Bytes of paths that are no text are shown escaped.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// [`Options::volume_name`].
    #[error("volume name `{}`: at most {MAX_VOLUME_NAME} bytes and no NUL are possible", .0.escape_debug())]
    VolumeName(String),
    /// A name that no directory can have.
    #[error("`{0}`: a name has 1 to 255 bytes, no `/` and no NUL, and is neither `.` nor `..`")]
    Name(String),
    /// A directory in two places, or in itself.
    #[error("`{0}` is a second name of a directory; directories have one name only")]
    DirectoryTwice(String),
    /// Permission bits beyond `0o7777`.
    #[error("`{path}`: mode {mode:o} has bits beyond 7777")]
    Mode {
        /// Which file.
        path: String,
        /// Its mode.
        mode: u16,
    },
    /// An extended attribute.
    #[error("`{path}`: extended attribute `{name}`: {problem}")]
    Xattr {
        /// Which file.
        path: String,
        /// The attribute.
        name: String,
        /// Why not.
        problem: XattrProblem,
    },
    /// Target of a symbolic link.
    #[error(
        "`{path}`: a symbolic link's target has 1 to {MAX_SYMLINK} bytes and no NUL, this one has {len} bytes"
    )]
    Symlink {
        /// Which link.
        path: String,
        /// Length of its target.
        len: usize,
    },
    /// Device numbers are 12 and 20 bits.
    #[error("`{path}`: device {major}:{minor}: the major is at most 4095, the minor at most 1048575")]
    Device {
        /// Which node.
        path: String,
        /// Its major.
        major: u32,
        /// Its minor.
        minor: u32,
    },
    /// A file longer than Linux takes.
    #[error("`{path}`: {len} bytes are more than a file can have")]
    FileSize {
        /// Which file.
        path: String,
        /// Its length.
        len: u64,
    },
    /// Holes take no room, but whoever reads them has to make their zeros: readers have a limit.
    #[error(
        "all files together have {bytes} bytes, more than the {most} that are read from an image this long"
    )]
    Contents {
        /// Theirs.
        bytes: u64,
        /// What readers of ours take.
        most: u64,
    },
    /// Block numbers are 32 bits.
    #[error("`{0}` does not fit any more: an image has at most 4294967295 blocks of 4096 bytes (16 TiB)")]
    ImageSize(String),
}

/// An inode with its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: InodeId,
    /// The directory that holds it, or the first of several.
    pub(crate) parent: u32,
    pub(crate) nlink: u32,
    /// First of its own blocks; 0 where there is none.
    pub(crate) data_block: u32,
    /// Blocks of its own.
    pub(crate) blocks: u64,
    /// Slot from the image's start on.
    pub(crate) nid: u64,
    /// Bytes of contents, entries or target.
    pub(crate) size: u64,
    pub(crate) xattr_bytes: u32,
    /// Position in [`Image::directories`], of directories.
    pub(crate) directory: u32,
    pub(crate) extended: bool,
    /// The last partial block lies behind the inode.
    pub(crate) inline: bool,
    /// A list of chunks lies behind the inode.
    pub(crate) chunked: bool,
}

impl Node {
    /// Bytes of the inode, its attributes and its list of chunks.
    pub(crate) fn head_bytes(&self) -> u64 {
        let inode = if self.extended { size_of::<ExtendedInode>() } else { size_of::<CompactInode>() };
        let list = if self.chunked { list_bytes(self.size) } else { 0 };
        inode as u64 + u64::from(self.xattr_bytes) + list
    }

    /// Bytes behind the inode.
    pub(crate) fn tail_bytes(&self) -> u64 {
        if self.inline { self.size % BLOCK } else { 0 }
    }
}

/// Which part of an inode lies somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// Inode, attributes, inline tail.
    Head,
    /// Blocks.
    Blocks,
}

/// Something that lies at a place of the image; what is between is zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Byte from the image's start on.
    pub(crate) start: u64,
    pub(crate) node: u32,
    pub(crate) part: Part,
}

/// An EROFS image that is known to the last byte but exists nowhere: it is produced as it is read, through
/// [`ReadAt`](graven_verity::io::ReadAt). See [`Image::plan`].
#[derive(Debug)]
pub struct Image<'t> {
    pub(crate) tree: &'t Tree,
    pub(crate) options: Options,
    /// In layout order, the root first.
    pub(crate) nodes: Vec<Node>,
    pub(crate) directories: Vec<Directory<'t>>,
    /// Position in `nodes` by [`InodeId::index`]; `u32::MAX` where the tree does not reach.
    by_id: Vec<u32>,
    /// By start, not overlapping.
    pub(crate) extents: Vec<Extent>,
    pub(crate) blocks: u32,
    /// Where files share blocks: what they hold, and which do.
    pub(crate) sharing: Option<Box<Sharing>>,
}

impl<'t> Image<'t> {
    /// Gives every inode and block of `tree` its place. Equal trees and options give equal images.
    ///
    /// # Errors
    /// [`PlanError`] names the file that cannot be held and says why.
    pub fn plan(tree: &'t Tree, options: &Options) -> Result<Self, PlanError> {
        Self::plan_like(tree, options, &Places::default())
    }

    /// The same, with everything where an earlier image had it that can stay there. It is laid out anew where an eighth of it
    /// would be room that is left free.
    ///
    /// # Errors
    /// As [`plan`](Self::plan)'s.
    pub fn plan_like(tree: &'t Tree, options: &Options, old: &Places) -> Result<Self, PlanError> {
        Self::planned(tree, options, old, None)
    }

    /// The same, with blocks that files have in common only once, and none of zeros. `contents` is what the files of `tree` hold.
    ///
    /// # Errors
    /// As [`plan`](Self::plan)'s.
    pub fn plan_sharing(
        tree: &'t Tree,
        options: &Options,
        old: &Places,
        contents: Contents,
    ) -> Result<Self, PlanError> {
        Self::planned(tree, options, old, Some(contents))
    }

    fn planned(
        tree: &'t Tree,
        options: &Options,
        old: &Places,
        contents: Option<Contents>,
    ) -> Result<Self, PlanError> {
        if options.volume_name.len() > MAX_VOLUME_NAME || options.volume_name.contains('\0') {
            return Err(PlanError::VolumeName(options.volume_name.clone()));
        }
        let mut image = Self {
            tree,
            options: options.clone(),
            nodes: Vec::with_capacity(tree.len()),
            directories: Vec::new(),
            by_id: vec![u32::MAX; tree.slots()],
            extents: Vec::with_capacity(tree.len()),
            blocks: 1,
            sharing: None,
        };
        image.number()?;
        for number in 0..image.nodes.len() {
            image.shape(number)?;
        }
        let known = image.known(old);
        if let Some(contents) = contents {
            image.share(contents, &known);
        }
        if known.is_empty() || !image.place_as(&known)? {
            image.place()?;
        }
        image.hold_contents()
    }

    /// Length in bytes, a multiple of 4,096.
    pub fn len(&self) -> u64 {
        u64::from(self.blocks) * BLOCK
    }

    /// Never: there is always a superblock.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The tree that the image is of.
    pub fn tree(&self) -> &'t Tree {
        self.tree
    }

    pub(crate) fn inode(&self, node: &Node) -> &'t Inode {
        self.tree.inode(node.id)
    }

    /// Position of an inode of the tree in `nodes`.
    pub(crate) fn number_of(&self, id: InodeId) -> u32 {
        self.by_id[id.index()]
    }

    /// Bytes of an extent, zeroes up to the end of the last block left out.
    pub(crate) fn extent_bytes(&self, extent: &Extent) -> u64 {
        let node = &self.nodes[extent.node as usize];
        match extent.part {
            Part::Head => node.head_bytes() + node.tail_bytes(),
            Part::Blocks => node.size.min(node.blocks * BLOCK),
        }
    }

    /// One path of an inode, for messages.
    pub(crate) fn path(&self, number: usize) -> String {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut node = &self.nodes[number];
        while node.id != Tree::ROOT {
            let parent = &self.nodes[node.parent as usize];
            if let Kind::Directory(children) = &self.inode(parent).kind {
                names.extend(children.iter().find(|(_, id)| **id == node.id).map(|(name, _)| &**name));
            }
            node = parent;
        }
        if names.is_empty() {
            return "/".into();
        }
        names.iter().rev().map(|name| format!("/{}", shown(name))).collect()
    }

    /// Finds every inode, counts its names.
    fn number(&mut self) -> Result<(), PlanError> {
        self.add(Tree::ROOT, 0);
        let mut waiting = vec![0u32];
        while let Some(number) = waiting.pop() {
            let Kind::Directory(children) = &self.inode(&self.nodes[number as usize]).kind else { continue };
            let first_new = waiting.len();
            for (name, id) in children {
                let path = |image: &Self| {
                    let above = image.path(number as usize);
                    format!("{}/{}", above.trim_end_matches('/'), shown(name))
                };
                if name.is_empty()
                    || name.len() > 255
                    || matches!(&**name, b"." | b"..")
                    || name.iter().any(|byte| matches!(byte, b'/' | 0))
                {
                    return Err(PlanError::Name(path(self)));
                }
                let is_directory = matches!(self.tree.inode(*id).kind, Kind::Directory(_));
                match self.by_id[id.index()] {
                    u32::MAX => {
                        let new = self.add(*id, number);
                        if is_directory {
                            self.nodes[number as usize].nlink += 1;
                            waiting.push(new);
                        }
                    }
                    _ if is_directory => return Err(PlanError::DirectoryTwice(path(self))),
                    known => self.nodes[known as usize].nlink += 1,
                }
            }
            waiting[first_new..].reverse();
        }
        Ok(())
    }

    fn add(&mut self, id: InodeId, parent: u32) -> u32 {
        let number = self.nodes.len() as u32;
        self.by_id[id.index()] = number;
        let directory = match &self.tree.inode(id).kind {
            Kind::Directory(children) => {
                self.directories.push(Directory::plan(children));
                Some(self.directories.len() as u32 - 1)
            }
            _ => None,
        };
        self.nodes.push(Node {
            id,
            parent,
            nlink: if directory.is_some() { 2 } else { 1 },
            data_block: 0,
            blocks: 0,
            nid: 0,
            size: 0,
            xattr_bytes: 0,
            directory: directory.unwrap_or(u32::MAX),
            extended: false,
            inline: false,
            chunked: false,
        });
        number
    }

    /// Checks an inode and measures it.
    fn shape(&mut self, number: usize) -> Result<(), PlanError> {
        let inode = self.inode(&self.nodes[number]);
        let metadata = &inode.metadata;
        let path = || self.path(number);
        if metadata.mode > 0o7777 {
            return Err(PlanError::Mode { path: path(), mode: metadata.mode });
        }
        let xattr_bytes = xattr::bytes(&metadata.xattrs).map_err(|(name, problem)| PlanError::Xattr {
            path: path(),
            name: shown(&name),
            problem,
        })?;
        let size = match &inode.kind {
            Kind::Directory(_) => self.directories[self.nodes[number].directory as usize].size(),
            Kind::File(content) => {
                let last = content.offset.checked_add(content.len);
                if content.len > i64::MAX as u64 || last.is_none() {
                    return Err(PlanError::FileSize { path: path(), len: content.len });
                }
                content.len
            }
            Kind::Symlink(target) => {
                if target.is_empty() || target.len() > MAX_SYMLINK || target.contains(&0) {
                    return Err(PlanError::Symlink { path: path(), len: target.len() });
                }
                target.len() as u64
            }
            Kind::CharDevice(DeviceNumber { major, minor })
            | Kind::BlockDevice(DeviceNumber { major, minor }) => {
                if *major > 0xfff || *minor > 0xf_ffff {
                    return Err(PlanError::Device { path: path(), major: *major, minor: *minor });
                }
                0
            }
            Kind::Fifo | Kind::Socket => 0,
        };
        let node = &mut self.nodes[number];
        node.size = size;
        node.xattr_bytes = xattr_bytes;
        // A compact inode has no time of its own on every kernel: it has the superblock's.
        node.extended = metadata.mtime != self.options.build_time
            || metadata.uid > u32::from(u16::MAX)
            || metadata.gid > u32::from(u16::MAX)
            || size > u64::from(u32::MAX)
            || node.nlink > u32::from(u16::MAX);
        let tail = size % BLOCK;
        node.inline = tail > 0 && node.head_bytes() + tail <= BLOCK;
        node.blocks = if node.inline { size / BLOCK } else { size.div_ceil(BLOCK) };
        Ok(())
    }

    /// That our own reader takes what its files hold.
    fn hold_contents(self) -> Result<Self, PlanError> {
        let files = self.nodes.iter().filter(|node| matches!(self.inode(node).kind, Kind::File(_)));
        let bytes = files.fold(0u64, |sum, node| sum.saturating_add(node.size));
        let most = most_contents(self.len());
        if bytes > most { Err(PlanError::Contents { bytes, most }) } else { Ok(self) }
    }

    fn place(&mut self) -> Result<(), PlanError> {
        let mut first = 0;
        while first < self.nodes.len() {
            let mut slots = Slots::default();
            let mut tails = 0;
            let mut next = first;
            while next < self.nodes.len() && tails < GROUP_TAILS {
                let node = &mut self.nodes[next];
                node.nid = slots.take(node.head_bytes() + node.tail_bytes());
                if node.blocks > 0 {
                    tails += node.tail_bytes();
                }
                next += 1;
            }
            self.close_group(first, next, slots.blocks())?;
            first = next;
        }
        Ok(())
    }

    /// Gives the inodes `first..next`, whose nids count from the group's start, their final places.
    fn close_group(&mut self, first: usize, next: usize, inode_blocks: u32) -> Result<(), PlanError> {
        let too_large = |image: &Self, number: usize| PlanError::ImageSize(image.path(number));
        let group = u64::from(self.blocks);
        self.blocks = self.blocks.checked_add(inode_blocks).ok_or_else(|| too_large(self, first))?;
        let heads = self.extents.len();
        for number in first..next {
            let node = &mut self.nodes[number];
            node.nid += group * (BLOCK / SLOT);
            let start = node.nid * SLOT;
            self.extents.push(Extent { start, node: number as u32, part: Part::Head });
        }
        self.extents[heads..].sort_unstable_by_key(|extent| extent.start);
        for files in [false, true] {
            for number in first..next {
                let node = &self.nodes[number];
                if node.blocks == 0 || matches!(self.inode(node).kind, Kind::File(_)) != files {
                    continue;
                }
                let end = u32::try_from(node.blocks).ok().and_then(|blocks| self.blocks.checked_add(blocks));
                let end = end.ok_or_else(|| too_large(self, number))?;
                self.nodes[number].data_block = self.blocks;
                let start = u64::from(self.blocks) * BLOCK;
                self.extents.push(Extent { start, node: number as u32, part: Part::Blocks });
                self.blocks = end;
            }
        }
        Ok(())
    }
}

/// Bytes of a name for a message.
pub(crate) fn shown(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(text) if !text.contains(char::is_control) => text.into(),
        _ => name.escape_ascii().to_string(),
    }
}
