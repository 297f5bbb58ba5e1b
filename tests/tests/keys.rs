//! Keys: what is told of them, when their dates are worth a word, and who vouches for what while two are trusted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use graven_boot::authenticode;
use graven_tests::forge::{self, BOOT_FILE, Forgery};
use graven_tests::oracle::content;
use graven_tests::{image, inputs};
use serde_json::Value;

/// A folder with one key for db, whose certificate ended in 2020.
fn expired(folder: &Path) -> PathBuf {
    let keys = folder.join("expired");
    fs::create_dir(&keys).expect("a folder");
    let (key, crt) = (keys.join("db.key"), keys.join("db.crt"));
    let words = [
        "2019-06-01",
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "300",
        "-subj",
        "/CN=Old db",
    ];
    let files =
        ["-keyout", &key.display().to_string(), "-out", &crt.display().to_string()].map(str::to_owned);
    content("faketime", words.iter().map(|word| (*word).to_owned()).chain(files));
    keys
}

fn verify(image: &Path, trust: &[&Path]) -> (Output, Value) {
    let words = [Path::new("verify"), image, Path::new("--json"), Path::new("--trust")];
    let output = image::run(words.into_iter().chain(trust.iter().copied()));
    let report = serde_json::from_slice(&output.stdout).expect("it is JSON");
    (output, report)
}

/// The links that a certificate vouches for.
fn links<'v>(report: &'v Value, subject: &str) -> Vec<&'v str> {
    let signers = report["signers"].as_array().expect("a list");
    let signer = signers.iter().find(|signer| signer["subject"] == subject);
    let links = signer.map_or(&Value::Null, |signer| &signer["vouches_for"]);
    links.as_array().into_iter().flatten().map(|link| link.as_str().expect("a name")).collect()
}

#[test]
fn an_expired_certificate_is_told_and_changes_nothing_and_each_of_two_keys_vouches_for_its_own() {
    let folder = image::folder();
    let (keys, out) = (expired(folder.path()), folder.path().join("out"));
    let output = image::try_build(&inputs::project().join("recipes/minimal"), &out, &keys, &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("CN=Old db").count(), 1, "told once: {said}");
    assert!(said.contains("until 2020-03-27") && said.contains("expired"), "{said}");

    let (old, new) = (keys.join("db.crt"), image::keys().join("db.crt"));
    let (output, report) = verify(&out, &[&old]);
    assert!(output.status.success() && report["verdict"] == "ok", "{report:#}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("expired"));
    let all = ["boot-signature", "policy-signature", "root-signature"];
    assert_eq!(links(&report, "CN=Old db"), all);
    let signer = &report["signers"][0];
    assert_eq!(signer["standing"], "expired");
    assert!(signer["not_after"].as_str().is_some_and(|date| date.starts_with("2020-03-27T")), "{signer}");

    // Signed by the new key, too: a machine takes it whichever of the two its firmware has.
    let forge = Forgery::of(&out);
    let signed = forge.esp_file(BOOT_FILE);
    let twice = forge::signed(authenticode::sign(&signed, &forge::signer(image::keys())));
    forge.put_esp_file(BOOT_FILE, &twice);
    let (output, report) = verify(forge.path(), &[&old, &new]);
    assert!(output.status.success(), "{report:#}");
    assert_eq!(links(&report, "CN=Old db"), all);
    assert_eq!(links(&report, "CN=Tests db"), ["boot-signature"]);
    let (output, report) = verify(forge.path(), &[&new]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(links(&report, "CN=Old db"), [""; 0], "who is not trusted vouches for nothing");
    let page = folder.path().join("report.html");
    let words = ["inspect", "--html"].map(Path::new).into_iter();
    let told = image::run(words.chain([&*page, forge.path(), Path::new("--trust"), &old, &new]));
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let page = fs::read_to_string(&page).expect("the report");
    let vouches = |links: &str| page.contains(&format!("<dt>Vouches for</dt><dd>{links}</dd>"));
    assert!(vouches(&all.join(", ")) && vouches("boot-signature"), "each for its own");
    assert!(page.contains(">CN=Old db, CN=Tests db</text>"), "both are the platform's keys");
    let text = image::run([Path::new("verify"), forge.path(), Path::new("--trust"), &old, &new]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(
        text.lines()
            .any(|line| line.starts_with("signer    «CN=Tests db», key id ")
                && line.ends_with(": boot-signature")),
        "{text}"
    );
}

/// In a chain the issuers stand behind more than one key, and dbx forgets nothing.
#[test]
fn a_chain_is_not_taken_away_with_its_signer() {
    let folder = image::folder();
    let (chain, update) = (folder.path().join("chain.crt"), folder.path().join("dbx.auth"));
    let two = ["db.crt", "kek.crt"].map(|name| fs::read(image::keys().join(name)).expect("a certificate"));
    fs::write(&chain, two.concat()).expect("a file");
    let words = ["keys", "append", "--variable", "dbx", "--keys"].map(Path::new);
    let output = image::run(words.into_iter().chain([image::keys(), Path::new("--to"), &update, &chain]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("2 certificates are in it"), "{said}");
    assert!(!update.exists());
}

#[test]
fn keys_show_tells_whose_they_are_what_they_sign_and_who_has_them() {
    let folder = image::folder();
    let keys = expired(folder.path());
    fs::copy(image::keys().join("policy.crt"), keys.join("policy.crt")).expect("a file");
    fs::copy(image::keys().join("fit.crt"), keys.join("fit.crt")).expect("a file");
    fs::copy(image::keys().join("provenance.crt"), keys.join("provenance.crt")).expect("a file");
    fs::write(keys.join("fit.signer"), "# a card\npkcs11:token=Acme;object=fit\n").expect("a file");
    let output = image::run([Path::new("keys"), Path::new("show"), Path::new("--json"), &keys]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.lines().count() == 1 && said.contains("Old db"), "{said}");
    let list: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let told: Vec<[&str; 3]> = list
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| ["subject", "standing", "key_is"].map(|field| one[field].as_str().expect("text")))
        .collect();
    let in_file = format!("in {}", keys.join("db.key").display());
    let expected = [
        ["CN=Old db", "expired", &in_file],
        ["CN=Tests fit", "valid", "asked by pkcs11:token=Acme;object=fit"],
        ["CN=Tests policy", "valid", "elsewhere"],
        ["CN=Tests provenance", "valid", "elsewhere"],
    ];
    assert_eq!(told, expected);
    let text = image::run([Path::new("keys"), Path::new("show"), &keys]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("signs    policy and root hash of U-Boot targets"), "{text}");
    assert!(text.contains("signs    what images were built from: no part of an image"), "{text}");

    // Within the days that are asked for, at a time before the end.
    let at = |days: &str| {
        let certificate = keys.join("db.crt").display().to_string();
        let graven = image::graven().display().to_string();
        let words = ["2020-03-20 12:00:00", &graven, "keys", "show", &certificate, "--expiry-warning", days];
        let output = std::process::Command::new("faketime").args(words).env("TZ", "UTC").output();
        let output = output.expect("faketime can be started");
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(at("90").contains("expires in 6 days"), "{}", at("90"));
    assert_eq!(at("5"), "");
}

#[test]
fn an_owner_that_cannot_be_read_is_not_taken_for_nobody() {
    let folder = image::folder();
    let (keys, update) = (folder.path().join("keys"), folder.path().join("db.auth"));
    fs::create_dir_all(keys.join("owner.guid")).expect("a folder in the file's place");
    for name in ["kek.crt", "kek.key"] {
        fs::copy(image::keys().join(name), keys.join(name)).expect("a file");
    }
    let append = || {
        let certificate = image::keys().join("db.crt");
        let words = ["keys", "append"].map(Path::new);
        let options = [&certificate, Path::new("--keys"), &keys, Path::new("--to"), &update];
        image::run(words.into_iter().chain(options))
    };
    let output = append();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(3) && said.contains("owner.guid"), "{said}");
    assert!(!update.exists());
    fs::remove_dir(keys.join("owner.guid")).expect("it is empty");
    let output = append();
    assert!(output.status.success(), "no file: nobody; {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_key_that_no_firmware_takes_is_refused_with_the_reason() {
    let folder = image::folder();
    let place = folder.path().join("keys");
    let output = image::run([
        Path::new("keys"),
        Path::new("new"),
        &place,
        Path::new("--algorithm"),
        Path::new("db=ecdsa-p256"),
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("UEFI firmware") && said.contains("RSA alone"), "{said}");
    assert!(!place.exists());
}
