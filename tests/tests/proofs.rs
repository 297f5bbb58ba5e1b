//! `graven proof`: what a file of an image is, proved from a few blocks and a certificate; and nothing proved that is not so.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::path::Path;

use graven_tests::forge::{Forgery, Part};
use graven_tests::image;
use graven_tests::program::{Said, run_in};
use graven_tests::random::Random;
use graven_verify::proof::{ImageProof, Trusted, check};
use graven_verity::dm::{RootHash, Superblock};
use graven_verity::hash::Algorithm;
use serde_json::{Value, json};

fn graven(folder: &Path, arguments: &[&str]) -> Said {
    run_in(folder, image::graven(), arguments)
}

fn path_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn files_are_proved_with_the_certificate_alone_and_changed_proofs_prove_nothing() {
    let (out, folder) = (image::minimal(), image::folder());
    let here = folder.path();
    let (disk, trust) = (out.join("disk.img"), image::keys().join("db.crt"));
    let (disk, trust) = (path_of(&disk), path_of(&trust));
    let files: Value = serde_json::from_slice(&fs::read(out.join("files.json")).unwrap()).unwrap();
    let files = files.as_array().or_else(|| files["files"].as_array()).unwrap();
    let of = |path: &str| files.iter().find(|file| file["path"] == path).unwrap();
    let manifest: Value = serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();

    // Every kind of file: large and small, plain, and by way of two symbolic links.
    let small = files.iter().filter(|file| file["size"].as_u64().is_some_and(|size| size > 0 && size < 4000));
    let small =
        small.map(|file| file["path"].as_str().unwrap()).take(if cfg!(feature = "full") { 999 } else { 3 });
    let paths: Vec<&str> = ["/usr/bin/busybox", "/bin/sh", "/etc/passwd"].into_iter().chain(small).collect();
    let mut proofs = Vec::new();
    for path in &paths {
        let said = graven(here, &["proof", "make", path_of(out), "--path", path, "-o", "proof"]);
        assert_eq!(said.status, 0, "{path}: {said:?}");
        let said = graven(here, &["proof", "check", "proof", "--trust", trust, "--json"]);
        assert_eq!(said.status, 0, "{path}: {said:?}");
        let told: Value = serde_json::from_str(&said.out).unwrap();
        let real = told["thing"]["path"].as_str().unwrap();
        assert_eq!(real, if *path == "/bin/sh" { "/usr/bin/busybox" } else { path });
        let expected = of(real);
        assert_eq!(told["sha256"], expected["sha256"], "{path}");
        assert_eq!(told["size"], expected["size"], "{path}");
        for (ours, theirs) in [("mode", "mode"), ("uid", "uid"), ("gid", "gid")] {
            assert_eq!(octal(&told["thing"][ours]), octal(&expected[theirs]), "{path}: {ours}: {expected}");
        }
        assert!(manifest.to_string().contains(told["root-hash"].as_str().unwrap()));
        proofs.push(fs::read_to_string(here.join("proof")).unwrap());
    }

    // A compact proof is about a hundredth of the file, and wants the file.
    let cat =
        std::process::Command::new(image::graven()).args(["cat", disk, "/usr/bin/busybox"]).output().unwrap();
    fs::write(here.join("busybox"), &cat.stdout).unwrap();
    let command = ["proof", "make", disk, "--path", "/usr/bin/busybox", "--compact", "-o", "compact"];
    assert_eq!(graven(here, &command).status, 0);
    let compact = fs::read_to_string(here.join("compact")).unwrap();
    assert!(compact.len() * 8 < cat.stdout.len(), "{} for {}", compact.len(), cat.stdout.len());
    let check_compact = ["proof", "check", "compact", "--trust", trust];
    let said = graven(here, &check_compact);
    assert!(said.status == 1 && said.err.contains("--file") && !said.out.contains("\nPROVED"), "{said:?}");
    let with_file = |file: &str| {
        let arguments: Vec<&str> = check_compact.into_iter().chain(["--file", file]).collect();
        graven(here, &arguments)
    };
    let said = with_file("busybox");
    assert!(said.status == 0 && said.out.ends_with("busybox is the same\nPROVED\n"), "{said:?}");
    assert!(said.out.contains(of("/usr/bin/busybox")["sha256"].as_str().unwrap()), "{said:?}");
    for change in [0, cat.stdout.len() / 2, cat.stdout.len() - 1] {
        let mut other = cat.stdout.clone();
        other[change] ^= 1;
        fs::write(here.join("other"), other).unwrap();
        let said = with_file("other");
        assert!(said.status == 1 && said.err.contains("not the one in the image"), "{change}: {said:?}");
    }
    for len in [0, cat.stdout.len() - 1] {
        fs::write(here.join("other"), &cat.stdout[..len]).unwrap();
        assert_eq!(with_file("other").status, 1, "{len}");
    }
    fs::write(here.join("other"), [&cat.stdout[..], b"\0"].concat()).unwrap();
    assert_eq!(with_file("other").status, 1, "a file with a zero more is another");

    // Whom to trust.
    fs::write(here.join("proof"), &proofs[0]).unwrap();
    let root_hash = serde_json::from_str::<Value>(&proofs[0]).unwrap()["verity"]["root-hash"]
        .as_str()
        .unwrap()
        .to_owned();
    let stranger = image::strangers_keys().join("db.crt");
    let zeros = "0".repeat(64);
    for (trusted, status) in [
        (["--root-hash", root_hash.as_str()], 0),
        (["--root-hash", &zeros], 1),
        (["--trust", path_of(&stranger)], 1),
        (["--root-hash", "zz"], 2),
    ] {
        let arguments: Vec<&str> = ["proof", "check", "proof"].into_iter().chain(trusted).collect();
        assert_eq!(graven(here, &arguments).status, status, "{trusted:?}");
    }
    assert_eq!(graven(here, &["proof", "check", "proof"]).status, 2);
    assert_eq!(graven(here, &["proof", "check", "missing", "--trust", trust]).status, 3);

    // Directories have no contents; blocks and bytes have nothing else.
    for (subject, status) in [
        (&["--path", "/usr"][..], 0),
        (&["--path", "/"], 0),
        (&["--block", "0"], 0),
        (&["--bytes", "5000..9001"], 0),
        (&["--path", "/nowhere"], 2),
        (&["--path", "/etc/passwd/x"], 2),
        (&["--block", "99999999"], 2),
        (&["--bytes", "10..5"], 2),
        (&["--bytes", "0..99999999999"], 2),
        (&["--block", "0", "--compact"], 2),
        (&[], 2),
    ] {
        let arguments: Vec<&str> =
            ["proof", "make", disk, "-o", "made"].into_iter().chain(subject.iter().copied()).collect();
        assert_eq!(graven(here, &arguments).status, status, "{subject:?}");
        assert_eq!(here.join("made").exists(), status == 0, "{subject:?}");
        if status == 0 {
            let said = graven(here, &["proof", "check", "made", "--trust", trust]);
            assert_eq!(said.status, 0, "{subject:?}: {said:?}");
            fs::rename(here.join("made"), here.join(format!("made {}", subject[1].replace('/', "-"))))
                .unwrap();
        }
    }
    let said = graven(here, &["proof", "check", "made -usr", "--trust", trust, "--file", "busybox"]);
    assert_eq!(said.status, 2, "{said:?}");
    let copy = Forgery::of(out);
    let range = copy.read(Part::Root, 5000, 4001);
    fs::write(here.join("range"), &range).unwrap();
    let said = graven(here, &["proof", "check", "made 5000..9001", "--trust", trust, "--file", "range"]);
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.out.contains(&Algorithm::Sha256.digest(&range).to_string()), "{said:?}");

    // Another path than that whose blocks it carries.
    let other = proofs[2].replace("/etc/passwd", "/usr/bin/busybox");
    assert_ne!(other, proofs[2]);
    fs::write(here.join("proof"), other).unwrap();
    let said = graven(here, &["proof", "check", "proof", "--trust", trust]);
    assert!(said.status == 1 && said.err.contains("not in the proof"), "{said:?}");

    changed_proofs(&proofs, &compact, &root_hash);
    a_hash_block_is_no_data(&proofs[0], &copy, &root_hash);

    // A damaged image proves nothing.
    copy.flip(Part::Root, copy.find(Part::Root, b"root:x:0:0"));
    let command = ["proof", "make", path_of(copy.path()), "--path", "/etc/passwd", "-o", "damaged"];
    let said = graven(here, &command);
    assert!(said.status == 1 && !here.join("damaged").exists(), "{said:?}");
}

/// A mode as text of octal digits or as a number; other numbers as they are.
fn octal(value: &Value) -> u64 {
    match value {
        Value::String(text) => u64::from_str_radix(text.trim_start_matches("0o"), 8).unwrap(),
        number => number.as_u64().unwrap(),
    }
}

/// A proof with any one character changed says the same as before, or nothing.
fn changed_proofs(proofs: &[String], compact: &str, root_hash: &str) {
    let root_hash: RootHash = root_hash.parse().unwrap();
    let said = |text: &str| {
        let proof = ImageProof::parse(text).ok()?;
        let statement = check(&proof, Trusted::RootHash(&root_hash), None).ok()?;
        Some(format!("{statement:?}"))
    };
    let mut random = Random::new(21);
    let mut held = 0;
    // The larger ones are mostly contents.
    for text in proofs[2..].iter().map(String::as_str).chain([compact]) {
        let before = said(text).unwrap();
        for _ in 0..if cfg!(feature = "full") { 5000 } else { 60 } {
            let mut bytes = text.as_bytes().to_vec();
            let place = random.below(bytes.len() as u64) as usize;
            match random.below(3) {
                0 => bytes[place] = random.one_of(b"0123456789abcdefABZz+/=\"[]{},: "),
                1 => drop(bytes.remove(place)),
                _ => bytes.truncate(place),
            }
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            if let Some(after) = said(&changed) {
                // White space, a key's signature that was not asked for, the name by which the path was reached.
                assert_eq!(after, before, "{changed}");
                held += 1;
            }
        }
    }
    assert!(held < 200 * proofs.len(), "nearly everything held");
}

/// The top hash block could pass for the data of a smaller device with the same root hash.
fn a_hash_block_is_no_data(proof: &str, image: &Forgery, root_hash: &str) {
    let superblock = image.read(Part::Verity, 0, Superblock::SIZE);
    let size = Superblock::from_bytes(&superblock).unwrap().params.hash_block_size();
    let top = image.read(Part::Verity, size.into(), size as usize);
    let mut forged: Value = serde_json::from_str(proof).unwrap();
    forged["verity"]["data-blocks"] = json!(1);
    forged["subject"] = json!({ "bytes": [0, 4096] });
    forged["blocks"] = json!([{ "first": 0, "bytes": graven_handoff::base64::encode(&top) }]);
    forged["inclusion"]["leaves"] = json!([[0, 1]]);
    forged["inclusion"]["siblings"] = json!("");
    let forged = ImageProof::parse(&forged.to_string()).unwrap();
    let root_hash: RootHash = root_hash.parse().unwrap();
    let error = check(&forged, Trusted::RootHash(&root_hash), None).unwrap_err();
    assert!(
        error.to_string().contains("no superblock of EROFS"),
        "the digests hold, so the file system must not: {error}"
    );
}
