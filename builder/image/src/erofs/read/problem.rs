//! What can be wrong with an image.

use std::fmt;
use std::io;

use super::super::format::INCOMPAT_NAMES;

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What holds the image failed.
    #[error("reading {wanted} bytes at offset {offset} failed")]
    Io {
        /// First byte that was wanted.
        offset: u64,
        /// How many.
        wanted: u64,
        /// What it said.
        source: io::Error,
    },
    /// Shorter than a superblock, or something else.
    #[error("no EROFS superblock at offset 1024: expected the magic number e0f5e1e2, found {found}")]
    NotErofs {
        /// What is there.
        found: String,
    },
    /// Checksum of the superblock's block.
    #[error("the superblock is damaged: its checksum is {found:08x}, its bytes have {expected:08x}")]
    Checksum {
        /// Of the bytes.
        expected: u32,
        /// In the superblock.
        found: u32,
    },
    /// A field of the superblock.
    #[error("superblock: {field} is {found}, expected {expected}")]
    Superblock {
        /// Its name in `erofs_fs.h`.
        field: &'static str,
        /// Its value.
        found: u64,
        /// What is possible.
        expected: &'static str,
    },
    /// Features that are not known here.
    #[error("the image needs {}; EROFS with such features is not read here", feature_names(*.0))]
    Features(u32),
    /// Fewer bytes than blocks.
    #[error("the image is cut short: {expected} bytes according to its superblock, {found} are there")]
    Truncated {
        /// Blocks of the superblock in bytes.
        expected: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// An inode or something that belongs to it.
    #[error("`{path}` (inode {nid}): {problem}")]
    Inode {
        /// Where.
        path: String,
        /// Its number.
        nid: u64,
        /// What is wrong.
        problem: Problem,
    },
    /// Two structures at one place.
    #[error("{first} and {second} share the bytes of the image from offset {offset} on")]
    Overlap {
        /// The first byte that both have.
        offset: u64,
        /// One.
        first: Owner,
        /// The other.
        second: Owner,
    },
}

/// Whose bytes some are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The superblock.
    Superblock,
    /// An inode's own, or its contents, by its number.
    Inode(u64),
    /// Contents of files, of an image in which they may have blocks in common.
    Files,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superblock => f.write_str("the superblock"),
            Self::Inode(nid) => write!(f, "inode {nid}"),
            Self::Files => f.write_str("the contents of a file"),
        }
    }
}

/// What is wrong with an inode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Outside the image.
    #[error("its {0} lies outside the image")]
    Outside(&'static str),
    /// Format bits that are not known.
    #[error("its format {0:#06x} has bits that are not known here")]
    Format(u16),
    /// Compressed contents of something that is no file, or in an image that pads them the old way.
    #[error("its contents are compressed, which is not read here for a {0}")]
    Compressed(&'static str),
    /// The index of compressed contents.
    #[error("the index of its compressed contents is damaged or of no known kind: {0}")]
    Index(&'static str),
    /// The indexes of the image are longer than the image.
    #[error("its index and those before it have more bytes than the image")]
    IndexBytes,
    /// Chunk-based contents of something that is no file, or without the superblock's word for it.
    #[error("its contents are a list of chunks, which is not read here for a {0}")]
    Chunked(&'static str),
    /// Chunks that cannot be.
    #[error("its list of chunks is damaged or of no known kind: {0}")]
    Chunks(&'static str),
    /// More than the files of an honest image hold.
    #[error("it and the files before it have more than {0} bytes, of an image this long")]
    ContentsBytes(u64),
    /// A data layout that does not exist.
    #[error("data layout {0} does not exist")]
    Layout(u16),
    /// Mode without a kind.
    #[error("mode {0:o} is of no kind of file")]
    Mode(u16),
    /// A length that such a file cannot have.
    #[error("{0} bytes are no possible length of such a file")]
    Size(u64),
    /// Inline data that the kernel refuses.
    #[error("its inline data crosses a block boundary")]
    InlineCrosses,
    /// Not a symbolic link's target.
    #[error("its target has a NUL byte")]
    Target,
    /// Attributes.
    #[error("its extended attributes are damaged: {0}")]
    Xattrs(&'static str),
    /// More memory than an honest image asks for.
    #[error("the shared extended attributes of the image repeat beyond {0} bytes")]
    XattrsRepeat(u64),
    /// The root is something else.
    #[error("the root is not a directory")]
    RootKind,
    /// A directory block.
    #[error("its directory block {block} is damaged: {what}")]
    Directory {
        /// Which, from 0 on.
        block: u64,
        /// How.
        what: &'static str,
    },
    /// The directories of the image are longer than the image.
    #[error("it and the directories before it have more bytes than the image")]
    DirectoryBytes,
    /// `.` or `..`.
    #[error("its entry `{name}` points to inode {found}, expected {expected}")]
    Dot {
        /// Which of the two.
        name: &'static str,
        /// Where it points.
        found: u64,
        /// Where it should.
        expected: u64,
    },
    /// `.` or `..` is not there.
    #[error("it has no entry `{0}`")]
    NoDot(&'static str),
    /// A name that cannot be.
    #[error("it is not a possible name")]
    Name,
    /// Names that are not in order, or twice the same.
    #[error("its name does not come after the one before it; the kernel would not find it")]
    Order,
    /// Entry and inode contradict each other.
    #[error("its directory entry says file type {entry}, the inode {inode}")]
    FileType {
        /// `file_type` of the entry.
        entry: u8,
        /// The one of the inode's mode.
        inode: u8,
    },
    /// A directory that is reached twice, possibly from inside itself.
    #[error("this directory has a name elsewhere too, or holds itself")]
    DirectoryTwice,
    /// Paths over 4,096 bytes.
    #[error("its path is longer than 4096 bytes")]
    PathLength,
    /// Fewer or more names than the inode says.
    #[error("it has {found} names, its inode says {expected}")]
    Links {
        /// Names found.
        found: u32,
        /// `nlink`.
        expected: u32,
    },
}

fn feature_names(bits: u32) -> String {
    let mut names: Vec<String> = Vec::new();
    let mut unknown = bits;
    for (bit, name) in INCOMPAT_NAMES {
        if bits & bit != 0 {
            names.push(name.into());
            unknown &= !bit;
        }
    }
    if unknown != 0 {
        names.push(format!("features {unknown:#x} that are not known"));
    }
    names.join(", ")
}
