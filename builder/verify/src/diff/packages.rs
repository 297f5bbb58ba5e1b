//! Debian packages, by dpkg's notes in a root.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use graven_image::tree::{Kind, Tree, TreePath};
use serde::Serialize;

use super::version;

/// Where dpkg keeps the list of packages.
pub(super) const STATUS: &str = "/var/lib/dpkg/status";
/// Where it keeps what it knows of each: `NAME.list`, `NAME:ARCHITECTURE.list` and others.
pub(super) const INFO: &str = "/var/lib/dpkg/info";
/// Bytes that its notes may have.
const MOST_BYTES: u64 = 64 << 20;

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
    let (old, new) = (installed(old), installed(new));
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

#[derive(PartialEq)]
struct Package {
    version: String,
    paragraph: String,
}

/// Each installed package, by name and architecture.
fn installed(root: &Tree) -> BTreeMap<(String, String), Package> {
    let status = text(root, STATUS).unwrap_or_default();
    let packages = status.split("\n\n").filter_map(|paragraph| {
        let field = |name: &str| {
            let line = paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim)
        };
        let installed = field("Status").is_none_or(|status| status.ends_with(" installed"));
        let key = (field("Package")?.to_owned(), field("Architecture")?.to_owned());
        let package =
            Package { version: field("Version")?.to_owned(), paragraph: paragraph.trim().to_owned() };
        installed.then_some((key, package))
    });
    packages.collect()
}

/// Which package each path of a root is of.
pub(super) struct Owners {
    by_path: BTreeMap<String, String>,
    packages: BTreeSet<String>,
}

impl Owners {
    /// By dpkg's lists.
    pub(super) fn of(root: &Tree) -> Self {
        let mut owners = Self { by_path: BTreeMap::new(), packages: BTreeSet::new() };
        let folder = TreePath::parse(INFO.as_bytes()).and_then(|path| root.lookup(&path));
        let Ok(Kind::Directory(names)) = folder.map(|id| &root.inode(id).kind) else { return owners };
        for name in names.keys().filter_map(|name| std::str::from_utf8(name).ok()) {
            let Some(package) = name.strip_suffix(".list") else { continue };
            let list = text(root, &format!("{INFO}/{name}")).unwrap_or_default();
            for path in list.lines().filter(|path| path.len() > 1) {
                owners.by_path.insert(path.to_owned(), bare(package).to_owned());
            }
            owners.packages.insert(bare(package).to_owned());
        }
        owners
    }

    /// The package that a path is of, be it a file of it or one of dpkg's notes of it.
    pub(super) fn package(&self, path: &str) -> Option<&str> {
        if let Some(note) = path.strip_prefix(INFO).and_then(|rest| rest.strip_prefix('/')) {
            let (package, _) = note.rsplit_once('.')?;
            return self.packages.get(bare(package)).map(String::as_str);
        }
        // Packages may still name what lies below /usr as it was before.
        let before = path.strip_prefix("/usr").unwrap_or(path);
        self.by_path.get(path).or_else(|| self.by_path.get(before)).map(String::as_str)
    }
}

fn bare(package: &str) -> &str {
    package.split(':').next().unwrap_or(package)
}

fn text(root: &Tree, path: &str) -> Option<String> {
    let bytes = root.read(&TreePath::parse(path.as_bytes()).ok()?, MOST_BYTES).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
