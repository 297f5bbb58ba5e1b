//! The user guide: every page is in its summary, every link leads somewhere, what it tells of the program is so.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use graven_tests::{image, inputs};

fn source() -> PathBuf {
    inputs::project().join("docs/guide/src")
}

/// Every page with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(source()).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

/// Where the links of a page lead, as written.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let outside_code = text.split("```").step_by(2);
    outside_code.flat_map(|part| part.split("](").skip(1).filter_map(|rest| rest.split(')').next()))
}

#[test]
fn every_page_is_in_the_summary_and_every_link_leads_to_a_file() {
    let summary = fs::read_to_string(source().join("SUMMARY.md")).unwrap();
    let listed: BTreeSet<&str> = links(&summary).collect();
    let pages = pages();
    assert!(pages.len() > 5, "{pages:?}");
    for (path, text) in &pages {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name == "SUMMARY.md" || listed.contains(name), "{name} is not in SUMMARY.md");
        for link in links(text).filter(|link| !link.contains("://")) {
            let file = link.split('#').next().unwrap();
            assert!(file.is_empty() || source().join(file).is_file(), "{name}: {link} leads nowhere");
        }
    }
}

#[test]
fn commands_and_codes_that_the_guide_names_exist() {
    let codes = fs::read_to_string(inputs::project().join("docs/stage0-codes.md")).unwrap();
    let help = String::from_utf8(image::run([Path::new("help")]).stdout).unwrap();
    let verbs: BTreeSet<&str> =
        help.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    assert!(verbs.contains("build") && verbs.len() > 10, "{help}");
    let mut told = 0;
    for (path, text) in pages() {
        for command in text.lines().filter_map(|line| line.strip_prefix("$ ")) {
            let mut words = command.split(' ').skip_while(|word| word.contains('='));
            if words.next().is_some_and(|program| program.rsplit('/').next() == Some("graven")) {
                let verb = words.next().unwrap();
                assert!(verbs.contains(verb), "{}: {command}", path.display());
                told += 1;
            }
        }
        for code in text.split("`S0-").skip(1).map(|rest| &rest[..2]).filter(|code| !code.contains('n')) {
            assert!(codes.contains(&format!("`S0-{code}`")), "{}: S0-{code}", path.display());
        }
    }
    assert!(told > 10, "{told}");
}
