//! `graven fit`, through the program: a FIT of mkimage's signed, proved, changed, and its key handed to U-Boot.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use graven_tests::{image, inputs, oracle};
use serde_json::Value;

/// What a verb said, both streams, and its exit status.
fn graven(arguments: &[&dyn AsRef<OsStr>]) -> (i32, String) {
    let output =
        image::run(arguments.iter().map(|&argument| <dyn AsRef<OsStr> as AsRef<OsStr>>::as_ref(argument)));
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// A FIT as mkimage makes it, with hashes and without signatures.
fn made_elsewhere(folder: &Path) -> std::path::PathBuf {
    fs::write(folder.join("kernel"), [5; 9000]).unwrap();
    let source = folder.join("fit.its");
    let kernel = folder.join("kernel");
    let text = format!(
        "/dts-v1/;\n/ {{ description = \"theirs\"; #address-cells = <1>;\n images {{ kernel {{ description = \"k\"; \
         data = /incbin/({kernel:?}); type = \"kernel\"; arch = \"arm64\"; os = \"linux\"; compression = \"none\"; \
         load = <0x40400000>; entry = <0x40400000>; hash-1 {{ algo = \"sha256\"; }}; }}; }};\n configurations {{ \
         default = \"conf-1\"; conf-1 {{ description = \"c\"; kernel = \"kernel\"; }}; }};\n}};\n"
    );
    fs::write(&source, text).unwrap();
    let fit = folder.join("unsigned.itb");
    oracle::content("mkimage", [Path::new("-f"), &source, &fit]);
    fit
}

#[test]
fn a_fit_made_elsewhere_is_signed_proved_and_its_key_is_what_u_boot_checks_with() {
    let folder = image::folder();
    let at = |name: &str| folder.path().join(name);
    let unsigned = made_elsewhere(folder.path());
    let (keys, trust) = (image::keys(), image::keys().join("fit.crt"));
    let signed = at("signed.itb");
    let (status, said) = graven(&[&"fit", &"sign", &unsigned, &"--keys", &keys, &"--to", &signed]);
    assert_eq!(status, 0, "{said}");
    let (status, said) = graven(&[&"fit", &"verify", &signed, &"--trust", &trust]);
    assert!(status == 0 && said.contains("PROVED"), "{said}");

    let (status, said) = graven(&[&"fit", &"key", &trust, &"--to", &at("key.dtb")]);
    assert_eq!(status, 0, "{said}");
    let (key, check) = (at("key.dtb"), inputs::cache().join("u-boot/fit_check_sign"));
    oracle::content(&check, [Path::new("-f"), &signed, Path::new("-k"), &key]);
    let (status, said) = graven(&[&"fit", &"verify", &signed, &"--trust-dtb", &key]);
    assert!(status == 0 && said.contains("key-fit"), "{said}");

    let (status, said) = graven(&[&"fit", &"dump", &"--json", &signed]);
    assert_eq!(status, 0, "{said}");
    let dumped: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(dumped["configurations"][0]["signatures"][0]["key_name_hint"], "fit");
    assert_eq!(dumped["images"][0]["size"], 9000);

    // The same bytes again, and nothing is ever overwritten.
    let (status, said) = graven(&[&"fit", &"sign", &unsigned, &"--keys", &keys, &"--to", &signed]);
    assert!(status == 2 && said.contains("exists"), "{said}");
    let (_, said) = graven(&[&"fit", &"sign", &unsigned, &"--keys", &keys, &"--to", &at("again.itb")]);
    assert_eq!(fs::read(&signed).unwrap(), fs::read(at("again.itb")).unwrap(), "{said}");
}

#[test]
fn what_does_not_hold_is_said_by_name_and_by_exit_status() {
    let folder = image::folder();
    let at = |name: &str| folder.path().join(name);
    let unsigned = made_elsewhere(folder.path());
    let trust = image::keys().join("fit.crt");
    let (status, said) = graven(&[&"fit", &"verify", &unsigned, &"--trust", &trust]);
    assert!(status == 1 && said.contains("conf-1") && said.contains("not signed"), "{said}");

    let stranger = image::strangers_keys();
    graven(&[&"fit", &"sign", &unsigned, &"--keys", &stranger, &"--to", &at("stranger.itb")]);
    let (status, said) = graven(&[&"fit", &"verify", &at("stranger.itb"), &"--trust", &trust]);
    assert!(status == 1 && said.contains("no trusted key's signature"), "{said}");

    let mut changed = fs::read(at("stranger.itb")).unwrap();
    let data = changed.windows(64).position(|window| window == [5; 64]).unwrap();
    changed[data] = 6;
    fs::write(at("changed.itb"), changed).unwrap();
    let (status, said) =
        graven(&[&"fit", &"verify", &at("changed.itb"), &"--trust", &stranger.join("fit.crt"), &"--json"]);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &report["verdict"]), (1, &"bad".into()), "{said}");
    assert!(report["images"][0]["problems"][0].as_str().unwrap().contains("hash-1"), "{said}");
    let (status, said) =
        graven(&[&"fit", &"sign", &at("changed.itb"), &"--keys", &stranger, &"--to", &at("no.itb")]);
    assert!(status == 1 && said.contains("kernel") && !at("no.itb").exists(), "{said}");

    let (status, said) = graven(&[&"fit", &"verify", &at("kernel"), &"--trust", &trust]);
    assert!(status == 1 && said.contains("magic"), "{said}");
    let (status, _) = graven(&[&"fit", &"verify", &at("nowhere"), &"--trust", &trust]);
    assert_eq!(status, 3);
    let (status, said) = graven(&[&"fit", &"verify", &unsigned]);
    assert!(status == 2 && said.contains("--trust"), "{said}");
}
