//! One package as an index describes it.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use debversion::Version;

use super::Architecture;
use super::relation::{self, Comparison, Qualifier, Relation};
use crate::Sha256;

/// Largest package that is believed: Debian's largest has 2.5 GB.
const LARGEST: u64 = 8 << 30;

/// A package of a repository.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// Its architecture as it says itself; `None` for `all`.
    pub architecture: Option<Architecture>,
    /// Where it lies below the repository's address.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// What its bytes hash to.
    pub sha256: Sha256,
    /// `Essential: yes`.
    pub essential: bool,
    /// The name of its source package.
    pub source: String,
    pub(super) multi_arch: MultiArch,
    pub(super) standing: Standing,
    /// `Pre-Depends` and `Depends`.
    pub(super) depends: Vec<Vec<Relation>>,
    pub(super) conflicts: Vec<Relation>,
    pub(super) breaks: Vec<Relation>,
    pub(super) provides: Vec<Provided>,
}

/// A name that a package goes by, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Provided {
    pub(super) name: String,
    pub(super) version: Option<Version>,
}

/// `Multi-Arch` (deb-control(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MultiArch {
    /// One architecture at a time, and for its own kind only.
    No,
    /// Several beside each other, all of one version.
    Same,
    /// Serves packages of any architecture.
    Foreign,
    /// Serves those of any architecture that ask for it with `:any`.
    Allowed,
}

/// `Priority`: how much of a standard system it is. Decides between packages that provide the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Required,
    Important,
    Standard,
    Optional,
    Extra,
}

/// The fields of one paragraph, each looked for when it is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paragraph<'a>(pub(super) &'a str);

impl<'a> Paragraph<'a> {
    /// A field's value, its folded lines joined by blanks.
    pub(super) fn field(&self, name: &str) -> Option<std::borrow::Cow<'a, str>> {
        let mut lines = self.0.lines();
        let first = lines.by_ref().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then_some(value)
        })?;
        let folded = lines.take_while(|line| line.starts_with([' ', '\t'])).map(str::trim);
        let mut value = std::borrow::Cow::Borrowed(first.trim());
        for more in folded {
            let value = value.to_mut();
            value.push(' ');
            value.push_str(more);
        }
        Some(value)
    }
}

impl Record {
    /// Reads a paragraph of `Packages`; `native` is what `all` counts as.
    pub(super) fn parse(paragraph: Paragraph<'_>, native: &Architecture) -> Result<Self, String> {
        let field = |name: &str| paragraph.field(name);
        let needed = |name: &str| field(name).ok_or_else(|| format!("it has no field `{name}`"));
        let bad = |name: &str, value: &str| format!("its field `{name}` is `{}`", value.escape_debug());

        let name = needed("Package")?.into_owned();
        let text = needed("Version")?;
        let version = text.parse().map_err(|_| bad("Version", &text))?;
        let architecture = match &*needed("Architecture")? {
            "all" => None,
            other => Some(Architecture::parse(other).ok_or_else(|| bad("Architecture", other))?),
        };
        let path = needed("Filename")?;
        let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
        let part =
            |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(|byte| byte.is_ascii_graphic());
        if !path.split('/').all(part) {
            return Err(bad("Filename", &path));
        }
        let text = needed("Size")?;
        let size = text
            .parse()
            .ok()
            .filter(|size| (1..=LARGEST).contains(size))
            .ok_or_else(|| bad("Size", &text))?;
        let text = needed("SHA256")?;
        let sha256 = text.parse().map_err(|_| bad("SHA256", &text))?;

        let own = architecture.as_ref().unwrap_or(native);
        let relations = |name: &str| {
            let text = field(name).unwrap_or_default();
            relation::parse(&text, own).map_err(|why| format!("its field `{name}`: {why}"))
        };
        let flat =
            |name: &str| relations(name).map(|groups| groups.into_iter().flatten().collect::<Vec<_>>());
        let mut depends = relations("Pre-Depends")?;
        depends.extend(relations("Depends")?);
        Ok(Self {
            depends,
            conflicts: flat("Conflicts")?,
            breaks: flat("Breaks")?,
            provides: flat("Provides")?.into_iter().map(provided).collect::<Result<_, _>>()?,
            essential: field("Essential").as_deref() == Some("yes"),
            source: field("Source").map_or_else(
                || name.clone(),
                |source| source.split([' ', '(']).next().unwrap_or_default().to_owned(),
            ),
            multi_arch: match field("Multi-Arch").as_deref() {
                Some("same") => MultiArch::Same,
                Some("foreign") => MultiArch::Foreign,
                Some("allowed") => MultiArch::Allowed,
                _ => MultiArch::No,
            },
            standing: match field("Priority").as_deref() {
                Some("required") => Standing::Required,
                Some("important") => Standing::Important,
                Some("standard") => Standing::Standard,
                Some("extra") => Standing::Extra,
                _ => Standing::Optional,
            },
            name,
            version,
            architecture,
            path,
            size,
            sha256,
        })
    }

    /// Whether this package is what a relation of a package of architecture `from` means, by its own name or one that it
    /// provides. `own` is what this package counts as.
    pub(super) fn satisfies(&self, relation: &Relation, own: &Architecture, from: &Architecture) -> bool {
        let reaches = match &relation.qualifier {
            Qualifier::None => own == from || self.multi_arch == MultiArch::Foreign,
            Qualifier::Any => self.multi_arch == MultiArch::Allowed,
            Qualifier::Architecture(named) => own == named,
        };
        reaches && self.is_called(relation)
    }

    /// Whether name and version fit, whatever the architecture: what `Conflicts` and `Breaks` go by.
    pub(super) fn is_called(&self, relation: &Relation) -> bool {
        let fits = |found: &Version| {
            relation.version.as_ref().is_none_or(|(comparison, stated)| comparison.holds(found, stated))
        };
        if self.name == relation.name && fits(&self.version) {
            return true;
        }
        // A name provided without a version has none to compare.
        self.provides
            .iter()
            .filter(|provided| provided.name == relation.name)
            .any(|provided| provided.version.as_ref().map_or(relation.version.is_none(), fits))
    }
}

fn provided(relation: Relation) -> Result<Provided, String> {
    let version = match relation.version {
        None => None,
        Some((Comparison::Equal, version)) => Some(version),
        Some(_) => {
            return Err(format!("its field `Provides` has `{}`: only `=` can be provided", relation.name));
        }
    };
    Ok(Provided { name: relation.name, version })
}
