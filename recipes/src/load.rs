//! From a path to a recipe.

use crate::error::RecipeError;
use crate::recipe::Recipe;
use crate::words::Profile;
use std::path::{Path, PathBuf};

/// For what a recipe is read.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Name of one of the recipe's targets; may be left out where it has only one.
    pub target: Option<String>,
    /// The profile.
    pub profile: Profile,
    /// `KEY=VALUE` overrides, later over earlier: a dotted TOML key, and a TOML value or a bare word.
    pub sets: Vec<String>,
}

/// A recipe, and what was read for it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The recipe.
    pub recipe: Recipe,
    /// Every file read: the recipe, what it inherits, the target's own board files. Each once.
    pub files: Vec<PathBuf>,
}

impl Recipe {
    /// Reads the recipe at `path`, a file or a folder with a `recipe.toml`.
    ///
    /// # Errors
    /// Files that cannot be read, and everything that is wrong with the recipe, all at once.
    pub fn load(path: &Path, selection: &Selection) -> Result<Loaded, RecipeError> {
        let _ = (path, selection);
        unreachable!()
    }

    /// The names of the targets that the recipe at `path` is for, in its order, each once.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn targets_of(path: &Path, selection: &Selection) -> Result<Vec<String>, RecipeError> {
        let _ = (path, selection);
        unreachable!()
    }
}
