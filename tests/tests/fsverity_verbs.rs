//! `graven fsverity` beside fsverity: digests, trees, descriptors and signatures, and what is refused.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::path::Path;

use graven_tests::image;
use graven_tests::program::{Said, run_in};
use graven_tests::random::Random;
use serde_json::Value;

/// Random sets of parameters; the long tests take more.
const SETS: u64 = if cfg!(feature = "full") { 300 } else { 40 };

fn ours(folder: &Path, arguments: &[&str]) -> Said {
    run_in(folder, image::graven(), ["fsverity"].iter().chain(arguments))
}

fn theirs(folder: &Path, arguments: &[&str]) -> Said {
    run_in(folder, "fsverity", arguments)
}

/// Options that both take.
fn parameters(random: &mut Random) -> Vec<String> {
    let mut options = Vec::new();
    if random.once_in(2) {
        options.push(format!("--hash-alg={}", random.one_of(&["sha256", "sha512", "1", "2"])));
    }
    if random.once_in(2) {
        options.push(format!("--block-size={}", 1024u32 << random.below(7)));
    }
    if random.once_in(2) {
        let len = random.below(33) as usize;
        let salt: String = random.bytes(len).iter().map(|byte| format!("{byte:02x}")).collect();
        options.push(format!("--salt={salt}"));
    }
    options
}

fn size(random: &mut Random) -> usize {
    let scale = random.one_of(&[2, 5000, 140_000, 1_500_000]);
    match random.below(3) {
        0 => random.below(scale) as usize,
        1 => (random.below(scale) / 1024 * 1024) as usize,
        _ => (random.below(scale) / 65536 * 65536) as usize + random.below(2) as usize,
    }
}

#[test]
fn random_digests_trees_descriptors_and_signatures_are_fsveritys() {
    let keys = image::keys();
    let (key, certificate) = (keys.join("policy.key"), keys.join("policy.crt"));
    let key = format!("--key={}", key.display());
    let certificate = format!("--cert={}", certificate.display());
    for seed in 0..SETS {
        let mut random = Random::new(seed);
        let (one, other) = (image::folder(), image::folder());
        let bytes = random.bytes(size(&mut random.clone()));
        let options = parameters(&mut random);
        for folder in [&one, &other] {
            fs::write(folder.path().join("file"), &bytes).unwrap();
        }
        let mut command: Vec<&str> = vec!["digest", "file"];
        command.extend(options.iter().map(String::as_str));
        command.extend(["--out-merkle-tree=tree", "--out-descriptor=descriptor"]);
        command.extend(random.one_of(&[
            &[][..],
            &["--compact"],
            &["--for-builtin-sig"],
            &["--compact", "--for-builtin-sig"],
        ]));
        let (said, expected) = (ours(one.path(), &command), theirs(other.path(), &command));
        assert_eq!(expected.status, 0, "{seed}: {command:?}: {expected:?}");
        assert_eq!(said, expected, "{seed}: {command:?}, {} bytes", bytes.len());

        if seed % 4 == 0 {
            let mut sign: Vec<&str> = vec!["sign", "file", "signature", &key, &certificate];
            sign.extend(options.iter().map(String::as_str));
            assert_eq!(ours(one.path(), &sign), theirs(other.path(), &sign), "{seed}: {sign:?}");
        }
        for name in ["tree", "descriptor", "signature"] {
            let read = |folder: &Path| fs::read(folder.join(name)).ok();
            assert!(read(one.path()) == read(other.path()), "{seed}: {command:?}: {name} differs");
        }

        // The same bytes on standard output.
        for (kind, name) in [("merkle_tree", "tree"), ("descriptor", "descriptor")] {
            let output = std::process::Command::new(image::graven())
                .args(["fsverity", "dump_metadata", kind, "file"])
                .args(&options)
                .current_dir(one.path())
                .output()
                .unwrap();
            assert!(output.stdout == fs::read(one.path().join(name)).unwrap(), "{seed}: {kind}");
        }
        let dumped = ours(one.path(), &["dump", "descriptor", "--json"]);
        let dumped: Value = serde_json::from_str(&dumped.out).unwrap();
        assert_eq!(dumped["data-size"], bytes.len());
        let plain: Vec<&str> =
            ["digest", "file"].into_iter().chain(options.iter().map(String::as_str)).collect();
        let line = ours(one.path(), &plain).out;
        assert_eq!(line, format!("{} file\n", dumped["digest"].as_str().unwrap()), "{seed}");
    }
}

#[test]
fn many_files_come_in_order_up_to_the_first_that_fails() {
    let folder = image::folder();
    let mut random = Random::new(99);
    let names: Vec<String> = (0..60).map(|number| format!("file {number}")).collect();
    for name in &names {
        fs::write(folder.path().join(name), random.bytes(size(&mut random.clone()))).unwrap();
    }
    let mut command: Vec<&str> = vec!["digest"];
    command.extend(names.iter().map(String::as_str));
    let (said, expected) = (ours(folder.path(), &command), theirs(folder.path(), &command));
    assert_eq!(said, expected);
    assert_eq!(said.out.lines().count(), names.len());

    fs::remove_file(folder.path().join(&names[40])).unwrap();
    let (said, expected) = (ours(folder.path(), &command), theirs(folder.path(), &command));
    assert_eq!((said.status, said.out), (expected.status, expected.out));
    assert!(said.err.contains(&names[40]), "{}", said.err);
}

#[test]
fn what_fsverity_refuses_is_refused_with_its_status() {
    let folder = image::folder();
    fs::write(folder.path().join("file"), [7; 5000]).unwrap();
    let keys = image::keys();
    let key = format!("--key={}", keys.join("policy.key").display());
    let certificate = format!("--cert={}", keys.join("policy.crt").display());
    let strangers = format!("--cert={}", image::strangers_keys().join("policy.crt").display());
    let no_key = format!("--key={}", keys.join("policy.crt").display());
    let long = format!("--salt={}", "aa".repeat(33));
    let cases: &[(&[&str], i32)] = &[
        (&[], 2),
        (&["bogus"], 2),
        (&["digest"], 2),
        (&["digest", "file", "--bogus"], 2),
        (&["digest", "file", "--hash-alg=md5"], 2),
        (&["digest", "file", "--block-size=100"], 2),
        (&["digest", "file", "--block-size=4k"], 2),
        (&["digest", "file", "--salt=abc"], 2),
        (&["digest", "file", "--salt=zz"], 2),
        (&["digest", "file", "--salt=aa", "--salt=bb"], 2),
        (&["digest", "file", &long], 1),
        (&["digest", "missing"], 1),
        (&["digest", "."], 1),
        (&["sign", "file"], 2),
        (&["sign", "missing", "out", &key, &certificate], 1),
        (&["sign", "file", "no/out", &key, &certificate], 1),
        (&["sign", "file", "out", &key], 1),
        (&["sign", "file", "out", &key, &strangers], 1),
        (&["sign", "file", "out", &no_key, &certificate], 1),
        (&["dump_metadata", "bogus", "file"], 2),
        (&["dump_metadata", "descriptor", "file", "--offset=1"], 2),
    ];
    for (command, status) in cases {
        let said = ours(folder.path(), command);
        assert_eq!(said.status, *status, "{command:?}: {said:?}");
        assert!(said.out.is_empty() && !said.err.is_empty(), "{command:?}: {said:?}");
        assert_eq!(theirs(folder.path(), command).status, *status, "{command:?}");
        assert!(!folder.path().join("out").exists(), "{command:?} left a signature behind");
    }
    // What the kernel does not take, fsverity computes all the same; and it lets one file's metadata run into another's.
    for command in [
        &["digest", "file", "--block-size=512"][..],
        &["digest", "file", "--block-size=131072"],
        &["digest", "file", "file", "--out-descriptor=out"],
    ] {
        assert_eq!(ours(folder.path(), command).status, 2, "{command:?}");
        assert_eq!(theirs(folder.path(), command).status, 0, "{command:?}");
    }
    fs::write(folder.path().join("descriptor"), [1; 256]).unwrap();
    assert_eq!(ours(folder.path(), &["dump", "descriptor"]).status, 1);
}
