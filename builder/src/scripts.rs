//! Script control: the interpreters of the root, held against what the recipe says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use graven_boot::kernel::{Kernel, Release};
use graven_image::tree::{Tree, TreePath};
use graven_recipe::{Recipe, Unenlightened};
use graven_verify::manifest;
use graven_verify::survey::{Asking, Interpreter, SurveyError, interpreters};

use crate::error::{Error, Result};

/// Scripts and files that an error names of each interpreter.
const NAMED: usize = 5;

/// Takes stock of the root's interpreters, as the manifest lists them.
///
/// # Errors
/// What the recipe vouches for and that cannot be so; interpreters of which it says nothing, where it denies those; exec
/// securebits that would be in vain, or that would keep the image's own scripts from running.
pub fn hold(recipe: &Recipe, kernel: &Kernel, root: &Tree) -> Result<Vec<manifest::Interpreter>> {
    let scripts = &recipe.scripts;
    let vouched = vouched(recipe, root)?;
    let found = interpreters(root, &vouched.keys().cloned().collect::<BTreeSet<_>>()).map_err(unreadable)?;
    let accepted = accepted(recipe, root, &found)?;

    for (path, named) in &vouched {
        let (place, named) = (&named.place, &named.value);
        let Some(interpreter) = found.iter().find(|interpreter| interpreter.path == *path) else {
            return Err(Error::Limit(format!("{place}: {named} is no program that could run scripts")));
        };
        if interpreter.asking() == Asking::Never {
            return Err(Error::Limit(format!(
                "{place}: {named} cannot ask the kernel before it runs a script: neither it nor a library of its own calls \
                 execveat. Vouch for programs that do, or accept it: [scripts.accept] \"{named}\" = \"reason\""
            )));
        }
    }
    let open: Vec<&Interpreter> = found
        .iter()
        .filter(|one| !vouched.contains_key(&one.path) && !accepted.contains(&one.path))
        .collect();
    let needed_by = match (scripts.unenlightened, recipe.lockdown.exec_securebits) {
        (Unenlightened::Deny, _) => Some("scripts.unenlightened = \"deny\""),
        (_, true) => Some("lockdown.exec-securebits"),
        _ => None,
    };
    if let Some(needed_by) = needed_by.filter(|_| !open.is_empty()) {
        return Err(Error::Interpreters(describe(needed_by, &open)));
    }
    if recipe.lockdown.exec_securebits {
        let asking: Vec<&Interpreter> =
            found.iter().filter(|interpreter| vouched.contains_key(&interpreter.path)).collect();
        hold_securebits(kernel, &asking)?;
    }
    let listed = found.iter().map(|interpreter| manifest::Interpreter {
        path: interpreter.path.clone(),
        origin: interpreter.origin.clone(),
        asking: interpreter.asking().words().to_owned(),
        standing: match interpreter {
            one if vouched.contains_key(&one.path) => manifest::Standing::Vouched,
            one if accepted.contains(&one.path) => manifest::Standing::Accepted,
            _ => manifest::Standing::Open,
        },
        scripts: interpreter.scripts.len(),
    });
    Ok(listed.collect())
}

/// The programs that the recipe vouches for, by where they really lie.
fn vouched<'a>(recipe: &'a Recipe, root: &Tree) -> Result<BTreeMap<String, &'a graven_recipe::At<String>>> {
    let named = recipe.scripts.interpreters.iter().map(|path| match canonical(root, path) {
        Some(real) => Ok((real, path)),
        None => Err(Error::Limit(format!("{}: {} is not in the root", path.place, path.value))),
    });
    named.collect()
}

/// Those that may be there all the same, by where they really lie; each must be an interpreter.
fn accepted(recipe: &Recipe, root: &Tree, found: &[Interpreter]) -> Result<BTreeSet<String>> {
    let named = recipe.scripts.accept.iter().map(|(path, reason)| {
        let real = canonical(root, path).filter(|real| found.iter().any(|one| one.path == *real));
        real.ok_or_else(|| {
            let place = &reason.place;
            Error::Limit(format!(
                "{place}: {path} is no interpreter of the root: there is nothing to accept; take the line out"
            ))
        })
    });
    named.collect()
}

fn canonical(root: &Tree, path: &str) -> Option<String> {
    let path = TreePath::parse(path.as_bytes()).ok()?;
    root.canonical(&path).ok().map(|path| path.to_string())
}

fn unreadable(error: SurveyError) -> Error {
    let SurveyError::Read { path, source } = error;
    Error::io(path, source)
}

/// The kernel takes the bits, and asks the policy about a script: `AT_EXECVE_CHECK` and the bits came in 6.14, IPE answers
/// since 6.19.
fn knows_securebits(release: &Release) -> Result<()> {
    let lacks = match (release.at_least(6, 19), release.at_least(6, 14)) {
        (true, _) => return Ok(()),
        (false, true) => "it answers to who asks about a script, and does not ask the policy",
        (false, false) => "it knows neither the bits nor the question (both are from 6.14 on)",
    };
    Err(Error::Limit(format!(
        "lockdown.exec-securebits needs a kernel of 6.19 or later, this one is {release}: {lacks}"
    )))
}

/// The bits do what they are for, and the image's own scripts still run.
fn hold_securebits(kernel: &Kernel, asking: &[&Interpreter]) -> Result<()> {
    knows_securebits(&kernel.release)?;
    let mut text = String::new();
    for interpreter in asking.iter().filter(|interpreter| !interpreter.without_exec_bit.is_empty()) {
        let _ = write!(text, "\n  {} would refuse", interpreter.path);
        name(&mut text, &interpreter.without_exec_bit);
    }
    match text.is_empty() {
        true => Ok(()),
        false => Err(Error::Limit(format!(
            "lockdown.exec-securebits: these have no exec bit, without which the kernel says no to whoever asks:{text}\n\
             give them one, or leave them out"
        ))),
    }
}

fn describe(needed_by: &str, open: &[&Interpreter]) -> String {
    let mut text = format!("{needed_by}: interpreters that do not ask the kernel before they run a script:");
    for interpreter in open {
        let from = interpreter.origin.as_deref().map(|origin| format!(" (from {origin})"));
        let asks = match interpreter.asking() {
            Asking::Never => "never asks",
            Asking::Perhaps => "could ask, and nobody vouches that it does",
            Asking::Asks => "asks, and nobody vouches that it obeys",
        };
        let _ = write!(text, "\n  {}{}: {asks}; behind it", interpreter.path, from.unwrap_or_default());
        match interpreter.scripts.as_slice() {
            [] => text.push_str(" no script, but whatever it is handed"),
            scripts => name(&mut text, scripts),
        }
    }
    text + "\nleave them out; or vouch for one that asks and obeys: [scripts] interpreters = [\"PATH\"]; or accept one all the \
            same: [scripts.accept] \"PATH\" = \"reason\""
}

fn name(text: &mut String, paths: &[String]) {
    let shown: Vec<&str> = paths.iter().take(NAMED).map(String::as_str).collect();
    let _ = write!(text, " {}", shown.join(" "));
    if let Some(more) = paths.len().checked_sub(NAMED).filter(|more| *more > 0) {
        let _ = write!(text, " and {more} more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn securebits_need_a_kernel_that_asks_the_policy() {
        let said = |release: &str| {
            let release = Release::parse(release).expect("a release");
            knows_securebits(&release).map_err(|error| error.to_string())
        };
        assert_eq!(said("6.19.0-1-amd64"), Ok(()));
        assert_eq!(said("7.3.4+deb13-amd64"), Ok(()));
        for (release, words) in [("6.18.9", "does not ask the policy"), ("6.12.57+deb13-amd64", "neither")] {
            let said = said(release).expect_err("it is refused");
            assert!(said.contains(words) && said.contains(release), "{said}");
        }
    }
}
