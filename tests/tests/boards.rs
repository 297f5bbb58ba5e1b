//! Images for real boards: the firmware lies where each board's documents say that its boot ROM looks, byte for byte,
//! and the partition table leaves it alone.
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use graven_image::gpt::Table;
use graven_tests::oracle::{ask, content};
use graven_tests::{image, inputs};

const SECTOR: u64 = 512;

/// A board, the name of its firmware, and from which block on its boot ROM or first loader reads it.
struct Board {
    name: &'static str,
    blob: &'static str,
    block: u64,
    bytes: Vec<u8>,
}

fn boards() -> Vec<Board> {
    // Loader and U-Boot of another Rockchip board, at the same distance; and a U-Boot without TF-A before it: none would
    // start these boards, and all are of the right kind and size.
    let rockchip =
        inputs::member(&inputs::u_boot("rockchip"), "./usr/lib/u-boot/nanopc-t4-rk3399/u-boot-rockchip.bin");
    let marvell =
        inputs::member(&inputs::u_boot("mvebu"), "./usr/lib/u-boot/mvebu_espressobin-88f3720/u-boot.bin");
    let made_up: Vec<u8> = (0..0x20_0001u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let board = |name, blob, block, bytes: &[u8]| Board { name, blob, block, bytes: bytes.to_vec() };
    vec![
        board("nanopi-r5s", "u-boot", 64, &rockchip),
        board("bananapi-r3", "fip", 13312, &made_up),
        board("macchiatobin", "flash-image", 4096, &marvell),
        board("espressobin", "flash-image", 2048, &marvell),
    ]
}

/// A recipe for the board in `folder`: minimal, with these bytes as its firmware. Where the board takes a FIT alone, it is
/// a child of the board that takes a UKI: the disk is the same.
fn recipe(folder: &Path, board: &Board, firmware: &str) {
    let minimal = inputs::project().join("recipes/minimal/recipe.toml");
    fs::write(folder.join("firmware.bin"), &board.bytes).unwrap();
    let child = format!("name = 'child'\ninherit = '{}'\nboot-chain = 'uki'\n", board.name);
    fs::write(folder.join("child.toml"), child).unwrap();
    let stub = inputs::newer_stub_arm64();
    let text =
        format!("inherit = [{minimal:?}]\ntargets = ['./child.toml']\nboot.stub = {stub:?}\n{firmware}\n");
    fs::write(folder.join("recipe.toml"), text).unwrap();
}

fn build(folder: &Path, board: &Board, firmware: &str) -> (PathBuf, Output) {
    recipe(folder, board, firmware);
    let out = folder.join("out");
    let output = image::try_build(folder, &out, image::keys(), &["--target", "child"]);
    (out, output)
}

fn firmware(board: &Board) -> String {
    format!("[firmware.blobs]\n{} = 'firmware.bin'", board.blob)
}

#[test]
fn firmware_lies_where_the_boot_rom_looks_and_nothing_overlaps_it() {
    for board in boards() {
        let folder = image::folder();
        let (out, output) = build(folder.path(), &board, &firmware(&board));
        assert!(output.status.success(), "{}: {}", board.name, String::from_utf8_lossy(&output.stderr));
        let path = out.join(graven::deliver::DISK);
        let disk = fs::File::open(&path).unwrap();

        let mut found = vec![0; board.bytes.len()];
        disk.read_exact_at(&mut found, board.block * SECTOR).unwrap();
        assert!(found == board.bytes, "{}: the firmware is at block {}", board.name, board.block);

        let said = content("sgdisk", ["--verify".as_ref(), path.as_os_str()]);
        assert!(said.contains("No problems found") && !said.contains("Warning"), "{}: {said}", board.name);
        // Reading refuses partitions that overlap, and tables that differ.
        let table = Table::read(&disk).unwrap();
        let covering =
            table.partitions.iter().find(|partition| partition.start == board.block * SECTOR).unwrap();
        assert!(covering.len >= board.bytes.len() as u64 && covering.attributes & 1 == 1, "{covering:?}");

        verifies_but_for_the_firmware(&out, &board);
    }
}

/// Everything is proved save what starts first, and that is known by its digest.
fn verifies_but_for_the_firmware(out: &Path, board: &Board) {
    let disk = out.join(graven::deliver::DISK);
    let verify = || {
        let trust = image::keys().join("db.crt");
        ask(image::graven(), ["verify".as_ref(), disk.as_os_str(), "--trust".as_ref(), trust.as_os_str()])
            .text
    };
    let said = verify();
    assert!(said.contains("NOT PROVED: 1 of 23 links unproved"), "{}: {said}", board.name);
    assert!(
        said.contains(&format!("unproved  firmware             {}, ", board.blob)),
        "{}: {said}",
        board.name
    );

    let file = fs::File::options().write(true).open(&disk).unwrap();
    let last = board.block * SECTOR + board.bytes.len() as u64 - 1;
    file.write_all_at(&[!board.bytes.last().unwrap()], last).unwrap();
    assert!(verify().contains("BAD       firmware "), "{}: a changed byte of firmware is found", board.name);
    file.write_all_at(board.bytes.last_chunk::<1>().unwrap(), last).unwrap();
    file.write_all_at(b"x", last + 1).unwrap();
    assert!(verify().contains("BAD       unused-space "), "{}: and one behind it", board.name);
}

#[test]
fn firmware_that_is_missing_or_unknown_or_too_large_is_refused() {
    let board = boards().remove(3);
    let refused = |board: &Board, firmware: &str| {
        let folder = image::folder();
        let (_, output) = build(folder.path(), board, firmware);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let said = refused(&board, "");
    assert!(said.contains("`firmware.blobs.flash-image` is missing, which `child` needs"), "{said}");
    let said = refused(&board, "[firmware.blobs]\nflash-imag = 'firmware.bin'");
    assert!(
        said.contains("has no blob `flash-imag`") && said.contains("did you mean `flash-image`?"),
        "{said}"
    );
    let large = Board { bytes: vec![1; 0x40_0001], ..board };
    let said = refused(&large, &firmware(&large));
    assert!(
        said.contains("is 4194305 bytes; target child has room for 1 to 4194304 at byte 1048576"),
        "{said}"
    );
}

/// One that could not start its kernel there.
#[test]
fn a_stub_that_is_too_old_for_a_boards_u_boot_is_refused() {
    let folder = image::folder();
    let board = boards().remove(0);
    recipe(folder.path(), &board, &firmware(&board));
    let minimal = inputs::project().join("recipes/minimal");
    let stub = format!("boot.stub=\"{}/inputs/systemd-boot-efi_*_{{arch}}.deb\"", minimal.display());
    let output = image::try_build(
        folder.path(),
        &folder.path().join("out"),
        image::keys(),
        &["--target", "child", "--set", &stub],
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("target child needs systemd-stub 258 or newer, found 257"), "{said}");
}

#[test]
fn a_32_bit_arm_is_refused_by_its_name() {
    let folder = image::folder();
    let minimal = inputs::project().join("recipes/minimal/recipe.toml");
    let recipe = format!("inherit = [{minimal:?}]\ntargets = ['./child.toml']\n");
    fs::write(folder.path().join("child.toml"), "name = 'child'\ninherit = 'arm64-uefi'\narch = 'arm'\n")
        .unwrap();
    fs::write(folder.path().join("recipe.toml"), recipe).unwrap();
    let out = folder.path().join("out");
    let output = image::try_build(folder.path(), &out, image::keys(), &["--target", "child"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("target child is a 32-bit ARM"), "{said}");
}
