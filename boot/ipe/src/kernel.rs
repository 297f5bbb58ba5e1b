//! The kernel that a policy is for, as far as IPE cares.

use std::fmt;
use std::str::FromStr;

use crate::evaluate::Providers;

/// A kernel: which release, and what of IPE it was built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Kernel {
    /// Its release.
    pub release: Release,
    /// The properties it provides.
    pub providers: Providers,
}

/// `MAJOR.MINOR`; never one without IPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    major: u32,
    minor: u32,
}

/// Why a text is no release of a kernel with IPE.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// It is no release.
    #[error("'{0}' is no kernel release: expected MAJOR.MINOR, as in 7.3")]
    Shape(String),
    /// It is too old.
    #[error("kernel {0} has no IPE: expected 6.12 or newer")]
    NoIpe(String),
}

impl Release {
    /// The first release with IPE.
    pub const FIRST: Self = Self { major: 6, minor: 12 };
    /// The release whose source this crate was written after.
    pub const READ: Self = Self { major: 7, minor: 3 };

    /// Whether IPE answers to `AT_EXECVE_CHECK`, by which interpreters ask for scripts: since 6.19.
    pub fn judges_scripts(self) -> bool {
        self >= Self { major: 6, minor: 19 }
    }

    /// Whether a compressed module that the kernel unpacks itself is a KMODULE: not in 6.12.
    pub fn knows_compressed_modules(self) -> bool {
        self > Self::FIRST
    }
}

impl Default for Release {
    fn default() -> Self {
        Self::READ
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Release {
    type Err = ReleaseError;

    /// `7.3`, `7.3.4`, `7.3.4+deb13-amd64`, `7.3-rc1`.
    fn from_str(text: &str) -> Result<Self, ReleaseError> {
        let shape = || ReleaseError::Shape(text.to_owned());
        let (major, rest) = text.split_once('.').ok_or_else(shape)?;
        let end = rest.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
        let (minor, rest) = rest.split_at(end);
        let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
            true => text.parse().map_err(|_| shape()),
            false => Err(shape()),
        };
        let release = Self { major: number(major)?, minor: number(minor)? };
        match rest.chars().next() {
            Some(c) if !".-+~".contains(c) => Err(shape()),
            _ if release < Self::FIRST => Err(ReleaseError::NoIpe(text.to_owned())),
            _ => Ok(release),
        }
    }
}
