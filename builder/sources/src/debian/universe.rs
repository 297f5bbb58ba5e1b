//! All packages of all repositories together, as one machine sees them.

use std::collections::HashSet;

use super::record::Record;
use super::relation::Relation;
use super::{Architecture, Error, Index};

/// Where an index comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The repository's place in the recipe, from 0.
    pub repository: usize,
    /// Its name in messages, and in `package/suite`.
    pub suite: String,
    /// Higher goes before lower, whatever the versions; apt's numbers.
    pub priority: i32,
}

/// What can be installed on a machine of one architecture.
#[derive(Debug)]
pub struct Universe {
    native: Architecture,
    indexes: Vec<(Origin, Architecture, Index)>,
}

/// A package of the universe: one of several versions of one architecture's.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) record: Record,
    pub(super) origin: Origin,
    /// What it counts as: its own, or the machine's for `all`.
    pub(super) architecture: Architecture,
}

impl Universe {
    /// An empty one for machines of this architecture.
    #[must_use]
    pub fn new(native: Architecture) -> Self {
        Self { native, indexes: Vec::new() }
    }

    /// The machine's own architecture.
    #[must_use]
    pub fn native(&self) -> &Architecture {
        &self.native
    }

    /// Adds an index of packages for `architecture`.
    pub fn add(&mut self, origin: Origin, architecture: Architecture, index: Index) {
        self.indexes.push((origin, architecture, index));
    }

    /// Suites, in the recipe's order, each once.
    pub(super) fn suites(&self) -> Vec<&str> {
        let mut suites: Vec<&str> = Vec::new();
        for (origin, ..) in &self.indexes {
            if !suites.contains(&origin.suite.as_str()) {
                suites.push(&origin.suite);
            }
        }
        suites
    }

    /// Names of all packages; some more than once.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.indexes.iter().flat_map(|(_, _, index)| index.names())
    }

    /// All versions of a package, of all architectures.
    pub(super) fn called(&self, name: &str) -> Result<Vec<Candidate>, Error> {
        self.gather(|index| index.packages(name, &self.native))
    }

    /// All packages that go by a name, their own or a provided one: those of the name first.
    pub(super) fn answering(&self, relation: &Relation) -> Result<Vec<Candidate>, Error> {
        let mut all = self.called(&relation.name)?;
        all.extend(self.providers(&relation.name)?);
        all.retain(|candidate| candidate.record.is_called(relation));
        Ok(all)
    }

    /// All packages that provide a name.
    pub(super) fn providers(&self, name: &str) -> Result<Vec<Candidate>, Error> {
        let mut found = self.gather(|index| index.providers(name, &self.native))?;
        found.retain(|candidate| candidate.record.name != name);
        Ok(found)
    }

    /// All packages that every Debian system has.
    pub(super) fn essential(&self) -> Result<Vec<Candidate>, Error> {
        self.gather(|index| index.essential(&self.native))
    }

    /// Best first, by name, architecture, priority and version; the same version of two repositories counts once.
    fn gather(&self, look: impl Fn(&Index) -> Result<Vec<Record>, String>) -> Result<Vec<Candidate>, Error> {
        let mut all = Vec::new();
        for (origin, architecture, index) in &self.indexes {
            let records = look(index).map_err(|problem| Error::Damaged {
                url: format!("the index of {} for {architecture}", origin.suite),
                problem,
            })?;
            for record in records {
                // `all` is in every architecture's index: once is enough.
                let own = match &record.architecture {
                    None if *architecture == self.native => self.native.clone(),
                    Some(own) if own == architecture => own.clone(),
                    _ => continue,
                };
                all.push(Candidate { record, origin: origin.clone(), architecture: own });
            }
        }
        all.sort_by(|a, b| {
            let key = |c: &Candidate| {
                (c.record.name.clone(), c.architecture != self.native, c.architecture.clone())
            };
            key(a)
                .cmp(&key(b))
                .then_with(|| b.origin.priority.cmp(&a.origin.priority))
                .then_with(|| b.record.version.cmp(&a.record.version))
                .then_with(|| a.origin.repository.cmp(&b.origin.repository))
        });
        let mut seen = HashSet::new();
        all.retain(|candidate| {
            let record = &candidate.record;
            seen.insert((record.name.clone(), candidate.architecture.clone(), record.version.to_string()))
        });
        Ok(all)
    }
}
