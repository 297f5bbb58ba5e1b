//! Debian packages, by dpkg's notes in a root.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use graven_image::tree::Tree;
use serde::Serialize;

use super::version;
use crate::dpkg::{self, Package};

/// A package that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageChange {
    /// Its name.
    pub name: String,
    /// Its architecture, `all` among them.
    pub architecture: String,
    /// What became of it.
    pub fate: PackageFate,
    /// Its version in the first.
    pub old: Option<String>,
    /// Its version in the second.
    pub new: Option<String>,
}

/// What became of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageFate {
    /// The second has it alone.
    Added,
    /// The first has it alone.
    Removed,
    /// The second has a newer version.
    Upgraded,
    /// The second has an older version.
    Downgraded,
    /// The same version, of which something else is said.
    Changed,
}

/// Packages that came, went, or are others, in the order of their names.
pub(super) fn changed(old: &Tree, new: &Tree) -> Vec<PackageChange> {
    let by_name = |root| -> BTreeMap<(String, String), Package> {
        let packages = dpkg::installed(root).into_iter();
        packages.map(|package| ((package.name.clone(), package.architecture.clone()), package)).collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let names: BTreeSet<&(String, String)> = old.keys().chain(new.keys()).collect();
    let changes = names.into_iter().filter_map(|key| {
        let (was, is) = (old.get(key), new.get(key));
        let fate = match (was, is) {
            (None, _) => PackageFate::Added,
            (_, None) => PackageFate::Removed,
            (Some(was), Some(is)) => match version::compare(&was.version, &is.version) {
                Ordering::Less => PackageFate::Upgraded,
                Ordering::Greater => PackageFate::Downgraded,
                Ordering::Equal if was != is => PackageFate::Changed,
                Ordering::Equal => return None,
            },
        };
        let version = |package: Option<&Package>| package.map(|package| package.version.clone());
        let (name, architecture) = key.clone();
        Some(PackageChange { name, architecture, fate, old: version(was), new: version(is) })
    });
    changes.collect()
}
