//! A development image may do more than a release, and cannot be taken for one.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use graven_tests::{image, inputs};
use serde_json::Value;

/// Builds `recipes/minimal` in a folder, as a development image where nothing else is said.
fn build(folder: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(image::graven());
    command.arg("build").arg(inputs::project().join("recipes/minimal")).args(["--target", "qemu-x86_64"]);
    command.args(more).current_dir(folder).output().unwrap()
}

#[test]
fn a_development_image_is_one_wherever_one_looks() {
    let folder = image::folder();
    let output = build(folder.path(), &["--profile", "development", "--set", "policy.mode=audit"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("this is a development image"), "{said}");

    let out = folder.path().join("out/minimal-0.1.0-qemu-x86_64-development");
    let manifest: Value = serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["profile"], "development");
    assert_eq!(manifest["policy"]["mode"], "audit");
    assert!(fs::read_to_string(out.join("cmdline.txt")).unwrap().contains("ipe.enforce=0"));

    let disk = out.join("disk.img");
    let trust = folder.path().join("out/development-keys/db.crt");
    let verify = ["verify".as_ref(), disk.as_os_str(), "--trust".as_ref(), trust.as_os_str()];
    let refused = image::run(verify);
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("this is a development image"), "{said}");
    let allowed = image::run(verify.into_iter().chain(["--allow-development".as_ref()]));
    let said = String::from_utf8_lossy(&allowed.stdout).into_owned();
    assert_eq!(allowed.status.code(), Some(0), "{said}");
    assert!(said.contains("DEVELOPMENT"), "{said}");
}

#[test]
fn release_keys_sign_no_development_image_and_a_release_is_not_permissive() {
    let folder = image::folder();
    let keys = image::keys().to_str().unwrap();
    for (more, words) in [
        (&["--profile", "development", "--keys", keys][..], "the development profile refuses release keys"),
        (&["--set", "policy.mode=audit"], "a release image enforces its policy"),
    ] {
        let output = build(folder.path(), more);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
        let left = fs::read_dir(folder.path().join("out")).into_iter().flatten().flatten();
        let images = left.filter(|entry| entry.file_name() != "development-keys").count();
        assert_eq!(images, 0, "nothing is left");
    }
}
