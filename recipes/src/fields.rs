//! Taking a table apart, key by key: whoever asks for a key thereby makes it known.

use crate::error::Problem;
use crate::paths::{FilePattern, LocalPath};
use crate::place::{At, Place};
use crate::recipe::PackageRequest;
use crate::size::parse_size;
use crate::value::{Entry, Kind, Table, Value};
use crate::words::Word;
use graven_targets::Arch;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// What one pass over a recipe collects.
pub(crate) struct Decoder {
    /// The architecture for `{arch}`; none while single files are looked at.
    arch: Option<Arch>,
    problems: RefCell<Vec<Problem>>,
    /// Keys asked for, by table: `kernel`, `source[]` for each of an array, `files.*` for each of a map.
    known: RefCell<BTreeMap<String, BTreeSet<&'static str>>>,
}

/// A table of which some keys were taken.
pub(crate) struct Fields<'a> {
    decoder: &'a Decoder,
    path: String,
    place: Place,
    table: &'a Table,
    known: Vec<&'static str>,
    /// Keys that are right elsewhere or later, and what to say of them.
    misplaced: Vec<&'static str>,
}

static NO_TABLE: Table = Table::new();

impl Decoder {
    pub(crate) fn new(arch: Option<Arch>) -> Self {
        Self { arch, problems: RefCell::default(), known: RefCell::default() }
    }

    pub(crate) fn report(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    #[cfg(test)]
    pub(crate) fn known(&self) -> BTreeMap<String, BTreeSet<&'static str>> {
        self.known.borrow().clone()
    }

    pub(crate) fn root<'a>(&'a self, table: &'a Table, place: &Place) -> Fields<'a> {
        self.fields(String::new(), table, place)
    }

    fn fields<'a>(&'a self, path: String, table: &'a Table, place: &Place) -> Fields<'a> {
        Fields { decoder: self, path, place: place.clone(), table, known: Vec::new(), misplaced: Vec::new() }
    }

    fn wrong_kind(&self, name: &str, value: &Value, expected: &str) {
        let problem =
            Problem::new(&value.place, format!("{name} must be {expected}, not {}", value.kind_name()));
        let unquoted = matches!(value.kind, Kind::Integer { .. } | Kind::Float | Kind::Datetime(_));
        self.report(if unquoted && expected == "a string" {
            problem.help("put it in quotes")
        } else {
            problem
        });
    }

    fn text(&self, name: &str, value: &Value) -> Option<At<String>> {
        match &value.kind {
            Kind::Text(text) => Some(At::new(text.clone(), &value.place)),
            _ => {
                self.wrong_kind(name, value, "a string");
                None
            }
        }
    }

    /// A string in which `{arch}` stands for Debian's name of the architecture.
    fn path_text(&self, name: &str, value: &Value) -> Option<At<String>> {
        let text = self.text(name, value)?;
        if text.is_empty() || text.contains('\0') {
            self.report(Problem::new(&text.place, format!("{name} is empty or holds a NUL byte")));
            return None;
        }
        let replaced = self.arch.map(|arch| text.replace("{arch}", arch.debian()));
        Some(At { value: replaced.unwrap_or(text.value), place: text.place })
    }

    pub(crate) fn local_path(&self, name: &str, value: &Value) -> Option<LocalPath> {
        let At { value: text, place } = self.path_text(name, value)?;
        Some(LocalPath { path: place.base().join(text), place })
    }

    fn pattern(&self, name: &str, value: &Value) -> Option<FilePattern> {
        let At { value: pattern, place } = self.path_text(name, value)?;
        let pattern = FilePattern { pattern, place };
        match pattern.syntax_problem() {
            None => Some(pattern),
            Some(problem) => {
                self.report(Problem::new(&pattern.place, problem));
                None
            }
        }
    }
}

impl<'a> Fields<'a> {
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn report(&self, place: &Place, message: impl Into<String>) {
        self.decoder.report(Problem::new(place, message));
    }

    pub(crate) fn report_with_help(
        &self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.decoder.report(Problem::new(place, message).help(help));
    }

    /// The key as errors name it: with the tables it lies in.
    pub(crate) fn name(&self, key: &str) -> String {
        if self.path.is_empty() || self.path.ends_with(['*', ']']) {
            format!("`{key}`")
        } else {
            format!("`{}.{key}`", self.path)
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The value of a key, which from now on is known.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.table.get(key).map(|entry| &entry.value)
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Option<At<String>> {
        let value = self.value(key)?;
        self.decoder.text(&self.name(key), value)
    }

    /// A string that `rule` accepts; where it does not, it answers with what would be right.
    pub(crate) fn text_like(
        &mut self,
        key: &'static str,
        rule: impl Fn(&str) -> Result<(), String>,
    ) -> Option<At<String>> {
        let text = self.text(key)?;
        match rule(&text) {
            Ok(()) => Some(text),
            Err(expected) => {
                let message = format!("{} is `{}`", self.name(key), text.escape_debug());
                self.report_with_help(&text.place, message, expected);
                None
            }
        }
    }

    pub(crate) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        match value.kind {
            Kind::Boolean(boolean) => Some(boolean),
            _ => {
                self.decoder.wrong_kind(&self.name(key), value, "true or false");
                None
            }
        }
    }

    pub(crate) fn integer(&mut self, key: &'static str, range: &RangeInclusive<i64>) -> Option<At<i64>> {
        let value = self.value(key)?;
        match value.kind {
            Kind::Integer { value: number, .. } if range.contains(&number) => {
                Some(At::new(number, &value.place))
            }
            Kind::Integer { value: number, .. } => {
                let (from, to) = (range.start(), range.end());
                let word = if to - from == 1 { "or" } else { "to" };
                self.report(
                    &value.place,
                    format!("{} is {number}; it must be {from} {word} {to}", self.name(key)),
                );
                None
            }
            _ => {
                self.decoder.wrong_kind(&self.name(key), value, "an integer");
                None
            }
        }
    }

    /// One of a set of fixed words.
    pub(crate) fn word<W: Word>(&mut self, key: &'static str) -> Option<At<W>> {
        let text = self.text(key)?;
        let word = W::from_word(&text);
        if word.is_none() {
            let message = format!("{} is `{}`", self.name(key), text.escape_debug());
            self.report_with_help(&text.place, message, one_of(&text, W::WORDS));
        }
        Some(At { value: word?, place: text.place })
    }

    /// Several of a set of fixed words.
    pub(crate) fn words<W: Word>(&mut self, key: &'static str) -> Vec<At<W>> {
        let texts = self.texts(key);
        let words = texts.into_iter().filter_map(|text| {
            let word = W::from_word(&text);
            if word.is_none() {
                let message = format!("{} has `{}`", self.name(key), text.escape_debug());
                self.report_with_help(&text.place, message, one_of(&text, W::WORDS));
            }
            Some(At { value: word?, place: text.place })
        });
        words.collect()
    }

    /// Bytes, as an integer or as text such as `512M`; a multiple of 4096.
    pub(crate) fn size(&mut self, key: &'static str) -> Option<At<u64>> {
        let value = self.value(key)?;
        let bytes = match &value.kind {
            Kind::Integer { value, .. } => u64::try_from(*value).ok(),
            Kind::Text(text) => parse_size(text),
            _ => {
                self.decoder.wrong_kind(&self.name(key), value, "a size such as \"512M\"");
                return None;
            }
        };
        // No file system, partition or tmpfs counts past 63 bits.
        match bytes {
            Some(bytes) if bytes > 0 && bytes % 4096 == 0 && bytes <= i64::MAX as u64 => {
                Some(At::new(bytes, &value.place))
            }
            _ => {
                let help = "a whole number with K, M, G or T (powers of 1024), a multiple of 4096 bytes";
                self.report_with_help(&value.place, format!("{} is no possible size", self.name(key)), help);
                None
            }
        }
    }

    /// Permission bits: `0o644` or `"0644"`.
    pub(crate) fn mode(&mut self, key: &'static str) -> Option<u16> {
        let value = self.value(key)?;
        let bits = match &value.kind {
            Kind::Integer { value, radix: 8 } => u16::try_from(*value).ok(),
            Kind::Integer { value: 0, .. } => Some(0),
            Kind::Text(text) if text.bytes().all(|b| b.is_ascii_digit()) => u16::from_str_radix(text, 8).ok(),
            _ => None,
        };
        let bits = bits.filter(|bits| *bits <= 0o7777);
        if bits.is_none() {
            let message = format!("{} must be permission bits in octal", self.name(key));
            self.report_with_help(&value.place, message, "write 0o644 or \"0644\"");
        }
        bits
    }

    pub(crate) fn local_path(&mut self, key: &'static str) -> Option<LocalPath> {
        let value = self.value(key)?;
        self.decoder.local_path(&self.name(key), value)
    }

    /// A package of the repositories; `{arch}` stands for Debian's name of the architecture.
    pub(crate) fn package(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<PackageRequest, String>,
    ) -> Option<At<PackageRequest>> {
        let value = self.value(key)?;
        self.package_of(&self.name(key), value, &parse)
    }

    /// Packages of the repositories.
    pub(crate) fn packages(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<PackageRequest, String>,
    ) -> Vec<At<PackageRequest>> {
        let name = format!("each of {}", self.name(key));
        let items = self.array(key, "an array of package names");
        items.iter().filter_map(|value| self.package_of(&name, value, &parse)).collect()
    }

    fn package_of(
        &self,
        name: &str,
        value: &Value,
        parse: &impl Fn(&str) -> Result<PackageRequest, String>,
    ) -> Option<At<PackageRequest>> {
        let text = self.decoder.path_text(name, value)?;
        match parse(&text.replace("{arch}", "any")) {
            Ok(_) => Some(At { value: parse(&text).ok()?, place: text.place }),
            Err(expected) => {
                let message = format!("`{}` is no package to ask for", text.escape_debug());
                self.report_with_help(&text.place, message, expected);
                None
            }
        }
    }

    pub(crate) fn pattern(&mut self, key: &'static str) -> Option<FilePattern> {
        let value = self.value(key)?;
        self.decoder.pattern(&self.name(key), value)
    }

    pub(crate) fn patterns(&mut self, key: &'static str) -> Vec<FilePattern> {
        let name = format!("each of {}", self.name(key));
        self.array(key, "an array of file names")
            .iter()
            .filter_map(|v| self.decoder.pattern(&name, v))
            .collect()
    }

    pub(crate) fn local_paths(&mut self, key: &'static str) -> Vec<LocalPath> {
        let name = format!("each of {}", self.name(key));
        self.array(key, "an array of file names")
            .iter()
            .filter_map(|v| self.decoder.local_path(&name, v))
            .collect()
    }

    pub(crate) fn texts(&mut self, key: &'static str) -> Vec<At<String>> {
        let name = format!("each of {}", self.name(key));
        self.array(key, "an array of strings").iter().filter_map(|v| self.decoder.text(&name, v)).collect()
    }

    fn array(&mut self, key: &'static str, expected: &str) -> &'a [Value] {
        match self.value(key) {
            None => &[],
            Some(Value { kind: Kind::Array(items), .. }) => items,
            Some(value) => {
                self.decoder.wrong_kind(&self.name(key), value, expected);
                &[]
            }
        }
    }

    /// The table below a key; an absent one is empty.
    pub(crate) fn table(&mut self, key: &'static str) -> Fields<'a> {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        match self.value(key) {
            None => self.decoder.fields(path, &NO_TABLE, &self.place),
            Some(Value { kind: Kind::Table(table), place }) => self.decoder.fields(path, table, place),
            Some(value) => {
                self.decoder.wrong_kind(&self.name(key), value, "a table");
                self.decoder.fields(path, &NO_TABLE, &value.place)
            }
        }
    }

    /// The tables of an array, each to be taken apart.
    pub(crate) fn tables(&mut self, key: &'static str) -> Vec<Fields<'a>> {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        let expected = format!("an array of tables, each below [[{path}]]");
        let mut all = Vec::new();
        for item in self.array(key, &expected) {
            match &item.kind {
                Kind::Table(table) => all.push(self.decoder.fields(format!("{path}[]"), table, &item.place)),
                _ => self.decoder.wrong_kind(&self.name(key), item, &expected),
            }
        }
        all
    }

    /// The entries of a table whose keys the user chooses.
    pub(crate) fn entries(
        &mut self,
        key: &'static str,
    ) -> impl Iterator<Item = (&'a str, &'a Entry)> + use<'a> {
        let table = match self.value(key) {
            None => &NO_TABLE,
            Some(Value { kind: Kind::Table(table), .. }) => table,
            Some(value) => {
                self.decoder.wrong_kind(&self.name(key), value, "a table");
                &NO_TABLE
            }
        };
        table.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    /// One entry of a table whose keys the user chooses, itself a table.
    pub(crate) fn entry_table(&self, key: &'static str, table: &'a Table, place: &Place) -> Fields<'a> {
        self.decoder.fields(format!("{key}.*"), table, place)
    }

    pub(crate) fn entry_path(&self, name: &str, value: &Value) -> Option<LocalPath> {
        self.decoder.local_path(name, value)
    }

    /// What is allowed and why: names that `parse` knows, each with a text that gives the reason.
    pub(crate) fn reasons<K: Ord>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<K, String>,
    ) -> BTreeMap<K, At<String>> {
        let table_name = self.name(key);
        let mut reasons = BTreeMap::new();
        for (name, entry) in self.entries(key) {
            let reason = self.decoder.text(&format!("the reason for `{name}`"), &entry.value);
            match parse(name) {
                Err(expected) => {
                    let message = format!("`{}` is nothing that {table_name} knows", name.escape_debug());
                    self.report_with_help(&entry.key, message, expected);
                }
                Ok(parsed) => {
                    let reason = reason.and_then(|reason| self.not_empty(name, reason));
                    reasons.extend(reason.map(|reason| (parsed, reason)));
                }
            }
        }
        reasons
    }

    /// A text that gives the reason for `key`.
    pub(crate) fn reason(&mut self, key: &'static str) -> Option<At<String>> {
        let value = self.value(key)?;
        let reason = self.decoder.text(&format!("the reason for `{key}`"), value)?;
        self.not_empty(key, reason)
    }

    fn not_empty(&self, name: &str, reason: At<String>) -> Option<At<String>> {
        if reason.trim().is_empty() {
            let help = "it goes into the manifest, for whoever reviews the image";
            self.report_with_help(&reason.place, format!("`{name}` needs a reason"), help);
            return None;
        }
        Some(reason)
    }

    /// A key that is right elsewhere, or in a later version: said so where it stands.
    pub(crate) fn misplaced(&mut self, key: &'static str, why: &str) {
        self.misplaced.push(key);
        if let Some(entry) = self.table.get(key) {
            self.report(&entry.key, format!("{} {why}", self.name(key)));
        }
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn finish(self) {
        let unknown = self.table.iter().filter(|(key, _)| {
            !self.known.contains(&key.as_str()) && !self.misplaced.contains(&key.as_str())
        });
        for (key, entry) in unknown {
            let table = self.path.replace("[]", "");
            let here = match self.path.as_str() {
                "" => String::new(),
                path if path.ends_with("[]") => format!(" in [[{table}]]"),
                path if path.ends_with(".*") => format!(" in an entry of [{}]", table.trim_end_matches(".*")),
                _ => format!(" in [{table}]"),
            };
            let all: Vec<&str> = self.known.iter().chain(&self.misplaced).copied().collect();
            let help = nearest(key, &all).map_or_else(
                || format!("known here: {}", self.known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.report_with_help(&entry.key, format!("unknown key `{}`{here}", key.escape_debug()), help);
        }
        self.decoder.known.borrow_mut().entry(self.path).or_default().extend(self.known);
    }
}

/// The word most like `wrong`, if any is like it at all.
pub(crate) fn nearest<'w>(wrong: &str, words: &[&'w str]) -> Option<&'w str> {
    let lower = wrong.to_lowercase().replace('_', "-");
    words
        .iter()
        .map(|word| (strsim::damerau_levenshtein(&lower, &word.to_lowercase().replace('_', "-")), *word))
        .filter(|(distance, word)| *distance <= word.chars().count().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// `did you mean …?`, or the words there are.
pub(crate) fn one_of(wrong: &str, words: &[&str]) -> String {
    match nearest(wrong, words) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("one of: {}", words.join(", ")),
    }
}
