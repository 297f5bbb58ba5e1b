//! A UKI with a device tree in it, under AAVMF: the kernel takes the signed tree and not the firmware's.
#![cfg(feature = "full")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::path::Path;

use graven::deliver::DISK;
use graven_boot::fdt::{Property, Tree};
use graven_tests::emulated::Emulated;
use graven_tests::guest::Guest;
use graven_tests::oracle::ask;
use graven_tests::refusal::UP;
use graven_tests::{fit, image, inputs};

/// What the signed tree calls the machine, and QEMU's own does not.
const MODEL: &str = "acme firewall, for tests";

/// `recipes/minimal` for a child of `qemu-arm64-uefi` that has this machine's tree in a section, under another name.
fn build(folder: &Path, section: &str) -> std::path::PathBuf {
    let minimal = inputs::project().join("recipes/minimal/recipe.toml");
    let file = folder.join("board.dtb");
    fit::describe_machine(&file);
    let bytes = fs::read(&file).unwrap();
    let mut tree = Tree::parse(&bytes).unwrap();
    tree.set("/", Property::text("model", MODEL)).unwrap();
    fs::write(&file, tree.to_bytes().unwrap()).unwrap();
    let child = format!("name = 'child'\ninherit = 'qemu-arm64-uefi'\ndevice-tree-section = '{section}'\n");
    fs::write(folder.join("child.toml"), child).unwrap();
    let recipe =
        format!("inherit = [{minimal:?}]\ntargets = ['./child.toml']\nboot.device-trees = ['board.dtb']\n");
    fs::write(folder.join("recipe.toml"), recipe).unwrap();
    let out = folder.join("out");
    let built = image::try_build(folder, &out, image::keys(), &["--target", "child"]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    out
}

/// Boots it without ACPI, so that the firmware has a device tree of its own; answers the kernel's first words.
fn boot(out: &Path) -> String {
    let machine =
        image::machine(out).platform(Emulated::Arm64.platform()).arguments(["-machine", "acpi=off"]);
    let (guest, _) = Guest::reach(&machine, UP);
    guest.stop()
}

#[test]
fn the_kernel_gets_the_signed_tree_and_verify_knows_it() {
    for section in ["dtb", "dtbauto"] {
        let folder = image::folder();
        let out = build(folder.path(), section);
        let (disk, trust) =
            (out.join(DISK).display().to_string(), image::keys().join("db.crt").display().to_string());
        let said = ask(image::graven(), ["verify", &disk, "--trust", &trust]);
        assert!(said.good && said.text.contains("sections of ours, a device tree, "), "{}", said.text);
        let said = ask(image::graven(), ["inspect", &disk]).text;
        assert!(
            said.contains(&format!("  device tree   .{section} for linux,dummy-virt (sha256:")),
            "{said}"
        );
        let log = boot(&out);
        assert!(log.contains(&format!("Machine model: {MODEL}")), ".{section}: {log}");
    }
}
