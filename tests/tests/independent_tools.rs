//! What other people's programs say of our images: partition table, ESP, root, tree, parity, signatures, UKI, lists.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use graven_tests::{image, oracle};
use serde_json::Value;

/// An output folder, and its partitions where sfdisk sees them, each in a file.
struct Image {
    out: PathBuf,
    partitions: Vec<PathBuf>,
    manifest: Value,
}

impl Image {
    fn of(out: &Path) -> Self {
        let disk = out.join("disk.img");
        let seen = oracle::content("sfdisk", ["--json".as_ref(), disk.as_os_str()]);
        let seen: Value = serde_json::from_str(&seen).unwrap();
        let folder = image::scratch().join(out.file_name().unwrap()).with_extension("partitions");
        fs::create_dir_all(&folder).unwrap();
        let mut partitions = Vec::new();
        for (number, entry) in seen["partitiontable"]["partitions"].as_array().unwrap().iter().enumerate() {
            let to = folder.join(format!("{number}.img"));
            let bytes = |key: &str| entry[key].as_u64().unwrap() * 512;
            copy(&disk, bytes("start"), bytes("size"), &to);
            partitions.push(to);
        }
        let manifest = fs::read_to_string(out.join("manifest.json")).unwrap();
        Self { out: out.to_owned(), partitions, manifest: serde_json::from_str(&manifest).unwrap() }
    }

    fn file(&self, name: &str) -> String {
        self.out.join(name).to_str().unwrap().to_owned()
    }

    fn partition(&self, number: usize) -> &str {
        self.partitions[number].to_str().unwrap()
    }

    fn root_hash(&self) -> &str {
        self.manifest["root"]["root_hash"].as_str().unwrap()
    }

    /// `--fec-device` and its like, where the image has parity: after the tree, in the same partition.
    fn fec(&self, verity: &str) -> Vec<String> {
        let root = &self.manifest["root"];
        let Some(roots) = root["fec_roots"].as_u64() else { return Vec::new() };
        let offset = 4096 * (1 + tree_blocks(root["data_blocks"].as_u64().unwrap()));
        vec![
            format!("--fec-device={verity}"),
            format!("--fec-offset={offset}"),
            format!("--fec-roots={roots}"),
        ]
    }

    fn verity(&self, root: &str, verity: &str) -> oracle::Verdict {
        let mut arguments = vec!["verify".to_owned(), "--verbose".to_owned(), root.into(), verity.into()];
        arguments.push(self.root_hash().into());
        arguments.extend(self.fec(verity));
        oracle::ask("veritysetup", arguments)
    }
}

const ESP: usize = 0;
const ROOT: usize = 1;
const VERITY: usize = 2;
const SIGNATURE: usize = 3;

/// Hash blocks over that many data blocks: 128 digests each, up to one.
fn tree_blocks(mut blocks: u64) -> u64 {
    let mut all = 0;
    while blocks > 1 {
        blocks = blocks.div_ceil(128);
        all += blocks;
    }
    all
}

fn copy(disk: &Path, start: u64, bytes: u64, to: &Path) {
    let mut from = File::open(disk).unwrap();
    from.seek(SeekFrom::Start(start)).unwrap();
    let copied = std::io::copy(&mut from.take(bytes), &mut File::create(to).unwrap()).unwrap();
    assert_eq!(copied, bytes, "the partition lies inside the disk");
}

/// `recipes/minimal` as it is, and with parity and room for a second version.
fn images() -> [&'static Image; 2] {
    static IMAGES: OnceLock<[Image; 2]> = OnceLock::new();
    let images = IMAGES.get_or_init(|| {
        let recipe = graven_tests::inputs::project().join("recipes/minimal");
        let sets = ["disk.slots=2", "disk.root-size=48M", "verity.fec-roots=2"];
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let slots = image::shared("slots", |slots| image::build(&recipe, slots, &sets));
        [Image::of(image::minimal()), Image::of(&slots)]
    });
    images.each_ref()
}

#[test]
fn the_partition_table_satisfies_sgdisk_and_sfdisk() {
    for (image, partitions) in images().into_iter().zip([4, 7]) {
        let disk = image.file("disk.img");
        let said = oracle::content("sgdisk", ["--verify", &disk]);
        assert!(said.contains("No problems found"), "{said}");
        assert!(!said.to_lowercase().contains("warning"), "{said}");
        let said = oracle::content("sfdisk", ["--verify", &disk]);
        assert!(said.contains("No errors detected"), "{said}");
        assert!(!said.contains("does not start on"), "{said}");
        assert_eq!(image.partitions.len(), partitions);
    }
}

#[test]
fn the_system_partition_satisfies_fsck_fat_and_holds_the_signed_boot_artefact() {
    for image in images() {
        let said = oracle::content("fsck.fat", ["-n", "-v", image.partition(ESP)]);
        for complaint in
            ["differ", "Dirty", "dirty", "Wrong", "wrong", "orphan", "Free cluster summary", "Fixed"]
        {
            assert!(!said.contains(complaint), "{said}");
        }
        let copied = image::scratch().join("from-esp.efi");
        let copied = copied.to_str().unwrap();
        oracle::content("mcopy", ["-n", "-o", "-i", image.partition(ESP), "::/EFI/BOOT/BOOTX64.EFI", copied]);
        oracle::content("cmp", [copied, &image.file("minimal.efi")]);
        let listed = oracle::content("mdir", ["-b", "-/", "-i", image.partition(ESP), "::/"]);
        assert_eq!(listed.trim(), "::/EFI/\n::/EFI/BOOT/\n::/EFI/BOOT/BOOTX64.EFI", "and nothing else");
    }
}

#[test]
fn the_root_satisfies_fsck_erofs() {
    for image in images() {
        let said = oracle::content("fsck.erofs", ["-d3", image.partition(ROOT)]);
        assert!(said.contains("No errors found"), "{said}");
    }
}

#[test]
fn the_tree_satisfies_veritysetup_and_no_changed_byte_does() {
    for image in images() {
        let good = image.verity(image.partition(ROOT), image.partition(VERITY));
        assert!(good.good, "{}", good.text);
    }
    let image = images()[0];
    for (which, offset) in [(ROOT, 0), (ROOT, 70_001), (VERITY, 4096 + 77)] {
        let changed = changed(image.partition(which), &[offset]);
        let changed = changed.to_str().unwrap();
        let verdict = match which {
            ROOT => image.verity(changed, image.partition(VERITY)),
            _ => image.verity(image.partition(ROOT), changed),
        };
        assert!(!verdict.good, "byte {offset} of partition {which} counts: {}", verdict.text);
    }
}

#[test]
fn veritysetup_repairs_damaged_blocks_with_our_parity_and_no_more_than_that() {
    let image = images()[1];
    // Two roots mend one unknown byte of each code word: one whole block, and some more far from it.
    let block: Vec<u64> = (0..4096).map(|byte| 40 * 4096 + byte).collect();
    let damaged = changed(image.partition(ROOT), &block);
    let verdict = image.verity(damaged.to_str().unwrap(), image.partition(VERITY));
    assert!(verdict.good, "{}", verdict.text);
    assert!(
        verdict.text.contains("4096"),
        "it says that it repaired as many bytes as were changed: {}",
        verdict.text
    );

    let tree = changed(image.partition(VERITY), &[4096 + 5]);
    let verdict = image.verity(image.partition(ROOT), tree.to_str().unwrap());
    assert!(verdict.good, "the tree is covered, too: {}", verdict.text);

    // One byte in every block: far more than two roots can mend.
    let blocks = image.manifest["root"]["data_blocks"].as_u64().unwrap();
    let everywhere: Vec<u64> = (0..blocks).map(|block| block * 4096).collect();
    let ruined = changed(image.partition(ROOT), &everywhere);
    assert!(!image.verity(ruined.to_str().unwrap(), image.partition(VERITY)).good);
}

/// A copy of a file with these bytes inverted.
fn changed(file: &str, offsets: &[u64]) -> PathBuf {
    let to = image::scratch().join("changed.img");
    fs::copy(file, &to).unwrap();
    let mut open = File::options().read(true).write(true).open(&to).unwrap();
    for offset in offsets {
        let mut byte = [0];
        open.seek(SeekFrom::Start(*offset)).unwrap();
        open.read_exact(&mut byte).unwrap();
        open.seek(SeekFrom::Start(*offset)).unwrap();
        open.write_all(&[!byte[0]]).unwrap();
    }
    to
}

#[test]
fn sbverify_takes_the_boot_artefact_by_its_certificate_alone() {
    let stranger = image::strangers_keys().join("db.crt");
    for image in images() {
        let said =
            oracle::content("sbverify", ["--cert", &image.file("boot.crt"), &image.file("minimal.efi")]);
        assert!(said.contains("Signature verification OK") && !said.contains("warning"), "{said}");
        let refused =
            oracle::ask("sbverify", ["--cert", stranger.to_str().unwrap(), &image.file("minimal.efi")]);
        assert!(!refused.good, "{}", refused.text);
    }
}

#[test]
fn openssl_takes_the_signatures_of_policy_and_root_hash() {
    let smime = |certificate: &str, more: &[&str]| {
        let mut arguments =
            vec!["smime", "-verify", "-binary", "-inform", "der", "-nointern", "-purpose", "any"];
        // The certificate is its own anchor; what it was made for is the kernel's business.
        arguments.extend(["-partial_chain", "-certfile", certificate, "-CAfile", certificate]);
        arguments.extend(more);
        let out = image::scratch().join("verified");
        arguments.extend(["-out", out.to_str().unwrap()]);
        let verdict = oracle::ask("openssl", arguments);
        verdict.good.then(|| fs::read(out).unwrap())
    };
    let stranger = image::strangers_keys().join("db.crt");
    for image in images() {
        let policy = image.file("policy.p7b");
        let signed = ["-in", policy.as_str()];
        let text = smime(&image.file("policy.crt"), &signed).expect("openssl takes the policy");
        assert_eq!(text, fs::read(image.file("policy.pol")).unwrap());
        assert!(smime(stranger.to_str().unwrap(), &signed).is_none(), "a stranger's certificate");

        // The root hash is signed as the kernel checks it: its hexadecimal text, without a newline.
        let (hash, other) = (image::scratch().join("root-hash"), image::scratch().join("other-hash"));
        fs::write(&hash, image.root_hash()).unwrap();
        fs::write(&other, format!("{}\n", image.root_hash())).unwrap();
        let signature = image.file("root.p7s");
        let over = |text: &Path| {
            ["-in".to_owned(), signature.clone(), "-content".into(), text.to_str().unwrap().into()]
        };
        let taken = |text: &Path| {
            let words = over(text);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            smime(&image.file("root.crt"), &words)
        };
        assert_eq!(taken(&hash).expect("openssl takes the root hash"), image.root_hash().as_bytes());
        assert!(taken(&other).is_none(), "another text");

        // The same signature lies in the verity-sig partition.
        let partition = fs::read(image.partition(SIGNATURE)).unwrap();
        let text = partition.split(|byte| *byte == 0).next().unwrap();
        let json: Value = serde_json::from_slice(text).unwrap();
        assert_eq!(json["rootHash"], image.root_hash());
        let decoded = image::scratch().join("signature.b64");
        fs::write(&decoded, json["signature"].as_str().unwrap()).unwrap();
        let der = image::scratch().join("signature.der");
        let (decoded, der) = (decoded.to_str().unwrap(), der.to_str().unwrap());
        oracle::content("openssl", ["base64", "-d", "-A", "-in", decoded, "-out", der]);
        oracle::content("cmp", [der, &signature]);
        let printed = oracle::content(
            "openssl",
            ["x509", "-in", &image.file("root.crt"), "-noout", "-sha256", "-fingerprint"],
        );
        let printed = printed.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase();
        assert_eq!(json["certificateFingerprint"], printed);
    }
}

#[test]
fn ukify_reads_the_boot_artefact() {
    for image in images() {
        let said = oracle::content(
            oracle::python("python3"),
            ["/usr/local/bin/ukify", "inspect", &image.file("minimal.efi"), "--json=short", "--all"],
        );
        let json = said.lines().find(|line| line.starts_with('{')).expect("it prints JSON");
        let seen: Value = serde_json::from_str(json).unwrap();
        let line = fs::read_to_string(image.file("cmdline.txt")).unwrap();
        assert_eq!(seen[".cmdline"]["text"], line.trim_end());
        assert_eq!(seen[".uname"]["text"], image.manifest["kernel"]["release"]);
        let release = seen[".osrel"]["text"].as_str().unwrap();
        assert!(release.contains("ID=minimal\n") && release.contains("VERSION_ID=0.1.0\n"), "{release}");
        for (section, least) in [(".linux", 4 << 20), (".initrd", 64 << 10)] {
            assert!(seen[section]["size"].as_u64().unwrap() > least, "{section}: {seen}");
        }
    }
}

#[test]
fn systemd_dissect_recognises_root_tree_and_signature() {
    let judge = |policy: &str, disk: &str| {
        oracle::trixie("systemd-dissect", ["--validate", &format!("--image-policy={policy}"), disk])
    };
    for image in images() {
        let disk = image.file("disk.img");
        let verdict = judge("root=signed:esp=unprotected:=absent", &disk);
        assert!(verdict.good, "{}", verdict.text);
        // It does look: the same image is not one without protection, nor one without an ESP.
        for other in ["root=unprotected:esp=unprotected:=absent", "root=signed:esp=absent:=absent"] {
            let verdict = judge(other, &disk);
            assert!(!verdict.good, "{other}: {}", verdict.text);
        }
    }
    // Without the signature partition's type it is no signed root any more.
    let untyped = image::scratch().join("untyped.img");
    fs::copy(images()[0].file("disk.img"), &untyped).unwrap();
    let untyped = untyped.to_str().unwrap();
    oracle::content("sgdisk", ["--typecode=4:8300", untyped]);
    assert!(!judge("root=signed:esp=unprotected:=ignore", untyped).good);
}

#[test]
fn sums_manifest_and_list_of_files_tell_what_the_bytes_are() {
    for image in images() {
        let folder = image.out.to_str().unwrap();
        oracle::content("sh", ["-c", "cd \"$1\" && sha256sum --strict --check SHA256SUMS", "sh", folder]);
        let listed = fs::read_to_string(image.file("SHA256SUMS")).unwrap();
        let summed: Vec<&str> =
            listed.lines().filter_map(|line| line.split_once("  ")).map(|(_, name)| name).collect();
        for entry in fs::read_dir(&image.out).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let exempt = name == "disk.img" || name == "SHA256SUMS";
            assert!(exempt || summed.contains(&name.as_str()), "{name} has no sum");
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/oracle/outputs.py");
        let mut arguments = vec![script.to_str().unwrap().to_owned(), folder.to_owned()];
        arguments.extend([ROOT, ESP].map(|number| image.partition(number).to_owned()));
        println!("{}", oracle::content("python3", arguments));
    }
}
