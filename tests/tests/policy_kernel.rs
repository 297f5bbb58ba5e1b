//! The kernel is the judge: what Debian's kernel answers to a signed policy, `graven policy check` answers too.

use std::fs;
use std::path::{Path, PathBuf};

use graven_boot::pkcs7;
use graven_tests::judge::{Judged, judge};
use graven_tests::{forge, image, policies};
use serde_json::Value;

/// Texts in one boot, with the seeds among them.
const TEXTS: usize = if cfg!(feature = "full") { 3500 } else { 600 };
const SEED: u64 = 0x1420;

/// One file for `graven policy check`, and what the kernel is given in its place.
struct Case {
    name: String,
    checked: Vec<u8>,
    loaded: Vec<u8>,
}

#[test]
fn policy_check_answers_to_each_policy_what_the_kernel_answers() {
    let signer = forge::signer(image::keys());
    let sign = |text: &[u8]| forge::signed(pkcs7::sign_policy(text, &signer));
    let texts = policies::texts(TEXTS, SEED).into_iter().enumerate().map(|(number, text)| Case {
        name: format!("text-{number:04}"),
        loaded: sign(&text),
        checked: text,
    });
    let cases: Vec<Case> = texts.chain(messages(&sign)).collect();
    let loaded: Vec<Vec<u8>> = cases.iter().map(|case| case.loaded.clone()).collect();
    let told = checked(&cases);
    let judged = judge(&loaded);

    let differences: Vec<String> = cases
        .iter()
        .zip(told.iter().zip(&judged))
        .filter(|(_, (told, judged))| told != judged)
        .map(|(case, (told, judged))| {
            let Case { name, checked, .. } = case;
            format!("{name}: graven {told:?}, kernel {judged:?}: {}", checked.escape_ascii())
        })
        .collect();
    assert!(
        differences.is_empty(),
        "{} of {} differ; each belongs among the seeds of tests/src/policies.rs:\n{}",
        differences.len(),
        cases.len(),
        differences.join("\n")
    );
    let accepted = judged.iter().filter(|judged| matches!(judged, Judged::Accepted { .. })).count();
    println!("{} policies, {accepted} of them taken: the kernel and graven agree on each", cases.len());
}

/// Messages that are wrong as such; these are checked as they are loaded.
fn messages(sign: &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<Case> {
    let text = b"policy_name=p policy_version=1.0.0\nDEFAULT action=DENY\n";
    let good = sign(text);
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let in_text = good.windows(text.len()).position(|window| window == text).expect("the text is inside");
    let stranger = forge::signer(image::strangers_keys());
    let long = |length: usize| sign(&[&text[..], "#".repeat(length).as_bytes()].concat());
    let overhead = long(64_000).len() - 64_000;
    let all = [
        ("signed", good.clone()),
        ("cut-short", good[..good.len() - 1].to_vec()),
        ("by-a-stranger", forge::signed(pkcs7::sign_policy(text, &stranger))),
        ("another-text", flipped(in_text + 12)),
        ("another-signature", flipped(good.len() - 9)),
        ("longest", long(65_535 - overhead)),
    ];
    all.into_iter()
        .map(|(name, message)| Case { name: name.to_owned(), checked: message.clone(), loaded: message })
        .collect()
}

/// What `graven policy check` tells of each, in one run.
fn checked(cases: &[Case]) -> Vec<Judged> {
    let folder = image::folder();
    let files: Vec<PathBuf> = cases.iter().map(|case| folder.path().join(&case.name)).collect();
    for (file, case) in files.iter().zip(cases) {
        fs::write(file, &case.checked).expect("the folder takes files");
    }
    let certificate = image::keys().join("db.crt");
    let words =
        [Path::new("policy"), Path::new("check"), Path::new("--json"), Path::new("--trust"), &certificate];
    let output =
        image::run(words.into_iter().chain([Path::new("--")]).chain(files.iter().map(PathBuf::as_path)));
    assert_eq!(
        output.status.code(),
        Some(1),
        "some are refused: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let told = report["policies"].as_array().expect("one for each file");
    assert_eq!(told.len(), cases.len());
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    told.iter()
        .map(|told| match told["errno"].as_str() {
            None => Judged::Accepted {
                // A name that is no text comes in the JSON with replaced characters: the kernel's is held against the same.
                name: text(&told["name"]),
                version: text(&told["version"]),
            },
            Some(errno) => Judged::Refused(errno.to_owned()),
        })
        .collect()
}
