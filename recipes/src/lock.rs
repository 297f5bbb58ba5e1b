//! `graven.lock`, beside the recipe: every input that moves by itself, pinned to its bytes. One lock for all targets and
//! profiles, written by `graven lock` and by the first build, meant to be committed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Locks are long, but not longer than this.
const MAX_BYTES: u64 = 64 << 20;
/// The layout that this program reads and writes.
const FORMAT: u32 = 1;
/// Its file's name, beside the recipe's.
pub const FILE_NAME: &str = "graven.lock";
const HEADER: &str = "# Written by `graven lock`; commit it beside the recipe. `graven lock RECIPE --update [PACKAGE]` moves it on.\n\n";

/// A lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lock {
    /// The layout, [`FORMAT`].
    format: u32,
    /// Version of the Graven that wrote it: another may build other bytes.
    pub graven: String,
    /// Seconds since 1970 that stand for "now" in the image: the newest repository's. Without repositories it is the newest
    /// time in the inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_date: Option<i64>,
    /// stage0 by architecture, which becomes part of the image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stage0: BTreeMap<String, Digest>,
    /// Versions of the programs of the building machine that images were made with, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, String>,
    /// Numbers that users were given, by name. A name that is gone keeps its own: files in a machine's state may have it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, u32>,
    /// Numbers that groups were given, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, u32>,
    /// The repositories, as they were when they were last asked.
    #[serde(default, rename = "repository", skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<LockedRepository>,
    /// Files of this machine: archives, local packages, kernels, firmware.
    #[serde(default, rename = "input", skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<LockedInput>,
    /// What each target and profile asks for, and gets.
    #[serde(default, rename = "set", skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<LockedSet>,
    /// The packages of all sets, by name.
    #[serde(default, rename = "package", skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<LockedPackage>,
    /// Container images of registries, each for one platform.
    #[serde(default, rename = "image", skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<LockedImage>,
}

/// A SHA-256, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest(pub [u8; 32]);

/// A suite of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedRepository {
    /// Its suite, and its address where the recipe states one: what packages name it by.
    pub name: String,
    /// `Date` of its `InRelease`, in seconds since 1970; an older one is refused from then on.
    pub date: i64,
    /// SHA-256 of its `InRelease`.
    pub in_release: Digest,
    /// SHA-256 of the keyring it was checked against.
    pub keyring: Digest,
    /// Fingerprint of the key that had signed it.
    pub signed_by: String,
}

/// A file of this machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedInput {
    /// Its path from the recipe's folder.
    pub path: String,
    /// What it hashes to.
    pub sha256: Digest,
}

/// What one or more targets and profiles ask the repositories for, and what they get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedSet {
    /// For whom: `TARGET/PROFILE`.
    #[serde(rename = "for")]
    pub whom: Vec<String>,
    /// What is asked.
    pub asked: Asked,
    /// Packages of the root, each as [`LockedPackage::id`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub root: Vec<String>,
    /// Packages of the kernel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel: Vec<String>,
    /// The package that brings systemd's EFI stub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stub: Option<String>,
}

/// What a recipe asks the repositories for: as long as this stays the same, so does the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Asked {
    /// Debian's name of the architecture.
    pub architecture: String,
    /// `[[packages.repo]]`, one each, with all that it says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// `packages.install`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub install: Vec<String>,
    /// The packages of `packages.local`, one each, with what they need and what they cannot be with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local: Vec<String>,
    /// `packages.remove`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// `packages.essential`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub essential: bool,
    /// `kernel.package`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// `boot.stub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stub: Option<String>,
}

/// A package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, or `all`.
    pub architecture: String,
    /// The repository's name.
    pub repository: String,
    /// Where it lies below the repository's address.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// What it hashes to.
    pub sha256: Digest,
}

/// A container image for one platform, from its index to its layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedImage {
    /// As the recipe names it.
    pub name: String,
    /// `linux/amd64`.
    pub platform: String,
    /// The indexes on the way to the manifest, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<LockedBlob>,
    /// The manifest.
    pub manifest: LockedBlob,
    /// The configuration.
    pub config: LockedBlob,
    /// The layers, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LockedBlob>,
}

/// One part of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedBlob {
    /// Its size in bytes.
    pub size: u64,
    /// What it hashes to.
    pub sha256: Digest,
}

/// A lock that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A file that cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is no lock, or a damaged one.
    #[error("{}: {problem}; correct it, or remove it and run `graven lock`", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl Lock {
    /// Where the lock of a recipe lies: beside it, whether `recipe` is its file or its folder.
    #[must_use]
    pub fn path_for(recipe: &Path) -> PathBuf {
        if recipe.is_dir() { recipe.join(FILE_NAME) } else { recipe.with_file_name(FILE_NAME) }
    }

    /// A lock of nothing.
    #[must_use]
    pub fn new(graven: &str) -> Self {
        Self {
            format: FORMAT,
            graven: graven.to_owned(),
            source_date: None,
            stage0: BTreeMap::new(),
            tools: BTreeMap::new(),
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            repositories: Vec::new(),
            inputs: Vec::new(),
            sets: Vec::new(),
            packages: Vec::new(),
            images: Vec::new(),
        }
    }

    /// Reads a lock; `None` where there is none.
    ///
    /// # Errors
    /// A file that cannot be read, or that is no lock.
    pub fn read(path: &Path) -> Result<Option<Self>, LockError> {
        use std::io::Read;
        let failed = |source| LockError::Read { path: path.to_owned(), source };
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut text = String::new();
        file.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
        Self::parse(&text).map(Some).map_err(|problem| LockError::Damaged { path: path.to_owned(), problem })
    }

    /// Parses a lock and checks that it is whole.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lock: Self = toml::from_str(text).map_err(|error| {
            let line =
                error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count());
            format!("line {}: {}", line + 1, error.message().replace('\n', ", "))
        })?;
        if lock.format != FORMAT {
            return Err(format!("its format is {}, this Graven reads {FORMAT}", lock.format));
        }
        let packages: BTreeSet<String> = lock.packages.iter().map(LockedPackage::id).collect();
        let repositories: BTreeSet<&str> = lock.repositories.iter().map(|one| one.name.as_str()).collect();
        for id in lock.sets.iter().flat_map(LockedSet::all) {
            if !packages.contains(id) {
                return Err(format!("a set has the package `{id}`, which is not among the packages"));
            }
        }
        for package in &lock.packages {
            if !repositories.contains(package.repository.as_str()) {
                return Err(format!(
                    "{} is of `{}`, which is not among the repositories",
                    package.id(),
                    package.repository
                ));
            }
        }
        Ok(lock)
    }

    /// The lock as a file.
    ///
    /// # Panics
    /// Never: every part of it can be written as TOML.
    #[must_use]
    pub fn render(&self) -> String {
        let text = toml::to_string_pretty(self)
            .unwrap_or_else(|error| unreachable!("a lock is plain data: {error}"));
        format!("{HEADER}{text}")
    }

    /// What a target gets under a profile.
    #[must_use]
    pub fn set(&self, whom: &str) -> Option<&LockedSet> {
        self.sets.iter().find(|set| set.whom.iter().any(|one| one == whom))
    }

    /// A package by its [`id`](LockedPackage::id).
    #[must_use]
    pub fn package(&self, id: &str) -> Option<&LockedPackage> {
        self.packages.iter().find(|package| package.id() == id)
    }

    /// A container image by its name and platform.
    #[must_use]
    pub fn image(&self, name: &str, platform: &str) -> Option<&LockedImage> {
        self.images.iter().find(|image| image.name == name && image.platform == platform)
    }

    /// A repository by its name.
    #[must_use]
    pub fn repository(&self, name: &str) -> Option<&LockedRepository> {
        self.repositories.iter().find(|repository| repository.name == name)
    }
}

impl LockedSet {
    /// All its packages.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.root.iter().chain(&self.kernel).chain(&self.stub).map(String::as_str)
    }
}

impl LockedImage {
    /// All its parts, outermost first.
    pub fn blobs(&self) -> impl Iterator<Item = &LockedBlob> {
        self.indexes.iter().chain([&self.manifest, &self.config]).chain(&self.layers)
    }
}

impl LockedPackage {
    /// `name:architecture=version`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}:{}={}", self.name, self.architecture, self.version)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bad = || format!("`{}` is no SHA-256", text.escape_debug());
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
