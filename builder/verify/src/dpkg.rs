//! What a root says of its Debian packages: dpkg's notes.

use std::collections::{BTreeMap, BTreeSet};

use graven_image::tree::{Kind, Tree, TreePath};

/// Where dpkg keeps the list of packages.
pub(crate) const STATUS: &str = "/var/lib/dpkg/status";
/// Where it keeps what it knows of each: `NAME.list`, `NAME:ARCHITECTURE.list` and others.
pub(crate) const INFO: &str = "/var/lib/dpkg/info";
/// Bytes that its notes may have.
const MOST_BYTES: u64 = 64 << 20;

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) architecture: String,
    pub(crate) version: String,
    /// All that is said of it.
    paragraph: String,
}

impl Package {
    fn parse(paragraph: &str) -> Option<Self> {
        let field = |name| field(paragraph, name);
        if !field("Status").is_none_or(|status| status.ends_with(" installed")) {
            return None;
        }
        Some(Self {
            name: field("Package")?.to_owned(),
            architecture: field("Architecture")?.to_owned(),
            version: field("Version")?.to_owned(),
            paragraph: paragraph.trim().to_owned(),
        })
    }

    /// The first line of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.paragraph, name)
    }

    /// Name and version of the source package: `Source: NAME (VERSION)`, or its own.
    pub(crate) fn source(&self) -> (&str, &str) {
        let source = self.field("Source").unwrap_or(&self.name);
        match source.split_once(" (") {
            Some((name, version)) => (name, version.trim_end_matches(')')),
            None => (source, &self.version),
        }
    }

    /// Names of packages that it depends on, alternatives among them.
    pub(crate) fn depends(&self) -> impl Iterator<Item = &str> {
        let relations = ["Pre-Depends", "Depends"].into_iter().filter_map(|name| self.field(name));
        let names = relations.flat_map(|relations| relations.split([',', '|']));
        names.filter_map(|name| name.trim().split([' ', ':', '(']).next()).filter(|name| !name.is_empty())
    }
}

fn field<'a>(paragraph: &'a str, name: &str) -> Option<&'a str> {
    let line = paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(str::trim)
}

/// The installed packages, in the order of the list.
pub(crate) fn installed(root: &Tree) -> Vec<Package> {
    text(root, STATUS).unwrap_or_default().split("\n\n").filter_map(Package::parse).collect()
}

/// Which package each path of a root is of.
pub(crate) struct Owners {
    by_path: BTreeMap<String, String>,
    packages: BTreeSet<String>,
}

impl Owners {
    /// By dpkg's lists.
    pub(crate) fn of(root: &Tree) -> Self {
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
    pub(crate) fn package(&self, path: &str) -> Option<&str> {
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
