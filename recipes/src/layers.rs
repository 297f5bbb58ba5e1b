//! How one layer of a recipe lies over another.

use crate::value::{Entry, Kind, Table, Value};

/// What an array in the upper layer does to the one below.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrays {
    /// Comes after it: recipe files and their sections.
    Append,
    /// Takes its place: `--set`, the last word.
    Replace,
}

/// Tables whose entries are single values: laid over each other, half of one and half of another would make a third
/// that nobody wrote.
const WHOLE_ENTRIES: &str = "files";

/// A kernel comes from one source: a package of the repositories, packages at hand, or files.
const KERNEL_SOURCES: [&[&str]; 3] = [&["package"], &["local"], &["vmlinuz", "config", "modules-dir"]];

/// Lays `upper` over `lower`: tables merge, arrays append, everything else is replaced.
pub(crate) fn overlay(lower: &mut Table, upper: Table, arrays: Arrays) {
    replace_kernel_source(lower, &upper);
    for (key, entry) in upper {
        let whole = key == WHOLE_ENTRIES;
        match lower.get_mut(&key) {
            None => {
                lower.insert(key, entry);
            }
            Some(below) if whole => overlay_entries(&mut below.value, entry.value),
            Some(below) => {
                below.key = entry.key;
                overlay_value(&mut below.value, entry.value, arrays);
            }
        }
    }
}

fn overlay_value(lower: &mut Value, upper: Value, arrays: Arrays) {
    match (&mut lower.kind, upper.kind) {
        (Kind::Table(below), Kind::Table(above)) => {
            for (key, entry) in above {
                match below.get_mut(&key) {
                    None => {
                        below.insert(key, entry);
                    }
                    Some(known) => {
                        known.key = entry.key;
                        overlay_value(&mut known.value, entry.value, arrays);
                    }
                }
            }
        }
        (Kind::Array(below), Kind::Array(above)) if arrays == Arrays::Append => below.extend(above),
        (_, kind) => *lower = Value { kind, place: upper.place },
    }
}

fn overlay_entries(lower: &mut Value, upper: Value) {
    match (&mut lower.kind, upper.kind) {
        (Kind::Table(below), Kind::Table(above)) => below.extend(above),
        (_, kind) => *lower = Value { kind, place: upper.place },
    }
}

/// Takes from `lower` the kernel's source where `upper` names one of another kind. What one layer says of both stays, and
/// is an error.
fn replace_kernel_source(lower: &mut Table, upper: &Table) {
    let Some(Entry { value: Value { kind: Kind::Table(above), .. }, .. }) = upper.get("kernel") else {
        return;
    };
    let Some(Entry { value: Value { kind: Kind::Table(below), .. }, .. }) = lower.get_mut("kernel") else {
        return;
    };
    let named = |source: &[&str]| source.iter().any(|key| above.contains_key(*key));
    if KERNEL_SOURCES.iter().any(|source| named(source)) {
        for key in KERNEL_SOURCES.iter().filter(|source| !named(source)).copied().flatten() {
            below.remove(*key);
        }
    }
}
