//! A seed as `graven provision sign` makes it: openssl vouches for its signature, stage0's reader for its archive.
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use graven_handoff::seed::{self, HEADER, Header, Kind};
use graven_tests::{image, oracle};

fn tar(folder: &Path, archive: &Path) {
    let how = [
        "--format=ustar",
        "--owner=7",
        "--group=8",
        "--numeric-owner",
        "--sort=name",
        "--mode=u=rwX,g=rX,o=",
    ];
    let where_from = ["-C", folder.to_str().unwrap(), "-cf", archive.to_str().unwrap(), "."];
    oracle::content("tar", how.iter().chain(&where_from));
}

fn sign(archive: &Path, seed: &Path) -> Output {
    let keys = image::keys();
    let (key, certificate) = (keys.join("policy.key"), keys.join("policy.crt"));
    image::run([
        "provision".as_ref(),
        "sign".as_ref(),
        archive.as_os_str(),
        seed.as_os_str(),
        "--key".as_ref(),
        key.as_os_str(),
        "--cert".as_ref(),
        certificate.as_os_str(),
    ])
}

#[test]
fn a_seed_is_what_stage0_reads_and_openssl_vouches_for_it() {
    let folder = image::folder();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("unit/etc/ssh/hostkeys")).unwrap();
    fs::write(at("unit/etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::write(at("unit/etc/ssh/hostkeys/key"), "secret").unwrap();
    tar(&at("unit"), &at("seed.tar"));
    let done = sign(&at("seed.tar"), &at("seed.img"));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    let bytes = fs::read(at("seed.img")).unwrap();
    let header = Header::parse(&bytes).unwrap();
    assert_eq!(bytes.len(), HEADER + header.archive + header.signature);
    let (message, signature) = bytes.split_at(HEADER + header.archive);
    let entries = seed::entries(&message[HEADER..]).unwrap();
    let key = entries.iter().find(|entry| entry.path == "/etc/ssh/hostkeys/key").unwrap();
    assert_eq!((key.kind, key.mode, key.uid, key.gid), (Kind::File(b"secret"), 0o640, 7, 8));

    fs::write(at("message"), message).unwrap();
    fs::write(at("signature"), signature).unwrap();
    let certificate = image::keys().join("policy.crt");
    let public = oracle::content(
        "openssl",
        ["x509".as_ref(), "-pubkey".as_ref(), "-noout".as_ref(), "-in".as_ref(), certificate.as_os_str()],
    );
    fs::write(at("public.pem"), public).unwrap();
    oracle::content(
        "openssl",
        [
            "dgst".as_ref(),
            "-sha256".as_ref(),
            "-verify".as_ref(),
            at("public.pem").as_os_str(),
            "-signature".as_ref(),
            at("signature").as_os_str(),
            at("message").as_os_str(),
        ],
    );
}

#[test]
fn an_archive_that_the_device_would_not_take_is_not_signed() {
    let folder = image::folder();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("unit")).unwrap();
    symlink("/etc/shadow", at("unit/link")).unwrap();
    tar(&at("unit"), &at("seed.tar"));
    let done = sign(&at("seed.tar"), &at("seed.img"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("/link is neither a file nor a folder"), "{said}");
    assert!(!at("seed.img").exists());
}
