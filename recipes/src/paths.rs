//! Files of this machine that a recipe names.

use crate::error::{Problem, RecipeError};
use crate::place::Place;
use globset::{GlobBuilder, GlobMatcher};
use std::path::{Component, Path, PathBuf};

/// One file or folder of this machine, by a path relative to the file that states it.
#[derive(Clone, Debug)]
pub struct LocalPath {
    /// The path, the stating file's folder put before it.
    pub path: PathBuf,
    /// Where the recipe states it.
    pub place: Place,
}

/// One or more files of this machine: a path whose parts may hold `*`, `?`, `[…]` and `{a,b}`.
#[derive(Clone, Debug)]
pub struct FilePattern {
    /// The pattern as written, `{arch}` replaced.
    pub pattern: String,
    /// Where the recipe states it.
    pub place: Place,
}

/// A part of a pattern: taken as it is, or matched against a folder's entries.
enum Part {
    Plain(PathBuf),
    Glob(GlobMatcher),
}

impl FilePattern {
    /// The files that match, sorted by path. A name that begins with a dot is matched by a pattern that does.
    ///
    /// # Errors
    /// No file matches, or a folder on the way cannot be read; the error shows the place in the recipe.
    pub fn files(&self) -> Result<Vec<PathBuf>, RecipeError> {
        let parts = self.parts().map_err(|message| RecipeError::at(&self.place, message))?;
        let mut found = vec![self.place.base().to_owned()];
        for part in &parts {
            let mut next = Vec::new();
            for path in found {
                match part {
                    Part::Plain(plain) => next.push(path.join(plain)),
                    Part::Glob(glob) => next.extend(self.matching(&path, glob)?),
                }
            }
            found = next;
        }
        found.retain(|path| path.is_file());
        found.sort();
        if found.is_empty() {
            let looked_in = self.place.base().join(&self.pattern);
            let problem = Problem::new(&self.place, format!("no file matches `{}`", self.pattern))
                .help(format!("looked for {}", looked_in.display()));
            return Err(problem.into());
        }
        Ok(found)
    }

    /// The one file that matches.
    ///
    /// # Errors
    /// As [`files`](Self::files), and where several match.
    pub fn file(&self) -> Result<PathBuf, RecipeError> {
        let mut files = self.files()?;
        match (files.pop(), files.pop()) {
            (Some(one), None) => Ok(one),
            (last, before) => {
                let names: Vec<String> =
                    before.iter().chain(&last).map(|p| p.display().to_string()).collect();
                let problem =
                    Problem::new(&self.place, format!("more than one file matches `{}`", self.pattern))
                        .help(format!("two of them: {}", names.join(", ")));
                Err(problem.into())
            }
        }
    }

    /// What is wrong with the pattern's syntax, if anything.
    pub(crate) fn syntax_problem(&self) -> Option<String> {
        self.parts().err()
    }

    fn parts(&self) -> Result<Vec<Part>, String> {
        let mut parts = Vec::new();
        for component in Path::new(&self.pattern).components() {
            let text = component.as_os_str().to_string_lossy();
            let is_glob = matches!(component, Component::Normal(_)) && text.contains(['*', '?', '[', '{']);
            parts.push(if is_glob {
                let glob = GlobBuilder::new(&text).literal_separator(true).build();
                Part::Glob(glob.map_err(|error| format!("bad pattern: {}", error.kind()))?.compile_matcher())
            } else {
                Part::Plain(component.as_os_str().into())
            });
        }
        Ok(parts)
    }

    fn matching(&self, folder: &Path, glob: &GlobMatcher) -> Result<Vec<PathBuf>, RecipeError> {
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let entries = match std::fs::read_dir(here) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(Vec::new()),
            Err(source) => return Err(RecipeError::Read { path: here.to_owned(), source }),
        };
        let wants_hidden = glob.glob().glob().starts_with('.');
        let mut found = Vec::new();
        for entry in entries {
            let name =
                entry.map_err(|source| RecipeError::Read { path: here.to_owned(), source })?.file_name();
            let hidden = name.as_encoded_bytes().first() == Some(&b'.');
            if glob.is_match(Path::new(&name)) && (wants_hidden || !hidden) {
                found.push(folder.join(name));
            }
        }
        Ok(found)
    }
}
