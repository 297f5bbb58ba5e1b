//! Licences, by the `copyright` files of Debian's packages.

use std::collections::BTreeMap;

use super::model::{Bom, Component, License, LicenseChoice};
use crate::links::shown;

/// Debian's short names whose meaning is exactly one SPDX identifier's. Names that differ from package to package (`BSD`,
/// `GPL`, `public-domain`) stay names.
const IDS: [(&str, &str); 51] = [
    ("0BSD", "0BSD"),
    ("AGPL-3", "AGPL-3.0-only"),
    ("AGPL-3+", "AGPL-3.0-or-later"),
    ("Apache-2.0", "Apache-2.0"),
    ("Artistic-2.0", "Artistic-2.0"),
    ("BSD-2-clause", "BSD-2-Clause"),
    ("BSD-3-clause", "BSD-3-Clause"),
    ("BSL-1.0", "BSL-1.0"),
    ("CC-BY-3.0", "CC-BY-3.0"),
    ("CC-BY-4.0", "CC-BY-4.0"),
    ("CC-BY-SA-3.0", "CC-BY-SA-3.0"),
    ("CC-BY-SA-4.0", "CC-BY-SA-4.0"),
    ("CC0-1.0", "CC0-1.0"),
    ("Expat", "MIT"),
    ("GFDL-1.2", "GFDL-1.2-only"),
    ("GFDL-1.2+", "GFDL-1.2-or-later"),
    ("GFDL-1.3", "GFDL-1.3-only"),
    ("GFDL-1.3+", "GFDL-1.3-or-later"),
    ("GPL-1", "GPL-1.0-only"),
    ("GPL-1+", "GPL-1.0-or-later"),
    ("GPL-2", "GPL-2.0-only"),
    ("GPL-2+", "GPL-2.0-or-later"),
    ("GPL-2.0+", "GPL-2.0-or-later"),
    ("GPL-2.0-only", "GPL-2.0-only"),
    ("GPL-2.0-or-later", "GPL-2.0-or-later"),
    ("GPL-3", "GPL-3.0-only"),
    ("GPL-3+", "GPL-3.0-or-later"),
    ("GPL-3.0+", "GPL-3.0-or-later"),
    ("GPL-3.0-only", "GPL-3.0-only"),
    ("GPL-3.0-or-later", "GPL-3.0-or-later"),
    ("ISC", "ISC"),
    ("LGPL-2", "LGPL-2.0-only"),
    ("LGPL-2+", "LGPL-2.0-or-later"),
    ("LGPL-2.0+", "LGPL-2.0-or-later"),
    ("LGPL-2.0-or-later", "LGPL-2.0-or-later"),
    ("LGPL-2.1", "LGPL-2.1-only"),
    ("LGPL-2.1+", "LGPL-2.1-or-later"),
    ("LGPL-2.1-only", "LGPL-2.1-only"),
    ("LGPL-2.1-or-later", "LGPL-2.1-or-later"),
    ("LGPL-3", "LGPL-3.0-only"),
    ("LGPL-3+", "LGPL-3.0-or-later"),
    ("LGPL-3.0-or-later", "LGPL-3.0-or-later"),
    ("MIT-0", "MIT-0"),
    ("MPL-1.1", "MPL-1.1"),
    ("MPL-2.0", "MPL-2.0"),
    ("OFL-1.1", "OFL-1.1"),
    ("PSF-2", "PSF-2.0"),
    ("Python-2.0", "Python-2.0"),
    ("Unlicense", "Unlicense"),
    ("X11", "X11"),
    ("Zlib", "Zlib"),
];

/// Where Debian keeps the texts that many packages share, which files in free words point to.
const COMMON: &str = "/usr/share/common-licenses/";

/// How a package's licences are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// A file that a machine can read (DEP-5) names them.
    Declared,
    /// A file in free words points to texts of them; there may be others.
    Pointed,
    /// A file in free words that points to none.
    FreeWords,
    /// The root has no such file.
    Missing,
}

impl Known {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Pointed => "pointed-to",
            Self::FreeWords => "free-words",
            Self::Missing => "no-copyright-file",
        }
    }
}

/// The licences that a copyright file names, each once, in their order.
pub(super) fn of(copyright: Option<&str>) -> (Known, Vec<LicenseChoice>) {
    let Some(copyright) = copyright else { return (Known::Missing, Vec::new()) };
    let mut paragraphs = copyright.split("\n\n").map(str::trim_start);
    let head = paragraphs.next().unwrap_or_default();
    let format = field(head, "Format").or_else(|| field(head, "Format-Specification")).unwrap_or_default();
    let readable = format.contains("copyright-format/1.") || format.contains("dep5");
    let mut names: Vec<&str> = Vec::new();
    if readable {
        for paragraph in std::iter::once(head).chain(paragraphs) {
            // A paragraph of its own holds the text of a licence; those of files say which holds for them.
            let about_files = field(paragraph, "Files").is_some() || field(paragraph, "Format").is_some();
            match field(paragraph, "License") {
                Some(name) if about_files && !name.is_empty() && !names.contains(&name) => names.push(name),
                _ => {}
            }
        }
    }
    let known = match (readable, names.is_empty()) {
        (true, false) => Known::Declared,
        _ => {
            for rest in copyright.split(COMMON).skip(1) {
                let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !"-.".contains(letter));
                let name = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default().trim_end_matches('.');
                if !name.is_empty() && !names.contains(&name) {
                    names.push(name);
                }
            }
            if names.is_empty() { Known::FreeWords } else { Known::Pointed }
        }
    };
    let licences = names.into_iter().map(|name| {
        let id = IDS.iter().find(|(debian, _)| debian.eq_ignore_ascii_case(name));
        // What is pointed to is the text alone: `GPL-2` may well be meant with «or later».
        let id = id.filter(|_| known == Known::Declared);
        LicenseChoice {
            license: id.map_or_else(|| License::Name(name.to_owned()), |(_, id)| License::Id(id)),
        }
    });
    (known, licences.collect())
}

/// The first line of a field.
fn field<'a>(paragraph: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = paragraph.lines();
    lines.find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

impl Bom {
    /// The licences of the packages in words: each with the packages that have it, then those whose licences nobody can tell
    /// from a distance.
    #[must_use]
    pub fn licences(&self) -> String {
        let (mut by_licence, mut open) = (BTreeMap::<String, Vec<String>>::new(), Vec::new());
        for package in self.packages() {
            for choice in &package.licenses {
                by_licence.entry(shown(choice.license.name())).or_default().push(shown(&package.name));
            }
            let known = package.property(super::LICENCES_KNOWN);
            if known != Some(Known::Declared.word()) {
                open.push((shown(&package.name), known.unwrap_or_default()));
            }
        }
        let mut text = String::new();
        for (licence, packages) in &by_licence {
            text.push_str(&format!("{licence} ({})\n", packages.len()));
            text.push_str(&wrapped(packages));
        }
        for (known, words) in [
            (Known::Pointed, "Named above by a pointer in free words: others may hold for parts of them"),
            (Known::FreeWords, "In free words alone: read /usr/share/doc/PACKAGE/copyright"),
            (Known::Missing, "No copyright file in the image"),
        ] {
            let of_them = open.iter().filter(|(_, other)| *other == known.word());
            let of_them: Vec<String> = of_them.map(|(name, _)| name.clone()).collect();
            if !of_them.is_empty() {
                text.push_str(&format!("\n{words} ({})\n", of_them.len()));
                text.push_str(&wrapped(&of_them));
            }
        }
        text
    }
}

/// Names in lines of no more than 100 letters.
fn wrapped(names: &[String]) -> String {
    let (mut text, mut line) = (String::new(), String::from("   "));
    for name in names {
        if line.len().saturating_add(name.len()) > 100 {
            text.push_str(&line);
            text.push('\n');
            line = String::from("   ");
        }
        line.push(' ');
        line.push_str(name);
    }
    text + &line + "\n"
}

impl License {
    fn name(&self) -> &str {
        match self {
            Self::Id(id) => id,
            Self::Name(name) => name,
        }
    }
}

impl Component {
    fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|property| property.name == name).map(|property| property.value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(copyright: &str) -> (Known, Vec<String>) {
        let (known, licences) = of(Some(copyright));
        (known, licences.iter().map(|choice| choice.license.name().to_owned()).collect())
    }

    #[test]
    fn licences_of_files_are_told_and_texts_of_licences_are_not_taken_for_them() {
        let text = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: x\n\n\
            Files: *\nCopyright: 2020 A\nLicense: GPL-2+\n\nFiles: debian/*\nCopyright: 2021 B\nLicense: Expat\n\n\
            Files: y\nLicense: public-domain\n\nFiles: z\nLicense: GPL-2+\n\nLicense: BSD-3-clause\n Redistribution and use\n";
        let expected = ["GPL-2.0-or-later", "MIT", "public-domain"].map(str::to_owned).to_vec();
        assert_eq!(names(text), (Known::Declared, expected));
    }

    #[test]
    fn free_words_are_followed_no_further_than_they_point() {
        let text = "On Debian systems, the text is in /usr/share/common-licenses/GPL-2.\nSee also\n\
            `/usr/share/common-licenses/LGPL-2.1', and /usr/share/common-licenses/GPL-2 again";
        assert_eq!(names(text), (Known::Pointed, vec!["GPL-2".to_owned(), "LGPL-2.1".to_owned()]));
        assert_eq!(names("Do what you want."), (Known::FreeWords, Vec::new()));
        assert_eq!(of(None).0, Known::Missing);
    }
}
