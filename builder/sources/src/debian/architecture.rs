//! Debian's names of architectures.

use std::fmt;

/// `amd64`, `arm64`, …; never `all`, which is not a machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Architecture(Box<str>);

impl Architecture {
    /// Parses a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = !name.is_empty() && name.len() <= 32 && name.bytes().all(plain);
        (fits && !matches!(name, "all" | "any" | "native")).then(|| Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a restriction such as `amd64`, `linux-any` or `any-arm64` means this one (deb-control(5)).
    #[must_use]
    pub(super) fn is_meant_by(&self, pattern: &str) -> bool {
        let own = self.0.rsplit_once('-').map_or(&*self.0, |(_, cpu)| cpu);
        match pattern {
            "any" | "linux-any" => true,
            _ => {
                pattern == &*self.0
                    || pattern.strip_prefix("any-") == Some(own)
                    || pattern.strip_prefix("linux-") == Some(own)
            }
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
