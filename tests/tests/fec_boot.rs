//! The kernel mends what our parity covers: a root whose blocks were broken boots, and reads back as it was.
#![cfg(feature = "full")]

use graven_tests::forge::{Forgery, Part};
use graven_tests::guest::Guest;
use graven_tests::{image, inputs};
use graven_verity::hash::Algorithm;

const BLOCK: u64 = 4096;
const ROOTS: u64 = 2;
const SHELL: &str = "/usr/bin/busybox";
/// Words of `recipes/minimal`'s init, a script.
const INIT: &[u8] = b"echo \"minimal: up\"";

#[test]
fn broken_blocks_of_a_device_of_ours_are_mended_by_the_kernel() {
    let folder = image::folder();
    let out = folder.path().join("out");
    let recipe = inputs::project().join("recipes/minimal");
    image::build(&recipe, &out, &["--set", &format!("verity.fec-roots={ROOTS}")]);
    let broken = Forgery::of(&out);

    // A whole block of the shell, a bit of init, a block of the lowest level of the tree. A code word has a byte of every
    // `apart`-th block, and its two of parity mend one bad byte, or two where the kernel can tell whose they are: by the tree
    // alone. So the tree's block is one whose words hold none of the others.
    let params = broken.superblock().params;
    let apart = (params.data_blocks() + params.tree_blocks()).div_ceil(255 - ROOTS);
    let (shell, init) = (broken.first_block_of(SHELL), broken.find(Part::Root, INIT));
    let taken = [shell, init].map(|offset| offset / BLOCK % apart);
    let leaf = |block: &u64| !taken.contains(&((params.data_blocks() + block) % apart));
    // Block 0 of the tree is its top, and the superblock has a block before it.
    let leaf = (1..params.tree_blocks()).find(leaf).expect("more blocks than words");
    let good = broken.read(Part::Root, shell, BLOCK as usize);
    broken.write(Part::Root, shell, &[0xee; BLOCK as usize]);
    broken.flip(Part::Root, init);
    broken.write(Part::Verity, (1 + leaf) * BLOCK, &[0x11; BLOCK as usize]);

    let mut guest = Guest::boot(&image::machine(broken.path()), "minimal: up");
    let log = guest.kernel_log();
    assert!(log.contains("verity-fec") && log.contains("corrected"), "the kernel says what it mended: {log}");
    // What the guest reads is the block that was broken, as it was.
    let read = guest.succeed(&format!("dd if={SHELL} bs={BLOCK} count=1 2>/dev/null | sha256sum"));
    assert!(read.starts_with(&Algorithm::Sha256.digest(&good).to_string()), "{read}");
    // All of it can be read, the rest of the broken tree included.
    guest.succeed("find / -xdev -type f -exec cat {} + >/dev/null");
}
