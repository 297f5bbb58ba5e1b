//! From a path to a recipe: read, inherit, lay over each other, decode.

use crate::decode::{self, Choice, Scope};
use crate::error::{Problem, RecipeError};
use crate::fields::one_of;
use crate::layers::{Arrays, overlay};
use crate::overrides;
use crate::place::{Document, Place};
use crate::recipe::Recipe;
use crate::value::{Entry, Kind, Table, Value};
use crate::words::{Profile, Word};
use graven_targets::Target;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// For what a recipe is read.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Name of one of the recipe's targets; may be left out where it has only one.
    pub target: Option<String>,
    /// The profile.
    pub profile: Profile,
    /// `KEY=VALUE` overrides, later over earlier: a dotted TOML key, and a TOML value or a bare word. Unlike in recipe
    /// files, an array takes the place of the one below it.
    pub sets: Vec<String>,
}

/// A recipe, and what was read for it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The recipe.
    pub recipe: Recipe,
    /// Every file read: the recipe, what it inherits, its targets' own board files. Each once.
    pub files: Vec<PathBuf>,
    /// The overrides that were laid over it ([`Selection::sets`]).
    pub sets: Vec<String>,
}

/// Recipes are written by hand; what is larger than this is something else.
const MAX_BYTES: u64 = 4 << 20;
/// The file that a folder stands for.
const FILE_NAME: &str = "recipe.toml";

impl Recipe {
    /// Reads the recipe at `path`, a file or a folder with a `recipe.toml`, for one target and one profile.
    ///
    /// Layers, later over earlier: what it inherits, the recipe itself, `[target.T]`, `[profile.P]`, `--set`. Tables
    /// merge, arrays append (those of `--set` replace), everything else is replaced, and so is each entry of `[files]` and the
    /// source of a kernel by one of another kind.
    ///
    /// # Errors
    /// Files that cannot be read, and everything that is wrong with the recipe, all at once.
    pub fn load(path: &Path, selection: &Selection) -> Result<Loaded, RecipeError> {
        let mut reading = Reading::recipe(path)?;
        let targets = reading.targets()?;
        let target = reading.choose(&targets, selection.target.as_deref());

        for (section, name) in [
            ("target", target.as_ref().map(|t| t.name.as_str())),
            ("profile", Some(selection.profile.as_str())),
        ] {
            if let Some(layer) = name.and_then(|name| reading.section(section, name)) {
                overlay(&mut reading.tree, layer, Arrays::Append);
            }
        }
        for argument in &selection.sets {
            match overrides::parse(argument) {
                Ok(layer) => overlay(&mut reading.tree, layer, Arrays::Replace),
                Err(problem) => reading.problems.push(problem),
            }
        }

        let Some(target) = target else { return Err(reading.failed()) };
        let names = targets.into_iter().map(|target| target.name).collect();
        let choice = Choice { target, targets: names, profile: selection.profile };
        let whole =
            Value { kind: Kind::Table(std::mem::take(&mut reading.tree)), place: reading.top.clone() };
        let (recipe, problems) = decode::recipe(&whole, &Scope::Whole(&choice));
        reading.problems.extend(problems);
        match recipe {
            Some(recipe) if reading.problems.is_empty() => {
                Ok(Loaded { recipe, files: reading.files, sets: selection.sets.clone() })
            }
            _ => Err(reading.failed()),
        }
    }

    /// The names of the targets that the recipe at `path` is for, in its order, each once.
    ///
    /// # Errors
    /// As [`load`](Self::load), as far as the files by themselves and the targets go.
    pub fn targets_of(path: &Path) -> Result<Vec<String>, RecipeError> {
        let mut reading = Reading::recipe(path)?;
        let targets = reading.targets()?;
        match reading.problems.is_empty() {
            true => Ok(targets.into_iter().map(|target| target.name).collect()),
            false => Err(reading.failed()),
        }
    }
}

/// A recipe on its way from files to one tree.
struct Reading {
    /// What the files say outside their sections, laid over each other.
    tree: Table,
    /// `target` and `profile`, laid over each other.
    sections: Table,
    /// Start of the recipe itself: where what is missing is missed.
    top: Place,
    files: Vec<PathBuf>,
    /// Files finished, with where they were inherited.
    inherited: Vec<(PathBuf, Place)>,
    problems: Vec<Problem>,
}

impl Reading {
    fn recipe(path: &Path) -> Result<Self, RecipeError> {
        let path = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
        let document = read(&path)?;
        let mut reading = Self {
            tree: Table::new(),
            sections: Table::new(),
            top: Place::new(&document, 0..0),
            files: Vec::new(),
            inherited: Vec::new(),
            problems: Vec::new(),
        };
        reading.add(&path, &document, &mut Vec::new())?;
        Ok(reading)
    }

    /// Adds a file: first what it inherits, then itself over that.
    fn add(
        &mut self,
        path: &Path,
        document: &Arc<Document>,
        chain: &mut Vec<PathBuf>,
    ) -> Result<(), RecipeError> {
        self.files.push(path.to_owned());
        let mut table = match Value::parse(document)?.kind {
            Kind::Table(table) => table,
            _ => Table::new(),
        };
        let inherit = table.remove("inherit");
        let sections: Table =
            ["target", "profile"].into_iter().filter_map(|key| table.remove_entry(key)).collect();
        self.check_alone(document, &table, &sections);

        chain.push(identity(path)?);
        for (parent, place) in self.parents(inherit.as_ref()) {
            self.inherit(&parent, &place, chain)?;
        }
        chain.pop();

        overlay(&mut self.tree, table, Arrays::Append);
        overlay(&mut self.sections, sections, Arrays::Append);
        Ok(())
    }

    fn inherit(&mut self, parent: &Path, place: &Place, chain: &mut Vec<PathBuf>) -> Result<(), RecipeError> {
        let unreadable =
            |why: String| RecipeError::at(place, format!("cannot read {}: {why}", parent.display()));
        let id = identity(parent).map_err(|error| unreadable(reason(&error)))?;
        if let Some(start) = chain.iter().position(|file| *file == id) {
            let circle: Vec<String> =
                chain[start..].iter().chain([&id]).map(|file| file.display().to_string()).collect();
            return Err(RecipeError::at(
                place,
                format!("recipes inherit in a circle: {}", circle.join(" → ")),
            ));
        }
        if let Some((_, first)) = self.inherited.iter().find(|(file, _)| *file == id) {
            let problem = Problem::new(place, format!("{} is inherited a second time", parent.display()));
            return Err(problem.help(format!("first at {first}; its arrays would count twice")).into());
        }
        self.inherited.push((id, place.clone()));
        let document = read(parent).map_err(|error| unreadable(reason(&error)))?;
        self.add(parent, &document, chain)
    }

    /// The files named by `inherit`, and where.
    fn parents(&mut self, inherit: Option<&Entry>) -> Vec<(PathBuf, Place)> {
        let Some(Entry { value, .. }) = inherit else { return Vec::new() };
        let Kind::Array(items) = &value.kind else {
            let message = format!("`inherit` must be an array of files, not {}", value.kind_name());
            self.problems.push(Problem::new(&value.place, message));
            return Vec::new();
        };
        let mut parents = Vec::new();
        for item in items {
            match &item.kind {
                Kind::Text(path) if !path.is_empty() => {
                    parents.push((item.place.base().join(path), item.place.clone()));
                }
                _ => {
                    self.problems.push(Problem::new(&item.place, "`inherit` must be an array of file names"));
                }
            }
        }
        parents
    }

    /// What is wrong with one file whatever is built from it.
    fn check_alone(&mut self, document: &Arc<Document>, table: &Table, sections: &Table) {
        let file = Value { kind: Kind::Table(table.clone()), place: Place::new(document, 0..0) };
        self.problems.extend(decode::recipe(&file, &Scope::File).1);
        for (kind, section) in sections {
            let Kind::Table(named) = &section.value.kind else {
                let message = format!(
                    "`{kind}` must be a table such as [{kind}.NAME], not {}",
                    section.value.kind_name()
                );
                self.problems.push(Problem::new(&section.value.place, message));
                continue;
            };
            for (name, entry) in named {
                if kind == "profile" && Profile::parse(name).is_none() {
                    let problem =
                        Problem::new(&entry.key, format!("unknown profile `{}`", name.escape_debug()));
                    self.problems.push(problem.help(one_of(name, Profile::WORDS)));
                }
                self.problems.extend(decode::recipe(&entry.value, &Scope::Section).1);
            }
        }
    }

    /// The recipe's targets, each once; checks that sections are for targets that exist.
    fn targets(&mut self) -> Result<Vec<Target>, RecipeError> {
        let mut targets: Vec<Target> = Vec::new();
        let mut own: Vec<(String, PathBuf)> = Vec::new();
        let (items, place) = match self.tree.get("targets").map(|entry| &entry.value) {
            Some(Value { kind: Kind::Array(items), place }) => (items.clone(), place.clone()),
            Some(value) => {
                let message =
                    format!("`targets` must be an array of target names, not {}", value.kind_name());
                self.problems.push(Problem::new(&value.place, message));
                return Err(self.failed());
            }
            None => (Vec::new(), self.top.clone()),
        };
        for item in &items {
            let Kind::Text(name) = &item.kind else {
                let message =
                    format!("`targets` must be an array of target names, not of {}", item.kind_name());
                self.problems.push(Problem::new(&item.place, message));
                continue;
            };
            match self.target(name, &item.place) {
                Ok((target, file)) => {
                    let same_file = |(known, path): &(String, PathBuf)| {
                        *known == target.name && Some(path) == file.as_ref()
                    };
                    let known = targets.iter().any(|known| known.name == target.name);
                    if !known {
                        own.extend(file.map(|file| (target.name.clone(), file)));
                        targets.push(target);
                    } else if file.is_some() != own.iter().any(|(known, _)| *known == target.name)
                        || (file.is_some() && !own.iter().any(same_file))
                    {
                        let message = format!("two targets are called `{}`", target.name);
                        self.problems.push(Problem::new(&item.place, message));
                    }
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        if items.is_empty() {
            let help = format!("targets = [\"…\"], of {}", Target::names().collect::<Vec<_>>().join(", "));
            self.problems.push(Problem::new(&place, "`targets` is missing or empty").help(help));
        }
        self.check_target_sections(&targets);
        if targets.is_empty() { Err(self.failed()) } else { Ok(targets) }
    }

    /// One target by name or by path, with the path.
    fn target(&mut self, name: &str, place: &Place) -> Result<(Target, Option<PathBuf>), Problem> {
        if !(name.contains('/') || name.ends_with(".toml")) {
            let target = Target::named(name).map_err(|error| Problem::new(place, error.to_string()))?;
            return Ok((target, None));
        }
        let path = place.base().join(name);
        let (target, read) = Target::load(&path).map_err(|error| {
            let why = std::error::Error::source(&error)
                .filter(|_| matches!(error, graven_targets::TargetError::Read { .. }))
                .map_or_else(String::new, |source| format!(": {source}"));
            Problem::new(place, format!("{error}{why}").trim_end().to_owned())
        })?;
        for file in read {
            if !self.files.contains(&file) {
                self.files.push(file);
            }
        }
        Ok((target, Some(path)))
    }

    fn check_target_sections(&mut self, targets: &[Target]) {
        let Some(Entry { value: Value { kind: Kind::Table(sections), .. }, .. }) =
            self.sections.get("target")
        else {
            return;
        };
        let mut known: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        for name in Target::names() {
            known.push(name);
        }
        for (name, entry) in sections {
            if !known.contains(&name.as_str()) {
                let problem =
                    Problem::new(&entry.key, format!("no target is called `{}`", name.escape_debug()));
                self.problems.push(problem.help(one_of(name, &known)));
            }
        }
    }

    /// The target to build: the one asked for, or the only one.
    fn choose(&mut self, targets: &[Target], asked: Option<&str>) -> Option<Target> {
        let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        let place = self.tree.get("targets").map_or(&self.top, |entry| &entry.value.place).clone();
        match (asked, targets) {
            (None, [only]) => Some(only.clone()),
            (None, _) => {
                let problem = Problem::new(&place, "this recipe has several targets: which one?");
                self.problems.push(problem.help(format!("--target, one of: {}", names.join(", "))));
                None
            }
            (Some(asked), _) => {
                let found = targets.iter().find(|target| target.name == asked);
                if found.is_none() {
                    let problem =
                        Problem::new(&place, format!("this recipe is not for the target `{asked}`"));
                    self.problems.push(problem.help(one_of(asked, &names)));
                }
                found.cloned()
            }
        }
    }

    fn section(&self, kind: &str, name: &str) -> Option<Table> {
        let Kind::Table(sections) = &self.sections.get(kind)?.value.kind else { return None };
        match &sections.get(name)?.value.kind {
            Kind::Table(section) => Some(section.clone()),
            _ => None,
        }
    }

    /// All problems: each once, in the order in which files were read, top to bottom.
    fn failed(&mut self) -> RecipeError {
        let mut problems = std::mem::take(&mut self.problems);
        let file = |problem: &Problem| {
            self.files
                .iter()
                .position(|file| problem.place.file() == file.to_string_lossy())
                .unwrap_or(usize::MAX)
        };
        problems.sort_by_key(|problem| (file(problem), problem.place.start()));
        let mut once: Vec<Problem> = Vec::new();
        for problem in problems {
            if !once.contains(&problem) {
                once.push(problem);
            }
        }
        RecipeError::Problems(once)
    }
}

/// Two paths are the same file if this says so.
fn identity(path: &Path) -> Result<PathBuf, RecipeError> {
    std::fs::canonicalize(path).map_err(|source| RecipeError::Read { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Arc<Document>, RecipeError> {
    let failed = |source| RecipeError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(failed(std::io::Error::other("over 4 MiB, which is no recipe")));
    }
    let base = path.parent().unwrap_or(Path::new("")).to_owned();
    Ok(Arc::new(Document { name: path.to_string_lossy().into_owned(), base, text }))
}

/// Why a file could not be read, without its name.
fn reason(error: &RecipeError) -> String {
    match error {
        RecipeError::Read { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}
