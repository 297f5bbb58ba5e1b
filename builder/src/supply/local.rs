//! Packages that lie on this machine, as the solver sees them: one more repository, whose packages all come in.

use std::path::PathBuf;

use graven_recipe::Recipe;
use graven_sources::deb::{self, Control};
use graven_sources::debian::{Architecture, Index, Origin, Request, Universe};
use graven_sources::{Limits, Sha256};

use crate::error::{Error, Result};
use crate::inputs::matching;

/// Its suite's name: no repository can have one with a blank.
const SUITE: &str = "packages.local";
/// Higher than any that a recipe can give.
const PRIORITY: i32 = 10_001;
/// What decides with which packages one goes together, besides its name, version and architecture.
const RELATIONS: [&str; 8] =
    ["Multi-Arch", "Essential", "Priority", "Pre-Depends", "Depends", "Conflicts", "Breaks", "Provides"];

/// A package of `packages.local`.
pub(super) struct Local {
    path: PathBuf,
    control: Control,
    sha256: Sha256,
}

/// The local packages of a recipe that has repositories, to be resolved together with those. Without repositories there
/// is nowhere to take from what they need: they are taken as they are.
pub(super) fn of(recipe: &Recipe) -> Result<Vec<Local>> {
    if recipe.packages.repositories.is_empty() || recipe.packages.local.is_empty() {
        return Ok(Vec::new());
    }
    let read = |path: PathBuf| {
        let (control, sha256) = deb::read_control(&path, &Limits::default())?;
        Ok(Local { path, control, sha256 })
    };
    matching(&recipe.packages.local)?.into_iter().map(read).collect()
}

impl Local {
    /// For the lock: as long as this stays the same, so do the packages that it needs.
    pub(super) fn describe(&self) -> String {
        let control = &self.control;
        let mut text = format!("{}:{}={}", control.package(), control.architecture(), control.version());
        for (name, value) in self.relations() {
            text.push_str(&format!("; {name}: {value}"));
        }
        text
    }

    fn relations(&self) -> impl Iterator<Item = (&'static str, String)> {
        RELATIONS.iter().filter_map(|name| {
            let value = self.control.field(name)?;
            Some((*name, value.split_whitespace().collect::<Vec<_>>().join(" ")))
        })
    }

    /// As an index would describe it.
    fn paragraph(&self) -> Result<String> {
        let control = &self.control;
        let size = std::fs::metadata(&self.path).map_err(|error| Error::io(&self.path, error))?.len();
        let mut text = format!(
            "Package: {}\nVersion: {}\nArchitecture: {}\nFilename: local.deb\nSize: {size}\nSHA256: {}\n",
            control.package(),
            control.version(),
            control.architecture(),
            self.sha256
        );
        for (name, value) in self.relations() {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text.push('\n');
        Ok(text)
    }

    fn request(&self) -> Request {
        Request {
            name: self.control.package().to_owned(),
            architecture: Architecture::parse(self.control.architecture()),
            version: Some(self.control.version().to_owned()),
            suite: Some(SUITE.to_owned()),
        }
    }
}

/// Adds local packages to what there is, as the repository of this place; the requests for them.
pub(super) fn add(locals: &[Local], universe: &mut Universe, repository: usize) -> Result<Vec<Request>> {
    let text = locals.iter().map(Local::paragraph).collect::<Result<String>>()?;
    let index = Index::parse(text.into_bytes())
        .map_err(|problem| Error::Limit(format!("packages.local: {problem}")))?;
    let origin = Origin { repository, suite: SUITE.to_owned(), priority: PRIORITY };
    let native = universe.native().clone();
    universe.add(origin, native, index);
    Ok(locals.iter().map(Local::request).collect())
}
