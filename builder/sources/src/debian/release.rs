//! `InRelease`: what a suite consists of, signed.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::date;
use super::record::Paragraph;
use crate::Sha256;

/// Largest index, packed or not, that is taken.
const LARGEST_INDEX: u64 = 1 << 30;

/// The fields of a suite that matter here.
#[derive(Debug, Clone)]
pub struct Release {
    /// `Suite`, such as `stable`.
    pub suite: Option<String>,
    /// `Codename`, such as `trixie`.
    pub codename: Option<String>,
    /// `Date`, in seconds since 1970.
    pub date: i64,
    /// `Valid-Until`, in seconds since 1970.
    pub valid_until: Option<i64>,
    /// `Acquire-By-Hash: yes`.
    pub by_hash: bool,
    /// What apt would give its packages unless told otherwise: 500; 100 or 1 where they are `NotAutomatic`.
    pub priority: i32,
    /// `Architectures`, `all` among them.
    pub architectures: Vec<String>,
    /// `Components`.
    pub components: Vec<String>,
    /// Whether packages for `all` are in each architecture's index.
    pub(super) all_is_everywhere: bool,
    files: BTreeMap<String, Listed>,
}

/// A file that the suite vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) sha256: Sha256,
    pub(super) size: u64,
}

impl Release {
    /// Reads the signed text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let paragraph = Paragraph(text);
        let field = |name: &str| paragraph.field(name).map(|value| value.into_owned());
        let words = |name: &str| -> Vec<String> {
            field(name).unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect()
        };
        let moment = |name: &str| {
            field(name).map(|text| {
                date::parse(&text)
                    .ok_or_else(|| format!("its field `{name}` is `{}`, no date", text.escape_debug()))
            })
        };
        let is = |name: &str| field(name).is_some_and(|value| value == "yes");
        let mut files = BTreeMap::new();
        let listed = field("SHA256").ok_or("it lists no SHA256 digests")?;
        let mut columns = listed.split_ascii_whitespace();
        while let Some(digest) = columns.next() {
            let (Some(size), Some(path)) = (columns.next(), columns.next()) else {
                return Err("its list of SHA256 digests ends within a line".to_owned());
            };
            let bad = || {
                format!("its list of SHA256 digests has a line `{digest} {size} {path}`")
                    .escape_debug()
                    .to_string()
            };
            let sha256 = digest.parse().map_err(|_| bad())?;
            let size = size.parse().map_err(|_| bad())?;
            files.insert(path.to_owned(), Listed { sha256, size });
        }
        Ok(Self {
            suite: field("Suite"),
            codename: field("Codename"),
            date: moment("Date").ok_or("it has no field `Date`")??,
            valid_until: moment("Valid-Until").transpose()?,
            by_hash: is("Acquire-By-Hash"),
            priority: match (is("NotAutomatic"), is("ButAutomaticUpgrades")) {
                (false, _) => 500,
                (true, true) => 100,
                (true, false) => 1,
            },
            architectures: words("Architectures"),
            components: words("Components"),
            all_is_everywhere: words("No-Support-for-Architecture-all").iter().any(|word| word == "Packages"),
            files,
        })
    }

    /// The index of a component for an architecture: its path below the suite, the smallest packing first.
    pub(super) fn index(&self, component: &str, architecture: &str) -> Option<(String, Listed)> {
        let plain = format!("{component}/binary-{architecture}/Packages");
        [".xz", ".gz", ""].into_iter().find_map(|ending| {
            let path = format!("{plain}{ending}");
            let listed = *self.files.get(&path)?;
            (listed.size <= LARGEST_INDEX).then_some((path, listed))
        })
    }

    /// The same index, unpacked.
    pub(super) fn unpacked(&self, path: &str) -> Option<Listed> {
        let plain = path.strip_suffix(".xz").or_else(|| path.strip_suffix(".gz"))?;
        self.files.get(plain).copied().filter(|listed| listed.size <= LARGEST_INDEX)
    }

    /// Whether this is the suite that was asked for.
    pub(super) fn is(&self, suite: &str) -> bool {
        let names: Vec<&String> = self.suite.iter().chain(&self.codename).collect();
        let suite = suite.trim_end_matches('/');
        names.is_empty() || names.iter().any(|name| *name == suite || suite.rsplit('/').next() == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Origin: Acme\nSuite: stable\nCodename: one\nDate: Sat, 21 Nov 2026 09:15:44 UTC\nNotAutomatic: yes\n\
        ButAutomaticUpgrades: yes\nArchitectures: all amd64\nComponents: main\nSHA256:\n \
        1111111111111111111111111111111111111111111111111111111111111111 7 main/binary-amd64/Packages\n \
        2222222222222222222222222222222222222222222222222222222222222222   5 main/binary-amd64/Packages.xz\n";

    #[test]
    fn a_suite_is_read() {
        let release = Release::parse(TEXT).expect("sound");
        assert_eq!((release.date, release.priority, release.valid_until), (1_795_252_544, 100, None));
        let (path, listed) = release.index("main", "amd64").expect("listed");
        assert_eq!((path.as_str(), listed.size), ("main/binary-amd64/Packages.xz", 5));
        assert_eq!(release.unpacked(&path).map(|listed| listed.size), Some(7));
        assert!(release.index("contrib", "amd64").is_none());
        assert!(release.is("one") && release.is("stable") && !release.is("two"));
    }

    #[test]
    fn a_suite_without_date_or_digests_is_refused() {
        for (from, to) in [
            ("Date: Sat, 21 Nov 2026 09:15:44 UTC\n", ""),
            ("2026", "MMXXVI"),
            ("SHA256:", "SHA1:"),
            (" 5 main", " five main"),
            ("2222", "222x"),
            (" main/binary-amd64/Packages.xz", ""),
        ] {
            assert!(Release::parse(&TEXT.replace(from, to)).is_err(), "{from} → {to}");
        }
    }
}
