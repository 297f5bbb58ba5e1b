//! Relations between packages (Debian Policy 7.1): `a (>= 1) | b:any [amd64] <!nocheck>, c`.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::fmt;

use debversion::Version;

use super::Architecture;

/// One alternative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) qualifier: Qualifier,
    pub(super) version: Option<(Comparison, Version)>,
}

/// Whose package of the name is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Qualifier {
    /// The depending package's own architecture, or one that is `Multi-Arch: foreign`.
    None,
    /// `:any`: of whatever architecture, where the package is `Multi-Arch: allowed`.
    Any,
    /// This one's.
    Architecture(Architecture),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

impl Comparison {
    /// The operator at the beginning of a text, and what follows it. `<` and `>` are old names of `<=` and `>=`.
    pub(crate) fn split(text: &str) -> Option<(Self, &str)> {
        [
            ("<<", Self::Earlier),
            ("<=", Self::EarlierOrEqual),
            (">=", Self::LaterOrEqual),
            (">>", Self::Later),
            ("=", Self::Equal),
            ("<", Self::EarlierOrEqual),
            (">", Self::LaterOrEqual),
        ]
        .into_iter()
        .find_map(|(word, comparison)| Some((comparison, text.strip_prefix(word)?)))
    }

    pub(crate) fn holds(self, found: &Version, stated: &Version) -> bool {
        let order = found.cmp(stated);
        match self {
            Self::Earlier => order.is_lt(),
            Self::EarlierOrEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::LaterOrEqual => order.is_ge(),
            Self::Later => order.is_gt(),
        }
    }
}

/// All relations of a field, each a list of alternatives in their order; those restricted to other architectures or to
/// build profiles are left out, as they are when a package is built.
pub(super) fn parse(field: &str, own: &Architecture) -> Result<Vec<Vec<Relation>>, String> {
    let groups = field.split(',').map(str::trim).filter(|group| !group.is_empty());
    let parsed = groups.map(|group| {
        let alternatives = group.split('|').filter_map(|text| one(text.trim(), own).transpose());
        alternatives.collect::<Result<Vec<_>, _>>()
    });
    Ok(parsed.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|group| !group.is_empty()).collect())
}

/// `None` where a restriction says that it is not meant here.
fn one(text: &str, own: &Architecture) -> Result<Option<Relation>, String> {
    let bad = || format!("`{}` is no relation to a package", text.escape_debug());
    let end = text.find([' ', '\t', '\n', '(', '[', '<']).unwrap_or(text.len());
    let (name, mut rest) = text.split_at_checked(end).ok_or_else(bad)?;
    let (name, qualifier) = match name.split_once(':') {
        None => (name, Qualifier::None),
        Some((name, "any")) => (name, Qualifier::Any),
        // In a binary package this can only mean its own.
        Some((name, "native")) => (name, Qualifier::None),
        Some((name, other)) => (name, Qualifier::Architecture(Architecture::parse(other).ok_or_else(bad)?)),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte);
    if name.len() < 2 || !name.bytes().all(plain) {
        return Err(bad());
    }
    let (mut version, mut meant) = (None, true);
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { break };
        let close = match first {
            '(' => ')',
            '[' => ']',
            '<' => '>',
            _ => return Err(bad()),
        };
        let (inside, after) = rest.get(1..).and_then(|rest| rest.split_once(close)).ok_or_else(bad)?;
        match first {
            '(' => {
                let (comparison, stated) = Comparison::split(inside.trim()).ok_or_else(bad)?;
                version = Some((comparison, stated.trim().parse().map_err(|_| bad())?));
            }
            '[' => {
                let mut named = inside.split_ascii_whitespace().map(|name| match name.strip_prefix('!') {
                    Some(not) => (true, own.is_meant_by(not)),
                    None => (false, own.is_meant_by(name)),
                });
                let all: Vec<(bool, bool)> = named.by_ref().collect();
                let negated = all.first().is_some_and(|(negated, _)| *negated);
                meant &= all.iter().any(|(_, fits)| *fits) != negated;
            }
            // No build profile is active in an image.
            _ => meant &= inside.split_ascii_whitespace().all(|profile| profile.starts_with('!')),
        }
        rest = after;
    }
    Ok(meant.then(|| Relation { name: name.to_owned(), qualifier, version }))
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        })
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.qualifier {
            Qualifier::None => {}
            Qualifier::Any => f.write_str(":any")?,
            Qualifier::Architecture(architecture) => write!(f, ":{architecture}")?,
        }
        match &self.version {
            None => Ok(()),
            Some((comparison, version)) => write!(f, " ({comparison} {version})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(field: &str) -> Result<String, String> {
        let groups = parse(field, &Architecture::parse("arm64").expect("a name"))?;
        let words =
            |group: &Vec<Relation>| group.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
        Ok(groups.iter().map(words).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn relations_are_read_as_policy_has_them() {
        for (field, meaning) in [
            ("", ""),
            ("libc6 (>= 2.39), zlib1g (>= 1:1.2.0)", "libc6 (>= 2.39), zlib1g (>= 1:1.2.0)"),
            ("a1(<<2)|b1 , c1:any", "a1 (<< 2) | b1, c1:any"),
            ("a1 (< 2), b1 (> 2), c1 (=3)", "a1 (<= 2), b1 (>= 2), c1 (= 3)"),
            ("a1 [amd64], b1 [!amd64], c1 [any-arm64 armhf], d1 [linux-any]", "b1, c1, d1"),
            ("a1 <!nocheck>, b1 <cross>, c1:native, d1:i386", "a1, c1, d1:i386"),
            ("a1 [amd64] | b1", "b1"),
        ] {
            assert_eq!(shown(field).as_deref(), Ok(meaning), "{field}");
        }
    }

    #[test]
    fn what_is_no_relation_is_refused() {
        for field in ["a", "../a", "a1 (2)", "a1 (>= )", "a1 (>= 2", "a1 b1", "a1:Any", "a1 [amd64", "a1 | "]
        {
            let answer = shown(field);
            assert!(answer.is_err(), "{field}: {answer:?}");
        }
    }
}
