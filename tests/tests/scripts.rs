//! Script control from the recipe to the refusal: the build takes stock of interpreters, stage0 locks the exec securebits,
//! and an interpreter that asks the kernel runs what is in the image and nothing else.

use std::fs;
use std::path::Path;

use graven_tests::guest::Guest;
use graven_tests::{audit, image, inputs};
use serde_json::Value;

/// A recipe over `tests/recipes/scripts`, with the interpreter that asks.
fn recipe(folder: &Path, more: &str) {
    let base = inputs::project().join("tests/recipes/scripts/recipe.toml");
    let text = format!(
        "inherit = [{base:?}]\n[files]\n\"/usr/bin/asking\" = {{ source = {:?}, mode = 0o755 }}\n{more}",
        inputs::asking()
    );
    fs::write(folder.join("recipe.toml"), text).expect("files can be written");
}

/// What a build that must fail says.
fn refused(more: &str) -> String {
    let folder = image::folder();
    recipe(folder.path(), more);
    let output = image::try_build(folder.path(), &folder.path().join("out"), image::keys(), &[]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(!folder.path().join("out").exists(), "nothing is left");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// How each thing that the image tries ends.
fn tried(console: &str, name: &str) -> String {
    let prefix = format!("run {name} ");
    let mut lines = console.lines().filter_map(|line| line.trim().strip_prefix(&prefix));
    lines.next().unwrap_or_else(|| panic!("{name} was not tried: {console}")).to_owned()
}

const TRUSTED: [&str; 4] = ["trusted", "direct", "includes-trusted", "from-trusted"];
const UNTRUSTED: [&str; 6] =
    ["untrusted", "noexec", "includes-untrusted", "no-exec-bit", "from-untrusted", "pipe"];

#[test]
fn with_locked_securebits_only_scripts_of_the_image_run() {
    let folder = image::folder();
    let out = folder.path().join("out");
    recipe(folder.path(), "");
    image::build(folder.path(), &out, &[]);
    let manifest: Value =
        serde_json::from_slice(&fs::read(out.join("manifest.json")).expect("it is there")).expect("JSON");
    let expected = serde_json::json!([{
        "path": "/usr/bin/asking", "origin": "recipe", "asking": "asks", "standing": "vouched", "scripts": 4,
    }]);
    assert_eq!(manifest["interpreters"], expected);

    let (_guest, console) = Guest::reach(&image::machine(&out), "all was tried");
    for name in TRUSTED {
        assert_eq!(tried(&console, name), "exit status: 0", "{name}");
    }
    for name in UNTRUSTED.iter().chain(&["argument"]) {
        assert_eq!(tried(&console, name), "exit status: 1", "{name}");
    }
    assert!(tried(&console, "untrusted-direct").starts_with("not started: Permission denied"));
    let ran = console.lines().filter(|line| line.trim() == "the script ran").count();
    assert_eq!(ran, TRUSTED.len(), "each trusted one, and no other: {console}");
    let denied = audit::records(&console).into_iter().any(|record| {
        record.kind == audit::IPE_ACCESS
            && record.get("ipe_hook") == "BPRM_CREDS_FOR_EXEC"
            && record.get("path") == "/exec/untrusted"
    });
    assert!(denied, "it is the policy that says no: {console}");
}

/// The same without the bits: so it is these that keep scripts from running, and no fault of the test's.
#[test]
#[cfg(feature = "full")]
fn without_securebits_the_same_scripts_run() {
    let folder = image::folder();
    let out = folder.path().join("out");
    recipe(folder.path(), "[lockdown]\nexec-securebits = false\n");
    image::build(folder.path(), &out, &[]);
    let (_guest, console) = Guest::reach(&image::machine(&out), "all was tried");
    for name in TRUSTED.iter().chain(&UNTRUSTED).chain(&["argument"]) {
        assert_eq!(tried(&console, name), "exit status: 0", "{name}");
    }
    assert!(tried(&console, "untrusted-direct").starts_with("not started: Permission denied"));
}

#[test]
fn an_interpreter_that_does_not_ask_stops_the_build_with_its_package_and_its_scripts() {
    let busybox = inputs::busybox();
    let shell = format!(
        "\"/usr/bin/sh\" = {{ symlink = \"busybox\" }}\n\
         \"/usr/bin/backup\" = {{ text = \"#!/usr/bin/sh\\n\", mode = 0o755 }}\n[packages]\nlocal = [{busybox:?}]\n"
    );
    let said = refused(&shell);
    for words in [
        "scripts.unenlightened = \"deny\"",
        "/usr/bin/busybox (from busybox-static=",
        "never asks; behind it /usr/bin/backup",
        "[scripts.accept]",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // Securebits alone would be in vain with it.
    let said = refused(&format!("{shell}[scripts]\nunenlightened = \"warn\"\n"));
    assert!(said.contains("lockdown.exec-securebits: interpreters that do not ask"), "{said}");
    let said = refused(&format!("{shell}[scripts]\ninterpreters = [\"/usr/bin/sh\"]\n"));
    assert!(said.contains("/usr/bin/sh cannot ask the kernel"), "nobody can vouch for it: {said}");

    let folder = image::folder();
    let out = folder.path().join("out");
    recipe(folder.path(), &format!("{shell}[scripts.accept]\n\"/usr/bin/sh\" = \"for the laboratory\"\n"));
    image::build(folder.path(), &out, &[]);
    let manifest: Value =
        serde_json::from_slice(&fs::read(out.join("manifest.json")).expect("it is there")).expect("JSON");
    assert_eq!(manifest["accepted"]["interpreter./usr/bin/sh"], "for the laboratory");
    assert_eq!(manifest["interpreters"][1]["standing"], "accepted");
}

#[test]
fn what_a_recipe_says_of_scripts_must_be_so() {
    for (more, words) in [
        ("[scripts]\ninterpreters = [\"/usr/bin/other\"]\n", "/usr/bin/other is not in the root"),
        (
            "\"/etc/x\" = { text = \"x\" }\n[scripts]\ninterpreters = [\"/etc/x\"]\n",
            "/etc/x is no program that could run scripts",
        ),
        ("[scripts.accept]\n\"/usr/bin/sh\" = \"x\"\n", "there is nothing to accept"),
        (
            "\"/usr/bin/tool\" = { text = \"#!/usr/bin/asking\\n\", mode = 0o644 }\n",
            "/usr/bin/asking would refuse /usr/bin/tool",
        ),
    ] {
        let said = refused(more);
        assert!(said.contains(words), "{words}: {said}");
    }
}
