//! Files of this machine that a recipe names, opened and digested.

use std::path::{Path, PathBuf};

use graven_recipe::lock::Digest;
use graven_recipe::{FilePattern, Recipe};
use graven_sources::{Limits, Sha256, Spool, deb};
use graven_verify::manifest::Input;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::supply::fetch::Fetched;

/// The files of all patterns, in the recipe's order, each once.
pub(crate) fn matching(patterns: &[FilePattern]) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for pattern in patterns {
        for path in pattern.files()? {
            if !all.contains(&path) {
                all.push(path);
            }
        }
    }
    Ok(all)
}

/// Reads packages side by side; each must be for the target's architecture or for all.
pub(crate) fn read_packages(
    recipe: &Recipe,
    patterns: &[FilePattern],
    spool: &Spool,
) -> Result<Vec<deb::Package>> {
    matching(patterns)?
        .par_iter()
        .map(|path| {
            let package = deb::read(path, None, spool, &Limits::default())?;
            let (found, wanted) = (package.control.architecture(), recipe.target.arch.debian());
            if found != wanted && found != "all" {
                return Err(Error::Limit(format!(
                    "{}: a package for {found}, expected {wanted} (target {}) or all",
                    path.display(),
                    recipe.target.name
                )));
            }
            Ok(package)
        })
        .collect()
}

/// Reads packages of the repositories side by side, each as it was locked. They are of the architecture that was asked for.
pub(crate) fn read_fetched(fetched: &[Fetched], spool: &Spool) -> Result<Vec<deb::Package>> {
    fetched.par_iter().map(|one| read_one(one, spool)).collect()
}

/// A package of the repositories; errors name it, not its place in the store.
pub(crate) fn read_one(fetched: &Fetched, spool: &Spool) -> Result<deb::Package> {
    let read = deb::read(&fetched.path, Some(&fetched.sha256), spool, &Limits::default());
    match read {
        Ok(package) => Ok(package.called(&fetched.name)),
        Err(mut error) => {
            error.input.clone_from(&fetched.name);
            Err(error.into())
        }
    }
}

/// A package as the manifest names it.
pub(crate) fn package_input(package: &deb::Package) -> Input {
    let sha256 = Some(package.sha256.to_string());
    Input {
        kind: "deb".into(),
        name: format!("{}={}", package.control.package(), package.control.version()),
        sha256,
    }
}

/// An input that is one file of this machine. Its folder is not named: the same bytes lie elsewhere next year.
pub(crate) fn file_input(kind: &str, path: &Path) -> Result<Input> {
    let sha256 = digest_of_file(path)?;
    Ok(Input { kind: kind.into(), name: file_name(path), sha256: Some(sha256.to_string()) })
}

pub(crate) fn digest_of_file(path: &Path) -> Result<Sha256> {
    let file = std::fs::File::open(path).map_err(|error| Error::io(path, error))?;
    Sha256::of(&file).map_err(|error| Error::io(path, error))
}

pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest(sha2::Sha256::digest(bytes).into())
}

pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
