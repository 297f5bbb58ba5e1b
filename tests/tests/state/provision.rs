//! A seed on another disk: taken by a first boot if its signature is the factory's, and by no other.
#![cfg(feature = "full")]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use graven_handoff::Code;
use graven_tests::emulated::Emulated;
use graven_tests::guest::Guest;
use graven_tests::refusal::{Stop, assert_stopped};
use graven_tests::{image, oracle};

use crate::device::{Device, PROMPT, build, power_off};

const ID: &str = "0123456789abcdef0123456789abcdef";

/// A stick with a seed of these files, signed by one of these keys.
fn stick(folder: &Path, name: &str, files: &[(&str, &str)], keys: &Path) -> PathBuf {
    let at = |ending: &str| folder.join(format!("{name}{ending}"));
    for (path, text) in files {
        let path = at("").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    }
    let shown = |path: PathBuf| path.display().to_string();
    let (unit, archive, seed) = (shown(at("")), shown(at(".tar")), shown(at(".seed")));
    let how =
        ["--format=ustar", "--owner=33", "--group=0", "--numeric-owner", "-C", &unit, "-cf", &archive, "."];
    oracle::content("tar", how);
    let (key, certificate) = (shown(keys.join("policy.key")), shown(keys.join("policy.crt")));
    let signed = image::run(["provision", "sign", &archive, &seed, "--key", &key, "--cert", &certificate]);
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));

    let stick = at(".img");
    let disk = File::create(&stick).unwrap();
    disk.set_len(8 << 20).unwrap();
    oracle::content("sgdisk", ["-n", "1:2048:+2M", "-c", "1:graven-seed", &shown(stick.clone())]);
    disk.write_all_at(&fs::read(at(".seed")).unwrap(), 1 << 20).unwrap();
    stick
}

#[test]
fn a_seed_is_taken_by_the_first_boot_alone_and_only_from_the_factory() {
    let folder = image::folder();
    let out = folder.path().join("out");
    let certificate = image::keys().join("policy.crt").display().to_string();
    build(&out, &["--set", &format!("state.provision.certificate={certificate:?}")]);
    let good = [
        ("etc/machine-id", &*format!("{ID}\n")),
        ("etc/settings", "of the factory\n"),
        ("var/lib/app/key", "secret\n"),
    ];
    let stick = |name: &str, files: &[(&str, &str)], keys: &Path| stick(folder.path(), name, files, keys);

    // What is not to be taken stops the boot before anything is made.
    let device = Device::of(&out, Emulated::X86_64, 0);
    let passwd = [("etc/passwd", "evil::0:0::/:/bin/sh\n")];
    for (name, files, keys, said) in [
        ("strangers", &good[..], image::strangers_keys(), "its signature is not by the image's certificate"),
        ("elsewhere", &passwd[..], image::keys(), "/etc/passwd is not persisted"),
        ("identity", &[("etc/machine-id", "none\n")][..], image::keys(), "expected 32 hexadecimal digits"),
    ] {
        let stick = stick(name, files, keys);
        let log = assert_stopped(&device.machine().disk(&stick), Stop::Stage0(Code::Seed));
        assert!(log.contains(said), "{name}: {log}");
    }
    let stick_of_the_factory = stick("factory", &good, image::keys());
    let two = device.machine().disk(&stick_of_the_factory).disk(&stick_of_the_factory);
    assert_stopped(&two, Stop::Stage0(Code::Seed));

    let seeded = |guest: &mut Guest| {
        assert_eq!(guest.succeed("cat /etc/machine-id"), ID);
        assert_eq!(guest.succeed("cat /etc/settings /var/lib/app/key"), "of the factory\nsecret");
        assert_eq!(guest.succeed("stat -c '%a %u:%g' /etc/settings /var/lib/app/key"), "604 33:0\n604 33:0");
        assert_eq!(guest.succeed("cat /var/lib/app/shipped"), "shipped", "beside what the image has there");
    };
    let mut guest = Guest::boot(&device.machine().disk(&stick_of_the_factory), PROMPT);
    assert!(guest.kernel_log().contains("files and folders of a seed"));
    seeded(&mut guest);
    power_off(guest);
    device.check();
    // Another one is too late.
    let other = stick("other", &[("etc/settings", "of another\n")], image::keys());
    let mut guest = Guest::boot(&device.machine().disk(&other), PROMPT);
    assert!(!guest.kernel_log().contains("files and folders of a seed"));
    seeded(&mut guest);
    power_off(guest);
}
