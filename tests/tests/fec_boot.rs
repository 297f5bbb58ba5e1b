//! The kernel mends what our parity covers: a root whose blocks were broken boots, and reads back as it was.
#![cfg(feature = "full")]

use graven_tests::forge::{Forgery, Part};
use graven_tests::guest::Guest;
use graven_tests::{image, inputs};
use graven_verity::hash::Algorithm;

const BLOCK: u64 = 4096;
const SHELL: &str = "/usr/bin/busybox";
/// Words of `recipes/minimal`'s init, a script.
const INIT: &[u8] = b"echo \"minimal: up\"";

#[test]
fn broken_blocks_of_a_device_of_ours_are_mended_by_the_kernel() {
    let folder = image::folder();
    let out = folder.path().join("out");
    let recipe = inputs::project().join("recipes/minimal");
    image::build(&recipe, &out, &["--set", "verity.fec-roots=2"]);
    let broken = Forgery::of(&out);

    // A whole block of the shell, a bit of init, the first block of the lowest level of the tree.
    let shell = broken.first_block_of(SHELL);
    let good = broken.read(Part::Root, shell, BLOCK as usize);
    broken.write(Part::Root, shell, &[0xee; BLOCK as usize]);
    broken.flip(Part::Root, broken.find(Part::Root, INIT));
    // After the superblock's block comes the top of the tree, then the level below it.
    broken.write(Part::Verity, 2 * BLOCK, &[0x11; BLOCK as usize]);

    let mut guest = Guest::boot(&image::machine(broken.path()), "minimal: up");
    let log = guest.kernel_log();
    assert!(log.contains("verity-fec") && log.contains("corrected"), "the kernel says what it mended: {log}");
    // What the guest reads is the block that was broken, as it was.
    let read = guest.succeed(&format!("dd if={SHELL} bs={BLOCK} count=1 2>/dev/null | sha256sum"));
    assert!(read.starts_with(&Algorithm::Sha256.digest(&good).to_string()), "{read}");
    // All of it can be read, the rest of the broken tree included.
    guest.succeed("find / -xdev -type f -exec cat {} + >/dev/null");
}
