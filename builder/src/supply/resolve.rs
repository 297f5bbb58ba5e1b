//! The lock is made where there is none, and changed no further than the recipe was.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use graven_recipe::lock::{Asked, Digest, Lock, LockedInput, LockedPackage, LockedSet};
use graven_recipe::{KernelSource, Profile, Recipe, Selection, SourceKind, Stub};
use graven_sources::debian::Pin;
use graven_targets::Arch;

use super::asked::{asked, asked_differently, asks};
use super::fetch::provide;
use super::lock::{Keep, Locked, differences, write};
use super::repositories::{Answer, Repositories};
use super::{Supplies, images, shown};
use crate::assemble::tree;
use crate::error::{Error, Result};
use crate::inputs::{digest_of, matching};
use crate::plan::root_parts;
use crate::stage0;

/// What may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing: `--locked`.
    Nothing,
    /// What the recipe demands, and no more.
    Demanded,
    /// These packages move to the newest version there is, and others only where that needs them to.
    Packages(Vec<String>),
    /// Everything moves.
    Everything,
}

/// The lock that a recipe is built by; none where there is none and what is wanted needs none. `wanted` is the recipe as it
/// is to be built, where one target of it is: what it asks beyond the lock, by overrides of the command line, is resolved
/// for this run only.
///
/// # Errors
/// Mistakes in the recipe, repositories that cannot be used, sets that do not exist, and under [`Change::Nothing`] whatever
/// differs.
pub fn obtain(
    recipe: &Path,
    wanted: Option<&Recipe>,
    change: &Change,
    keep: Keep,
    supplies: &Supplies<'_>,
) -> Result<Locked> {
    let path = Lock::path_for(recipe);
    let old = Lock::read(&path)?;
    let none = |path| Ok(Locked { path, lock: None, keep: None });
    let explicit = matches!(change, Change::Packages(_) | Change::Everything);
    // The other targets and profiles are not even read: they may lack what only they need.
    if let Some(recipe) = wanted.filter(|_| old.is_none() && !explicit)
        && !asks(&asked(recipe)?)
        && !images::any(recipe)
    {
        return none(path);
    }
    let readings = readings(recipe, wanted)?;
    if old.is_none() && !explicit {
        let needs =
            |reading: &Reading| reading.asked.as_ref().is_none_or(asks) || images::any(&reading.recipe);
        let needed = readings.iter().any(needs);
        if *change == Change::Nothing && needed {
            let problem = "there is no lock: run `graven lock` and commit what it writes".to_owned();
            return Err(Error::Locked { path, problem });
        }
        if !needed && wanted.is_none() {
            return none(path);
        }
    }
    let mut lock = renewed(recipe, &readings, old.as_ref(), change, supplies)?;
    if Some(&lock) != old.as_ref() {
        if *change == Change::Nothing {
            let problem = old.as_ref().map_or_else(String::new, |old| differences(old, &lock).join("; "));
            return Err(Error::Locked { path, problem });
        }
        if keep == Keep::OnDisk {
            write(&path, old.as_ref(), &lock, supplies.say)?;
        }
    }
    let mut keep = (*change != Change::Nothing).then_some(keep);
    if let Some(recipe) = wanted
        && for_this_run(recipe, &mut lock, change, &path, supplies)?
    {
        keep = Some(Keep::InMemory);
    }
    Ok(Locked { path, lock: Some(lock), keep })
}

/// Numbers the users and groups of all targets and profiles, as their builds would.
///
/// # Errors
/// What keeps a root from being made: packages that do not come, scripts that are not understood, inputs that are missing.
pub fn number_all(recipe: &Path, locked: &mut Locked, spool: &Path, supplies: &Supplies<'_>) -> Result<()> {
    if locked.lock.is_none() {
        return Ok(());
    }
    for Reading { whom, recipe, .. } in readings(recipe, None)? {
        let provided = provide(&recipe, locked, supplies)?;
        let numbered = root_parts(&recipe, &provided, &locked.ids(), spool)
            .and_then(|mut parts| tree(&recipe, &mut parts, provided.source_date.unwrap_or_default()));
        let (_, ids) = numbered.map_err(|error| error.for_target(&whom))?;
        locked.number(&ids, supplies.say)?;
    }
    Ok(())
}

/// A recipe for one target and profile.
pub(super) struct Reading {
    /// `TARGET/PROFILE`.
    pub(super) whom: String,
    pub(super) recipe: Recipe,
    /// None where its local packages cannot be read.
    asked: Option<Asked>,
}

/// Adds to a lock in memory what an overridden recipe asks beyond it; whether that is anything.
fn for_this_run(
    recipe: &Recipe,
    lock: &mut Lock,
    change: &Change,
    path: &Path,
    supplies: &Supplies<'_>,
) -> Result<bool> {
    let asked = asked(recipe)?;
    let known = !asks(&asked) || lock.sets.iter().any(|set| set.asked == asked);
    let unlocked = images::unlocked(recipe, lock).is_some();
    if known && !unlocked {
        return Ok(false);
    }
    if *change == Change::Nothing {
        let problem = "--set asks for other packages or images than it has".to_owned();
        return Err(Error::Locked { path: path.to_owned(), problem });
    }
    let images = images::missing(recipe, lock, supplies)?;
    lock.images.extend(images);
    if known {
        return Ok(true);
    }
    let before = lock.clone();
    let mut repositories = Repositories::new(supplies, Some(&before));
    let pins = pins(Some(&before), &asked, &[]);
    let answer = repositories.answer(recipe, &asked, &pins)?;
    add(lock, &format!("{}/--set", recipe.target.name), &asked, answer);
    for repository in repositories.locked() {
        lock.repositories.retain(|known| known.name != repository.name);
        lock.repositories.push(repository);
    }
    Ok(true)
}

/// The recipe for each of its targets and profiles. Where one of them is `wanted`, packages of this machine that only others
/// need may not be there yet.
fn readings(path: &Path, wanted: Option<&Recipe>) -> Result<Vec<Reading>> {
    let mut all = Vec::new();
    for target in Recipe::targets_of(path)? {
        for profile in Profile::ALL {
            let selection = Selection { target: Some(target.clone()), profile: *profile, sets: Vec::new() };
            let recipe = Recipe::load(path, &selection)?.recipe;
            let asked = match (asked(&recipe), wanted) {
                (Err(error), None) => return Err(error),
                (asked, _) => asked.ok(),
            };
            all.push(Reading { whom: format!("{target}/{profile}"), recipe, asked });
        }
    }
    Ok(all)
}

/// The lock that fits the recipe, with as much of the old one as `change` lets stand.
fn renewed(
    path: &Path,
    readings: &[Reading],
    old: Option<&Lock>,
    change: &Change,
    supplies: &Supplies<'_>,
) -> Result<Lock> {
    let mut lock = Lock::new(env!("CARGO_PKG_VERSION"));
    if let Some(old) = old {
        // Whatever moves: machines in the field have files with these numbers.
        (lock.users, lock.groups) = (old.users.clone(), old.groups.clone());
        if *change != Change::Everything {
            lock.tools = old.tools.clone();
        }
    }
    let moved: &[String] = match change {
        Change::Packages(names) => names,
        _ => &[],
    };
    for name in moved {
        let known = old.is_some_and(|lock| {
            lock.packages.iter().any(|package| package.name == *name)
                || lock.images.iter().any(|image| image.name == *name)
        });
        if !known {
            return Err(Error::Limit(format!(
                "--update {name}: the lock of {} has no such package or image",
                shown(path)
            )));
        }
    }
    let before = if *change == Change::Everything { None } else { old };
    let mut repositories = Repositories::new(supplies, old);
    for Reading { whom, recipe, asked } in readings {
        let was = old.and_then(|lock| Some((lock, lock.set(whom)?)));
        let Some(asked) = asked else {
            // What it asks cannot be told, so that it stays as it was.
            if let Some((old, set)) = was {
                add(&mut lock, whom, &set.asked, kept(old, set));
            }
            continue;
        };
        if !asks(asked) {
            continue;
        }
        if let Some(set) = lock.sets.iter_mut().find(|set| set.asked == *asked) {
            set.whom.push(whom.clone());
            continue;
        }
        let same = before.and_then(|lock| Some((lock, lock.sets.iter().find(|set| set.asked == *asked)?)));
        match same.filter(|(before, set)| !has_any(before, set, moved)) {
            Some((before, set)) => add(&mut lock, whom, asked, kept(before, set)),
            None if *change == Change::Nothing => {
                let was = was.map(|(_, set)| &set.asked);
                let problem = format!("for {whom}: {}", asked_differently(was, asked));
                return Err(Error::Locked { path: Lock::path_for(path), problem });
            }
            None => {
                let pins = pins(before, asked, moved);
                let answer = repositories.answer(recipe, asked, &pins);
                let answer = answer.map_err(|error| error.for_target(whom))?;
                add(&mut lock, whom, asked, answer);
            }
        }
    }
    let used: BTreeSet<&str> = lock.packages.iter().map(|package| package.repository.as_str()).collect();
    let mut asked_now: Vec<_> = repositories.locked().collect();
    asked_now.dedup_by(|a, b| a.name == b.name);
    let earlier = old.iter().flat_map(|lock| &lock.repositories).cloned();
    let earlier = earlier.filter(|known| !asked_now.iter().any(|fresh| fresh.name == known.name));
    let mut all: Vec<_> = earlier.filter(|known| used.contains(known.name.as_str())).collect();
    all.extend(asked_now.iter().cloned());
    all.sort_by(|a, b| a.name.cmp(&b.name));
    lock.source_date = all.iter().map(|repository| repository.date).max();
    lock.repositories = all;
    lock.packages
        .sort_by(|a, b| (&a.name, &a.architecture, &a.version).cmp(&(&b.name, &b.architecture, &b.version)));
    if *change == Change::Nothing
        && let Some(problem) = readings.iter().find_map(|reading| {
            let problem = images::unlocked(&reading.recipe, old?)?;
            Some(format!("for {}: {problem}", reading.whom))
        })
    {
        return Err(Error::Locked { path: Lock::path_for(path), problem });
    }
    lock.images = images::renewed(readings, old, change, supplies)?;
    lock.inputs = inputs(path, readings)?;
    for arch in readings.iter().map(|reading| reading.recipe.target.arch).collect::<BTreeSet<Arch>>() {
        if let Ok(bytes) = stage0::carried(arch) {
            lock.stage0.insert(arch.name().to_owned(), digest_of(bytes));
        }
    }
    Ok(lock)
}

fn has_any(lock: &Lock, set: &LockedSet, names: &[String]) -> bool {
    set.all().filter_map(|id| lock.package(id)).any(|package| names.contains(&package.name))
}

fn kept(lock: &Lock, set: &LockedSet) -> Answer {
    let of = |ids: &[String]| ids.iter().filter_map(|id| lock.package(id)).cloned().collect();
    Answer {
        root: of(&set.root),
        kernel: of(&set.kernel),
        stub: set.stub.as_ref().and_then(|id| lock.package(id)).cloned(),
    }
}

fn add(lock: &mut Lock, whom: &str, asked: &Asked, answer: Answer) {
    let ids = |packages: &[LockedPackage]| packages.iter().map(LockedPackage::id).collect();
    lock.sets.push(LockedSet {
        whom: vec![whom.to_owned()],
        asked: asked.clone(),
        root: ids(&answer.root),
        kernel: ids(&answer.kernel),
        stub: answer.stub.as_ref().map(LockedPackage::id),
    });
    for package in answer.root.into_iter().chain(answer.kernel).chain(answer.stub) {
        if lock.package(&package.id()).is_none() {
            lock.packages.push(package);
        }
    }
}

/// What of a lock is to be preferred: everything of this architecture but what is to move.
fn pins(lock: Option<&Lock>, asked: &Asked, moved: &[String]) -> Vec<Pin> {
    let sets = lock.iter().flat_map(|lock| lock.sets.iter().map(move |set| (*lock, set)));
    let sets = sets.filter(|(_, set)| set.asked.architecture == asked.architecture);
    let packages = sets.flat_map(|(lock, set)| set.all().filter_map(|id| lock.package(id)));
    let stays = packages.filter(|package| !moved.contains(&package.name));
    stays
        .map(|package| Pin {
            name: package.name.clone(),
            architecture: package.architecture.clone(),
            version: package.version.clone(),
        })
        .collect()
}

/// The files of this machine that any target or profile names, those that are there. What is missing is missed by the
/// build that needs it.
fn inputs(path: &Path, readings: &[Reading]) -> Result<Vec<LockedInput>> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let mut files: BTreeSet<PathBuf> = BTreeSet::new();
    for Reading { recipe, .. } in readings {
        let mut patterns = recipe.packages.local.clone();
        match &recipe.kernel.source {
            KernelSource::Packages(local) => patterns.extend(local.iter().cloned()),
            KernelSource::Files { vmlinuz, config, .. } => {
                files.extend([vmlinuz.path.clone(), config.path.clone()]);
            }
            KernelSource::Package(_) => {}
        }
        if let Some(Stub::File(stub)) = &recipe.boot.stub {
            patterns.push(stub.clone());
        }
        patterns.extend(recipe.boot.device_trees.iter().cloned());
        for pattern in patterns {
            files.extend(matching(std::slice::from_ref(&pattern)).unwrap_or_default());
        }
        files.extend(recipe.sources.iter().filter_map(|source| match &source.kind {
            SourceKind::Tar { path, .. } | SourceKind::OciArchive { path, .. } => Some(path.path.clone()),
            // It names the rest by digest.
            SourceKind::OciLayout { path, .. } => Some(path.path.join("index.json")),
            SourceKind::Dir { .. } | SourceKind::Oci { .. } => None,
        }));
        files.extend(recipe.firmware.blobs.values().map(|blob| blob.path.clone()));
    }
    let there = files.into_iter().filter(|file| file.is_file());
    there
        .map(|file| {
            let name = file.strip_prefix(folder).unwrap_or(&file).display().to_string();
            let sha256 = crate::inputs::digest_of_file(&file)?;
            Ok(LockedInput { path: name, sha256: Digest(*sha256.as_bytes()) })
        })
        .collect()
}
