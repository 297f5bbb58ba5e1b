//! `uname -r`, parsed.

use std::fmt;

/// A kernel release such as `7.3.4+deb13-amd64`: the name of its modules folder, and its version to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    text: String,
    version: (u32, u32, u32),
}

/// Why a text is no kernel release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no kernel release: expected a version such as 7.3.4 and then at most 64 of A-Z a-z 0-9 . _ + ~ -"
)]
pub struct ReleaseError(String);

impl Release {
    /// Parses a release. It becomes a folder's name, so nothing passes that is not plain.
    pub fn parse(text: &str) -> Result<Self, ReleaseError> {
        let error = || ReleaseError(text.chars().take(80).collect());
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+~-".contains(&b);
        if text.len() > 64 || !text.bytes().all(plain) {
            return Err(error());
        }
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let numbers = text.get(..end).unwrap_or_default().trim_end_matches('.');
        let mut parts = numbers.split('.').map(|part| part.parse::<u32>().map_err(|_| error()));
        let major = parts.next().ok_or_else(error)??;
        let minor = parts.next().ok_or_else(error)??;
        let patch = parts.next().transpose()?.unwrap_or(0);
        Ok(Self { text: text.to_owned(), version: (major, minor, patch) })
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the kernel is at least this version. A release candidate counts as the release.
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        (self.version.0, self.version.1) >= (major, minor)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
