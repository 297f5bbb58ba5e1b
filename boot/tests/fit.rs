//! FITs against U-Boot's own tools: mkimage, dumpimage, fit_check_sign (both rules), dtc.
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod oracle;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use graven_boot::fdt::{Node, Property, Tree};
use graven_boot::fit::{
    self, Address, Compression, ConfigurationParts, Fit, FitError, Hash, ImageParts, Kind, Padding, Parts,
    Placement, Report, SignOptions, SignatureAlgorithm, Signed, TrustedKey, control,
};
use graven_boot::sign::{DetachedSigner, FileSigner, Signer};
use graven_boot::x509::Certificate;
use graven_targets::Arch;
use oracle::{keys, run, text, try_run};
use tempfile::TempDir;

const TIME: u32 = 1_767_225_600;

/// A folder for one test.
struct Work(TempDir);

impl Work {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        text(&self.0.path().join(name))
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        fs::write(self.0.path().join(name), contents).unwrap();
        self.path(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.path().join(name)).unwrap()
    }
}

/// A key of U-Boot's three lengths, made by OpenSSL once a process: folder with `fit.key` and `fit.crt`.
fn rsa(bits: usize) -> &'static Path {
    static KEYS: [OnceLock<TempDir>; 3] = [const { OnceLock::new() }; 3];
    KEYS[bits / 1024 - 2]
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let (key, crt) = (text(&folder.path().join("fit.key")), text(&folder.path().join("fit.crt")));
            let (length, subject) = (format!("rsa:{bits}"), format!("/CN=fit {bits}"));
            let make = ["req", "-x509", "-batch", "-newkey", &length, "-nodes", "-subj", &subject];
            run("openssl", &[&make[..], &["-days", "10", "-keyout", &key, "-out", &crt]].concat());
            folder
        })
        .path()
}

fn signer(folder: &Path) -> FileSigner {
    FileSigner::load(&folder.join("fit.key"), &folder.join("fit.crt")).unwrap()
}

fn stranger() -> FileSigner {
    keys().signer("fit")
}

fn board(compatible: &str) -> Vec<u8> {
    let root =
        Node::new("").with(Property::text("compatible", compatible)).with(Property::cell("#size-cells", 1));
    let mut tree = Tree::new(root).unwrap();
    tree.set_bootargs("console=ttyAMA0 ro").unwrap();
    tree.to_bytes().unwrap()
}

fn overlay() -> Vec<u8> {
    let fragment = Node::new("fragment@0").with(Property::text("target-path", "/"));
    Tree::new(Node::new("").with_child(fragment)).unwrap().to_bytes().unwrap()
}

/// Two boards, one with an overlay, one kernel, one initramfs.
fn unsigned_with(compression: Compression, hash: Hash, kernel: &[u8]) -> Vec<u8> {
    let address = Address { load: 0x4040_0000, entry: 0x4040_0000 };
    fit::build(&Parts {
        description: "acme 1.0",
        timestamp: TIME,
        hash,
        arch: Arch::Aarch64,
        images: vec![
            ImageParts::new("kernel-1", Kind::Kernel(address), kernel).compressed(compression).unwrap(),
            ImageParts::new("fdt-1", Kind::DeviceTree, board("acme,one")),
            ImageParts::new("fdt-2", Kind::DeviceTree, board("acme,two")),
            ImageParts::new("overlay-1", Kind::Overlay(0x4800_0000), overlay()),
            ImageParts::new("ramdisk-1", Kind::Ramdisk, b"070701 not really".as_slice()),
        ],
        configurations: vec![
            ConfigurationParts {
                name: "conf-1".into(),
                description: "one".into(),
                kernel: "kernel-1".into(),
                ramdisk: Some("ramdisk-1".into()),
                fdt: vec!["fdt-1".into()],
                ..Default::default()
            },
            ConfigurationParts {
                name: "conf-2".into(),
                description: "two".into(),
                kernel: "kernel-1".into(),
                ramdisk: Some("ramdisk-1".into()),
                fdt: vec!["fdt-2".into(), "overlay-1".into()],
                ..Default::default()
            },
        ],
    })
    .unwrap()
}

fn unsigned() -> Vec<u8> {
    unsigned_with(Compression::Gzip, Hash::Sha256, &[7; 5000])
}

fn sign(fit: &[u8], signer: &FileSigner, hash: Hash, padding: Padding) -> Vec<u8> {
    let options = SignOptions { hash, padding, ..SignOptions::new("fit", TIME) };
    match fit::sign(fit, &options, signer).unwrap() {
        Signed::Whole(signed) => signed,
        Signed::Pending(_) => panic!("a key file answers at once"),
    }
}

fn signed() -> Vec<u8> {
    sign(&unsigned(), &signer(rsa(2048)), Hash::Sha256, Padding::Pkcs1)
}

fn verify(fit: &[u8], folder: &Path) -> Report {
    fit::verify(fit, &[TrustedKey::of(signer(folder).certificate())]).unwrap()
}

/// U-Boot's verifier with a control device tree of ours, by its present rule and by the one before.
fn fit_check_sign(work: &Work, fit: &[u8], control: &[u8], configuration: &str) -> [Output; 2] {
    let (fit, control) = (work.write("check.itb", fit), work.write("control.dtb", control));
    let home = PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/graven/u-boot");
    ["fit_check_sign", "fit_check_sign-hashed-nodes"].map(|tool| {
        let tool = text(&home.join(tool));
        try_run(&tool, &["-f", &fit, "-k", &control, "-c", configuration])
    })
}

fn control_tree(signer: &FileSigner, hash: Hash, padding: Padding) -> Vec<u8> {
    let algorithm = SignatureAlgorithm::of(signer.certificate().public_key(), hash, padding).unwrap();
    let u_boot = Tree::new(Node::new("").with(Property::text("model", "board"))).unwrap().to_bytes().unwrap();
    control::add_key(&u_boot, signer.certificate(), "fit", algorithm, control::Required::Configuration)
        .unwrap()
}

fn assert_accepted(work: &Work, fit: &[u8], control: &[u8]) {
    for configuration in ["conf-1", "conf-2"] {
        for output in fit_check_sign(work, fit, control, configuration) {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                output.status.success(),
                "{configuration}: {said}{}",
                String::from_utf8_lossy(&output.stderr)
            );
            assert!(said.contains("Verified OK"), "{said}");
        }
    }
}

/// Both of U-Boot's verifiers refuse this configuration.
fn assert_refused(work: &Work, fit: &[u8], control: &[u8], configuration: &str) {
    for output in fit_check_sign(work, fit, control, configuration) {
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn mkimage_dumpimage_and_u_boots_verifier_take_our_fits() {
    let work = Work::new();
    for (bits, hash, padding, compression) in [
        (2048, Hash::Sha256, Padding::Pkcs1, Compression::None),
        (3072, Hash::Sha384, Padding::Pkcs1, Compression::Gzip),
        (4096, Hash::Sha512, Padding::Pkcs1, Compression::Lz4),
        (2048, Hash::Sha256, Padding::Pss, Compression::Zstd),
        (3072, Hash::Sha256, Padding::Pss, Compression::Gzip),
    ] {
        let signer = signer(rsa(bits));
        let kernel: Vec<u8> = (0..300_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let fit = sign(&unsigned_with(compression, hash, &kernel), &signer, hash, padding);
        let path = work.write("our.itb", &fit);
        let listed = String::from_utf8(run("mkimage", &["-l", &path])).unwrap();
        for expected in ["acme 1.0", "conf-1", "conf-2", "overlay-1", "Sign algo:", "AArch64"] {
            assert!(listed.contains(expected), "{expected}: {listed}");
        }
        assert!(listed.contains(&format!("{hash},rsa{bits}:fit")), "{listed}");
        run("dumpimage", &["-l", &path]);
        run("dumpimage", &["-T", "flat_dt", "-p", "4", "-o", &work.path("ramdisk"), &path]);
        assert_eq!(work.read("ramdisk"), b"070701 not really");
        assert_accepted(&work, &fit, &control_tree(&signer, hash, padding));

        let report = verify(&fit, rsa(bits));
        assert!(report.holds(), "{report}");
        let read = Fit::parse(&fit).unwrap();
        assert_eq!(read.image("kernel-1").unwrap().decompressed(1 << 24).unwrap(), kernel);
    }
}

#[test]
fn a_fit_is_the_same_bytes_twice() {
    assert_eq!(signed(), signed());
    // Signing again changes nothing that was there.
    let fit = signed();
    let again = sign(&fit, &signer(rsa(2048)), Hash::Sha256, Padding::Pkcs1);
    assert!(verify(&again, rsa(2048)).holds());
    assert_eq!(again, sign(&again, &signer(rsa(2048)), Hash::Sha256, Padding::Pkcs1));
}

/// What mkimage is given: a source with its data beside it.
fn source(work: &Work, algo: &str, padding: &str) -> String {
    work.write("kernel", vec![3; 4097]);
    work.write("board.dtb", board("acme,one"));
    work.write("initramfs", b"070701");
    let signature = |name: &str| {
        format!(
            "signature-1 {{ algo = \"{algo}\"; key-name-hint = \"fit\"; {padding} \
             sign-images = \"kernel\", \"fdt\", \"ramdisk\"; }};
             description = \"{name}\";"
        )
    };
    let signature = |name: &str| {
        let all = signature(name);
        let (node, property) = all.split_once("};").unwrap();
        (property.trim().to_owned(), format!("{node}}};"))
    };
    let ((d1, s1), (d2, s2)) = (signature("first"), signature("second"));
    let source = format!(
        r#"/dts-v1/;
/ {{
  description = "theirs"; #address-cells = <1>;
  images {{
    kernel {{ description = "k"; data = /incbin/("{kernel}"); type = "kernel"; arch = "arm64"; os = "linux";
      compression = "none"; load = <0x40400000>; entry = <0x40400000>; hash-1 {{ algo = "sha256"; }}; }};
    board {{ description = "d"; data = /incbin/("{board}"); type = "flat_dt"; arch = "arm64"; compression = "none";
      hash-1 {{ algo = "sha512"; }}; hash-2 {{ algo = "crc32"; }}; }};
    initramfs {{ description = "r"; data = /incbin/("{initramfs}"); type = "ramdisk"; arch = "arm64"; os = "linux";
      compression = "none"; hash-1 {{ algo = "sha384"; }}; }};
  }};
  configurations {{
    default = "conf-1";
    conf-1 {{ {d1} kernel = "kernel"; fdt = "board"; ramdisk = "initramfs"; {s1} }};
    conf-2 {{ {d2} kernel = "kernel"; ramdisk = "initramfs"; {s2} }};
  }};
}};"#,
        kernel = work.path("kernel"),
        board = work.path("board.dtb"),
        initramfs = work.path("initramfs"),
    );
    work.write("fit.its", source)
}

fn value<'t>(tree: &'t Tree<'_>, path: &str, property: &str) -> &'t [u8] {
    tree.node(path).and_then(|node| node.value(property)).unwrap_or_else(|| panic!("{path} {property}"))
}

#[test]
fn what_mkimage_signs_verifies_and_what_we_sign_over_the_same_fit_has_its_bytes() {
    for (bits, algo) in [(2048, "sha256,rsa2048"), (3072, "sha384,rsa3072"), (4096, "sha512,rsa4096")] {
        let work = Work::new();
        let folder = rsa(bits);
        let source = source(&work, algo, "");
        let (unsigned, theirs) = (work.path("unsigned.itb"), work.path("theirs.itb"));
        run("mkimage", &["-f", &source, &unsigned]);
        fs::copy(&unsigned, &theirs).unwrap();
        let control = work.write("u-boot.dtb", Tree::new(Node::new("")).unwrap().to_bytes().unwrap());
        run("mkimage", &["-F", "-k", &text(folder), "-K", &control, "-r", &theirs]);

        let theirs = work.read("theirs.itb");
        let report = verify(&theirs, folder);
        assert!(report.holds(), "{report}");

        let ours = sign(&work.read("unsigned.itb"), &signer(folder), Hash::Sha256, Padding::Pkcs1);
        assert!(verify(&ours, folder).holds());
        let (ours_tree, theirs_tree) = (Tree::parse(&ours).unwrap(), Tree::parse(&theirs).unwrap());
        for (path, property) in [
            ("/images/kernel/hash-1", "value"),
            ("/images/board/hash-1", "value"),
            ("/images/board/hash-2", "value"),
            ("/images/initramfs/hash-1", "value"),
            ("/configurations/conf-1/signature-1", "value"),
            ("/configurations/conf-1/signature-1", "hashed-strings"),
            ("/configurations/conf-2/signature-1", "value"),
            ("/configurations/conf-2/signature-1", "hashed-strings"),
        ] {
            assert_eq!(
                value(&ours_tree, path, property),
                value(&theirs_tree, path, property),
                "{path} {property}"
            );
        }
        let sorted = |tree: &Tree<'_>| {
            let node = tree.node("/configurations/conf-1/signature-1").unwrap();
            let mut nodes: Vec<String> =
                node.texts("hashed-nodes").unwrap().into_iter().map(str::to_owned).collect();
            nodes.sort();
            nodes
        };
        assert_eq!(sorted(&ours_tree), sorted(&theirs_tree));

        // The key node that mkimage -K wrote, and ours.
        let theirs = work.read("u-boot.dtb");
        let theirs = Tree::parse(&theirs).unwrap();
        let ours = control_tree(&signer(folder), Hash::named(&algo[..6]).unwrap(), Padding::Pkcs1);
        let ours = Tree::parse(&ours).unwrap();
        let properties = |tree: &Tree<'_>| {
            let node = tree.node("/signature/key-fit").unwrap();
            let all = node.properties().iter().map(|p| (p.name().to_owned(), p.value().to_vec()));
            all.collect::<std::collections::BTreeMap<_, _>>()
        };
        assert_eq!(properties(&ours), properties(&theirs));
        let required = control::required_keys(&work.read("u-boot.dtb")).unwrap();
        assert_eq!(required[0].key, TrustedKey::of(signer(folder).certificate()).key);
    }
}

#[test]
fn pss_of_mkimage_verifies() {
    let work = Work::new();
    let source = source(&work, "sha256,rsa2048", "padding = \"pss\";");
    let fit = work.path("theirs.itb");
    run("mkimage", &["-f", &source, "-k", &text(rsa(2048)), &fit]);
    let report = verify(&work.read("theirs.itb"), rsa(2048));
    assert!(report.holds(), "{report}");
    assert!(!verify(&work.read("theirs.itb"), rsa(3072)).holds());
}

#[test]
fn external_data_of_mkimage_verifies_and_is_signed_again() {
    for more in [&["-E"][..], &["-E", "-B", "1000"], &["-E", "-p", "3000"]] {
        let work = Work::new();
        let source = source(&work, "sha256,rsa2048", "");
        let fit = work.path("theirs.itb");
        let keys = text(rsa(2048));
        run("mkimage", &[more, &["-f", &source, "-k", &keys, &fit]].concat());
        let theirs = work.read("theirs.itb");
        let placed = Fit::parse(&theirs).unwrap().images()[0].placement;
        assert_eq!(placed == Placement::Position, more.contains(&"-p"));
        let report = verify(&theirs, rsa(2048));
        assert!(report.holds(), "{more:?} {report}");

        run("mkimage", &[more, &["-f", &source, &fit]].concat());
        let ours = sign(&work.read("theirs.itb"), &signer(rsa(2048)), Hash::Sha256, Padding::Pkcs1);
        let report = verify(&ours, rsa(2048));
        assert!(report.holds(), "{more:?} {report}");
        assert_accepted(&work, &ours, &control_tree(&signer(rsa(2048)), Hash::Sha256, Padding::Pkcs1));
        run("mkimage", &["-l", &work.write("ours.itb", &ours)]);
        let in_data = ours.windows(6).rposition(|window| window == b"070701").unwrap();
        let mut torn = ours.clone();
        torn[in_data] ^= 1;
        assert!(!verify(&torn, rsa(2048)).image("initramfs").unwrap().problems.is_empty());
    }
}

/// `bytes` with the first `from` that stands in it replaced.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    let mut changed = bytes.to_vec();
    changed[at..at + to.len()].copy_from_slice(to);
    changed
}

/// The FIT with other data in an image, its hash and the signatures as they were.
fn with_data(fit: &[u8], image: &str, data: &[u8]) -> Vec<u8> {
    let mut tree = Tree::parse(fit).unwrap();
    tree.set(image, Property::bytes("data", data)).unwrap();
    tree.to_bytes().unwrap()
}

#[test]
fn a_changed_kernel_initramfs_or_device_tree_is_refused_by_name() {
    let work = Work::new();
    let fit = signed();
    let control = control_tree(&signer(rsa(2048)), Hash::Sha256, Padding::Pkcs1);
    for (image, configuration) in [("kernel-1", "conf-1"), ("fdt-2", "conf-2"), ("ramdisk-1", "conf-1")] {
        let path = format!("/images/{image}");
        let mut data = Tree::parse(&fit).unwrap().node(&path).unwrap().value("data").unwrap().to_vec();
        data[9] ^= 1;
        let changed = with_data(&fit, &path, &data);
        let report = verify(&changed, rsa(2048));
        assert!(report.image(image).unwrap().problems[0].contains("hash-1 says sha256"), "{report}");
        assert!(report.configuration(configuration).unwrap().problems[0].contains(image), "{report}");
        assert_refused(&work, &changed, &control, configuration);

        // With the hash put right the signature stops it.
        let mut tree = Tree::parse(&changed).unwrap();
        let digest = Hash::Sha256.digest(tree.node(&path).unwrap().value("data").unwrap());
        tree.set(&format!("{path}/hash-1"), Property::bytes("value", digest)).unwrap();
        let changed = tree.to_bytes().unwrap();
        let report = verify(&changed, rsa(2048));
        assert!(report.image(image).unwrap().problems.is_empty());
        let problems = &report.configuration(configuration).unwrap().problems;
        assert!(problems[0].contains("no trusted key's signature"), "{problems:?}");
        assert_refused(&work, &changed, &control, configuration);
    }
    // The other board's configuration does not name fdt-2 and still holds.
    let changed = with_data(&fit, "/images/fdt-2", &board("acme,evil"));
    assert!(verify(&changed, rsa(2048)).configuration("conf-1").unwrap().holds());
}

#[test]
fn a_changed_or_mixed_configuration_is_refused_by_name() {
    let work = Work::new();
    let fit = signed();
    let control = control_tree(&signer(rsa(2048)), Hash::Sha256, Padding::Pkcs1);
    let mut cases = Vec::new();
    // Another device tree, both signed, under the configuration's name.
    let mut tree = Tree::parse(&fit).unwrap();
    tree.set("/configurations/conf-1", Property::text("fdt", "fdt-2")).unwrap();
    cases.push(tree.to_bytes().unwrap());
    // Without the initramfs.
    let mut tree = Tree::parse(&fit).unwrap();
    tree.set("/configurations/conf-1", Property::text("ramdisk", "nothing")).unwrap();
    cases.push(tree.to_bytes().unwrap());
    // One more image, signed by nobody, in a property that older mkimage does not sign.
    let mut tree = Tree::parse(&fit).unwrap();
    tree.set("/configurations/conf-1", Property::text("loadables", "overlay-1")).unwrap();
    cases.push(tree.to_bytes().unwrap());
    // Where the kernel is loaded.
    let mut tree = Tree::parse(&fit).unwrap();
    tree.set("/images/kernel-1", Property::cell("load", 0x4140_0000)).unwrap();
    cases.push(tree.to_bytes().unwrap());
    // The name of a property, by way of the strings block.
    cases.push(replaced(&fit, b"entry\0", b"dummy\0"));
    for (number, changed) in cases.iter().enumerate() {
        let report = verify(changed, rsa(2048));
        assert!(!report.configuration("conf-1").unwrap().holds(), "{number}: {report}");
        assert!(report.to_string().contains("BAD       configuration conf-1"), "{number}: {report}");
        for output in fit_check_sign(&work, changed, &control, "conf-1") {
            assert!(!output.status.success(), "{number}: {}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

#[test]
fn a_configuration_of_one_signed_fit_over_images_of_another_is_refused() {
    let work = Work::new();
    let signer = signer(rsa(2048));
    let control = control_tree(&signer, Hash::Sha256, Padding::Pkcs1);
    let other = unsigned_with(Compression::Gzip, Hash::Sha256, &[8; 5000]);
    let other = sign(&other, &signer, Hash::Sha256, Padding::Pkcs1);
    // The other FIT's kernel with its hash, both genuine, below this one's configurations.
    let (fit, foreign) = (signed(), Tree::parse(&other).unwrap());
    let mut tree = Tree::parse(&fit).unwrap();
    let kernel = foreign.node("/images/kernel-1").unwrap();
    tree.set("/images/kernel-1", Property::bytes("data", kernel.value("data").unwrap())).unwrap();
    let value = kernel.child("hash-1").unwrap().value("value").unwrap();
    tree.set("/images/kernel-1/hash-1", Property::bytes("value", value)).unwrap();
    let mixed = tree.to_bytes().unwrap();
    let report = verify(&mixed, rsa(2048));
    assert!(report.image("kernel-1").unwrap().problems.is_empty(), "{report}");
    assert!(
        !report.configuration("conf-1").unwrap().holds() && !report.configuration("conf-2").unwrap().holds()
    );
    assert_refused(&work, &mixed, &control, "conf-1");

    // The other FIT's signature over this one's configuration.
    let mut tree = Tree::parse(&fit).unwrap();
    let signature = value_of(&foreign, "/configurations/conf-1/signature-1");
    tree.set("/configurations/conf-1/signature-1", Property::bytes("value", signature)).unwrap();
    let mixed = tree.to_bytes().unwrap();
    assert!(!verify(&mixed, rsa(2048)).configuration("conf-1").unwrap().holds());
    assert!(verify(&mixed, rsa(2048)).configuration("conf-2").unwrap().holds());
    assert_refused(&work, &mixed, &control, "conf-1");
}

fn value_of(tree: &Tree<'_>, path: &str) -> Vec<u8> {
    value(tree, path, "value").to_vec()
}

#[test]
fn a_strangers_key_is_refused() {
    let work = Work::new();
    let fit = sign(&unsigned(), &stranger(), Hash::Sha256, Padding::Pkcs1);
    let report = verify(&fit, rsa(2048));
    assert!(report.configurations.iter().all(|configuration| !configuration.holds()), "{report}");
    assert!(report.to_string().contains("no trusted key's signature"), "{report}");
    assert_refused(&work, &fit, &control_tree(&signer(rsa(2048)), Hash::Sha256, Padding::Pkcs1), "conf-1");
    assert_accepted(&work, &fit, &control_tree(&stranger(), Hash::Sha256, Padding::Pkcs1));
    let report = verify(&unsigned(), rsa(2048));
    assert!(report.configuration("conf-1").unwrap().problems[0].contains("not signed"), "{report}");
}

/// mkimage of old signs kernel and device tree by default: the present U-Boot refuses the rest.
#[test]
fn a_signature_that_leaves_an_image_out_is_refused_with_its_name() {
    let work = Work::new();
    let source = source(&work, "sha256,rsa2048", "");
    let text_of_source = fs::read_to_string(&source).unwrap();
    let partial = text_of_source.replace("sign-images = \"kernel\", \"fdt\", \"ramdisk\";", "");
    let source = work.write("partial.its", partial);
    run("mkimage", &["-f", &source, "-k", &text(rsa(2048)), &work.path("partial.itb")]);
    let fit = work.read("partial.itb");
    let report = verify(&fit, rsa(2048));
    let problem = &report.configuration("conf-1").unwrap().problems[0];
    assert!(problem.contains("/images/initramfs") && problem.contains("since 2026.04"), "{problem}");
    let control = control_tree(&signer(rsa(2048)), Hash::Sha256, Padding::Pkcs1);
    let [present, before] = fit_check_sign(&work, &fit, &control, "conf-1");
    assert!(!present.status.success() && before.status.success());

    // Signed by us, all of it is covered.
    run("mkimage", &["-f", &source, &work.path("partial.itb")]);
    let ours = sign(&work.read("partial.itb"), &signer(rsa(2048)), Hash::Sha256, Padding::Pkcs1);
    assert!(verify(&ours, rsa(2048)).holds());
    assert_accepted(&work, &ours, &control);
}

#[test]
fn what_u_boot_cannot_check_is_not_signed() {
    let work = Work::new();
    let (key, crt) = (work.path("key"), work.path("crt"));
    let mut make =
        vec!["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    make.extend(["-subj", "/CN=curve", "-keyout", &key, "-out", &crt]);
    run("openssl", &make);
    let curve = Certificate::read_all(&fs::read(&crt).unwrap()).unwrap().remove(0);
    let detached = DetachedSigner::new(curve, work.0.path());
    let error = fit::sign(&unsigned(), &SignOptions::new("fit", TIME), &detached).unwrap_err();
    assert!(matches!(error, FitError::Key { .. }) && error.to_string().contains("no ECDSA"), "{error}");

    let damaged = with_data(&unsigned(), "/images/fdt-1", &board("acme,evil"));
    let error = fit::sign(&damaged, &SignOptions::new("fit", TIME), &signer(rsa(2048))).unwrap_err();
    assert!(matches!(&error, FitError::Image { name, .. } if name == "fdt-1"), "{error}");

    let error = fit::sign(&signed(), &SignOptions::new("other", TIME), &signer(rsa(2048))).unwrap_err();
    assert!(error.to_string().contains("break their signatures"), "{error}");
}

#[test]
fn a_fit_is_signed_elsewhere_in_one_round() {
    let work = Work::new();
    for padding in [Padding::Pkcs1, Padding::Pss] {
        let own = signer(rsa(2048));
        let detached = DetachedSigner::new(own.certificate().clone(), work.0.path());
        let options = SignOptions { padding, ..SignOptions::new("fit", TIME) };
        let Signed::Pending(requests) = fit::sign(&unsigned(), &options, &detached).unwrap() else {
            panic!()
        };
        assert_eq!(requests.len(), 2);
        for request in &requests {
            let message = work.write("message", request.to_be_signed());
            let answer = text(&detached.answer_path(request));
            let key = text(&rsa(2048).join("fit.key"));
            let mut sign = vec!["dgst", "-sha256", "-sign", &key, "-out", &answer];
            if padding == Padding::Pss {
                sign.extend(["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:max"]);
            }
            sign.push(&message);
            run("openssl", &sign);
        }
        let Signed::Whole(fit) = fit::sign(&unsigned(), &options, &detached).unwrap() else { panic!() };
        assert!(verify(&fit, rsa(2048)).holds());
        if padding == Padding::Pkcs1 {
            assert_eq!(fit, signed());
        }
    }
}

#[test]
fn u_boots_choice_of_a_configuration() {
    let fit = signed();
    let fit = Fit::parse(&fit).unwrap();
    let name = |compatible: &[&str]| fit.best_match(compatible).map(|found| found.name.clone());
    assert_eq!(fit.default(), Some("conf-1"));
    assert_eq!(name(&["acme,three", "acme,two", "acme,one"]).as_deref(), Some("conf-2"));
    assert_eq!(name(&["acme,three"]), None);
    let two = fit.configuration("conf-2").unwrap();
    assert_eq!(two.named_by("fdt").collect::<Vec<_>>(), ["fdt-2", "overlay-1"]);
    let tree = Tree::parse(fit.image("fdt-2").unwrap().data).unwrap();
    assert_eq!(tree.node("/chosen").unwrap().text("bootargs"), Some("console=ttyAMA0 ro"));
}

#[test]
fn a_key_is_put_into_a_control_device_tree_that_dtc_still_reads() {
    let work = Work::new();
    let keyed = control_tree(&signer(rsa(2048)), Hash::Sha256, Padding::Pkcs1);
    let dtb = work.write("keyed.dtb", &keyed);
    run("dtc", &["-I", "dtb", "-O", "dts", "-o", &work.path("keyed.dts"), &dtb]);
    let required = run("fdtget", &["-t", "s", &dtb, "/signature/key-fit", "required"]);
    assert_eq!(required, b"conf\n");
    assert_eq!(run("fdtget", &["-t", "s", &dtb, "/", "model"]), b"board\n");

    let other = stranger();
    let algorithm = SignatureAlgorithm { hash: Hash::Sha256, bits: 2048, padding: Padding::Pkcs1 };
    let add = |certificate| {
        control::add_key(&keyed, certificate, "fit", algorithm, control::Required::Configuration)
    };
    assert!(matches!(add(other.certificate()), Err(FitError::OtherKey { .. })));
    assert_eq!(add(signer(rsa(2048)).certificate()).unwrap(), keyed);
}
