//! Inputs that are wrong, through the program: each ends with its exit status and names what is wrong, and nothing lies
//! under the output's name.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::path::Path;

use graven_tests::{image, inputs};
use serde_json::Value;

const BAD: i32 = 1;
const USAGE: i32 = 2;
const ENVIRONMENT: i32 = 3;

/// A recipe folder of its own that inherits `recipes/minimal`.
fn recipe(folder: &Path, more: &str) {
    let minimal = inputs::project().join("recipes/minimal/recipe.toml");
    let text = format!("inherit = [{minimal:?}]\nname = \"bad\"\nversion = \"1.0.0\"\n{more}\n");
    fs::write(folder.join("recipe.toml"), text).unwrap();
}

/// Builds the recipe in `folder`, which must fail; answers what the program says.
fn refused(folder: &Path, status: i32, words: &[&str]) -> String {
    let out = folder.join("out");
    let output = image::try_build(folder, &out, image::keys(), &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
    assert!(!out.exists(), "nothing lies under the output's name");
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        left.iter().all(|name| !name.to_string_lossy().contains("out")),
        "nothing is left beside it: {left:?}"
    );
    said
}

#[test]
fn a_kernel_that_boots_another_disk_without_the_initramfs_is_refused_until_accepted_by_name() {
    const REFUSAL: &str = "builtin-disk-driver-and-file-system";
    let parts = ["base", "binary", "modules"].map(|part| format!("{:?}", inputs::cloud_kernel(part)));
    let kernel = format!("kernel.local=[{}]", parts.join(", "));
    let minimal = inputs::project().join("recipes/minimal");
    let folder = image::folder();
    let out = folder.path().join("out");

    let output = image::try_build(&minimal, &out, image::keys(), &["--set", &kernel]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(USAGE), "{said}");
    assert!(said.contains(REFUSAL), "{said}");
    assert!(
        said.contains("CONFIG_BLK_DEV_NVME=y") && said.contains("CONFIG_EXT4_FS=y"),
        "the pair is named: {said}"
    );
    assert!(!out.exists());

    let accept = format!("kernel.accept.{REFUSAL}=\"only for this test\"");
    image::build(&minimal, &out, &["--set", &kernel, "--set", &accept]);
    let manifest: Value = serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["accepted"][format!("kernel.{REFUSAL}")], "only for this test");
    assert!(manifest["kernel"]["release"].as_str().unwrap().contains("cloud"));

    // A name that is none of the builder's is no acceptance.
    let unknown = ["--set", &kernel, "--set", "kernel.accept.builtin-disk=\"a typo\""];
    let output = image::try_build(&minimal, &folder.path().join("other"), image::keys(), &unknown);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(USAGE), "{said}");
    assert!(said.contains("builtin-disk"), "{said}");
}

#[test]
fn what_is_accepted_without_need_must_be_taken_out() {
    for (line, words) in [
        (
            "kernel.accept.fec-off = \"x\"",
            &["recipe.toml:4:", "kernel.accept.fec-off", "take the line out"][..],
        ),
        ("packages.accept-scripts.busybox-static = \"x\"", &["is done anyway", "take the line out"]),
        ("packages.accept-scripts.busybox = \"x\"", &["no package of this name", "take the line out"]),
        (
            "lockdown.relax = { usermodehelper = \"x\", module-autoload = \"x\" }",
            &["recipe.toml:4:", "module-autoload", "take one of the two lines out"],
        ),
    ] {
        let folder = image::folder();
        recipe(folder.path(), line);
        refused(folder.path(), USAGE, words);
    }
}

#[test]
fn a_truncated_archive_names_itself_and_the_place() {
    let folder = image::folder();
    let whole = fs::read(inputs::debian_system()).unwrap();
    fs::write(folder.path().join("root.tar"), &whole[..1_234_567]).unwrap();
    recipe(folder.path(), "[[source]]\ntar = \"root.tar\"");
    refused(folder.path(), BAD, &["root.tar"]);
}

#[test]
fn an_archive_with_another_digest_is_bad_and_both_digests_are_told() {
    let folder = image::folder();
    // An archive without members: two blocks of zeros.
    fs::write(folder.path().join("root.tar"), [0; 1024]).unwrap();
    let wanted = "0123456789abcdef".repeat(4);
    recipe(folder.path(), &format!("[[source]]\ntar = \"root.tar\"\nsha256 = \"{wanted}\""));
    let found = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
    refused(folder.path(), BAD, &["root.tar", &wanted, found]);
}

#[test]
fn an_archive_that_reaches_out_of_the_tree_is_bad_and_writes_nothing_there() {
    let folder = image::folder();
    let inside = folder.path().join("a");
    fs::create_dir(&inside).unwrap();
    fs::write(folder.path().join("evil"), "evil").unwrap();
    let tar = folder.path().join("root.tar");
    let made = std::process::Command::new("tar")
        .arg("-C")
        .arg(&inside)
        .args(["-P", "-cf"])
        .arg(&tar)
        .arg("../evil")
        .status()
        .expect("tar can be started");
    assert!(made.success());
    recipe(folder.path(), "[[source]]\ntar = \"root.tar\"");
    refused(folder.path(), BAD, &["root.tar", "../evil"]);
}

#[test]
fn a_missing_archive_is_named_with_the_place_in_the_recipe_or_as_the_system_says_it() {
    let folder = image::folder();
    recipe(folder.path(), "[[source]]\ntar = \"nowhere.tar\"");
    refused(folder.path(), ENVIRONMENT, &["nowhere.tar", "No such file"]);
}

#[test]
fn an_unknown_key_is_shown_where_it_stands_with_the_nearest_right_word() {
    let folder = image::folder();
    recipe(folder.path(), "[verity]\nfec-rots = 2");
    refused(folder.path(), USAGE, &["recipe.toml:5:1", "fec-rots", "did you mean `fec-roots`?"]);
}

#[test]
fn an_init_that_is_not_there_is_found_before_it_is_missed_on_a_console() {
    let folder = image::folder();
    recipe(folder.path(), "init = \"/sbin/nothing\"");
    refused(folder.path(), USAGE, &["/sbin/nothing", "recipe.toml:4"]);
}

#[test]
fn an_output_that_cannot_be_written_is_the_environments_fault() {
    let folder = image::folder();
    recipe(folder.path(), "");
    // A file where a folder should be stops everyone, root included.
    fs::write(folder.path().join("file"), "").unwrap();
    let out = folder.path().join("file/out");
    let output = image::try_build(folder.path(), &out, image::keys(), &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(ENVIRONMENT), "{said}");
    assert!(said.contains("file/out"), "{said}");
    assert_eq!(said.lines().count(), 1, "one line: {said}");
}

#[test]
fn somebody_elses_folder_is_never_replaced() {
    let folder = image::folder();
    recipe(folder.path(), "");
    let out = folder.path().join("theirs");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("thesis.txt"), "years of work").unwrap();
    let output = image::try_build(folder.path(), &out, image::keys(), &[]);
    assert_eq!(output.status.code(), Some(USAGE), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(out.join("thesis.txt")).unwrap(), "years of work");
}
