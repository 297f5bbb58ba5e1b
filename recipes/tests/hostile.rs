//! Whatever is written in a recipe, the answer is a recipe or an error that names a place.

#![allow(clippy::unwrap_used, reason = "a test may fail here")]

use graven_recipe::{Recipe, RecipeError, Selection};
use proptest::prelude::*;

const MINIMAL: &str = include_str!("../minimal/recipe.toml");

fn answer(text: &str, sets: Vec<String>) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("recipe.toml"), text).unwrap();
    let selection = Selection { target: Some("qemu-x86_64".into()), sets, ..Selection::default() };
    match Recipe::load(folder.path(), &selection) {
        Ok(_) => {}
        Err(RecipeError::Problems(problems)) => {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert!(problem.to_string().contains(" --> "));
            }
        }
        Err(RecipeError::Read { source, .. }) => return Err(TestCaseError::fail(source.to_string())),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_gets_an_answer(text in "\\PC*") {
        answer(&text, Vec::new())?;
    }

    #[test]
    fn any_override_gets_an_answer(sets in prop::collection::vec("\\PC*|[a-z.-]{1,12}=[\\PC]{0,8}", 0..3)) {
        answer(MINIMAL, sets)?;
    }

    #[test]
    fn a_spoilt_recipe_gets_an_answer(
        spoils in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, "\\PC{0,3}|[\\[\\]={}\"'\n.]"), 1..4),
    ) {
        let mut text: Vec<char> = MINIMAL.chars().collect();
        for (at, length, with) in spoils {
            let at = at.index(text.len());
            let end = text.len().min(at + length);
            text.splice(at..end, with.chars());
        }
        answer(&text.iter().collect::<String>(), Vec::new())?;
    }

    #[test]
    fn every_key_takes_any_value(
        key in prop::sample::select(vec![
            "name", "version", "targets", "inherit", "init", "init-args", "source-date", "hostname", "packages",
            "packages.local", "packages.accept-scripts", "packages.accept-scripts.foo", "source", "files", "files.'/a'",
            "files.'/a'.mode", "files.'/a'.owner", "users", "users.a", "users.a.uid", "users.a.ssh-keys",
            "services", "services.enable", "services.default-target", "kernel", "kernel.local", "kernel.modules", "kernel.command-line",
            "kernel.accept", "boot.stub", "verity.salt", "verity.fec-roots", "policy", "mount", "lockdown.relax",
            "disk.slots", "disk.root-size", "target", "target.qemu-x86_64", "profile", "profile.release.disk",
        ]),
        value in prop::sample::select(vec![
            "-1", "0", "0o777", "9223372036854775807", "99999999999999999999", "1e99", "nan", "true", "''", "'/'", "'[!'",
            "'\\'", "\"\\u0000\"", "[]", "[[]]", "{}", "[{}]", "['']", "[1, '']", "1979-05-27", "9999-12-31T23:59:60+23:59",
            "0000-01-01T00:00:00-23:59", "07:32:00", "{ '' = '' }", "{ a = { a = 1 } }", "[{ target = '/a', type = 'tmpfs' }]",
        ]),
    ) {
        let others = "version = '1.0.0'\n";
        let text = if key == "version" { format!("{key} = {value}\n") } else { format!("{others}{key} = {value}\n") };
        answer(&text, vec![format!("{key}={value}")])?;
    }
}
