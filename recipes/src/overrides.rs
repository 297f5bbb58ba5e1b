//! `--set KEY=VALUE`: one more layer, from the command line.

use crate::error::Problem;
use crate::place::{Document, Place};
use crate::value::{Entry, Kind, Table, Value};
use std::path::PathBuf;
use std::sync::Arc;

/// Keys that decide what is read at all, so that it is too late to override them.
const STRUCTURE: [&str; 4] = ["inherit", "targets", "target", "profile"];

/// Parses one argument: `KEY` as TOML writes dotted keys, `VALUE` a TOML value or, where it is none, taken as a string.
/// So `policy.mode=audit` and `policy.mode="audit"` are the same. Relative paths start from the working folder.
pub(crate) fn parse(argument: &str) -> Result<Table, Problem> {
    let text = argument.to_owned();
    let document = Arc::new(Document { name: "--set".into(), base: PathBuf::new(), text });
    let whole = Place::new(&document, 0..argument.len());

    let Some(equals) = first_equals(argument) else {
        return Err(
            Problem::new(&whole, "`=` is missing").help("write --set KEY=VALUE, such as policy.mode=audit")
        );
    };
    let (key, value) = (&argument[..equals], argument[equals + 1..].trim());
    if value.is_empty() {
        let help = "an empty string is written KEY=''";
        return Err(Problem::new(&whole, "a value is missing after `=`").help(help));
    }
    if argument.contains(['\n', '\r']) || key.trim_start().starts_with('[') {
        return Err(Problem::new(&whole, "one key and one value are expected here"));
    }
    let table = match Value::parse(&document) {
        Ok(Value { kind: Kind::Table(table), .. }) => table,
        Err(problem) if value.starts_with(['"', '\'', '[', '{']) => return Err(problem),
        _ => {
            let value_place = Place::new(&document, equals + 1..argument.len());
            with_bare_value(&document, key, value, &value_place)?
        }
    };
    match table.iter().find(|(key, _)| STRUCTURE.contains(&key.as_str())) {
        Some((key, entry)) => {
            let problem = Problem::new(&entry.key, format!("`{key}` cannot be overridden by --set"));
            Err(problem.help("a target is chosen by --target, a profile by --profile"))
        }
        None => Ok(table),
    }
}

/// Parses the key alone, with a string below it.
fn with_bare_value(
    document: &Arc<Document>,
    key: &str,
    value: &str,
    place: &Place,
) -> Result<Table, Problem> {
    let stand_in = Document { name: document.name.clone(), base: PathBuf::new(), text: format!("{key}=0") };
    let parsed = Value::parse(&Arc::new(stand_in))
        .map_err(|problem| Problem { place: problem.place.within(document), ..problem })?;
    let mut table = match parsed.kind {
        Kind::Table(table) => table,
        _ => Table::new(),
    };
    let leaf = Value { kind: Kind::Text(value.to_owned()), place: place.clone() };
    relocate(&mut table, document, &leaf);
    Ok(table)
}

/// Puts `leaf` at the end of a chain of tables, and the places of its keys into `document`.
fn relocate(table: &mut Table, document: &Arc<Document>, leaf: &Value) {
    for Entry { key, value } in table.values_mut() {
        *key = key.within(document);
        value.place = value.place.within(document);
        match &mut value.kind {
            Kind::Table(inner) => relocate(inner, document, leaf),
            _ => *value = leaf.clone(),
        }
    }
}

/// The first `=` outside quotes.
fn first_equals(argument: &str) -> Option<usize> {
    let mut quote = None;
    for (index, character) in argument.char_indices() {
        match (quote, character) {
            (None, '=') => return Some(index),
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
    }
    None
}
