//! Boards that ship, and boards that users write.

#![allow(clippy::unwrap_used, reason = "a test may fail here")]

use graven_targets::{Arch, BootChain, DeviceTreeSection, Proof, Target, TargetError};
use std::path::Path;

fn written(files: &[(&str, &str)]) -> Result<(Target, usize), String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    match Target::load(&folder.path().join(files[0].0)) {
        Ok((target, read)) => Ok((target, read.len())),
        Err(error) => {
            Err(error.to_string().replace(&format!("{}/", folder.path().display()), "").trim_end().to_owned())
        }
    }
}

const ARM: &str = "name = 'a'\ndescription = 'd'\narch = 'arm'\nboot-chain = 'fit'\nkernel-address = 0x42000000\nconsoles = ['ttyS0']\n";

#[test]
fn every_file_under_boards_ships_under_its_own_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    assert_eq!(files, Target::names().collect::<Vec<_>>());
    for name in files {
        assert_eq!(Target::named(&name).unwrap_or_else(|error| panic!("{error}")).name, name);
    }
}

#[test]
fn a_child_replaces_lists_and_keeps_the_rest() {
    let generic = Target::named("x86_64-uefi").unwrap();
    let qemu = Target::named("qemu-x86_64").unwrap();
    assert_eq!((qemu.arch, qemu.boot_chain, &qemu.disk), (generic.arch, generic.boot_chain, &generic.disk));
    assert_eq!(qemu.command_line.budget(), 1847);
    assert_eq!(
        qemu.drivers.required.iter().map(|m| m.as_str()).collect::<Vec<_>>(),
        ["virtio_pci", "virtio_blk"]
    );
    assert_eq!(qemu.drivers.optional, []);
    assert!(generic.drivers.optional.iter().any(|module| module.as_str() == "usb_storage"));
}

#[test]
fn boards_of_other_architectures_and_boot_chains_parse() {
    let blobs = "[disk]\nfirst-usable-lba = 32768\n\
                 blobs = [{ name = 'u-boot', lba = 16384, size = 4194304 }, { name = 'idbloader', offset = 32768, size = 4096 }]";
    let (target, _) = written(&[("arm.toml", &format!("{ARM}{blobs}"))]).unwrap();
    assert_eq!((target.arch, target.boot_chain, target.proved), (Arch::Arm, BootChain::Fit, Proof::Untried));
    assert_eq!(target.command_line.limit, 1024);
    let blobs: Vec<_> = target.disk.blobs.iter().map(|blob| (blob.name.as_str(), blob.offset)).collect();
    assert_eq!(blobs, [("idbloader", 32768), ("u-boot", 8 << 20)]);
}

#[test]
fn boards_name_what_their_firmware_needs() {
    let board = Target::named("espressobin").unwrap();
    let [blob] = board.disk.blobs.as_slice() else { panic!("{:?}", board.disk) };
    let partition = blob.partition.as_ref().unwrap();
    assert_eq!((blob.offset, blob.end()), (1 << 20, 5 << 20));
    assert_eq!(partition.type_guid.to_string(), "6828311a-ba55-42a4-bcde-a89bb5edecae");
    assert_eq!(board.device_trees[0], "marvell/armada-3720-espressobin.dtb");
    // Firmware in SPI flash instead: the disk is free, the rest stays.
    let (child, _) =
        written(&[("spi.toml", "name = 'spi'\ninherit = 'espressobin'\n[disk]\nblobs = []\n")]).unwrap();
    assert_eq!((child.disk.blobs.as_slice(), child.consoles), (&[][..], board.consoles));
}

#[test]
fn a_uki_board_says_where_its_device_trees_go() {
    let child = |more: &str| {
        let text = format!("name = 'own'\ninherit = 'espressobin'\n{more}");
        written(&[("own.toml", &text)]).map(|(target, _)| target.device_tree_section)
    };
    assert_eq!(child(""), Ok(None));
    assert_eq!(child("device-tree-section = 'dtb'\n"), Ok(Some(DeviceTreeSection::Dtb)));
    assert_eq!(child("device-tree-section = 'dtbauto'\n"), Ok(Some(DeviceTreeSection::Dtbauto)));
    assert_eq!(
        child("device-tree-section = 'dtb'\nboot-chain = 'fit'\nkernel-address = 0x4000000\n"),
        Ok(None)
    );
    assert!(child("device-tree-section = 'fdt'\n").unwrap_err().contains("expected `dtb` or `dtbauto`"));
}

#[test]
fn a_child_of_a_proved_board_is_not_proved() {
    let (target, read) = written(&[("own.toml", "name = 'own'\ninherit = 'x86_64-uefi'\n")]).unwrap();
    assert_eq!((target.proved, read), (Proof::Untried, 1));
    let (_, read) = written(&[
        ("c.toml", "name = 'c'\ninherit = './p.toml'\n"),
        ("p.toml", "name = 'p'\ninherit = 'x86_64-uefi'\n"),
    ])
    .unwrap();
    assert_eq!(read, 2);
}

#[test]
fn unknown_targets_name_the_nearest() {
    let error = Target::named("x86_64-uef").unwrap_err();
    assert!(matches!(error, TargetError::Unknown { nearest: Some("x86_64-uefi"), .. }));
    insta::assert_snapshot!(
        error,
        @"unknown target `x86_64-uef`; did you mean `x86_64-uefi`, of those that ship (arm64-uefi, bananapi-r3, espressobin, macchiatobin, nanopi-r5s, qemu-arm64-fit, qemu-arm64-uefi, qemu-x86_64, x86_64-uefi)?"
    );
}

#[test]
fn mistakes_in_a_board_file_are_said() {
    let mut catalogue = String::new();
    for more in [
        "cpu = 'x'",
        "proved = 'yes'",
        "[drivers]\nrequired = ['a/b.ko']",
        "[command-line]\nlimit = 4096",
        "[command-line]\nreserve = 1024",
        "[command-line]\nadditions = ['']",
        "[disk]\nfirst-usable-lba = 1",
        "[disk]\nblobs = [{ name = 'x', lba = 33, size = 1 }]",
        "[disk]\nfirst-usable-lba = 128\nblobs = [{ name = 'x', lba = 64, size = 1024 }, { name = 'y', lba = 65, size = 9 }]",
        "[disk]\nblobs = [{ name = 'x', lba = 64, size = 18446744073709551615 }]",
        "[disk]\nblobs = [{ name = 'x', lba = 64, offset = 3, size = 1 }]",
        "[disk]\nblobs = [{ name = 'a b', lba = 64, size = 1 }]",
        "[disk]\nfirst-usable-lba = 128\nblobs = [{ name = 'x', lba = 64, size = 1 }, { name = 'x', lba = 65, size = 1 }]",
        "[disk]\nfirst-usable-lba = 128\nblobs = [{ name = 'x', lba = 64, size = 1, type = '0fc63daf-8483-4772-8e79-3d69d8477de4' }]",
        "[disk]\nfirst-usable-lba = 128\nblobs = [{ name = 'x', lba = 64, size = 512, partition = 'fip', type = 'linux' }]",
        "[disk]\nfirst-usable-lba = 128\nblobs = [{ name = 'x', lba = 64, size = 513, partition = 'fip' }]",
        "[disk]\nfirst-usable-lba = 128\nblobs = [{ name = 'x', lba = 64, size = 512, partition = '' }]",
        "device-trees = ['../x.dtb']",
        "inherit = 'qemu-x86'",
        "inherit = './board.toml'",
    ] {
        let (top, section) = if more.starts_with('[') { ("", more) } else { (more, "") };
        let answer = written(&[("board.toml", &format!("{ARM}{top}\n{section}\n"))]).unwrap_err();
        catalogue.push_str(&format!("===== {more}\n{answer}\n\n"));
    }
    for key in ["description", "arch", "boot-chain", "kernel-address", "consoles"] {
        let without: String =
            ARM.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect();
        let answer = written(&[("board.toml", &without)]).unwrap_err();
        catalogue.push_str(&format!("===== without {key}\n{answer}\n\n"));
    }
    insta::assert_snapshot!(catalogue);
}
