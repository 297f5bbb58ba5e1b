//! Debian packages of a root, and its files.

use std::collections::{BTreeMap, BTreeSet};

use graven_handoff::hex;
use graven_image::tree::{Kind, Tree, TreePath, show};

use super::model::{Component, Dependency, Hash, Property, Supplier};
use super::{Known, LICENCES_KNOWN, SbomError, build_id, licences};
use crate::dpkg::{Owners, Package};
use crate::manifest::sha256_of;

/// Bytes that a copyright file or os-release may have.
const MOST_TEXT_BYTES: u64 = 4 << 20;

/// Each package with the files that it lists; then the files of none.
pub(super) fn components(
    tree: &Tree,
    packages: &[Package],
    known: Known<'_>,
) -> Result<Vec<Component>, SbomError> {
    let distribution = Distribution::of(tree);
    let mut files = files(tree, known)?;
    let mut components = Vec::new();
    for package in packages {
        let of_it = files.remove(&Some(package.name.clone())).unwrap_or_default();
        components.push(component(package, tree, &distribution, of_it));
    }
    // Notes may name a package that is not installed: its files are nobody's.
    for mut file in files.into_values().flatten() {
        file.properties.push(Property::new("graven:owner", "none"));
        components.push(file);
    }
    Ok(components)
}

/// What each package needs of the others.
pub(super) fn dependencies(packages: &[Package]) -> impl Iterator<Item = Dependency> {
    let references: BTreeMap<&str, String> =
        packages.iter().map(|package| (package.name.as_str(), reference(package))).collect();
    packages.iter().map(move |package| {
        let own = reference(package);
        let needs = package.depends().filter_map(|name| references.get(name));
        let needs: BTreeSet<&String> = needs.filter(|needed| **needed != own).collect();
        let depends_on = needs.into_iter().cloned().collect();
        Dependency { of: own, depends_on }
    })
}

/// Regular files by the package that lists them, in the order of their paths.
fn files(tree: &Tree, known: Known<'_>) -> Result<BTreeMap<Option<String>, Vec<Component>>, SbomError> {
    let owners = Owners::of(tree);
    let mut files = BTreeMap::<_, Vec<Component>>::new();
    for entry in tree.walk() {
        let Kind::File(content) = &entry.inode.kind else { continue };
        let path = show(&entry.path);
        let failed = |source| SbomError::Read { path: path.clone(), source };
        let sum = match known(&entry.path) {
            Some(sum) => sum,
            None => sha256_of(&content.window()).map_err(failed)?,
        };
        let build_id = build_id::of(content).map_err(failed)?;
        let properties = build_id.map(|value| Property::new("graven:elf-build-id", &value));
        let file = Component {
            kind: "file",
            name: path.clone(),
            hashes: vec![Hash::sha256(hex::encode(&sum))],
            properties: properties.into_iter().collect(),
            ..Component::default()
        };
        files.entry(owners.package(&path).map(str::to_owned)).or_default().push(file);
    }
    Ok(files)
}

fn reference(package: &Package) -> String {
    format!("package/{}:{}", package.name, package.architecture)
}

fn component(package: &Package, tree: &Tree, of: &Distribution, files: Vec<Component>) -> Component {
    let (source, source_version) = package.source();
    let copyright = text(tree, &format!("/usr/share/doc/{}/copyright", package.name));
    let (known, licenses) = licences::of(copyright.as_deref());
    let mut properties = vec![
        Property::new("graven:source-package", source),
        Property::new("graven:source-version", source_version),
        Property::new(LICENCES_KNOWN, known.word()),
    ];
    if files.is_empty() {
        properties.push(Property::new("graven:files", "none"));
    }
    Component {
        kind: "library",
        bom_ref: Some(reference(package)),
        supplier: package.field("Maintainer").map(|name| Supplier { name: name.to_owned() }),
        name: package.name.clone(),
        version: Some(package.version.clone()),
        licenses,
        purl: Some(of.purl(package)),
        properties,
        components: files,
        ..Component::default()
    }
}

/// What a root's os-release says it is.
struct Distribution {
    id: String,
    version: Option<String>,
}

impl Distribution {
    fn of(tree: &Tree) -> Self {
        let text = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| text(tree, path));
        let text = text.unwrap_or_default();
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        Self { id: value("ID").unwrap_or_else(|| "debian".to_owned()), version: value("VERSION_ID") }
    }

    /// `pkg:deb/debian/NAME@VERSION?arch=…&distro=debian-13`
    fn purl(&self, package: &Package) -> String {
        let [vendor, name, version, architecture] =
            [&self.id, &package.name, &package.version, &package.architecture].map(|text| encoded(text));
        let distro = self.version.as_ref().map(|version| format!("&distro={vendor}-{}", encoded(version)));
        format!("pkg:deb/{vendor}/{name}@{version}?arch={architecture}{}", distro.unwrap_or_default())
    }
}

/// As the package URL specification wants it: a colon stays.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                out.push(byte.into());
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn text(tree: &Tree, path: &str) -> Option<String> {
    let bytes = tree.read(&TreePath::parse(path.as_bytes()).ok()?, MOST_TEXT_BYTES).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
