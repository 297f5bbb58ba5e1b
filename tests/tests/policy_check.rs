//! `graven policy check` as its user meets it.

use std::fs;
use std::path::Path;

use graven_boot::pkcs7;
use graven_ipe::lint::Code;
use graven_tests::program::{Said, run_in};
use graven_tests::{forge, image, inputs};
use serde_json::Value;

const GOOD: &str = "policy_name=acme policy_version=2.4.1\nDEFAULT action=DENY\n\
                    op=EXECUTE dmverity_signature=TRUE action=ALLOW\n";

fn check(folder: &Path, words: &[&str]) -> Said {
    run_in(folder, image::graven(), [&["policy", "check"], words].concat())
}

fn write(name: &str, contents: impl AsRef<[u8]>) -> tempfile::TempDir {
    let folder = image::folder();
    fs::write(folder.path().join(name), contents).expect("the folder takes files");
    folder
}

#[test]
fn a_finding_shows_the_line_and_says_what_to_do() {
    let folder = write("p.pol", GOOD.to_owned() + "op=KMODUL boot_verified=TRUE action=ALLOW # \u{1b}[31m\n");
    let said = check(folder.path(), &["p.pol"]);
    assert_eq!(said.status, 1);
    let expected = "\
error[IPE-01]: the kernel refuses it with EBADMSG: expected op= and one of EXECUTE FIRMWARE KMODULE KEXEC_IMAGE \
KEXEC_INITRAMFS POLICY X509_CERT, found 'op=KMODUL'
 --> p.pol:4:1
  |
4 | op=KMODUL boot_verified=TRUE action=ALLOW #  [31m
  | ^^^^^^^^^
  = help: did you mean op=KMODULE?

p.pol: kernel 7.3 refuses it: EBADMSG; 1 error
";
    assert_eq!(said.out, expected);
}

#[test]
fn warnings_fail_the_check_where_they_are_asked_to() {
    let folder = write("p.pol", GOOD.replace("TRUE", "FALSE"));
    assert_eq!(check(folder.path(), &["p.pol"]).status, 0);
    assert_eq!(check(folder.path(), &["p.pol", "--strict"]).status, 1);
    let good = write("p.pol", GOOD);
    assert_eq!(check(good.path(), &["p.pol", "--strict"]).status, 0, "notes never do");
}

#[test]
fn wrong_usage_and_missing_files_have_their_own_status() {
    let folder = write("p.pol", GOOD);
    for (words, status, words_said) in [
        (&["nowhere.pol"][..], 3, "nowhere.pol"),
        (&["p.pol", "--kernel", "6.6"], 2, "has no IPE"),
        (&["p.pol", "--kernel", "new"], 2, "expected MAJOR.MINOR"),
        (&["p.pol", "--json", "--sarif"], 2, "cannot be used with"),
        (&["p.pol", "--kernel-config", "p.pol"], 2, "CONFIG_NAME=VALUE"),
        (&[], 2, "POLICIES"),
    ] {
        let said = check(folder.path(), words);
        assert_eq!((said.status, said.err.contains(words_said)), (status, true), "{words:?}: {}", said.err);
    }
}

#[test]
fn a_successor_is_held_against_the_signed_policy_that_it_replaces() {
    let folder = write("new.pol", GOOD);
    let signer = forge::signer(image::keys());
    let sign = |text: &str| forge::signed(pkcs7::sign_policy(text.as_bytes(), &signer));
    fs::write(folder.path().join("old.p7b"), sign(&GOOD.replace("2.4.1", "2.4.0"))).unwrap();
    fs::write(folder.path().join("same.p7b"), sign(GOOD)).unwrap();
    assert_eq!(check(folder.path(), &["new.pol", "--replaces", "old.p7b"]).status, 0);
    let said = check(folder.path(), &["new.pol", "--replaces", "same.p7b"]);
    assert_eq!(said.status, 1);
    assert!(said.out.contains("error[IPE-14]") && said.out.contains("ESTALE"), "{}", said.out);
}

#[test]
fn a_kernel_is_known_by_its_configuration() {
    let folder = write("p.pol", GOOD);
    let on = "CONFIG_SECURITY_IPE=y\nCONFIG_IPE_PROP_DM_VERITY=y\nCONFIG_IPE_POLICY_SIG_PLATFORM_KEYRING=y\n\
              CONFIG_INTEGRITY_PLATFORM_KEYRING=y\n";
    let with = "CONFIG_IPE_PROP_DM_VERITY_SIGNATURE=y\n";
    for (config, code) in [
        (on.to_owned() + with, None),
        (on.to_owned(), Some("IPE-15")),
        (on.replace("INTEGRITY", "NO") + with, Some("IPE-18")),
        (with.to_owned(), Some("CONFIG_SECURITY_IPE=y")),
    ] {
        fs::write(folder.path().join("config"), &config).unwrap();
        let said = check(folder.path(), &["p.pol", "--kernel-config", "config"]);
        match code {
            None => assert_eq!(said.status, 0, "{}{}", said.out, said.err),
            Some(code) => {
                assert_eq!(said.status, 1, "{config}");
                assert!((said.out.clone() + &said.err).contains(code), "{code}: {}{}", said.out, said.err);
            }
        }
    }
}

#[test]
fn sarif_names_rule_and_place_in_characters() {
    let folder = write("a b.pol", "policy_name=é policy_version=1.0.0x\nDEFAULT action=DENY\n");
    let said = check(folder.path(), &["a b.pol", "--sarif"]);
    assert_eq!(said.status, 1);
    let log: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), Code::ALL.len());
    let result = &run["results"][0];
    assert_eq!(result["ruleId"], rules[result["ruleIndex"].as_u64().unwrap() as usize]["id"]);
    assert_eq!(result["level"], "error");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a%20b.pol");
    let region = &place["region"];
    assert_eq!([&region["startLine"], &region["startColumn"], &region["endColumn"]], [1, 15, 36]);
}

#[test]
fn docs_list_every_finding() {
    let page = fs::read_to_string(inputs::project().join("docs/policy.md")).unwrap();
    for code in Code::ALL {
        let severity = code.severity();
        let row = format!("| {code} | {} | {severity} | {} |\n", code.name(), code.meaning());
        assert!(page.contains(&row), "docs/policy.md lacks: {row}");
    }
}
