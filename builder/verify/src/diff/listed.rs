//! Names with values, and lists of lines, held against each other.

use std::collections::{BTreeMap, BTreeSet};

use super::Change;

/// Values by name.
pub(super) type Named = BTreeMap<String, String>;

/// What two lists of names with values do not share, in the order of the names.
pub(super) fn named(old: &Named, new: &Named) -> Vec<Change> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changes =
        names.into_iter().filter_map(|name| one(name, old.get(name).cloned(), new.get(name).cloned()));
    changes.collect()
}

/// A change, unless both are the same.
pub(super) fn one(what: &str, old: Option<String>, new: Option<String>) -> Option<Change> {
    (old != new).then(|| Change { what: what.to_owned(), old, new })
}

/// Lines as name and value, in their order.
pub(super) type Lines = Vec<(String, String)>;

/// Lines that only one of two lists has; where only their order is another, that. A name that is once among those of each
/// is one change of its value.
pub(super) fn lines(old: &Lines, new: &Lines) -> Vec<Change> {
    let gone = without(old, new);
    let come = without(new, old);
    if gone.is_empty() && come.is_empty() {
        let text = |lines: &Lines| {
            let lines: Vec<String> = lines.iter().map(|(name, value)| format!("{name} {value}")).collect();
            Some(lines.join("; "))
        };
        return one("order", text(old), text(new)).into_iter().collect();
    }
    let only = |lines: &Lines, name: &String| lines.iter().filter(|(other, _)| other == name).count() == 1;
    let paired = |name: &String| only(&gone, name) && only(&come, name);
    let mut changes = Vec::new();
    for (name, value) in &gone {
        let pair = come.iter().find(|(other, _)| other == name && paired(name));
        let (old, new) = (Some(value.clone()), pair.map(|(_, value)| value.clone()));
        changes.push(Change { what: name.clone(), old, new });
    }
    for (name, value) in come.iter().filter(|(name, _)| !paired(name)) {
        changes.push(Change { what: name.clone(), old: None, new: Some(value.clone()) });
    }
    changes
}

/// The lines of one list that another has not, or not as often.
fn without(lines: &Lines, others: &Lines) -> Lines {
    let mut rest: BTreeMap<&(String, String), usize> = BTreeMap::new();
    for line in others {
        *rest.entry(line).or_default() += 1;
    }
    let missing = lines.iter().filter(|line| match rest.get_mut(line) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    });
    missing.cloned().collect()
}

/// Splits changes into those that tell something and those that follow.
pub(super) fn split(
    changes: Vec<Change>,
    follows: impl Fn(&Change) -> bool,
    called: impl Fn(&str) -> String,
) -> (Vec<Change>, Vec<Change>) {
    let (mut follow, tell): (Vec<Change>, Vec<Change>) = changes.into_iter().partition(follows);
    for change in &mut follow {
        change.what = called(&change.what);
    }
    (tell, follow)
}
