//! From the lock to files: every locked package in the store, its digest seen to be right.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use graven_recipe::Recipe;
use graven_recipe::lock::{LockedPackage, LockedSet};
use graven_sources::Sha256;
use graven_sources::network::NetworkProblem;

use super::lock::Locked;
use super::{Supplies, mirror};
use crate::error::{Error, Result};

/// Downloads side by side: enough to fill a line, few enough for a mirror's patience.
const SIDE_BY_SIDE: usize = 6;

/// A locked package in the store.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// `name_version_architecture.deb`.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// What it hashes to.
    pub sha256: Sha256,
}

/// What the repositories give to one target.
#[derive(Debug, Default)]
pub struct Provided {
    /// Packages of the root, in the lock's order.
    pub root: Vec<Fetched>,
    /// Packages of the kernel.
    pub kernel: Vec<Fetched>,
    /// The package that brings systemd's EFI stub.
    pub stub: Option<Fetched>,
    /// The lock's time.
    pub source_date: Option<i64>,
}

/// Sees that the store has every package that the lock has for a recipe, fetching what it lacks.
///
/// # Errors
/// Packages that do not come, or not as they were locked.
pub fn provide(recipe: &Recipe, locked: &Locked, supplies: &Supplies<'_>) -> Result<Provided> {
    let Some(set) = locked.set_of(recipe)? else {
        return Ok(Provided { source_date: locked.source_date(), ..Provided::default() });
    };
    let packages =
        |ids: &[String]| -> Result<Vec<Fetched>> { all(recipe, &packages_of(locked, ids)?, supplies) };
    let LockedSet { root, kernel, stub, .. } = set;
    // One queue for all, so that the largest does not wait for the last.
    let ids: Vec<String> = set.all().map(str::to_owned).collect();
    let mut fetched = packages(&ids)?.into_iter();
    Ok(Provided {
        root: fetched.by_ref().take(root.len()).collect(),
        kernel: fetched.by_ref().take(kernel.len()).collect(),
        stub: stub.as_ref().and_then(|_| fetched.next()),
        source_date: locked.source_date(),
    })
}

fn packages_of<'l>(locked: &'l Locked, ids: &[String]) -> Result<Vec<&'l LockedPackage>> {
    let find = |id: &String| {
        locked.lock().and_then(|lock| lock.package(id)).ok_or_else(|| {
            Error::Limit(format!("the lock has no package {id}; remove it and run `graven lock`"))
        })
    };
    ids.iter().map(find).collect()
}

/// Packages side by side, in the order given.
fn all(recipe: &Recipe, packages: &[&LockedPackage], supplies: &Supplies<'_>) -> Result<Vec<Fetched>> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Result<Fetched>>>> = Mutex::new(packages.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE.min(packages.len()) {
            scope.spawn(|| {
                while let Some((at, package)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    packages.get(at).map(|package| (at, package))
                } {
                    let result = one(recipe, package, supplies);
                    if result.is_err() {
                        // Nobody begins another.
                        next.store(packages.len(), Ordering::Relaxed);
                    }
                    if let Ok(mut results) = results.lock()
                        && let Some(slot) = results.get_mut(at)
                    {
                        *slot = Some(result);
                    }
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut fetched = Vec::with_capacity(packages.len());
    let mut left_out = false;
    for result in results {
        match result {
            Some(result) => fetched.push(result?),
            // Not begun, since another had failed: that one's error comes.
            None => left_out = true,
        }
    }
    match left_out {
        true => Err(Error::Limit("a download was not begun".to_owned())),
        false => Ok(fetched),
    }
}

fn one(recipe: &Recipe, package: &LockedPackage, supplies: &Supplies<'_>) -> Result<Fetched> {
    let sha256 = Sha256::from(package.sha256.0);
    let name = format!("{}_{}_{}.deb", package.name, package.version, package.architecture);
    let found =
        supplies.store.find(&sha256).map_err(|error| Error::io(supplies.store.path(&sha256), error))?;
    if let Some(path) = found {
        return Ok(Fetched { name, path, sha256 });
    }
    let Some(network) = &supplies.network else {
        return Err(Error::Offline(format!(
            "the store {} has no {name} (SHA-256 {sha256}): bring it there with `graven fetch RECIPE --to STORE`",
            supplies.store.folder().display()
        )));
    };
    let repositories = &recipe.packages.repositories;
    let repository = repositories.iter().find(|repository| mirror::name(repository) == package.repository);
    let repository = repository.ok_or_else(|| {
        Error::Limit(format!(
            "the lock has {name} from `{}`, which is not among the recipe's [[packages.repo]]; run `graven lock`",
            package.repository
        ))
    })?;
    let (url, _) = mirror::of(repository, &supplies.host)?;
    let meter = supplies.watch.begin(&name, package.size);
    let from = format!("{url}/{}", package.path);
    match supplies.store.fetch(network, &from, &sha256, package.size, &*meter) {
        Ok(path) => Ok(Fetched { name, path, sha256 }),
        Err(error) if matches!(error.problem, NetworkProblem::Missing) => Err(Error::Gone(format!(
            "{} {} is gone from the mirror ({from}): move the lock on with `graven lock RECIPE --update {}`, or build from a \
             store that still has it, or name a mirror that keeps old packages",
            package.name, package.version, package.name
        ))),
        Err(error) => Err(error.into()),
    }
}
