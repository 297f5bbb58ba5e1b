//! `Packages`: every package of a component for one architecture. Tens of thousands of paragraphs, of which few are ever
//! looked at, so that reading it means finding where each begins.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::collections::HashMap;
use std::ops::Range;

use super::Architecture;
use super::record::{Paragraph, Record};

/// An index in memory.
#[derive(Debug)]
pub struct Index {
    text: String,
    /// Paragraphs by package name.
    packages: HashMap<Box<str>, Vec<Range<usize>>>,
    /// Paragraphs by a name that they provide.
    providers: HashMap<Box<str>, Vec<Range<usize>>>,
    /// Paragraphs that say `Essential: yes`.
    essential: Vec<Range<usize>>,
}

impl Index {
    /// Reads an index, unpacked.
    ///
    /// # Errors
    /// Text that is not UTF-8, or a paragraph without a name.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let (mut packages, mut providers) =
            (HashMap::<Box<str>, Vec<_>>::new(), HashMap::<Box<str>, Vec<_>>::new());
        let mut essential = Vec::new();
        let mut paragraph = Scan::default();
        let mut at = 0usize;
        for line in text.split_inclusive('\n') {
            let begins = at;
            at = at.saturating_add(line.len());
            match line.as_bytes().first() {
                Some(b'\n' | b'\r') => {
                    paragraph.end(begins, &mut packages, &mut providers, &mut essential)?;
                }
                Some(first) => {
                    paragraph.line(*first, line.trim_end_matches(['\n', '\r']), begins);
                }
                None => {}
            }
        }
        paragraph.end(at, &mut packages, &mut providers, &mut essential)?;
        Ok(Self { packages, providers, essential, text })
    }

    /// Package names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.packages.keys().map(AsRef::as_ref)
    }

    /// All versions of a package.
    pub(super) fn packages(&self, name: &str, native: &Architecture) -> Result<Vec<Record>, String> {
        self.records(self.packages.get(name).map(Vec::as_slice).unwrap_or_default(), native)
    }

    /// All packages that provide a name.
    pub(super) fn providers(&self, name: &str, native: &Architecture) -> Result<Vec<Record>, String> {
        self.records(self.providers.get(name).map(Vec::as_slice).unwrap_or_default(), native)
    }

    /// All packages that every Debian system has.
    pub(super) fn essential(&self, native: &Architecture) -> Result<Vec<Record>, String> {
        self.records(&self.essential, native)
    }

    fn records(&self, places: &[Range<usize>], native: &Architecture) -> Result<Vec<Record>, String> {
        let read = places.iter().map(|place| {
            let paragraph = Paragraph(self.text.get(place.clone()).unwrap_or_default());
            Record::parse(paragraph, native).map_err(|why| {
                let name = paragraph.field("Package").unwrap_or_default();
                format!("package {}: {why}", name.escape_debug())
            })
        });
        read.collect()
    }
}

/// What of a paragraph is kept while its lines go by.
#[derive(Debug, Default)]
struct Scan<'a> {
    begins: Option<usize>,
    name: Option<&'a str>,
    provides: Vec<&'a str>,
    in_provides: bool,
    essential: bool,
}

impl<'a> Scan<'a> {
    fn line(&mut self, first: u8, line: &'a str, begins: usize) {
        self.begins.get_or_insert(begins);
        match first {
            b' ' | b'\t' => {
                if self.in_provides {
                    self.provides.push(line);
                }
                return;
            }
            b'P' | b'p' => {
                if let Some(name) = value_of(line, "Package") {
                    self.name = Some(name);
                } else if let Some(provides) = value_of(line, "Provides") {
                    self.provides.push(provides);
                    self.in_provides = true;
                    return;
                }
            }
            b'E' | b'e' => self.essential |= value_of(line, "Essential") == Some("yes"),
            _ => {}
        }
        self.in_provides = false;
    }

    fn end(
        &mut self,
        at: usize,
        packages: &mut HashMap<Box<str>, Vec<Range<usize>>>,
        providers: &mut HashMap<Box<str>, Vec<Range<usize>>>,
        essential: &mut Vec<Range<usize>>,
    ) -> Result<(), String> {
        let scanned = std::mem::take(self);
        let Some(begins) = scanned.begins else { return Ok(()) };
        let name =
            scanned.name.ok_or_else(|| format!("the paragraph at byte {begins} has no field `Package`"))?;
        push(packages, name, begins..at);
        for provided in scanned.provides.iter().flat_map(|line| line.split(',')) {
            let provided = provided.trim();
            let end = provided.find([' ', '(', ':']).unwrap_or(provided.len());
            let provided = provided.get(..end).unwrap_or_default();
            if !provided.is_empty() {
                push(providers, provided, begins..at);
            }
        }
        if scanned.essential {
            essential.push(begins..at);
        }
        Ok(())
    }
}

fn value_of<'a>(line: &'a str, field: &str) -> Option<&'a str> {
    let (name, value) = line.split_at_checked(field.len())?;
    let value = value.strip_prefix(':')?;
    name.eq_ignore_ascii_case(field).then(|| value.trim())
}

fn push(map: &mut HashMap<Box<str>, Vec<Range<usize>>>, name: &str, place: Range<usize>) {
    match map.get_mut(name) {
        Some(places) => places.push(place),
        None => {
            map.insert(name.into(), vec![place]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "Package: aa\nVersion: 1\nArchitecture: amd64\nProvides: xx,\n yy (= 2)\nDescription: first\n Package: no\n\
        Filename: pool/a.deb\nSize: 3\nSHA256: 0000000000000000000000000000000000000000000000000000000000000000\n\n\n\
        package: bb\nEssential: yes\nVersion: 2\nArchitecture: all\nFilename: ./b.deb\nSize: 4\n\
        SHA256: 1111111111111111111111111111111111111111111111111111111111111111\nDepends: aa\n";

    #[test]
    fn packages_are_found_by_name_and_by_what_they_provide() {
        let amd64 = Architecture::parse("amd64").expect("a name");
        let index = Index::parse(TWO.into()).expect("sound");
        let mut names: Vec<&str> = index.names().collect();
        names.sort_unstable();
        assert_eq!(names, ["aa", "bb"]);
        for name in ["xx", "yy"] {
            let found = index.providers(name, &amd64).expect("sound");
            assert_eq!(found.first().map(|record| record.name.as_str()), Some("aa"));
        }
        assert!(index.providers("no", &amd64).expect("sound").is_empty());
        let bb = index.essential(&amd64).expect("sound").remove(0);
        assert_eq!((bb.name.as_str(), bb.path.as_str(), bb.size, bb.architecture), ("bb", "b.deb", 4, None));
    }

    #[test]
    fn a_paragraph_that_is_no_package_is_refused_where_it_is_met() {
        let amd64 = Architecture::parse("amd64").expect("a name");
        assert!(Index::parse(b"Version: 1\n\n".to_vec()).is_err());
        for (from, to) in [
            ("pool/a.deb", "../a.deb"),
            ("pool/a.deb", "/etc/a"),
            ("Size: 3", "Size: -3"),
            ("Version: 1", "Version: a b"),
        ] {
            let index = Index::parse(TWO.replace(from, to).into()).expect("looked at later");
            let error = index.packages("aa", &amd64).expect_err(to);
            assert!(error.starts_with("package aa: its field"), "{error}");
        }
    }
}
