//! What can be wrong with an input: which input, which member of it, what, and what to do.

use std::fmt;
use std::io;
use std::path::Path;

use graven_image::tree;

use crate::Sha256;

/// An input that cannot be used. Nothing of it has reached the tree, unless [`Layer::apply`](crate::Layer::apply)
/// returned it.
#[derive(Debug)]
pub struct Error {
    /// The folder, archive or package.
    pub input: String,
    /// The member, entry or field of it, where it is one's fault.
    pub member: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

impl Error {
    pub(crate) fn new(input: &Path, problem: impl Into<Problem>) -> Self {
        Self { input: input.display().to_string(), member: None, problem: problem.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.input)?;
        if let Some(member) = &self.member {
            write!(f, "`{member}`: ")?;
        }
        fmt::Display::fmt(&self.problem, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.problem)
    }
}

/// What is wrong with an input or a member of it.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The environment failed: no such file, no permission, a full disk.
    #[error("{doing} failed: {error}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the operating system said.
        error: io::Error,
    },
    /// Not the file that the recipe or lock means.
    #[error("its SHA-256 is {found}, expected is {expected}; fetch the right file or correct the digest")]
    Digest {
        /// From the recipe or lock.
        expected: Sha256,
        /// Of the file.
        found: Sha256,
    },
    /// Longer or shorter than whoever names it says.
    #[error("it is {found} bytes, expected are {expected}; bring the image again")]
    Size {
        /// By its descriptor.
        expected: u64,
        /// Of the file.
        found: u64,
    },
    /// A layer that is another one, unpacked, than the image's configuration says.
    #[error(
        "unpacked its SHA-256 is {found}, the image's configuration says {expected}; the image was put together wrongly"
    )]
    DiffId {
        /// By the configuration.
        expected: Sha256,
        /// Of the layer.
        found: Sha256,
    },
    /// The tree's rules forbid it.
    #[error(transparent)]
    Tree(#[from] tree::Error),
    /// More than [`Limits`](crate::Limits) allow.
    #[error("it passes the limit on {what} ({limit}); if the input is sound, raise `{name}`")]
    Limit {
        /// Field of [`Limits`](crate::Limits).
        name: &'static str,
        /// What is limited.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The compressed stream is damaged, or ends early, or is followed by something else.
    #[error("decompressing ({format}) failed: {error}")]
    Compression {
        /// gzip, xz or zstd.
        format: &'static str,
        /// What the decompressor said.
        error: io::Error,
    },
    /// Bytes that are no archive, or a damaged one.
    #[error("{0}")]
    Damaged(String),
    /// Ends in the middle of something.
    #[error("the archive is truncated: {what} needs {wanted} bytes, {left} are left")]
    Truncated {
        /// What was to be read.
        what: &'static str,
        /// Its length in bytes.
        wanted: u64,
        /// Bytes of the archive that are left.
        left: u64,
    },
    /// A sound archive of a kind that is not read.
    #[error("{what} is not supported; {instead}")]
    Unsupported {
        /// What was found.
        what: String,
        /// What to do.
        instead: &'static str,
    },
    /// A name from the root of the host.
    #[error("absolute name; members are named from the archive's root on, as `./etc/fstab`")]
    Absolute,
    /// A link that would lead out.
    #[error("its target `{0}` climbs out of the tree; correct the link")]
    LinkOutOfTree(String),
    /// A hard link to what is not there.
    #[error("hard link to `{0}`, which no earlier member of the archive has brought")]
    HardLinkToMissing(String),
    /// A name that no file of a tree can have.
    #[error("the name is no path inside the tree: {0}")]
    Name(tree::PathProblem),
    /// Two members for one name.
    #[error("the same name occurs twice; which of them is meant cannot be told")]
    Duplicate,
    /// A file that an earlier package has brought, and neither may replace the other's.
    #[error(
        "package {earlier} brings it too, and neither says that it replaces the other (`Replaces`); leave one of the two \
         out"
    )]
    InTwoPackages {
        /// `package=version`.
        earlier: String,
    },
    /// Two members of one source for one file, through a directory link of the tree.
    #[error("two entries of this source become one file, since a directory on the way is a link in the tree")]
    DuplicateThroughLink,
    /// A device or the like in a folder whose metadata are normalised.
    #[error("it is a {0}; only a source that keeps owners and modes as on disk takes those")]
    SpecialFile(&'static str),
}

impl Problem {
    /// Whether the environment failed (exit status 3 of the program) rather than the input.
    pub fn is_environment(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}
