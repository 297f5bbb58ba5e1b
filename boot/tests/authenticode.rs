//! Authenticode and UKIs against sbsign, sbverify, ukify and binutils.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod oracle;

use std::fs;

use graven_boot::authenticode::{self, AuthenticodeError};
use graven_boot::fdt::{Node, Property, Tree};
use graven_boot::pe::{Image, PeError, checksum};
use graven_boot::pkcs7::Pkcs7Error;
use graven_boot::sign::Answer;
use graven_boot::uki::{self, DeviceTrees, Parts, Uki, UkiError};
use graven_boot::x509::Certificate;
use oracle::{keys, run, stub, text, try_run};
use proptest::prelude::*;

const CMDLINE: &str = "console=ttyS0 ipe.enforce=1 roothash=00";

fn sign(pe: &[u8]) -> Vec<u8> {
    let Answer::Signed(signed) = authenticode::sign(pe, &keys().signer("db")).unwrap() else { panic!() };
    signed
}

/// A UKI around a small «kernel», the stub itself.
fn small_uki() -> Vec<u8> {
    uki::build(&small_parts()).unwrap()
}

fn small_parts() -> Parts<'static> {
    Parts {
        stub: stub(),
        os_release: "ID=test\n",
        cmdline: CMDLINE,
        uname: "7.3.4",
        initrd: b"not really an archive",
        linux: stub(),
        device_trees: DeviceTrees::None,
    }
}

fn sbverify(pe: &[u8], crt: &str) -> bool {
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("image.efi");
    fs::write(&file, pe).unwrap();
    let output = try_run("sbverify", &["--cert", crt, &text(&file)]);
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains("warning"), "{said}");
    output.status.success()
}

#[test]
fn sbverify_takes_our_signature_and_only_with_our_certificate() {
    for image in [sign(stub()), sign(&small_uki())] {
        assert!(sbverify(&image, &keys().text("db.crt")));
        assert!(!sbverify(&image, &keys().text("kek.crt")));
        assert_eq!(
            authenticode::verify(&image, &keys().certificates("db")).unwrap(),
            &keys().certificates("db")[0]
        );
    }
}

#[test]
fn an_image_signed_by_sbsign_verifies_and_has_our_digest() {
    let work = tempfile::tempdir().unwrap();
    let (input, output) = (work.path().join("in"), work.path().join("out"));
    fs::write(&input, stub()).unwrap();
    let (key, crt) = (keys().text("db.key"), keys().text("db.crt"));
    run("sbsign", &["--key", &key, "--cert", &crt, "--output", &text(&output), &text(&input)]);
    let theirs = fs::read(&output).unwrap();
    authenticode::verify(&theirs, &keys().certificates("db")).unwrap();
    let ours = sign(stub());
    let digest = |pe: &[u8]| authenticode::signatures(pe).unwrap()[0].digest().unwrap();
    assert_eq!(digest(&theirs), digest(&ours));

    // Signed once more by us, both signatures are there and both hold.
    let twice = sign(&theirs);
    assert_eq!(authenticode::signatures(&twice).unwrap().len(), 2);
    authenticode::verify(&twice, &keys().certificates("db")).unwrap();
    assert!(sbverify(&twice, &crt));
}

#[test]
fn a_kernel_signed_by_debian_has_the_digest_that_debian_signed() {
    let kernel = oracle::kernel();
    let signatures = authenticode::signatures(kernel).unwrap();
    let [signature] = signatures.as_slice() else { panic!("{} signatures", signatures.len()) };
    assert_eq!(signature.digest().unwrap(), authenticode::digest(&Image::parse(kernel).unwrap()));
    let error = authenticode::verify(kernel, &keys().certificates("db")).unwrap_err();
    let AuthenticodeError::Signature {
        source: Pkcs7Error::UnknownSigner { .. } | Pkcs7Error::Chain(_), ..
    } = error
    else {
        panic!("{error}")
    };
}

#[test]
fn signing_twice_gives_the_same_bytes_and_a_true_checksum() {
    let signed = sign(&small_uki());
    assert_eq!(signed, sign(&small_uki()));
    let image = Image::parse(&signed).unwrap();
    let stored = image.optional.checksum.get();
    assert_eq!(stored, checksum(&signed, image.checksum_offset()));
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("image.efi");
    fs::write(&file, &signed).unwrap();
    let script = "import pefile, sys; sys.exit(not pefile.PE(sys.argv[1], fast_load=True).verify_checksum())";
    run("python3", &["-c", script, &text(&file)]);
}

#[test]
fn a_changed_byte_anywhere_but_in_the_checksum_is_noticed() {
    let signed = sign(&small_uki());
    let trusted = keys().certificates("db");
    let image = Image::parse(&signed).unwrap();
    let checksum = image.checksum_offset()..image.checksum_offset() + 4;
    let covered = image.certificates.start;
    for at in (0..covered).step_by(211).chain(0..0x600) {
        let mut changed = signed.clone();
        changed[at] ^= 0x10;
        assert_eq!(authenticode::verify(&changed, &trusted).is_err(), !checksum.contains(&at), "byte {at}");
    }
}

#[test]
fn bytes_that_no_signature_would_cover_are_refused() {
    let signed = sign(stub());
    let appended = [signed.as_slice(), &[0; 8]].concat();
    let error = authenticode::verify(&appended, &keys().certificates("db")).unwrap_err();
    assert!(matches!(error, AuthenticodeError::Pe(PeError::Field { .. })), "{error}");
    assert!(matches!(
        authenticode::verify(stub(), &keys().certificates("db")),
        Err(AuthenticodeError::Unsigned)
    ));
}

#[test]
fn a_uki_gives_back_its_parts() {
    let bytes = sign(&small_uki());
    let parts = small_parts();
    let uki = Uki::parse(&bytes).unwrap();
    assert_eq!(uki.cmdline().unwrap(), CMDLINE);
    assert_eq!(uki.os_release().unwrap(), parts.os_release);
    assert_eq!(uki.uname().unwrap(), parts.uname);
    assert_eq!(uki.initrd().unwrap(), parts.initrd);
    assert_eq!(uki.linux().unwrap(), parts.linux);
    assert_eq!(&bytes[uki.range(".cmdline").unwrap()], CMDLINE.as_bytes());
}

#[test]
fn ukify_and_objdump_read_the_same_sections() {
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("image.efi");
    let parts = Parts { linux: oracle::kernel(), ..small_parts() };
    let bytes = uki::build(&parts).unwrap();
    fs::write(&file, &bytes).unwrap();

    let inspected = run("ukify", &["inspect", &text(&file), "--json=short", "--all"]);
    let inspected: serde_json::Value = serde_json::from_slice(&inspected).unwrap();
    assert_eq!(inspected[".cmdline"]["text"], CMDLINE);
    assert_eq!(inspected[".uname"]["text"], "7.3.4");
    assert_eq!(inspected[".initrd"]["size"], parts.initrd.len());
    let uki = Uki::parse(&bytes).unwrap();
    assert_eq!(inspected[".linux"]["size"], uki.linux().unwrap().len());
    assert!(uki.linux().unwrap().starts_with(parts.linux));
    let wanted = Image::parse(parts.linux).unwrap().optional.image_size.get();
    let given = uki.sections().iter().find(|section| section.name == ".linux").unwrap().virtual_size;
    assert_eq!(given, wanted, "the kernel has the room it wants in memory");

    let listed = String::from_utf8(run("objdump", &["-h", &text(&file)])).unwrap();
    let names: Vec<_> = uki.sections().iter().map(|s| s.name.clone()).collect();
    let listed: Vec<_> = listed.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    for name in names {
        assert!(listed.contains(&name.as_str()), "{name} in {listed:?}");
    }
}

fn board(compatible: &str) -> Vec<u8> {
    let root = Node::new("").with(Property::text("compatible", compatible));
    Tree::new(root).unwrap().to_bytes().unwrap()
}

/// The sections of an image by `objdump`: name and contents, in their order.
fn sections_of(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let image = Image::parse(bytes).unwrap();
    image.sections.iter().map(|section| (section.name.clone(), image.contents(section).to_vec())).collect()
}

#[test]
fn device_trees_lie_where_ukify_puts_them() {
    let work = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        fs::write(work.path().join(name), bytes).unwrap();
        text(&work.path().join(name))
    };
    let (one, other) = (board("acme,one"), board("acme,other"));
    let (stub_file, initrd) = (write("stub", stub()), write("initrd", small_parts().initrd));
    let kernel = write("linux", oracle::kernel());
    let (one_file, other_file) = (write("one.dtb", &one), write("other.dtb", &other));
    let (os_release, out) =
        (format!("--os-release={}", small_parts().os_release), text(&work.path().join("out.efi")));
    let all = [one.as_slice(), &other];
    for (trees, options) in [
        (DeviceTrees::Always(&one), vec!["--devicetree", &one_file]),
        (DeviceTrees::Matching(&all), vec!["--devicetree-auto", &one_file, "--devicetree-auto", &other_file]),
    ] {
        let line = format!("--cmdline={CMDLINE}");
        let fixed = [
            "build",
            "--stub",
            &stub_file,
            "--linux",
            &kernel,
            "--initrd",
            &initrd,
            &line,
            "--uname=7.3.4",
            &os_release,
            "--output",
            &out,
        ];
        run("ukify", &[&fixed[..], &options].concat());
        let theirs = sections_of(&fs::read(&out).unwrap());
        let ours =
            uki::build(&Parts { linux: oracle::kernel(), device_trees: trees, ..small_parts() }).unwrap();
        // ukify brings an .sbat of its own with each UKI.
        let added = |sections: Vec<(String, Vec<u8>)>| {
            let stubs = sections_of(stub());
            let added =
                sections.into_iter().filter(|(name, _)| !stubs.iter().any(|(known, _)| known == name));
            added.collect::<Vec<_>>()
        };
        let names = |sections: &[(String, Vec<u8>)]| {
            let names = sections.iter().map(|(name, _)| name.clone());
            // The kernel comes last with us, the initramfs with ukify.
            names.filter(|name| ![".linux", ".initrd"].contains(&name.as_str())).collect::<Vec<_>>()
        };
        let (theirs, ours_added) = (added(theirs), added(sections_of(&ours)));
        assert_eq!(names(&theirs), names(&ours_added));
        for (section, contents) in &ours_added {
            let same = theirs.iter().any(|(name, bytes)| name == section && bytes.starts_with(contents));
            assert!(same || section == ".linux", "{section}");
        }
        let found = Uki::parse(&ours).unwrap();
        let expected: &[&[u8]] = if trees == DeviceTrees::Always(&one) { &[&one] } else { &all };
        assert_eq!(found.device_trees().map(|(_, tree, _)| tree).collect::<Vec<_>>(), expected);
        assert!(found.device_trees().all(|(_, _, checked)| checked.is_ok()));
    }
}

#[test]
fn device_trees_that_say_more_than_the_board_are_not_taken() {
    let build = |trees| uki::build(&Parts { device_trees: trees, ..small_parts() }).unwrap_err().to_string();
    let with_line = {
        let bytes = board("acme,one");
        let mut tree = Tree::parse(&bytes).unwrap();
        tree.set_bootargs("rdinit=/x").unwrap();
        tree.to_bytes().unwrap()
    };
    let nameless = Tree::new(Node::new("")).unwrap().to_bytes().unwrap();
    let one = board("acme,one");
    assert!(build(DeviceTrees::Always(b"no tree")).contains("section .dtb: device tree 1: device tree: "));
    assert!(build(DeviceTrees::Always(&with_line)).contains("/chosen/bootargs"));
    assert!(
        build(DeviceTrees::Matching(&[&one, &nameless]))
            .contains("section .dtbauto: device tree 2: its root says no")
    );
    assert!(uki::build(&Parts { device_trees: DeviceTrees::Always(&nameless), ..small_parts() }).is_ok());
}

#[test]
fn a_uki_that_would_boot_something_else_is_not_made() {
    let build = |parts: Parts<'_>| uki::build(&parts).unwrap_err();
    let cmdline = build(Parts { cmdline: "a\nb", ..small_parts() });
    assert!(matches!(cmdline, UkiError::ControlCharacter { offset: 1 }), "{cmdline}");
    let empty = build(Parts { initrd: b"", ..small_parts() });
    assert!(matches!(empty, UkiError::Empty { name: ".initrd" }), "{empty}");
    let nested = small_uki();
    let nested = build(Parts { stub: &nested, ..small_parts() });
    assert!(matches!(nested, UkiError::Stub { .. }), "{nested}");
    let signed = sign(stub());
    let signed = build(Parts { stub: &signed, ..small_parts() });
    assert!(matches!(signed, UkiError::Stub { .. }), "{signed}");
    let kernel = build(Parts { linux: b"\x1f\x8b", ..small_parts() });
    assert!(matches!(kernel, UkiError::Pe { part: "kernel", .. }), "{kernel}");
    let mut arm = stub().to_vec();
    let machine = Image::parse(stub()).unwrap().coff_offset;
    arm[machine..machine + 2].copy_from_slice(&0xaa64u16.to_le_bytes());
    let machine = build(Parts { linux: &arm, ..small_parts() });
    assert!(matches!(machine, UkiError::Machine { .. }), "{machine}");
}

#[test]
fn a_second_command_line_and_profiles_are_refused() {
    let bytes = small_uki();
    let table = Image::parse(&bytes).unwrap().section_table;
    let rename = |from: &[u8; 8], to: &[u8; 8]| {
        let mut changed = bytes.clone();
        let at = table.clone().step_by(40).find(|at| &bytes[*at..at + 8] == from).unwrap();
        changed[at..at + 8].copy_from_slice(to);
        Uki::parse(&changed).map(|_| ()).unwrap_err()
    };
    assert!(matches!(rename(b".uname\0\0", b".cmdline"), UkiError::Twice { .. }));
    assert!(matches!(rename(b".uname\0\0", b".profile"), UkiError::Profiles));
    assert!(matches!(rename(b".linux\0\0", b".lunix\0\0"), UkiError::Missing { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_mutation_of_a_signed_uki_panics(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        headers in any::<bool>(),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        static SIGNED: std::sync::OnceLock<(Vec<u8>, Vec<Certificate>)> = std::sync::OnceLock::new();
        let (signed, trusted) = SIGNED.get_or_init(|| (sign(&small_uki()), keys().certificates("db")));
        let mut changed = signed.clone();
        for (at, byte) in changes {
            let at = at.index(if headers { 0x600 } else { changed.len() });
            changed[at] = byte;
        }
        if let Some(cut) = cut {
            changed.truncate(cut.index(signed.len()));
        }
        let _ = Uki::parse(&changed).map(|uki| (uki.cmdline().map(str::len).ok(), uki.linux().map(<[u8]>::len).ok()));
        let _ = authenticode::verify(&changed, trusted);
        let _ = authenticode::sign(&changed, &keys().signer("db"));
    }
}
