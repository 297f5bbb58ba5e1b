//! The lock as a file.

#![allow(clippy::unwrap_used, reason = "a test may fail here")]

use graven_recipe::lock::{
    Asked, Digest, Lock, LockedBlob, LockedImage, LockedInput, LockedPackage, LockedRepository, LockedSet,
};

fn example() -> Lock {
    let package = LockedPackage {
        name: "busybox-static".into(),
        version: "1:1.37.0-6+b5".into(),
        architecture: "amd64".into(),
        repository: "trixie".into(),
        path: "pool/main/b/busybox/busybox-static_1.37.0-6+b5_amd64.deb".into(),
        size: 990_000,
        sha256: Digest([0xab; 32]),
    };
    let set = LockedSet {
        whom: vec!["qemu-x86_64/release".into(), "qemu-x86_64/development".into()],
        asked: Asked {
            architecture: "amd64".into(),
            repositories: vec!["trixie main".into()],
            install: vec!["busybox-static".into()],
            ..Asked::default()
        },
        root: vec![package.id()],
        kernel: Vec::new(),
        stub: None,
    };
    let repository = LockedRepository {
        name: "trixie".into(),
        date: 1_795_252_544,
        in_release: Digest([1; 32]),
        keyring: Digest([2; 32]),
        signed_by: "4cb50190207b4758a3f73a796ed0e7b82643e131".into(),
    };
    let mut lock = Lock::new("0.1.0");
    lock.source_date = Some(1_795_252_544);
    lock.stage0.insert("x86_64".into(), Digest([3; 32]));
    lock.inputs.push(LockedInput { path: "vendor/root.tar".into(), sha256: Digest([4; 32]) });
    lock.sets.push(set);
    lock.packages.push(package);
    lock.repositories.push(repository);
    let blob = |byte, size| LockedBlob { size, sha256: Digest([byte; 32]) };
    lock.images.push(LockedImage {
        name: "registry.example/team/app:1.0".into(),
        platform: "linux/amd64".into(),
        indexes: vec![blob(5, 900)],
        manifest: blob(6, 800),
        config: blob(7, 700),
        layers: vec![blob(8, 60_000), blob(9, 5_000)],
    });
    lock
}

#[test]
fn a_lock_is_read_as_it_was_written() {
    let lock = example();
    assert_eq!(Lock::parse(&lock.render()).unwrap(), lock);
    assert_eq!(lock.set("qemu-x86_64/development"), lock.sets.first());
    assert_eq!(lock.set("qemu-arm64-uefi/release"), None);
    insta::assert_snapshot!(lock.render());
}

#[test]
fn a_lock_that_is_not_whole_is_refused() {
    let sound = example().render();
    for (from, to, says) in [
        ("format = 1", "format = 2", "its format is 2, this Graven reads 1"),
        ("format = 1", "format = 1\nhue = 7", "line 4: unknown field `hue`"),
        (&"ab".repeat(32), "abab", "`abab` is no SHA-256"),
        (
            "\"busybox-static:amd64=1:1.37.0-6+b5\"",
            "\"busybox:amd64=1\"",
            "a set has the package `busybox:amd64=1`, which is not among the packages",
        ),
        ("name = \"trixie\"", "name = \"sid\"", "is of `trixie`, which is not among the repositories"),
    ] {
        let error = Lock::parse(&sound.replace(from, to)).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}
