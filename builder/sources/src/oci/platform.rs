//! For which machines an image is.

use std::fmt;

use serde::Deserialize;

/// An operating system and a kind of processor, by Go's names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, `arm`.
    #[serde(default)]
    pub architecture: String,
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// What such a processor must have beyond the least of its kind: `v8` of arm64 says nothing, `v3` of amd64 much.
    #[serde(default)]
    pub variant: Option<String>,
}

/// The variant that every 64-bit ARM processor is.
const ARM64_BASE: &str = "v8";

impl Platform {
    /// Linux on an architecture by Go's name, on every processor that Graven's targets may have.
    #[must_use]
    pub fn linux(architecture: &str) -> Self {
        let variant = (architecture == "arm").then(|| "v7".to_owned());
        Self { architecture: architecture.to_owned(), os: "linux".to_owned(), variant }
    }

    /// Whether what is for `offered` runs here. More than the least of the kind is not asked of a machine that nobody
    /// has seen.
    pub(crate) fn takes(&self, offered: &Self) -> bool {
        self.os == offered.os
            && self.architecture == offered.architecture
            && match (self.architecture.as_str(), offered.variant.as_deref().unwrap_or_default()) {
                (_, "") => true,
                ("arm64", variant) => variant == ARM64_BASE,
                ("amd64", variant) => variant == "v1",
                ("arm", variant) => matches!(variant, "v5" | "v6" | "v7"),
                _ => self.variant == offered.variant,
            }
    }

    /// Of several that run here, which is the best: the newest variant.
    pub(crate) fn rank(&self) -> &str {
        self.variant.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_deref() {
            None | Some("") => Ok(()),
            Some(variant) => write!(f, "/{variant}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(text: &str) -> Platform {
        let mut words = text.split('/').map(str::to_owned);
        let (os, architecture) = (words.next().unwrap(), words.next().unwrap());
        Platform { architecture, os, variant: words.next() }
    }

    #[test]
    fn only_what_runs_on_every_such_machine_is_taken() {
        for (target, good, bad) in [
            (
                "amd64",
                vec!["linux/amd64", "linux/amd64/v1"],
                vec!["linux/amd64/v2", "linux/arm64", "windows/amd64"],
            ),
            ("arm64", vec!["linux/arm64", "linux/arm64/v8"], vec!["linux/arm64/v9", "linux/arm/v7"]),
            ("arm", vec!["linux/arm/v7", "linux/arm/v6", "linux/arm"], vec!["linux/arm/v8", "linux/arm64"]),
        ] {
            let target = Platform::linux(target);
            good.iter().for_each(|text| assert!(target.takes(&offered(text)), "{target} {text}"));
            bad.iter().for_each(|text| assert!(!target.takes(&offered(text)), "{target} {text}"));
        }
    }
}
