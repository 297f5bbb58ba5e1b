//! `Packages`: every package of a component for one architecture. Tens of thousands of paragraphs, of which few are ever
//! looked at, so that reading it means finding where each begins.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use rayon::prelude::*;

use super::Architecture;
use super::record::{Paragraph, Record};

/// Read by one thread at a time.
const PART: usize = 4 << 20;

/// An index in memory.
#[derive(Debug)]
pub struct Index {
    text: String,
    /// Paragraphs by package name.
    packages: Vec<Entry>,
    /// Paragraphs by a name that they provide.
    providers: Vec<Entry>,
    /// Paragraphs that say `Essential: yes`.
    essential: Vec<Span>,
}

/// From one byte of the text to before another.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

/// A name, and a paragraph that it leads to.
#[derive(Debug, Clone, Copy)]
struct Entry {
    name: Span,
    paragraph: Span,
}

impl Index {
    /// Reads an index, unpacked.
    ///
    /// # Errors
    /// Text that is not UTF-8, or a paragraph without a name.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        if u32::try_from(text.len()).is_err() {
            return Err("it has 4 GiB or more".to_owned());
        }
        let scanned: Vec<Scan<'_>> =
            parts(&text).into_par_iter().map(|part| Scan::of(&text, part)).collect::<Result<_, _>>()?;
        let (mut packages, mut providers, mut essential) = (Vec::new(), Vec::new(), Vec::new());
        for scan in scanned {
            packages.extend(scan.packages);
            providers.extend(scan.providers);
            essential.extend(scan.essential);
        }
        // Stable: of one name, in the order of the text.
        packages.par_sort_by_key(|entry| entry.name.of(&text));
        providers.par_sort_by_key(|entry| entry.name.of(&text));
        Ok(Self { packages, providers, essential, text })
    }

    /// Package names, some more than once.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.packages.iter().map(|entry| entry.name.of(&self.text))
    }

    /// All versions of a package.
    pub(super) fn packages(&self, name: &str, native: &Architecture) -> Result<Vec<Record>, String> {
        self.named(&self.packages, name, native)
    }

    /// All packages that provide a name.
    pub(super) fn providers(&self, name: &str, native: &Architecture) -> Result<Vec<Record>, String> {
        self.named(&self.providers, name, native)
    }

    /// All packages that every Debian system has.
    pub(super) fn essential(&self, native: &Architecture) -> Result<Vec<Record>, String> {
        self.records(self.essential.iter(), native)
    }

    fn named(&self, entries: &[Entry], name: &str, native: &Architecture) -> Result<Vec<Record>, String> {
        let first = entries.partition_point(|entry| entry.name.of(&self.text) < name);
        let entries = entries.iter().skip(first).take_while(|entry| entry.name.of(&self.text) == name);
        self.records(entries.map(|entry| &entry.paragraph), native)
    }

    fn records<'a>(
        &self,
        places: impl Iterator<Item = &'a Span>,
        native: &Architecture,
    ) -> Result<Vec<Record>, String> {
        let read = places.map(|place| {
            let paragraph = Paragraph(place.of(&self.text));
            Record::parse(paragraph, native).map_err(|why| {
                let name = paragraph.field("Package").unwrap_or_default();
                format!("package {}: {why}", name.escape_debug())
            })
        });
        read.collect()
    }
}

impl Span {
    fn of(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// Parts of a text, cut between paragraphs.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let after = rest.as_bytes().get(PART..).unwrap_or_default();
        let cut = after.windows(2).position(|pair| pair == b"\n\n");
        let cut = cut.map_or(rest.len(), |at| PART.saturating_add(at).saturating_add(2));
        let (part, others) = rest.split_at_checked(cut).unwrap_or((rest, ""));
        parts.push(part);
        rest = others;
    }
    parts
}

/// What is found in a part of the text, and what of the paragraph at hand is kept while its lines go by.
#[derive(Debug, Default)]
struct Scan<'a> {
    text: &'a str,
    packages: Vec<Entry>,
    providers: Vec<Entry>,
    essential: Vec<Span>,

    begins: Option<u32>,
    name: Option<&'a str>,
    provides: Vec<&'a str>,
    in_provides: bool,
    is_essential: bool,
}

impl<'a> Scan<'a> {
    fn of(text: &'a str, part: &'a str) -> Result<Self, String> {
        let mut scan = Self { text, ..Self::default() };
        for line in part.split_inclusive('\n') {
            match line.as_bytes().first() {
                Some(b'\n' | b'\r') => scan.end(scan.span(line).start)?,
                Some(first) => scan.line(*first, line),
                None => {}
            }
        }
        scan.end(scan.span(part).end)?;
        Ok(scan)
    }

    /// Where a part of the text lies in it.
    fn span(&self, part: &str) -> Span {
        let start = part.as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
        let fit = |place| u32::try_from(place).unwrap_or(u32::MAX);
        Span { start: fit(start), end: fit(start.saturating_add(part.len())) }
    }

    fn line(&mut self, first: u8, line: &'a str) {
        if self.begins.is_none() {
            self.begins = Some(self.span(line).start);
        }
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
            b'E' | b'e' => self.is_essential |= value_of(line, "Essential") == Some("yes"),
            _ => {}
        }
        self.in_provides = false;
    }

    /// The paragraph ends before `at`.
    fn end(&mut self, at: u32) -> Result<(), String> {
        let Some(start) = self.begins.take() else { return Ok(()) };
        let paragraph = Span { start, end: at };
        let name = self.name.take();
        let name = name.ok_or_else(|| format!("the paragraph at byte {start} has no field `Package`"))?;
        self.packages.push(Entry { name: self.span(name), paragraph });
        for provided in std::mem::take(&mut self.provides).iter().flat_map(|line| line.split(',')) {
            let provided = provided.trim();
            let end = provided.find([' ', '(', ':']).unwrap_or(provided.len());
            let provided = provided.get(..end).unwrap_or_default();
            if !provided.is_empty() {
                self.providers.push(Entry { name: self.span(provided), paragraph });
            }
        }
        if std::mem::take(&mut self.is_essential) {
            self.essential.push(paragraph);
        }
        self.in_provides = false;
        Ok(())
    }
}

fn value_of<'a>(line: &'a str, field: &str) -> Option<&'a str> {
    let (name, value) = line.split_at_checked(field.len())?;
    let value = value.strip_prefix(':')?;
    name.eq_ignore_ascii_case(field).then(|| value.trim())
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
