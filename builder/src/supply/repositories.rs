//! Repositories, opened when they are first asked, each once.

use std::collections::BTreeMap;

use graven_recipe::lock::{Asked, Digest, Lock, LockedPackage, LockedRepository};
use graven_recipe::{PackageRequest, Recipe, Repository};
use graven_sources::debian::{
    self, Architecture, Choice, Keyring, Opened, Origin, Pin, Request, Universe, Wanted,
};

use super::{Supplies, local, mirror};
use crate::error::{Error, Result};

/// The answer to what a recipe asks.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) root: Vec<LockedPackage>,
    pub(super) kernel: Vec<LockedPackage>,
    pub(super) stub: Option<LockedPackage>,
}

/// The repositories of one run.
pub(super) struct Repositories<'a> {
    supplies: &'a Supplies<'a>,
    /// The lock as it was: no index older than its may be used.
    old: Option<&'a Lock>,
    /// By all that the recipe says of them, with their names in the lock.
    opened: BTreeMap<String, (String, Opened)>,
}

impl<'a> Repositories<'a> {
    pub(super) fn new(supplies: &'a Supplies<'a>, old: Option<&'a Lock>) -> Self {
        Self { supplies, old, opened: BTreeMap::new() }
    }

    /// Those that were opened, for the lock.
    pub(super) fn locked(&self) -> impl Iterator<Item = LockedRepository> {
        self.opened.values().map(|(name, opened)| LockedRepository {
            name: name.clone(),
            date: opened.release.date,
            in_release: Digest(*opened.in_release.as_bytes()),
            keyring: Digest(*opened.keyring().as_bytes()),
            signed_by: opened.signed_by.clone(),
        })
    }

    /// Resolves what a recipe asks for; `pins` are kept where they can be.
    pub(super) fn answer(&mut self, recipe: &Recipe, asked: &Asked, pins: &[Pin]) -> Result<Answer> {
        let mut universe = self.universe(recipe, asked)?;
        let names: Vec<String> = recipe.packages.repositories.iter().map(mirror::name).collect();
        let locked = |choice: Choice| {
            let record = choice.record;
            LockedPackage {
                architecture: record
                    .architecture
                    .as_ref()
                    .map_or_else(|| "all".to_owned(), ToString::to_string),
                version: record.version.to_string(),
                repository: names.get(choice.repository).cloned().unwrap_or_default(),
                path: record.path,
                size: record.size,
                sha256: Digest(*record.sha256.as_bytes()),
                name: record.name,
            }
        };
        let mut answer = Answer::default();
        if let graven_recipe::KernelSource::Package(package) = &recipe.kernel.source {
            answer.kernel =
                debian::kernel(&universe, &request(package)?, pins)?.into_iter().map(&locked).collect();
        }
        if asked.stub.is_some()
            && let Some(graven_recipe::Stub::Package(package)) = &recipe.boot.stub
        {
            answer.stub = Some(locked(debian::pick(&universe, &request(package)?, pins)?));
        }
        let locals = local::of(recipe)?;
        let mut install =
            recipe.packages.install.iter().map(|one| request(one)).collect::<Result<Vec<_>>>()?;
        install.extend(local::add(&locals, &mut universe, names.len())?);
        if !install.is_empty() || recipe.packages.essential {
            let wanted = Wanted {
                install,
                without: recipe.packages.remove.iter().map(|name| name.value.clone()).collect(),
                essential: recipe.packages.essential,
                pins: pins.to_vec(),
            };
            // What lies here is no repository's, and pinned as a file.
            let all = debian::solve(&universe, &wanted)?.into_iter();
            answer.root = all.filter(|choice| choice.repository < names.len()).map(&locked).collect();
        }
        Ok(answer)
    }

    /// All packages that the recipe's repositories have for its target, and for other architectures that it names.
    fn universe(&mut self, recipe: &Recipe, asked: &Asked) -> Result<Universe> {
        let native = architecture(&asked.architecture)?;
        let mut architectures = vec![native.clone()];
        for named in recipe.packages.install.iter().filter_map(|one| one.architecture.as_deref()) {
            let named = architecture(named)?;
            if !architectures.contains(&named) {
                architectures.push(named);
            }
        }
        let mut universe = Universe::new(native);
        for (place, repository) in recipe.packages.repositories.iter().enumerate() {
            for architecture in &architectures {
                let only = &repository.architectures;
                if !only.is_empty() && !only.iter().any(|name| name == architecture.as_str()) {
                    continue;
                }
                let supplies = self.supplies;
                let opened = self.open(repository)?;
                let network = supplies.network("the repositories' indexes are needed")?;
                let origin = Origin {
                    repository: place,
                    suite: repository.suite.clone(),
                    priority: repository.priority.unwrap_or(opened.release.priority),
                };
                for index in opened.indexes(architecture, network, &supplies.store, supplies.watch)? {
                    universe.add(origin.clone(), architecture.clone(), index);
                }
            }
        }
        Ok(universe)
    }

    fn open(&mut self, repository: &Repository) -> Result<&Opened> {
        let (name, key) = (mirror::name(repository), mirror::describe(repository));
        if !self.opened.contains_key(&key) {
            let supplies = self.supplies;
            let (url, by) = mirror::of(repository, &supplies.host)?;
            let network = supplies.network(&format!("the index of {} is needed", repository.suite))?;
            (supplies.say)(&format!("{}: {url} (from {by})", repository.suite));
            let keyring = match (&repository.keyring, &supplies.host.keyring) {
                (Some(file), _) => Keyring::read(&file.path)?,
                (None, Some(path)) => Keyring::read(path)?,
                (None, None) => {
                    return Err(Error::NoKeyring(format!(
                        "{}: Debian's keyring is not on this machine: install the package debian-archive-keyring, or say \
                         keyring = \"FILE\" there",
                        repository.place
                    )));
                }
            };
            let whole = debian::Repository {
                url,
                suite: repository.suite.clone(),
                components: repository.components.clone(),
                keyring,
            };
            let seen = self.old.and_then(|lock| lock.repository(&name)).map(|locked| locked.date);
            let opened = whole.open(network, supplies.now, seen)?;
            self.opened.insert(key.clone(), (name.clone(), opened));
        }
        self.opened
            .get(&key)
            .map(|(_, opened)| opened)
            .ok_or_else(|| Error::Limit(format!("{name}: it could not be opened")))
    }
}

fn architecture(name: &str) -> Result<Architecture> {
    Architecture::parse(name).ok_or_else(|| Error::Limit(format!("`{name}` is no architecture of Debian's")))
}

fn request(package: &PackageRequest) -> Result<Request> {
    Ok(Request {
        name: package.name.clone(),
        architecture: package.architecture.as_deref().map(architecture).transpose()?,
        version: package.version.clone(),
        suite: package.suite.clone(),
    })
}
