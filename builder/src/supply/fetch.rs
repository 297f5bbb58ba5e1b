//! From the lock to files: every locked package and every part of a locked image in the store, its digest seen to be right.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use graven_recipe::Recipe;
use graven_recipe::lock::{LockedPackage, LockedSet};
use graven_sources::Sha256;
use graven_sources::network::NetworkProblem;

use super::images::{self, FetchedImage};
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

/// What repositories and registries give to one target.
#[derive(Debug, Default)]
pub struct Provided {
    /// Packages of the root, in the lock's order.
    pub root: Vec<Fetched>,
    /// Packages of the kernel.
    pub kernel: Vec<Fetched>,
    /// The package that brings systemd's EFI stub.
    pub stub: Option<Fetched>,
    /// Container images of registries, in the recipe's order.
    pub images: Vec<FetchedImage>,
    /// The lock's time.
    pub source_date: Option<i64>,
}

/// Sees that the store has every package and every image that the lock has for a recipe, fetching what it lacks.
///
/// # Errors
/// Packages and images that do not come, or not as they were locked.
pub fn provide(recipe: &Recipe, locked: &Locked, supplies: &Supplies<'_>) -> Result<Provided> {
    let images = images::provide(recipe, locked, supplies)?;
    let Some(set) = locked.set_of(recipe)? else {
        return Ok(Provided { images, source_date: locked.source_date(), ..Provided::default() });
    };
    let packages = |ids: &[String]| -> Result<Vec<Fetched>> {
        side_by_side(&packages_of(locked, ids)?, |package| one(recipe, package, supplies))
    };
    let LockedSet { root, kernel, stub, .. } = set;
    // One queue for all, so that the largest does not wait for the last.
    let ids: Vec<String> = set.all().map(str::to_owned).collect();
    let mut fetched = packages(&ids)?.into_iter();
    Ok(Provided {
        root: fetched.by_ref().take(root.len()).collect(),
        kernel: fetched.by_ref().take(kernel.len()).collect(),
        stub: stub.as_ref().and_then(|_| fetched.next()),
        images,
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

/// Downloads side by side, in the order given; after one that fails no other begins.
pub(super) fn side_by_side<T: Sync, F: Send>(
    items: &[T],
    one: impl Fn(&T) -> Result<F> + Sync,
) -> Result<Vec<F>> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Result<F>>>> = Mutex::new(items.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE.min(items.len()) {
            scope.spawn(|| {
                while let Some((at, item)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    items.get(at).map(|item| (at, item))
                } {
                    let result = one(item);
                    if result.is_err() {
                        next.store(items.len(), Ordering::Relaxed);
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
    let mut fetched = Vec::with_capacity(items.len());
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
