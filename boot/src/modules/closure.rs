//! The modules that are needed, each after those it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::modinfo::{ModInfo, ModInfoError};
use super::{ModuleFiles, name_of_path, normal};
use crate::kernel::Builtin;

/// A module that something asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name, `-` and `_` alike.
    pub name: String,
    /// What asks for it, for the error that it is missing: «dm-verity root», «target qemu-x86_64».
    pub by: String,
    /// Whether a kernel without it will do.
    pub necessity: Necessity,
}

/// Whether a kernel without the module will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Necessity {
    /// It must be there, as a file or built in.
    Required,
    /// It is taken where it is there.
    Optional,
}

impl Wanted {
    /// A module that must be there.
    pub fn required(name: &str, by: &str) -> Self {
        Self { name: name.to_owned(), by: by.to_owned(), necessity: Necessity::Required }
    }

    /// A module that is taken where it is there.
    pub fn optional(name: &str, by: &str) -> Self {
        Self { name: name.to_owned(), by: by.to_owned(), necessity: Necessity::Optional }
    }
}

/// A module to carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name as the kernel writes it, with `_`.
    pub name: String,
    /// Its path in the modules folder.
    pub path: String,
    /// Its file as found, compressed or not.
    pub bytes: Vec<u8>,
    /// What it says of itself.
    pub info: ModInfo,
}

impl Module {
    /// Its file's name, such as `dm-verity.ko.xz`.
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// Why modules cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum ModulesError {
    /// Nowhere to be found.
    #[error(
        "the kernel has no module '{name}', which {by} needs: it is neither in the modules folder nor built in"
    )]
    Missing {
        /// With `_`.
        name: String,
        /// What needs it.
        by: String,
    },
    /// Two files of one name.
    #[error("two modules are called '{name}': {first} and {second}")]
    Twice {
        /// With `_`.
        name: String,
        /// One path.
        first: String,
        /// The other.
        second: String,
    },
    /// Modules that need each other.
    #[error("modules depend on each other in a circle: {0}")]
    Circle(String),
    /// A file cannot be read.
    #[error("module {path}: {source}")]
    Read {
        /// Its path in the modules folder.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file is no module.
    #[error("module {path}: {source}")]
    ModInfo {
        /// Its path in the modules folder.
        path: String,
        /// Why.
        source: ModInfoError,
    },
}

/// The wanted modules and all they depend on, in an order in which the kernel can load them one by one; those built in
/// are left out. The order follows from `wanted` and the modules alone.
pub fn closure(
    files: &dyn ModuleFiles,
    builtin: &Builtin,
    wanted: &[Wanted],
) -> Result<Vec<Module>, ModulesError> {
    let mut by_name: BTreeMap<String, String> = BTreeMap::new();
    for path in files.paths() {
        let Some(name) = name_of_path(&path) else { continue };
        if let Some(first) = by_name.insert(name.clone(), path.clone()) {
            return Err(ModulesError::Twice { name, first, second: path });
        }
    }
    let mut walk =
        Walk { files, builtin, by_name, taken: BTreeSet::new(), open: Vec::new(), modules: Vec::new() };
    for Wanted { name, by, necessity } in wanted {
        walk.take(&normal(name), by, *necessity)?;
    }
    Ok(walk.modules)
}

/// Paths of the wanted modules and all they depend on: what a root must carry of the modules folder.
pub fn trim(
    files: &dyn ModuleFiles,
    builtin: &Builtin,
    wanted: &[Wanted],
) -> Result<BTreeSet<String>, ModulesError> {
    Ok(closure(files, builtin, wanted)?.into_iter().map(|module| module.path).collect())
}

struct Walk<'a> {
    files: &'a dyn ModuleFiles,
    builtin: &'a Builtin,
    by_name: BTreeMap<String, String>,
    taken: BTreeSet<String>,
    /// Modules whose dependencies are being taken, outermost first.
    open: Vec<String>,
    modules: Vec<Module>,
}

impl Walk<'_> {
    fn take(&mut self, name: &str, by: &str, necessity: Necessity) -> Result<(), ModulesError> {
        if self.taken.contains(name) {
            return Ok(());
        }
        let Some(path) = self.by_name.get(name).cloned() else {
            if necessity == Necessity::Optional || self.builtin.contains(name) {
                return Ok(());
            }
            return Err(ModulesError::Missing { name: name.to_owned(), by: by.to_owned() });
        };
        if self.open.iter().any(|open| open == name) {
            // A soft dependency that leads back is one the kernel would not follow either.
            if necessity == Necessity::Optional {
                return Ok(());
            }
            return Err(ModulesError::Circle(format!("{} {name}", self.open.join(" "))));
        }
        let bytes =
            self.files.read(&path).map_err(|source| ModulesError::Read { path: path.clone(), source })?;
        let info =
            ModInfo::read(&bytes).map_err(|source| ModulesError::ModInfo { path: path.clone(), source })?;

        self.open.push(name.to_owned());
        for before in info.soft_before() {
            self.take(&normal(before), name, Necessity::Optional)?;
        }
        for depended in info.depends() {
            self.take(&normal(depended), &format!("module {name}"), Necessity::Required)?;
        }
        self.open.pop();
        let after: Vec<String> = info.soft_after().into_iter().map(normal).collect();
        // A soft dependency may have led back here and taken it already.
        if self.taken.insert(name.to_owned()) {
            self.modules.push(Module { name: name.to_owned(), path, bytes, info });
        }
        for name_after in after {
            self.take(&name_after, name, Necessity::Optional)?;
        }
        Ok(())
    }
}
