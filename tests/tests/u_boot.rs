//! The U-Boot that a FIT is for, from the recipe to the offline proof: refused, accepted with reasons, never taken for good.
//! Debian's U-Boots for real boards are not secured ones, which is what is wanted here.
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Output;

use graven_boot::compression::Compression;
use graven_boot::fdt::{MAGIC, Node, Property, Tree};
use graven_boot::fit::control::{Required, add_key};
use graven_boot::fit::{Hash, Padding, SignatureAlgorithm};
use graven_boot::keys::read_certificates;
use graven_boot::u_boot::inspect;
use graven_boot::x509::Certificate;
use graven_tests::oracle::ask;
use graven_tests::{image, inputs};

/// Where BananaPi-R3's U-Boot lies.
const FIP: u64 = 13312 * 512;

fn certificate(keys: &Path) -> Certificate {
    read_certificates(&keys.join("fit.crt")).unwrap().remove(0)
}

/// Debian's U-Boot for a Rockchip board, as its build makes it: program and control device tree.
fn u_boot() -> Vec<u8> {
    inputs::member(&inputs::u_boot("rockchip"), "./usr/lib/u-boot/nanopc-t4-rk3399/u-boot.bin")
}

/// The same with a key in its tree, as `graven fit key --into` and `cat u-boot-nodtb.bin u-boot.dtb` would make it.
fn with_key(u_boot: &[u8], key: &Certificate) -> Vec<u8> {
    let magic = MAGIC.to_be_bytes();
    let at = u_boot.windows(4).rposition(|window| window == magic).unwrap();
    let algorithm = SignatureAlgorithm::of(key.public_key(), Hash::Sha256, Padding::Pkcs1).unwrap();
    let tree = add_key(&u_boot[at..], key, "fit", algorithm, Required::Configuration).unwrap();
    [&u_boot[..at], &tree].concat()
}

/// A recipe for a FIT target over Debian's kernel, which trusts nobody's policy without UEFI: it is built, never booted.
fn recipe(folder: &Path, target: &str, firmware: &str) {
    let minimal = inputs::project().join("recipes/minimal/recipe.toml");
    let tree = Tree::new(Node::new("").with(Property::text("compatible", "acme,board"))).unwrap();
    fs::write(folder.join("board.dtb"), tree.to_bytes().unwrap()).unwrap();
    let drivers = "[drivers]\nrequired = ['virtio_blk']\noptional = []";
    for (name, parent) in [("on-disk", "bananapi-r3"), ("in-flash", "qemu-arm64-fit")] {
        let child = format!("name = '{name}'\ninherit = '{parent}'\n{drivers}\n");
        fs::write(folder.join(name).with_extension("toml"), child).unwrap();
    }
    let kernel = "[kernel]\naccept.signer-not-in-kernel = 'never booted'\n";
    let text = format!(
        "inherit = [{minimal:?}]\ntargets = ['{target}']\n{kernel}[boot]\ndevice-trees = ['board.dtb']\n{firmware}\n"
    );
    fs::write(folder.join("recipe.toml"), text).unwrap();
}

fn build(folder: &Path, target: &str, firmware: &str) -> Output {
    recipe(folder, target, firmware);
    image::try_build(folder, &folder.join("out"), image::keys(), &["--target", name(target)])
}

/// The name of the target in this file.
fn name(file: &str) -> &str {
    file.trim_start_matches("./").trim_end_matches(".toml")
}

/// `accept.NAME = "reason"` for all that speaks against this U-Boot, but for one name.
fn accepting(u_boot: &[u8], but: &str) -> String {
    let found = inspect(u_boot, Some(&certificate(image::keys())));
    let names = found.refusals.iter().map(|refusal| refusal.name).filter(|name| *name != but);
    let mut names: Vec<&str> = names.collect();
    names.dedup();
    names.iter().map(|name| format!("accept.{name} = 'a board for the desk'\n")).collect()
}

fn verify(folder: &Path) -> String {
    let disk = folder.join("out").join(graven::deliver::DISK);
    let trust = ["fit.crt", "policy.crt"].map(|name| image::keys().join(name).display().to_string());
    let disk = disk.display().to_string();
    let arguments =
        ["verify", &disk, "--trust-boot", &trust[0], "--trust-policy", &trust[1], "--trust-root", &trust[1]];
    ask(image::graven(), arguments).text
}

fn link(said: &str) -> &str {
    said.lines().find(|line| line.contains("  u-boot  ")).unwrap_or_else(|| panic!("no link u-boot: {said}"))
}

#[test]
fn a_u_boot_on_the_disk_is_accepted_by_name_and_stays_unproved() {
    let folder = image::folder();
    let board = with_key(&u_boot(), &certificate(image::keys()));
    fs::write(folder.path().join("u-boot.bin"), &board).unwrap();
    let firmware = format!("[firmware]\nblobs.fip = 'u-boot.bin'\n{}", accepting(&board, ""));
    let built = build(folder.path(), "./on-disk.toml", &firmware);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    let manifest = fs::read_to_string(folder.path().join("out/manifest.json")).unwrap();
    assert!(manifest.contains("\"firmware.legacy-images\": \"a board for the desk\""), "{manifest}");
    assert!(manifest.contains("\"on_disk\": true"), "{manifest}");
    let said = verify(folder.path());
    assert!(link(&said).starts_with("unproved"), "{said}");
    assert!(link(&said).contains("ACCEPTED legacy-images (a board for the desk)"), "{said}");

    // Another key in the U-Boot on the disk is not what was accepted.
    let disk = fs::File::options().write(true).open(folder.path().join("out/disk.img")).unwrap();
    let foreign = with_key(&u_boot(), &certificate(image::strangers_keys()));
    assert_eq!(foreign.len(), board.len());
    disk.write_all_at(&foreign, FIP).unwrap();
    let said = verify(folder.path());
    assert!(link(&said).starts_with("BAD") && link(&said).contains("key-foreign: "), "{said}");
}

/// What a board's own U-Boot comes to, as far as the inspection looks: its banner, its configuration, its tree.
fn locked_u_boot() -> Vec<u8> {
    let config = "# U-Boot 2026.10 Configuration\nCONFIG_FIT=y\nCONFIG_FIT_SIGNATURE=y\nCONFIG_RSA=y\nCONFIG_RSA_VERIFY=y\n\
                  CONFIG_ENV_IS_NOWHERE=y\n# CONFIG_CMDLINE is not set\n";
    let tree = Tree::new(Node::new("").with(Property::text("model", "a board"))).unwrap().to_bytes().unwrap();
    let config = Compression::Gzip.compress(config.as_bytes()).unwrap();
    let banner = b"\0U-Boot 2026.10 (Oct 05 2026 - 12:00:00 +0000)\0".as_slice();
    with_key(&[banner, &config, &[0; 8], &tree].concat(), &certificate(image::keys()))
}

#[test]
fn a_u_boot_on_the_disk_that_leaves_nothing_open_is_proved() {
    let folder = image::folder();
    fs::write(folder.path().join("u-boot.bin"), locked_u_boot()).unwrap();
    let built = build(folder.path(), "./on-disk.toml", "[firmware]\nblobs.fip = 'u-boot.bin'\n");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let said = verify(folder.path());
    let proved = "ok        u-boot               U-Boot 2026.10 requires the key that signed the FIT, and starts nothing else";
    assert_eq!(link(&said), proved, "{said}");
    // Who starts that U-Boot is the boot ROM's to say.
    assert!(said.contains("unproved  firmware  ") && said.contains("NOT PROVED: 1 of 24 links"), "{said}");
}

#[test]
fn what_is_refused_is_named_with_its_remedy_and_nothing_lies_in_the_output() {
    let folder = image::folder();
    let refused = |board: &[u8], firmware: &str| {
        fs::write(folder.path().join("u-boot.bin"), board).unwrap();
        let firmware = format!("[firmware]\nu-boot = 'u-boot.bin'\n{firmware}");
        let output = build(folder.path(), "./in-flash.toml", &firmware);
        assert_eq!(output.status.code(), Some(2));
        assert!(!folder.path().join("out").exists());
        String::from_utf8(output.stderr).unwrap()
    };
    let debians = fs::read("/usr/lib/u-boot/qemu_arm64/u-boot.bin").unwrap();
    let said = refused(&debians, "");
    for refusal in inspect(&debians, None).refusals {
        assert!(said.contains(&format!("{}: {}", refusal.name, refusal.why)), "{said}");
    }
    assert!(said.contains("[firmware] accept.NAME = \"reason\""), "{said}");
    // All but one accepted: that one stops it.
    let bare = u_boot();
    let said = refused(&bare, &accepting(&bare, "key-not-required"));
    assert!(said.contains("\n  key-not-required: ") && said.matches("\n  ").count() <= 3, "{said}");
    let said = refused(&bare, &format!("{}accept.second-key = 'x'", accepting(&bare, "")));
    assert!(said.contains("firmware.accept.second-key: this U-Boot gives no occasion for it"), "{said}");
    let said = refused(&bare, "accept.second-keys = 'x'");
    assert!(said.contains("no refusal is called 'second-keys'; did you mean 'second-key'?"), "{said}");
}

#[test]
fn a_u_boot_that_is_not_on_the_disk_is_inspected_and_never_proved() {
    let folder = image::folder();
    let board = with_key(&u_boot(), &certificate(image::keys()));
    fs::write(folder.path().join("u-boot.bin"), &board).unwrap();
    let firmware = format!("[firmware]\nu-boot = 'u-boot.bin'\n{}", accepting(&board, ""));
    let built = build(folder.path(), "./in-flash.toml", &firmware);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let said = verify(folder.path());
    assert!(link(&said).starts_with("unproved"), "{said}");
    assert!(link(&said).contains("not on the disk; the builder was shown U-Boot 20"), "{said}");
    assert!(link(&said).contains("; ACCEPTED: ") && link(&said).contains("legacy-images"), "{said}");

    let plan = |target: &str, firmware: &str| {
        recipe(folder.path(), target, firmware);
        image::run(["plan", "--target", name(target), &folder.path().display().to_string()])
    };
    let said = String::from_utf8(plan("./in-flash.toml", "").stdout).unwrap();
    assert!(said.contains("  u-boot       unproved: not given"), "{said}");
    let accepting = "[firmware]\naccept.scripts = 'x'";
    let said = String::from_utf8(plan("./in-flash.toml", accepting).stderr).unwrap();
    assert!(said.contains("firmware.accept.scripts: no U-Boot is given"), "{said}");
    let said = String::from_utf8(plan("qemu-arm64-uefi", accepting).stderr).unwrap();
    assert!(said.contains("`firmware.accept` is for FIT targets: a UEFI starts `qemu-arm64-uefi`"), "{said}");
}

#[test]
fn every_u_boot_of_debians_for_arm64_boards_is_found_with_its_tree() {
    for (maker, files) in [
        (
            "rockchip",
            [
                "nanopc-t4-rk3399/u-boot-rockchip.bin",
                "rock-pi-e-rk3328/u-boot-rockchip.bin",
                "rock64-rk3328/u-boot-rockchip-spi.bin",
                "nanopc-t4-rk3399/u-boot.itb",
            ]
            .as_slice(),
        ),
        ("mvebu", &["mvebu_espressobin-88f3720/u-boot.bin"]),
    ] {
        for file in files {
            let found =
                inspect(&inputs::member(&inputs::u_boot(maker), &format!("./usr/lib/u-boot/{file}")), None);
            assert_eq!(found.versions.len(), 1, "{file}: {found:?}");
            let names: Vec<&str> = found.refusals.iter().map(|refusal| refusal.name).collect();
            assert!(names.contains(&"key-not-required") && names.contains(&"prompt"), "{file}: {names:?}");
            assert!(!names.contains(&"control-tree-from-outside"), "{file}: {names:?}");
        }
    }
}
