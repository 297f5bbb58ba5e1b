//! What is wrong with a repository, or with what is asked of it: one line that says what to do.

use std::io;
use std::path::PathBuf;

use super::date::show;
use crate::Sha256;
use crate::network::{NetworkError, NetworkProblem};

/// Why a repository cannot be used, or does not have what is asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The way to it.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// No `InRelease` at that address.
    #[error(
        "{url} is not there: the mirror {mirror} has no suite `{suite}`; correct [[packages.repo]] suite or url"
    )]
    NoSuite {
        /// `…/InRelease`
        url: String,
        /// The repository's address.
        mirror: String,
        /// As asked for.
        suite: String,
    },
    /// A keyring that cannot be read.
    #[error("the keyring {}: {problem}", path.display())]
    Keyring {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// An index that nobody vouches for.
    #[error("{url} cannot be trusted: {problem}")]
    Signature {
        /// `…/InRelease`
        url: String,
        /// What is wrong with the signature.
        problem: String,
    },
    /// `Valid-Until` has passed.
    #[error(
        "{url} expired on {}, today is {}: the mirror is stale, or someone keeps updates back; use another mirror, or see \
         to this machine's clock", show(*until), show(*now)
    )]
    Expired {
        /// `…/InRelease`
        url: String,
        /// `Valid-Until`, seconds since 1970.
        until: i64,
        /// Now.
        now: i64,
    },
    /// Signed in the future.
    #[error("{url} is of {}, today is {}: see to this machine's clock", show(*date), show(*now))]
    NotYet {
        /// `…/InRelease`
        url: String,
        /// `Date`, seconds since 1970.
        date: i64,
        /// Now.
        now: i64,
    },
    /// Older than what was seen before.
    #[error(
        "{url} is of {}, but the lock was made from one of {}: the mirror went back in time, or someone keeps updates back; \
         use another mirror", show(*date), show(*seen)
    )]
    RolledBack {
        /// `…/InRelease`
        url: String,
        /// `Date`, seconds since 1970.
        date: i64,
        /// The lock's.
        seen: i64,
    },
    /// A signed document that is not what was asked for, or cannot be used.
    #[error("{url}: {problem}")]
    Damaged {
        /// Which.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An index that the store has no longer as it was fetched.
    #[error("the store's copy {} of {url} changed while it was in use (SHA-256 {expected} is expected); run this again", path.display())]
    Changed {
        /// From where it had come.
        url: String,
        /// The file.
        path: PathBuf,
        /// What it had.
        expected: Sha256,
    },
    /// A file of this machine.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something asked for that no repository has.
    #[error("{0}")]
    Unknown(String),
    /// What cannot be together.
    #[error("no set of packages does it: {0}")]
    Unsatisfiable(String),
}

impl Error {
    /// Whether the environment failed (exit status 3 of the program): no network, no file.
    #[must_use]
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Network(error) => !error.problem.is_bad_content(),
            Self::Io { .. } | Self::NotYet { .. } | Self::Changed { .. } => true,
            Self::Keyring { .. } => true,
            _ => false,
        }
    }

    /// Whether what is asked for cannot be (exit status 2), rather than what is there being bad (1).
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Unsatisfiable(_) | Self::NoSuite { .. })
    }

    /// Whether the server has no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Network(NetworkError { problem: NetworkProblem::Missing, .. }))
    }
}
