//! U-Boots, real and made up: what is found in them, and that no bytes confuse the search.
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod oracle;

use std::collections::BTreeMap;

use graven_boot::compression::Compression;
use graven_boot::fdt::{Node, Property, Tree};
use graven_boot::fit::control::{Required, add_key};
use graven_boot::fit::{Hash, Padding, SignatureAlgorithm};
use graven_boot::sign::Signer;
use graven_boot::u_boot::{Inspection, NAMES, accept, inspect};
use graven_boot::x509::Certificate;
use oracle::keys;
use proptest::prelude::*;

/// Debian's, with everything that a board should not have, and its control device tree from QEMU.
const DEBIANS: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";
const BANNER: &str = "U-Boot 2026.10 (Oct 05 2026 - 12:00:00 +0000)";
/// A configuration by `docs/u-boot.md`.
const LOCKED: &str = "#\n# Automatically generated file; DO NOT EDIT.\n# U-Boot 2026.10 Configuration\n#\n\
    CONFIG_FIT=y\nCONFIG_FIT_SIGNATURE=y\nCONFIG_RSA=y\nCONFIG_RSA_VERIFY=y\nCONFIG_CMDLINE=y\nCONFIG_AUTOBOOT=y\n\
    CONFIG_BOOTDELAY=-2\nCONFIG_ENV_IS_NOWHERE=y\nCONFIG_CMD_CONFIG=y\n# CONFIG_LEGACY_IMAGE_FORMAT is not set\n";
const ENVIRONMENT: &str = "bootcmd=load mmc 0:1 $loadaddr boot.itb && bootm $loadaddr; reset\0bootdelay=-2\0loadaddr=0x50000000\0\0";

fn signer() -> Certificate {
    keys().signer("fit").certificate().clone()
}

fn stranger() -> Certificate {
    keys().signer("db").certificate().clone()
}

fn tree() -> Tree<'static> {
    Tree::new(Node::new("").with(Property::text("model", "a board"))).unwrap()
}

fn with_key(tree: &[u8], certificate: &Certificate, name: &str, required: Required) -> Vec<u8> {
    let algorithm = SignatureAlgorithm::of(certificate.public_key(), Hash::Sha256, Padding::Pkcs1).unwrap();
    add_key(tree, certificate, name, algorithm, required).unwrap()
}

fn good_tree() -> Vec<u8> {
    with_key(&tree().to_bytes().unwrap(), &signer(), "fit", Required::Configuration)
}

/// A program as `u-boot.bin` is one: texts, environment, configuration, and its control device tree behind it.
fn u_boot(config: Option<&str>, texts: &[&str], tree: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x14, 0, 0, 0x14, 0, 0, 0, 0];
    for text in texts.iter().copied().chain([BANNER]) {
        bytes.extend(text.as_bytes());
        bytes.push(0);
    }
    bytes.extend(b"\0\0");
    bytes.extend(ENVIRONMENT.as_bytes());
    if let Some(config) = config {
        bytes.extend(Compression::Gzip.compress(config.as_bytes()).unwrap());
    }
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(tree);
    bytes
}

fn refused(found: &Inspection) -> Vec<&str> {
    found.refusals.iter().map(|refusal| refusal.name).collect()
}

fn open(found: &Inspection) -> Vec<&str> {
    found.open.iter().map(|open| open.name).collect()
}

#[test]
fn a_locked_u_boot_leaves_nothing_to_be_said() {
    let found = inspect(&u_boot(Some(LOCKED), &[], &good_tree()), Some(&signer()));
    assert_eq!(found, Inspection { versions: vec!["2026.10".into()], ..Inspection::default() });
}

#[test]
fn without_its_configuration_much_is_left_open_and_nothing_taken_for_good() {
    let verifies = "Failed to verify required signature '%s'";
    let found = inspect(&u_boot(None, &[verifies], &good_tree()), Some(&signer()));
    assert_eq!(refused(&found), [""; 0]);
    let forbidden = [
        "android-images",
        "boots-from-any-medium",
        "boots-unsigned",
        "efi-loader",
        "environment-stored",
        "fit-verity",
        "images-from-outside",
        "legacy-images",
        "scripts",
    ];
    assert_eq!(open(&found), forbidden);
}

#[test]
fn debians_u_boot_for_qemu_is_no_secured_boards() {
    let found = inspect(&std::fs::read(DEBIANS).unwrap(), Some(&signer()));
    assert!(found.versions[0].starts_with("20"), "{:?}", found.versions);
    let expected = [
        "boots-from-any-medium",
        "boots-unsigned",
        "control-tree-from-outside",
        "efi-loader",
        "environment-stored",
        "images-from-outside",
        "legacy-images",
        "prompt",
        "scripts",
        "shell-after-failure",
    ];
    assert_eq!(refused(&found), expected);
    assert_eq!(open(&found), ["android-images", "fit-verity"]);
}

#[test]
fn mkimage_puts_the_key_where_it_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| oracle::text(&folder.path().join(name));
    std::fs::write(path("fit.its"), "/dts-v1/; / { description = \"x\"; #address-cells = <1>; images { k { \
        description = \"k\"; data = [00]; type = \"kernel\"; arch = \"arm64\"; os = \"linux\"; compression = \"none\"; \
        load = <0>; entry = <0>; hash-1 { algo = \"sha256\"; }; }; }; configurations { default = \"c\"; c { kernel = \"k\"; \
        signature-1 { algo = \"sha256,rsa2048\"; key-name-hint = \"fit\"; sign-images = \"kernel\"; }; }; }; };").unwrap();
    std::fs::write(path("control.dtb"), tree().to_bytes().unwrap()).unwrap();
    for name in ["fit.key", "fit.crt"] {
        std::fs::copy(keys().path(name), path(name)).unwrap();
    }
    let (its, dtb, fit, folder_name) =
        (path("fit.its"), path("control.dtb"), path("fit.itb"), oracle::text(folder.path()));
    oracle::run("mkimage", &["-f", &its, "-k", &folder_name, "-K", &dtb, "-r", &fit]);
    let dtb = std::fs::read(dtb).unwrap();
    assert_eq!(refused(&inspect(&u_boot(Some(LOCKED), &[], &dtb), Some(&signer()))), [""; 0]);
    assert_eq!(refused(&inspect(&u_boot(Some(LOCKED), &[], &dtb), Some(&stranger()))), ["key-foreign"]);
}

#[test]
fn keys_that_require_nothing_or_of_others_are_refused() {
    let plain = tree().to_bytes().unwrap();
    let two = with_key(&good_tree(), &stranger(), "other", Required::No);
    let any = {
        let mut any = Tree::parse(&two).unwrap();
        any.set("/signature", Property::text("required-mode", "any")).unwrap();
        any.to_bytes().unwrap()
    };
    let broken = {
        let good = good_tree();
        let mut broken = Tree::parse(&good).unwrap();
        broken.set("/signature/key-fit", Property::cell("rsa,n0-inverse", 1)).unwrap();
        broken.to_bytes().unwrap()
    };
    for (tree, expected) in [
        (plain.clone(), vec!["key-not-required"]),
        (with_key(&plain, &signer(), "fit", Required::No), vec!["key-not-required"]),
        (with_key(&plain, &signer(), "fit", Required::Image), vec!["key-not-required"]),
        (with_key(&plain, &stranger(), "fit", Required::Configuration), vec!["key-foreign"]),
        (two, vec!["second-key"]),
        (any, vec!["required-mode-any", "second-key"]),
        (broken, vec!["key-unusable"]),
    ] {
        assert_eq!(refused(&inspect(&u_boot(Some(LOCKED), &[], &tree), Some(&signer()))), expected);
    }
    // Whose key it must be is not settled yet: then it is not judged.
    let foreign = with_key(&plain, &stranger(), "fit", Required::Configuration);
    assert_eq!(refused(&inspect(&u_boot(Some(LOCKED), &[], &foreign), None)), [""; 0]);
}

#[test]
fn every_option_that_opens_a_way_is_refused_by_its_name() {
    let on = |symbol: &str| format!("{LOCKED}CONFIG_{symbol}=y\n");
    for (symbol, expected) in [
        ("ANDROID_BOOT_IMAGE", "android-images"),
        ("USE_BOOTARGS", "bootargs-set"),
        ("BOOTARGS_SUBST", "bootargs-set"),
        ("USE_PREBOOT", "bootargs-set"),
        ("BOOTSTD", "boots-from-any-medium"),
        ("CMD_BOOTI", "boots-unsigned"),
        ("CMD_GO", "boots-unsigned"),
        ("OF_BOARD", "control-tree-from-outside"),
        ("EFI_LOADER", "efi-loader"),
        ("ENV_IS_IN_MMC", "environment-stored"),
        ("CMD_SAVEENV", "environment-stored"),
        ("FIT_VERITY", "fit-verity"),
        ("FASTBOOT", "images-from-outside"),
        ("CMD_SOURCE", "scripts"),
    ] {
        let found = inspect(&u_boot(Some(&on(symbol)), &[], &good_tree()), Some(&signer()));
        assert_eq!(refused(&found), [expected], "{symbol}");
        assert!(found.refusals[0].why.contains(&format!("CONFIG_{symbol}=y")), "{}", found.refusals[0]);
    }
    let legacy = LOCKED.replace("# CONFIG_LEGACY_IMAGE_FORMAT is not set", "CONFIG_LEGACY_IMAGE_FORMAT=y");
    let unverified = LOCKED.replace("CONFIG_FIT_SIGNATURE=y\n", "");
    for (config, expected) in [(legacy, "legacy-images"), (unverified, "fit-signature-off")] {
        assert_eq!(refused(&inspect(&u_boot(Some(&config), &[], &good_tree()), Some(&signer()))), [expected]);
    }
    // A list of what may be written is the other good answer.
    let listed = on("ENV_IS_IN_MMC") + "CONFIG_ENV_WRITEABLE_LIST=y\nCONFIG_ENV_ACCESS_IGNORE_FORCE=y\n";
    assert_eq!(refused(&inspect(&u_boot(Some(&listed), &[], &good_tree()), Some(&signer()))), [""; 0]);
}

#[test]
fn what_boots_and_who_may_stop_it_is_read_from_tree_and_environment() {
    let config = |properties: &[Property<'static>]| {
        let mut node = Node::new("config");
        for property in properties {
            node = node.with(property.clone());
        }
        let mut tree = tree();
        tree.add("/", node).unwrap();
        with_key(&tree.to_bytes().unwrap(), &signer(), "fit", Required::Configuration)
    };
    let cell = |name, value: i32| Property::cell(name, value.cast_unsigned());
    for (properties, expected) in [
        (vec![cell("bootdelay", -2)], vec![]),
        (vec![cell("bootdelay", 0)], vec!["prompt"]),
        (vec![cell("bootdelay", 3)], vec!["prompt"]),
        (vec![Property::text("bootcmd", "bootm")], vec!["shell-after-failure"]),
        (vec![Property::text("bootcmd", "bootm"), cell("bootsecure", 1), cell("bootdelay", 3)], vec![]),
        (vec![Property::text("bootcmd", "setenv bootargs x; bootm; reset")], vec!["bootargs-set"]),
    ] {
        let found = inspect(&u_boot(Some(LOCKED), &[], &config(&properties)), Some(&signer()));
        assert_eq!(refused(&found), expected, "{properties:?}");
    }
    let with = |environment: &str| {
        let bytes = u_boot(Some(LOCKED), &[], &good_tree());
        let at = bytes.windows(8).position(|window| window == b"bootcmd=").unwrap();
        let mut bytes = bytes;
        bytes.splice(at..at + ENVIRONMENT.len(), environment.bytes());
        refused(&inspect(&bytes, Some(&signer()))).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(with("bootcmd=bootm; reset\0bootdelay=5\0\0"), ["prompt"]);
    assert_eq!(with("bootcmd=bootm\0bootdelay=-2\0\0"), ["shell-after-failure"]);
    assert_eq!(with("bootcmd=bootm; reset\0bootargs=quiet\0\0"), ["bootargs-set"]);
    assert_eq!(with("bootcmd=bootm; reset\0preboot=run x\0\0"), ["bootargs-set"]);
    assert_eq!(with("bootcmd=run a; reset\0a=env set bootargs b\0\0"), ["bootargs-set"]);
}

#[test]
fn it_is_found_behind_its_loader_and_in_a_compressed_part_and_of_two_the_worse_counts() {
    let good = u_boot(Some(LOCKED), &[], &good_tree());
    let spl = [
        b"U-Boot SPL 2026.10 (Oct 05 2026 - 12:00:00 +0000)\0\0\0\0".as_slice(),
        &tree().to_bytes().unwrap(),
    ]
    .concat();
    let xz = [&[7; 40], Compression::Xz.compress(&good).unwrap().as_slice(), &[9; 40]].concat();
    for firmware in [[spl.as_slice(), &good].concat(), xz, [good.as_slice(), &good].concat()] {
        assert_eq!(refused(&inspect(&firmware, Some(&signer()))), [""; 0]);
    }
    let bad = u_boot(Some(LOCKED), &[], &tree().to_bytes().unwrap());
    for firmware in [[good.as_slice(), &bad].concat(), [bad.as_slice(), &good].concat()] {
        assert_eq!(refused(&inspect(&firmware, Some(&signer()))), ["key-not-required"]);
    }
    // SPL's own tree is not that of U-Boot proper.
    let bare = u_boot(Some(LOCKED), &[], &[]);
    assert_eq!(
        refused(&inspect(&[spl.as_slice(), &bare].concat(), Some(&signer()))),
        ["control-tree-from-outside"]
    );
    assert_eq!(refused(&inspect(&spl, Some(&signer()))), ["u-boot-not-found"]);
    assert_eq!(refused(&inspect(&[], None)), ["u-boot-not-found"]);
}

#[test]
fn names_are_in_order_and_accepted_by_them() {
    assert!(NAMES.is_sorted());
    let bad = inspect(&u_boot(Some(LOCKED), &[], &tree().to_bytes().unwrap()), Some(&signer()));
    let reasons = |name: &str| BTreeMap::from([(name.to_owned(), "a reason".to_owned())]);
    let judged = accept(bad.refusals.clone(), &reasons("key-not-required")).unwrap();
    assert_eq!((judged.remaining.len(), judged.accepted.len(), judged.idle.len()), (0, 1, 0));
    let judged = accept(bad.refusals.clone(), &reasons("scripts")).unwrap();
    assert_eq!((judged.remaining.len(), judged.idle), (1, vec!["scripts"]));
    let error = accept(bad.refusals, &reasons("script")).unwrap_err();
    assert_eq!(error.to_string(), "no refusal is called 'script'; did you mean 'scripts'?");
}

#[test]
fn more_trees_or_streams_than_any_firmware_has_are_not_looked_through() {
    let many_trees = good_tree().repeat(5000);
    let bomb = Compression::Gzip.compress(&vec![0; 200 << 20]).unwrap();
    for firmware in [many_trees, bomb] {
        let found = inspect(&firmware, None);
        assert_eq!(refused(&found), ["u-boot-not-found"]);
        assert!(found.refusals[0].why.contains("was not looked through"), "{}", found.refusals[0]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn garbage_is_never_taken_for_a_locked_u_boot(mut bytes in proptest::collection::vec(any::<u8>(), 0..4096), at in any::<proptest::sample::Index>()) {
        prop_assert!(!inspect(&bytes, None).refusals.is_empty());
        // With a banner in it, and the beginning of a device tree and of a stream.
        let at = at.index(bytes.len() + 1);
        let parts = [BANNER.as_bytes(), b" (\0", &[0xd0, 0x0d, 0xfe, 0xed], &[0x1f, 0x8b, 8, 0]].concat();
        bytes.splice(at..at, parts);
        prop_assert!(!inspect(&bytes, None).refusals.is_empty());
    }

    #[test]
    fn no_change_of_a_tree_makes_it_require_a_key_that_it_did_not(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<proptest::sample::Index>(),
    ) {
        let bare = u_boot(Some(LOCKED), &[], &with_key(&tree().to_bytes().unwrap(), &stranger(), "fit", Required::No));
        let mut changed = bare;
        for (at, byte) in changes {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        prop_assert!(!inspect(&changed, Some(&signer())).refusals.is_empty());
        let cut = cut.index(changed.len());
        prop_assert!(!inspect(&changed[..cut], Some(&signer())).refusals.is_empty());
    }
}
