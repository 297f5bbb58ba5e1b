//! The lock, as a build is held to it: its packages, the numbers of its users, the programs that make its file systems.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use graven_finish::Ids;
use graven_recipe::Recipe;
use graven_recipe::lock::{Lock, LockedPackage, LockedSet};
use graven_verify::manifest::Input;

use super::asked::{asked, asks};
use crate::error::{Error, Result};
use crate::output::folder_of;

/// Whether a changed lock reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// As a file beside the recipe.
    OnDisk,
    /// For this run only.
    InMemory,
}

/// The lock of a recipe, or that it needs none.
#[derive(Debug)]
pub struct Locked {
    pub(super) path: PathBuf,
    pub(super) lock: Option<Lock>,
    /// Whether it may change, and where to.
    pub(super) keep: Option<Keep>,
}

impl Locked {
    /// The lock.
    #[must_use]
    pub fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    /// The time that it states.
    #[must_use]
    pub fn source_date(&self) -> Option<i64> {
        self.lock.as_ref()?.source_date
    }

    /// Numbers that users and groups have.
    #[must_use]
    pub fn ids(&self) -> Ids {
        let lock = self.lock.as_ref();
        lock.map_or_else(Ids::default, |lock| Ids { users: lock.users.clone(), groups: lock.groups.clone() })
    }

    /// That there is none, nor a need for one.
    #[must_use]
    pub fn none() -> Self {
        Self { path: PathBuf::new(), lock: None, keep: None }
    }

    /// The lock of this file as it stands: nothing is resolved, nothing changes.
    ///
    /// # Errors
    /// A file that cannot be read, or is no lock.
    pub fn frozen(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), lock: Lock::read(path)?, keep: None })
    }

    /// Writes down the numbers that users and groups were given, so that nobody who comes later changes them. Without a
    /// lock they are nobody's.
    ///
    /// # Errors
    /// Numbers that the lock does not have, where it may not change; a lock that cannot be written.
    pub fn number(&mut self, ids: &Ids, say: &dyn Fn(&str)) -> Result<()> {
        let Some(old) = &self.lock else { return Ok(()) };
        let mut lock = old.clone();
        lock.users.extend(ids.users.clone());
        lock.groups.extend(ids.groups.clone());
        if lock == *old {
            return Ok(());
        }
        if self.keep.is_none() {
            let problem = differences(old, &lock).join("; ");
            return Err(Error::Locked { path: self.path.clone(), problem });
        }
        self.change_to(lock, say)
    }

    /// Holds the programs of this machine that an image is made with against the versions that the lock has, and writes down
    /// those that it has not. Without a lock any version does, and the manifest tells which.
    ///
    /// # Errors
    /// Another version, where the lock may not change; a lock that cannot be written.
    pub fn hold_tools(&mut self, inputs: &[Input], say: &dyn Fn(&str)) -> Result<()> {
        let Some(old) = &self.lock else { return Ok(()) };
        let mut lock = old.clone();
        for tool in inputs.iter().filter(|input| input.kind == "tool") {
            let Some((name, found)) = tool.name.split_once('=') else { continue };
            if let (Some(expected), None) =
                (old.tools.get(name).filter(|version| *version != found), self.keep)
            {
                let problem = format!(
                    "{name}: expected version {expected}, found {found}; other versions write other bytes"
                );
                return Err(Error::Locked { path: self.path.clone(), problem });
            }
            lock.tools.insert(name.to_owned(), found.to_owned());
        }
        if lock == *old || self.keep.is_none() {
            return Ok(());
        }
        self.change_to(lock, say)
    }

    fn change_to(&mut self, lock: Lock, say: &dyn Fn(&str)) -> Result<()> {
        if self.keep == Some(Keep::OnDisk) {
            write(&self.path, self.lock.as_ref(), &lock, say)?;
        }
        self.lock = Some(lock);
        Ok(())
    }

    /// What a recipe gets; `None` where it asks for nothing.
    pub(super) fn set_of(&self, recipe: &Recipe) -> Result<Option<&LockedSet>> {
        let asked = asked(recipe)?;
        if !asks(&asked) {
            return Ok(None);
        }
        let set = self.lock.as_ref().and_then(|lock| lock.sets.iter().find(|set| set.asked == asked));
        set.map(Some)
            .ok_or_else(|| Error::Limit("the lock does not fit the recipe; run `graven lock`".to_owned()))
    }
}

/// Writes a lock, which appears whole or not at all, and says what became of the old one.
pub(super) fn write(path: &Path, old: Option<&Lock>, new: &Lock, say: &dyn Fn(&str)) -> Result<()> {
    use std::io::Write;
    let written = tempfile::NamedTempFile::new_in(folder_of(path)).and_then(|mut file| {
        use std::os::unix::fs::PermissionsExt;
        file.write_all(new.render().as_bytes())?;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.persist(path).map_err(|error| error.error)
    });
    written.map_err(|error| Error::io(path, error))?;
    match old {
        None => {
            let images = match new.images.len() {
                0 => String::new(),
                images => format!(" and {images} images"),
            };
            say(&format!("{}: written, {} packages{images}", path.display(), new.packages.len()));
        }
        Some(old) => {
            for difference in differences(old, new) {
                say(&format!("{}: {difference}", path.display()));
            }
        }
    }
    Ok(())
}

/// What two locks differ in, a line each.
pub(super) fn differences(old: &Lock, new: &Lock) -> Vec<String> {
    let mut lines = Vec::new();
    if old.graven != new.graven {
        lines.push(format!("Graven {} → {}", old.graven, new.graven));
    }
    for (arch, digest) in &new.stage0 {
        match old.stage0.get(arch) {
            Some(was) if was == digest => {}
            Some(was) => lines.push(format!("stage0 for {arch} {was} → {digest}")),
            None => lines.push(format!("stage0 for {arch} is new")),
        }
    }
    for input in &new.inputs {
        match old.inputs.iter().find(|was| was.path == input.path) {
            Some(was) if was.sha256 == input.sha256 => {}
            Some(was) => lines.push(format!("{} {} → {}", input.path, was.sha256, input.sha256)),
            None => lines.push(format!("{} is new", input.path)),
        }
    }
    for was in old.inputs.iter().filter(|was| !new.inputs.iter().any(|input| input.path == was.path)) {
        lines.push(format!("{} is no longer there", was.path));
    }
    for (name, version) in new.tools.iter().filter(|(name, version)| old.tools.get(*name) != Some(*version)) {
        lines.push(match old.tools.get(name) {
            Some(before) => format!("{name} {before} → {version}"),
            None => format!("{name} {version} is new"),
        });
    }
    for (kind, was, is) in [("user", &old.users, &new.users), ("group", &old.groups, &new.groups)] {
        for (name, id) in is.iter().filter(|(name, id)| was.get(*name) != Some(*id)) {
            lines.push(match was.get(name) {
                Some(before) => format!("{kind} {name} {before} → {id}"),
                None => format!("{kind} {name} {id} is new"),
            });
        }
    }
    let versions = |lock: &Lock, package: &LockedPackage| -> Vec<String> {
        let same = lock
            .packages
            .iter()
            .filter(|one| (&one.name, &one.architecture) == (&package.name, &package.architecture));
        same.map(|one| one.version.clone()).collect()
    };
    let mut told = BTreeSet::new();
    for package in old.packages.iter().chain(&new.packages) {
        let name = format!("{}:{}", package.name, package.architecture);
        let (was, is) = (versions(old, package), versions(new, package));
        if was == is || !told.insert(name.clone()) {
            continue;
        }
        lines.push(match (was.is_empty(), is.is_empty()) {
            (true, _) => format!("{name} {} is new", is.join(", ")),
            (_, true) => format!("{name} {} is gone", was.join(", ")),
            _ => format!("{name} {} → {}", was.join(", "), is.join(", ")),
        });
    }
    for image in &new.images {
        let name = format!("{} for {}", image.name, image.platform);
        match old.image(&image.name, &image.platform) {
            Some(was) if was == image => {}
            Some(was) => {
                lines.push(format!(
                    "{name} sha256:{} → sha256:{}",
                    was.manifest.sha256, image.manifest.sha256
                ));
            }
            None => lines.push(format!("{name} is new")),
        }
    }
    for was in old.images.iter().filter(|was| new.image(&was.name, &was.platform).is_none()) {
        lines.push(format!("{} for {} is gone", was.name, was.platform));
    }
    if lines.is_empty() {
        lines.push("it is written another way".to_owned());
    }
    lines
}
