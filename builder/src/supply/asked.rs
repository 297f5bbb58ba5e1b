//! What a recipe asks of repositories, as the lock notes it.

use graven_recipe::lock::Asked;
use graven_recipe::{KernelSource, Recipe, Stub};
use graven_targets::BootChain;

use super::local::{self, Local};
use super::mirror;
use crate::error::Result;

/// What a recipe asks the repositories for.
pub(super) fn asked(recipe: &Recipe) -> Result<Asked> {
    let packages = &recipe.packages;
    let is_uki = recipe.target.boot_chain == BootChain::Uki;
    let mut asked = Asked {
        architecture: recipe.target.arch.debian().to_owned(),
        install: packages.install.iter().map(|one| one.value.to_string()).collect(),
        local: local::of(recipe)?.iter().map(Local::describe).collect(),
        remove: packages.remove.iter().map(|name| name.value.clone()).collect(),
        essential: packages.essential,
        kernel: match &recipe.kernel.source {
            KernelSource::Package(package) => Some(package.value.to_string()),
            _ => None,
        },
        stub: match &recipe.boot.stub {
            Some(Stub::Package(package)) if is_uki => Some(package.value.to_string()),
            _ => None,
        },
        repositories: Vec::new(),
    };
    if asks(&asked) {
        asked.repositories = packages.repositories.iter().map(mirror::describe).collect();
    }
    Ok(asked)
}

/// Whether that is anything.
pub(super) fn asks(asked: &Asked) -> bool {
    !asked.install.is_empty()
        || !asked.local.is_empty()
        || asked.essential
        || asked.kernel.is_some()
        || asked.stub.is_some()
}

/// What a recipe asks that it did not ask before.
pub(super) fn asked_differently(was: Option<&Asked>, is: &Asked) -> String {
    let Some(was) = was else { return "it has nothing for this target and profile".to_owned() };
    let mut words = Vec::new();
    let lists = [
        ("packages.install", &was.install, &is.install),
        ("packages.local", &was.local, &is.local),
        ("packages.remove", &was.remove, &is.remove),
        ("packages.repo", &was.repositories, &is.repositories),
    ];
    for (key, was, is) in lists {
        words.extend(
            is.iter()
                .filter(|one| !was.contains(one))
                .map(|one| format!("{key} has `{one}`, the lock has not")),
        );
        words.extend(
            was.iter()
                .filter(|one| !is.contains(one))
                .map(|one| format!("the lock has {key} `{one}`, the recipe has not")),
        );
    }
    for (key, was, is) in [("kernel.package", &was.kernel, &is.kernel), ("boot.stub", &was.stub, &is.stub)] {
        if was != is {
            let word =
                |one: &Option<String>| one.as_ref().map_or("nothing".to_owned(), |one| format!("`{one}`"));
            words.push(format!("{key} is {}, the lock has {}", word(is), word(was)));
        }
    }
    if was.essential != is.essential {
        words.push(format!("packages.essential is {}, the lock has {}", is.essential, was.essential));
    }
    match words.is_empty() {
        true => "the order of its packages or repositories is another".to_owned(),
        false => words.join(", "),
    }
}
