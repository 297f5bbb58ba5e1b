//! A release accounts for itself: what is in it, what it was built from, and that it can be built again. Judged by tools of
//! others: CycloneDX's validator, secure-systems-lab's DSSE.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::path::{Path, PathBuf};

use graven_tests::archive::Archive;
use graven_tests::oracle::content;
use graven_tests::program::{Said, run_in};
use graven_tests::{accounts, image};

/// A release of two packages, one of which brings an ELF file.
struct Release {
    archive: Archive,
    folder: PathBuf,
}

impl Release {
    fn build() -> Self {
        let mut release = Self { archive: Archive::new(), folder: image::scratch().join("release") };
        let copyright = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n\
                         Files: *\nCopyright: 2026 Tests\nLicense: GPL-2+\n\nFiles: x\nCopyright: 2026\nLicense: Expat\n";
        let notes = ("usr/share/doc/hello/copyright", copyright);
        release.archive.package(
            "hello",
            "1:1.9-2",
            "Depends: greet\n",
            &[("usr/bin/hello", "#!/usr/bin/sh\n"), notes],
        );
        release.archive.package("greet", "1", "", &[("usr/lib/greet", "greet 1\n")]);
        release.archive.publish("yesterday");
        fs::create_dir_all(release.recipe()).unwrap();
        let more = format!("[files.\"/usr/bin/tool\"]\nsource = {:?}\nmode = 0o755\n", image::graven());
        let text = release.archive.recipe("accounted", "install = [\"hello\"]\n", &more);
        fs::write(release.recipe().join("recipe.toml"), text).unwrap();
        let out = release.graven(&["build", "recipe", "--keys", path(image::keys()), "--out", "out"]);
        assert_eq!(out.status, 0, "{}", out.err);
        release
    }

    fn recipe(&self) -> PathBuf {
        self.folder.join("recipe")
    }

    fn graven(&self, words: &[&str]) -> Said {
        run_in(&self.folder, image::graven(), words)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join("out").join(name)).unwrap()
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// One image for all that is asked of it.
#[test]
fn a_release_accounts_for_itself() {
    let release = Release::build();
    the_bill_of_materials_is_valid_and_lists_what_is_there(&release);
    licences_are_told_by_package(&release);
    provenance_holds_in_the_eyes_of_others_and_for_these_files_alone(&release);
    provenance_is_signed_elsewhere_and_leaves_the_builds_own_requests_alone(&release);
    it_is_built_again_from_an_empty_cache_and_from_a_store_without_network(&release);
    what_is_not_the_pinned_input_is_named(&release);
}

fn the_bill_of_materials_is_valid_and_lists_what_is_there(release: &Release) {
    let bill = accounts::bill(&release.folder.join("out"));
    let components = bill["components"].as_array().unwrap();
    let hello = components.iter().find(|component| component["name"] == "hello").unwrap();
    assert_eq!(hello["purl"], "pkg:deb/debian/hello@1:1.9-2?arch=amd64");

    let tool = components.iter().find(|component| component["name"] == "/usr/bin/tool").unwrap();
    let properties = tool["properties"].as_array().unwrap();
    let property =
        |name: &str| properties.iter().find(|one| one["name"] == name).map(|one| one["value"].clone());
    assert_eq!(property("graven:owner"), Some("none".into()), "a file of no package is called out");
    let notes = content("readelf", ["-n".as_ref(), image::graven().as_os_str()]);
    let id = notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: ")).unwrap();
    assert_eq!(property("graven:elf-build-id"), Some(id.into()));

    let again = release.graven(&["sbom", "out"]);
    let same = again.out == release.read("sbom.cdx.json");
    assert_eq!((again.status, same), (0, true), "the image alone tells the same: {}", again.err);
}

fn licences_are_told_by_package(release: &Release) {
    let said = release.graven(&["sbom", "out/disk.img", "--licences"]);
    assert_eq!(
        said.out,
        "GPL-2.0-or-later (1)\n    hello\nMIT (1)\n    hello\n\nNo copyright file in the image (1)\n    greet\n"
    );
}

fn provenance_holds_in_the_eyes_of_others_and_for_these_files_alone(release: &Release) {
    let keys = image::keys();
    let words =
        ["provenance", "make", "out", "--role", "db", "--builder-id", "https://build.example/1", "--keys"];
    let made = release.graven(&[&words[..], &[path(keys)]].concat());
    assert_eq!(made.status, 0, "{}", made.err);
    let certificate = keys.join("db.crt");

    let out = release.folder.join("out");
    let names = accounts::provenance(&out, &certificate);
    for name in [
        "disk.img",
        "disk.img/root",
        "disk.img/esp",
        "policy.p7b",
        "graven.lock",
        "manifest.json",
        "sbom.cdx.json",
    ] {
        assert!(names.iter().any(|one| one == name), "{name} in {names:?}");
    }

    let trust = ["--trust", path(&certificate)];
    let check = |words: &[&str]| release.graven(&[&["provenance", "check"], words].concat());
    let good = check(&[&["out/provenance.intoto.json"], &trust[..]].concat());
    assert_eq!(good.status, 0, "{}", good.err);
    assert!(
        good.out.contains("builder    https://build.example/1\n") && good.out.ends_with("PROVED\n"),
        "{}",
        good.out
    );

    let stranger = image::strangers_keys().join("db.crt");
    let refused = check(&["out/provenance.intoto.json", "--trust", path(&stranger)]);
    assert_eq!(refused.status, 1);
    assert!(
        refused.err.contains("none of 1 signatures is of one of 1 trusted certificates"),
        "{}",
        refused.err
    );

    let policy = release.read("policy.pol");
    fs::write(out.join("policy.pol"), "DEFAULT action=ALLOW\n").unwrap();
    let changed = check(&[&["out/provenance.intoto.json"], &trust[..]].concat());
    assert_eq!(changed.status, 1);
    assert!(changed.err.contains("policy.pol: sha256 is "), "{}", changed.err);
    let again = release.graven(&[&words[..], &[path(keys)]].concat());
    assert_eq!(again.status, 1, "nothing is attested that the build did not leave");
    fs::write(out.join("policy.pol"), policy).unwrap();
}

fn provenance_is_signed_elsewhere_and_leaves_the_builds_own_requests_alone(release: &Release) {
    let at = |name: &str| release.folder.join(name);
    for folder in ["out.pending", "certificates"] {
        fs::create_dir(at(folder)).unwrap();
    }
    fs::write(at("out.pending/to-sign.json"), "the build's own").unwrap();
    fs::write(at("out.pending").join(format!("{}.tbs", "5".repeat(64))), "the build's own").unwrap();
    let own = image::outputs(&at("out.pending"));
    let keys = image::keys();
    fs::copy(keys.join("provenance.crt"), at("certificates/provenance.crt")).unwrap();

    let make = |words: &[&str]| {
        let all = [&["provenance", "make", "out", "--to", "elsewhere.json", "--keys"], words].concat();
        release.graven(&all)
    };
    let left = |folder: &str, ending: &str| {
        let names = image::outputs(&at(folder)).into_keys();
        names.filter(|name| name.ends_with(ending)).count()
    };
    let asked = make(&["certificates"]);
    assert_eq!(asked.status, 4, "{}", asked.err);
    assert!(asked.err.contains("put each answer beside it as ID.sig, and run this again"), "{}", asked.err);
    let pending = "out.provenance.pending";
    assert_eq!((left(pending, ".tbs"), left(pending, ".digest")), (1, 1));
    let sign = "for f in *.tbs; do openssl dgst -sha256 -sign \"$1\" -out ${f%.tbs}.sig $f; done";
    let key = keys.join("provenance.key");
    let signed = run_in(&at(pending), "sh", ["-euc", sign, "sh", path(&key)]);
    assert_eq!(signed.status, 0, "{}", signed.err);
    let made = make(&["certificates"]);
    assert_eq!(made.status, 0, "{}", made.err);
    assert!(image::outputs(&at("out.pending")) == own, "the build's own requests stay");

    let certificate = keys.join("provenance.crt");
    let words = ["provenance", "check", "elsewhere.json", "--folder", "out", "--trust", path(&certificate)];
    let checked = release.graven(&words);
    assert!(checked.status == 0 && checked.out.ends_with("PROVED\n"), "{}", checked.err);

    // ML-DSA signs the text itself: there is no digest that a signer could take.
    let new = release.graven(&["keys", "new", "quantum", "--algorithm", "provenance=ml-dsa-65"]);
    assert_eq!(new.status, 0, "{}", new.err);
    fs::remove_file(at("quantum/provenance.key")).unwrap();
    assert_eq!(make(&["quantum", "--answers", "answers"]).status, 4);
    assert_eq!((left("answers", ".tbs"), left("answers", ".digest")), (1, 0));
}

fn it_is_built_again_from_an_empty_cache_and_from_a_store_without_network(release: &Release) {
    let fetched = release.graven(&["fetch", "recipe", "--to", "store"]);
    assert_eq!(fetched.status, 0, "{}", fetched.err);
    // Another root: the recipe, what the build left, and a program; no key.
    let elsewhere = release.folder.join("else where");
    fs::create_dir(&elsewhere).unwrap();
    content("cp", ["-r", path(&release.recipe()), path(&release.folder.join("out")), path(&elsewhere)]);
    // The archive has moved on; the lock beside the manifest has not.
    fs::remove_file(elsewhere.join("recipe/graven.lock")).unwrap();
    let rebuild = |words: &[&str]| {
        let said =
            run_in(&elsewhere, image::graven(), [&["rebuild", "out", "--recipe", "recipe"], words].concat());
        assert_eq!(said.status, 0, "{}", said.err);
        assert!(said.out.contains("files the same byte for byte"), "{}", said.out);
    };
    rebuild(&["--store", "empty"]);
    release.archive.remove("/dists/one/InRelease");
    let store = release.folder.join("store");
    rebuild(&["--offline", "--store", path(&store), "--jobs", "1", "--out", "kept"]);
    let kept = image::outputs(&elsewhere.join("kept"));
    let mut original = image::outputs(&release.folder.join("out"));
    original.remove("provenance.intoto.json");
    assert!(kept == original, "every file of the build");
    assert!(!elsewhere.join("recipe/graven.lock").exists(), "nothing is written to the recipe");
    let left: Vec<_> = fs::read_dir(&elsewhere).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with('.')), "{left:?}");
}

fn what_is_not_the_pinned_input_is_named(release: &Release) {
    let folder = release.folder.join("else where");
    let refused = |words: &[&str], status: i32, said: &[&str]| {
        let all = [&["rebuild", "out", "--recipe", "recipe", "--offline", "--store"], words].concat();
        let output = run_in(&folder, image::graven(), all);
        assert_eq!(output.status, status, "{}", output.err);
        for word in said {
            assert!(output.err.contains(word), "`{word}` in: {}", output.err);
        }
    };
    let store = release.folder.join("store");
    let recipe = folder.join("recipe/recipe.toml");
    let text = fs::read_to_string(&recipe).unwrap();
    fs::write(&recipe, format!("# A word more.\n{text}")).unwrap();
    refused(
        &[path(&store)],
        1,
        &["the inputs are not the ones", "pinned: recipe recipe.toml", "here:   recipe recipe.toml"],
    );
    fs::write(&recipe, text).unwrap();
    refused(&["nothing"], 3, &["the store nothing has no "]);
    refused(&[path(&store), "--out", "out"], 2, &["out: it holds the image that is built again"]);

    // A signature that is not there is not made up.
    let root = folder.join("out/root.p7s");
    let signature = fs::read(&root).unwrap();
    fs::copy(folder.join("out/policy.p7b"), &root).unwrap();
    refused(&[path(&store)], 1, &["do not hold for it", "root hash "]);
    fs::write(&root, signature).unwrap();

    let lock = folder.join("out/graven.lock");
    let text = fs::read_to_string(&lock).unwrap();
    fs::write(&lock, format!("{text}\n")).unwrap();
    refused(&[path(&store)], 1, &["graven.lock: it has sha256:", "the manifest pins sha256:"]);
    fs::write(&lock, text).unwrap();

    let sums = folder.join("out/SHA256SUMS");
    let text = fs::read_to_string(&sums).unwrap();
    fs::write(&sums, text.replacen('a', "b", 1)).unwrap();
    refused(
        &[path(&store)],
        1,
        &["rebuilt, and not the same", "SHA256SUMS: differs, first at byte", "is kept in out.rebuilt"],
    );
    let kept = fs::read_to_string(folder.join("out.rebuilt/SHA256SUMS")).unwrap();
    assert_eq!(kept, text, "what came out otherwise is there for a look");
    fs::write(&sums, text).unwrap();
}
