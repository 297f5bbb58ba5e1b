//! Which packages it takes: a set in which every dependency is met and nothing conflicts, found by a SAT solver.
//!
//! Preferences, in this order: what the lock has; the earlier alternative; a package of the name before one that provides
//! it; higher priority; newer version. `Recommends` are never followed, and what nothing needs is left out, and
//! so is an alternative where another that is there anyway meets the same need.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use std::rc::Rc;

use resolvo::{
    Candidates, Condition, ConditionId, ConditionalRequirement, Dependencies, DependencyProvider, Interner,
    KnownDependencies, NameId, Requirement, SolvableId, Solver, SolverCache, StringId, UnsolvableOrCancelled,
    VersionSetId, VersionSetUnionId,
};

use super::record::{MultiArch, Record};
use super::relation::Relation;
use super::universe::{Candidate, Universe};
use super::{Architecture, Error, words};

/// A package that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its name.
    pub name: String,
    /// Its architecture, where it is not the machine's.
    pub architecture: Option<Architecture>,
    /// What its version must look like; `*` stands for anything.
    pub version: Option<String>,
    /// The suite it must come from.
    pub suite: Option<String>,
}

/// A package that is preferred, since the lock has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pin {
    /// Its name.
    pub name: String,
    /// Its architecture, or `all`.
    pub architecture: String,
    /// Its version.
    pub version: String,
}

/// All that is asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Packages, with what they need.
    pub install: Vec<Request>,
    /// Names of packages that must not come in.
    pub without: Vec<String>,
    /// Whether every package marked `Essential` comes in.
    pub essential: bool,
    /// What is preferred.
    pub pins: Vec<Pin>,
}

/// A package of the answer.
#[derive(Debug, Clone)]
pub struct Choice {
    /// As its index describes it.
    pub record: Record,
    /// The repository it comes from, by its place in the recipe.
    pub repository: usize,
}

/// Finds the packages. The same universe and wishes give the same answer.
///
/// # Errors
/// [`Error::Unknown`] for what no repository has, [`Error::Unsatisfiable`] for what cannot be together, and damaged
/// indexes.
pub fn solve(universe: &Universe, wanted: &Wanted) -> Result<Vec<Choice>, Error> {
    let facts = Facts::new(universe, wanted);
    let mut requirements = Vec::new();
    for request in &wanted.install {
        let candidates = words::asked_for(universe, request)?;
        requirements.push(facts.one_of(&candidates, &words::show(request))?);
    }
    if wanted.essential {
        let mut by_name: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
        for candidate in
            universe.essential()?.into_iter().filter(|one| one.architecture == *universe.native())
        {
            by_name.entry(candidate.record.name.clone()).or_default().push(candidate);
        }
        for (name, candidates) in by_name {
            requirements.push(facts.one_of(&candidates, &format!("{name}, which is essential"))?);
        }
    }
    let mut forbidden = Vec::new();
    for name in &wanted.without {
        for slot in facts.slots_of(name)? {
            forbidden.push(facts.set(slot, Vec::new(), format!("no {name}, which [packages] remove says")));
        }
    }

    let roots = requirements.clone();
    let problem = resolvo::Problem::new()
        .requirements(requirements.into_iter().map(ConditionalRequirement::from).collect())
        .constraints(forbidden);
    let mut solver = Solver::new(facts);
    let solution = match solver.solve(problem) {
        Ok(solution) => solution,
        Err(UnsolvableOrCancelled::Unsolvable(conflict)) => {
            return Err(Error::Unsatisfiable(words::conflict(&conflict.graph(&solver), solver.provider())));
        }
        Err(UnsolvableOrCancelled::Cancelled(_)) => return Err(solver.provider().take_error()),
    };
    let facts = solver.provider();
    let needed = facts.needed(&roots, &solution.into_iter().collect())?;
    let needed = facts.lean(&roots, needed)?;
    let mut choices: Vec<Choice> = needed
        .into_iter()
        .map(|id| {
            let candidate = facts.candidate(id);
            Choice { record: candidate.record.clone(), repository: candidate.origin.repository }
        })
        .collect();
    choices.sort_by(|a, b| {
        (&a.record.name, &a.record.architecture).cmp(&(&b.record.name, &b.record.architecture))
    });
    Ok(choices)
}

/// The universe in the solver's terms. A name is a package of one architecture, of which one version can be there; a
/// version set is a list of versions, all of one name.
pub(super) struct Facts<'u> {
    universe: &'u Universe,
    pins: HashSet<Pin>,
    known: RefCell<Known>,
}

#[derive(Default)]
struct Known {
    /// Names of packages, with architecture.
    slots: Vec<Slot>,
    slot_of: HashMap<(String, Architecture), NameId>,
    /// Names of packages that were looked up.
    looked_up: HashSet<String>,
    candidates: Vec<Rc<Candidate>>,
    sets: Vec<Rc<Set>>,
    unions: Vec<Vec<VersionSetId>>,
    /// What was wrong with the indexes.
    error: Option<Error>,
}

struct Slot {
    name: String,
    architecture: Architecture,
    /// Best first.
    candidates: Vec<SolvableId>,
}

struct Set {
    slot: NameId,
    allowed: Vec<SolvableId>,
    /// As messages name it.
    text: String,
}

impl<'u> Facts<'u> {
    fn new(universe: &'u Universe, wanted: &Wanted) -> Self {
        let pins = wanted.pins.iter().cloned().collect();
        Self { universe, pins, known: RefCell::default() }
    }

    pub(super) fn candidate(&self, id: SolvableId) -> Rc<Candidate> {
        Rc::clone(&self.known.borrow().candidates[id.into_raw() as usize])
    }

    /// As messages name it.
    pub(super) fn name_of(&self, id: SolvableId) -> String {
        words::package(&self.candidate(id), self.universe.native())
    }

    fn set_of(&self, id: VersionSetId) -> Rc<Set> {
        Rc::clone(&self.known.borrow().sets[id.0 as usize])
    }

    fn take_error(&self) -> Error {
        let error = self.known.borrow_mut().error.take();
        error.unwrap_or_else(|| Error::Unsatisfiable("the solver gave up".to_owned()))
    }

    /// Makes all versions of a package known; its slots.
    fn slots_of(&self, name: &str) -> Result<Vec<NameId>, Error> {
        let is_new = self.known.borrow_mut().looked_up.insert(name.to_owned());
        if is_new {
            for candidate in self.universe.called(name)? {
                let slot = self.slot(name, &candidate.architecture);
                let known = &mut *self.known.borrow_mut();
                let id = SolvableId::from_raw(u32::try_from(known.candidates.len()).unwrap_or(u32::MAX));
                known.slots[slot.into_raw() as usize].candidates.push(id);
                known.candidates.push(Rc::new(candidate));
            }
        }
        let known = self.known.borrow();
        let mut slots: Vec<NameId> =
            known.slot_of.iter().filter(|((of, _), _)| of == name).map(|(_, slot)| *slot).collect();
        slots.sort_unstable();
        Ok(slots)
    }

    fn slot(&self, name: &str, architecture: &Architecture) -> NameId {
        let known = &mut *self.known.borrow_mut();
        let key = (name.to_owned(), architecture.clone());
        *known.slot_of.entry(key).or_insert_with(|| {
            let id = NameId::from_raw(u32::try_from(known.slots.len()).unwrap_or(u32::MAX));
            known.slots.push(Slot {
                name: name.to_owned(),
                architecture: architecture.clone(),
                candidates: Vec::new(),
            });
            id
        })
    }

    fn set(&self, slot: NameId, allowed: Vec<SolvableId>, text: String) -> VersionSetId {
        let known = &mut *self.known.borrow_mut();
        let id = VersionSetId(u32::try_from(known.sets.len()).unwrap_or(u32::MAX));
        known.sets.push(Rc::new(Set { slot, allowed, text }));
        id
    }

    /// The solver's names of candidates, by slot, in the order in which the slots first occur.
    fn by_slot(&self, candidates: &[Candidate]) -> Result<Vec<(NameId, Vec<SolvableId>)>, Error> {
        let mut by_slot: Vec<(NameId, Vec<SolvableId>)> = Vec::new();
        for candidate in candidates {
            self.slots_of(&candidate.record.name)?;
            let slot = self.slot(&candidate.record.name, &candidate.architecture);
            let known = self.known.borrow();
            // Written the same, not only equal: `1` and `1-0` are two packages.
            let same = |id: &&SolvableId| {
                let found = &known.candidates[id.into_raw() as usize].record.version;
                (found.epoch, &found.upstream_version, &found.debian_revision)
                    == (
                        candidate.record.version.epoch,
                        &candidate.record.version.upstream_version,
                        &candidate.record.version.debian_revision,
                    )
            };
            let Some(id) = known.slots[slot.into_raw() as usize].candidates.iter().find(same) else {
                continue;
            };
            match by_slot.iter_mut().find(|(known, _)| *known == slot) {
                Some((_, ids)) => ids.push(*id),
                None => by_slot.push((slot, vec![*id])),
            }
        }
        Ok(by_slot)
    }

    /// A requirement that any of these meets, in their order.
    fn one_of(&self, candidates: &[Candidate], text: &str) -> Result<Requirement, Error> {
        let sets: Vec<VersionSetId> = self
            .by_slot(candidates)?
            .into_iter()
            .map(|(slot, allowed)| self.set(slot, allowed, text.to_owned()))
            .collect();
        Ok(self.requirement(sets, text))
    }

    fn requirement(&self, mut sets: Vec<VersionSetId>, text: &str) -> Requirement {
        // What the lock chose among alternatives stays chosen.
        sets.sort_by_key(|set| !self.set_of(*set).allowed.iter().any(|id| self.is_pinned(*id)));
        match sets.as_slice() {
            [] => {
                let nothing = self.slot(text, self.universe.native());
                Requirement::Single(self.set(nothing, Vec::new(), text.to_owned()))
            }
            [only] => Requirement::Single(*only),
            _ => {
                let known = &mut *self.known.borrow_mut();
                known.unions.push(sets);
                Requirement::Union(VersionSetUnionId(
                    u32::try_from(known.unions.len() - 1).unwrap_or(u32::MAX),
                ))
            }
        }
    }

    pub(super) fn sets_of(&self, requirement: Requirement) -> Vec<VersionSetId> {
        match requirement {
            Requirement::Single(set) => vec![set],
            Requirement::Union(union) => self.known.borrow().unions[union.0 as usize].clone(),
        }
    }

    /// What messages call a requirement: the same words for each of its sets.
    pub(super) fn text_of(&self, requirement: Requirement) -> String {
        self.sets_of(requirement).first().map(|set| self.text_of_set(*set)).unwrap_or_default()
    }

    pub(super) fn text_of_set(&self, set: VersionSetId) -> String {
        self.set_of(set).text.clone()
    }

    fn is_pinned(&self, id: SolvableId) -> bool {
        if self.pins.is_empty() {
            return false;
        }
        let record = &self.candidate(id).record;
        self.pins.contains(&Pin {
            architecture: record.architecture.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string),
            version: record.version.to_string(),
            name: record.name.clone(),
        })
    }

    fn requirements(&self, candidate: &Candidate) -> Result<Vec<Requirement>, Error> {
        let groups = candidate.record.depends.iter();
        groups
            .map(|group| {
                let text = group.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
                let mut all = Vec::new();
                for relation in group {
                    let mut meeting = self.universe.answering(relation)?;
                    meeting.retain(|one| {
                        one.record.satisfies(relation, &one.architecture, &candidate.architecture)
                    });
                    self.rank(relation, &mut meeting);
                    all.extend(meeting);
                }
                self.one_of(&all, &text)
            })
            .collect()
    }

    /// Best first, among packages that answer to one name.
    fn rank(&self, relation: &Relation, candidates: &mut [Candidate]) {
        candidates.sort_by_key(|one| {
            let record = &one.record;
            let foreign = one.architecture != *self.universe.native();
            (
                record.name != relation.name,
                foreign,
                -i64::from(one.origin.priority),
                !record.essential,
                record.standing,
            )
        });
    }

    fn constraints(&self, id: SolvableId, candidate: &Candidate) -> Result<Vec<VersionSetId>, Error> {
        let record = &candidate.record;
        let own = self.slot(&record.name, &candidate.architecture);
        let mut sets = Vec::new();
        let conflicts = record.conflicts.iter().map(|relation| ("conflicts with", relation));
        let breaks = record.breaks.iter().map(|relation| ("breaks", relation));
        for (verb, relation) in conflicts.chain(breaks) {
            let mut met = self.universe.answering(relation)?;
            if let super::relation::Qualifier::Architecture(named) = &relation.qualifier {
                met.retain(|one| one.architecture == *named);
            }
            for (slot, forbidden) in self.by_slot(&met)? {
                if slot != own {
                    sets.push(self.set(slot, self.others(slot, &forbidden), format!("{verb} {relation}")));
                }
            }
        }
        // Other architectures' packages of the same name (deb-control(5), `Multi-Arch`).
        for slot in self.slots_of(&record.name)?.into_iter().filter(|slot| *slot != own) {
            let allowed = self.candidates_of(slot).into_iter().filter(|other| {
                let other = &self.candidate(*other).record;
                record.multi_arch == MultiArch::Same
                    && other.multi_arch == MultiArch::Same
                    && other.version == record.version
            });
            let text = match record.multi_arch {
                MultiArch::Same => "must have the same version as",
                _ => "cannot be installed beside",
            };
            sets.push(self.set(slot, allowed.collect(), text.to_owned()));
        }
        debug_assert!(!sets.iter().any(|set| self.set_of(*set).allowed.contains(&id)));
        Ok(sets)
    }

    fn candidates_of(&self, slot: NameId) -> Vec<SolvableId> {
        self.known.borrow().slots[slot.into_raw() as usize].candidates.clone()
    }

    fn others(&self, slot: NameId, but: &[SolvableId]) -> Vec<SolvableId> {
        self.candidates_of(slot).into_iter().filter(|id| !but.contains(id)).collect()
    }

    /// Of a solution, what the roots need: the solver may leave in what it tried on the way.
    fn needed(
        &self,
        roots: &[Requirement],
        solution: &HashSet<SolvableId>,
    ) -> Result<Vec<SolvableId>, Error> {
        let mut needed: Vec<SolvableId> = Vec::new();
        let mut open: Vec<Requirement> = roots.to_vec();
        let mut done = 0;
        loop {
            // Requirements that only one package of the solution meets come first: they may meet others on the way.
            let mut choice = Vec::new();
            let mut progress = false;
            for requirement in std::mem::take(&mut open) {
                let meeting = self.meeting(requirement, solution);
                if meeting.iter().any(|id| needed.contains(id)) {
                    continue;
                }
                match meeting.as_slice() {
                    [only] => {
                        needed.push(*only);
                        progress = true;
                    }
                    _ => choice.push(requirement),
                }
            }
            if !progress {
                let next =
                    choice.iter().position(|requirement| !self.meeting(*requirement, solution).is_empty());
                if let Some(next) = next {
                    needed.extend(self.meeting(choice.remove(next), solution).first());
                }
            }
            open = choice;
            while let Some(id) = needed.get(done) {
                open.extend(self.requirements(&self.candidate(*id))?);
                done += 1;
            }
            if open.is_empty()
                || open.iter().all(|requirement| self.meeting(*requirement, solution).is_empty())
            {
                return Ok(needed);
            }
        }
    }

    /// The same without each alternative that was chosen before another one came in, which meets the same need. What the lock
    /// has stays.
    fn lean(&self, roots: &[Requirement], mut chosen: Vec<SolvableId>) -> Result<Vec<SolvableId>, Error> {
        let mut wants: Vec<(Option<SolvableId>, Requirement)> =
            roots.iter().map(|requirement| (None, *requirement)).collect();
        for id in &chosen {
            let own = self.requirements(&self.candidate(*id))?;
            wants.extend(own.into_iter().map(|requirement| (Some(*id), requirement)));
        }
        loop {
            let mut set: HashSet<SolvableId> = chosen.iter().copied().collect();
            let mut alone = HashSet::new();
            for (owner, requirement) in &wants {
                let meeting = self.meeting(*requirement, &set);
                let owned = owner.is_none_or(|owner| set.contains(&owner) && !meeting.contains(&owner));
                if let (true, Some(first)) = (owned, meeting.first())
                    && meeting.iter().all(|id| id == first)
                {
                    alone.insert(*first);
                }
            }
            let needless = |id: &&SolvableId| !alone.contains(*id) && !self.is_pinned(**id);
            let Some(needless) = chosen.iter().rev().find(needless) else { return Ok(chosen) };
            set.remove(needless);
            chosen = self.needed(roots, &set)?;
        }
    }

    fn meeting(&self, requirement: Requirement, solution: &HashSet<SolvableId>) -> Vec<SolvableId> {
        let sets = self.sets_of(requirement).into_iter();
        sets.flat_map(|set| self.set_of(set).allowed.clone()).filter(|id| solution.contains(id)).collect()
    }

    fn known_dependencies(&self, id: SolvableId) -> Result<KnownDependencies, Error> {
        let candidate = self.candidate(id);
        Ok(KnownDependencies {
            requirements: self
                .requirements(&candidate)?
                .into_iter()
                .map(ConditionalRequirement::from)
                .collect(),
            constrains: self.constraints(id, &candidate)?,
        })
    }
}

impl Interner for Facts<'_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl Display + '_ {
        self.name_of(solvable)
    }

    fn display_name(&self, name: NameId) -> impl Display + '_ {
        let known = self.known.borrow();
        let slot = &known.slots[name.into_raw() as usize];
        match slot.architecture == *self.universe.native() {
            true => slot.name.clone(),
            false => format!("{}:{}", slot.name, slot.architecture),
        }
    }

    fn display_version_set(&self, version_set: VersionSetId) -> impl Display + '_ {
        self.set_of(version_set).text.clone()
    }

    fn display_string(&self, _: StringId) -> impl Display + '_ {
        // No candidate is excluded, so that no reason is ever asked for.
        ""
    }

    fn version_set_name(&self, version_set: VersionSetId) -> NameId {
        self.set_of(version_set).slot
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        let candidate = self.candidate(solvable);
        self.slot(&candidate.record.name, &candidate.architecture)
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        self.sets_of(Requirement::Union(union)).into_iter()
    }

    fn resolve_condition(&self, _: ConditionId) -> Condition {
        unreachable!("no requirement here has a condition")
    }
}

impl DependencyProvider for Facts<'_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        version_set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let set = self.set_of(version_set);
        candidates.iter().copied().filter(|id| set.allowed.contains(id) != inverse).collect()
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates> {
        Some(Candidates { candidates: self.candidates_of(name), ..Candidates::default() })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        // They became known best first.
        solvables.sort_by_key(|id| (!self.is_pinned(*id), *id));
    }

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        match self.known_dependencies(solvable) {
            Ok(known) => Dependencies::Known(known),
            Err(error) => {
                self.known.borrow_mut().error = Some(error);
                Dependencies::Known(KnownDependencies::default())
            }
        }
    }

    fn should_cancel_with_value(&self) -> Option<Box<dyn Any>> {
        self.known.borrow().error.is_some().then(|| Box::new(()) as Box<dyn Any>)
    }
}
