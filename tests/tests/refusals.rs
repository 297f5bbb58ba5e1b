//! What must not boot, does not: each time the machine stops before the image's init, and says by which code.
//!
//! Words can get onto the command line behind the signed ones: by a signed addon, by an SMBIOS string. A line of ours ends
//! in `--`, so the kernel takes them for arguments of `/init`, and stage0 refuses the line as a whole. What they would do
//! if the kernel did take them is shown by images signed again without the `--`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::path::Path;

use graven::run::Machine;
use graven_handoff::Code;
use graven_tests::attacker::{self, ATTACKER};
use graven_tests::emulated::Emulated;
use graven_tests::forge::{Forgery, addon, signer};
use graven_tests::image;
use graven_tests::refusal::{Stop, assert_stopped};

fn attackers_disk() -> &'static Path {
    attacker::disk(Emulated::X86_64)
}

/// The machine of an image, with words for the command line in an SMBIOS string.
fn with_smbios(out: &Path, words: &str) -> Machine {
    // QEMU takes a comma in a value doubled.
    let words = words.replace(',', ",,");
    let string = format!("type=11,value=io.systemd.stub.kernel-cmdline-extra={words}");
    image::machine(out).arguments(["-smbios", &string])
}

/// stage0 refuses the line and shows what was added.
fn line_is_refused(machine: &Machine, added: &str) {
    let log = assert_stopped(machine, Stop::Stage0(Code::CommandLine));
    let line = log.lines().find(|line| line.contains("S0-21")).unwrap_or_default();
    assert!(line.contains(added), "the line names `{added}`: {line}");
    assert!(!log.contains(ATTACKER), "{log}");
}

/// An image whose signed line is another, with the same line in its initramfs: nothing for stage0 to compare.
fn signed_again(out: &Path, change: impl FnOnce(&str) -> String) -> Forgery {
    let forgery = Forgery::of(out);
    forgery.sign_boot_again(&signer(image::keys()), |parts| parts.set_line(change(&parts.line)));
    forgery
}

/// The line with these words in front, and without the `--` that ends the kernel's own.
fn opened(words: &str, line: &str) -> String {
    format!("{words} {}", line.strip_suffix(" --").expect("a line of ours ends in --"))
}

fn an_addon_that_switches_enforcement_off_is_refused(out: &Path) {
    let forgery = Forgery::of(out);
    let addon = addon("ipe.enforce=0", &signer(image::keys()));
    forgery.put_esp_file("EFI/BOOT/BOOTX64.EFI.extra.d/x.addon.efi", &addon);
    line_is_refused(&image::machine(forgery.path()), "ipe.enforce=0");
}

fn an_smbios_string_that_names_another_root_is_refused(out: &Path) {
    let words = "rdinit=/x root=/dev/vdb rw";
    line_is_refused(&with_smbios(out, words).disk(attackers_disk()), words);
}

fn an_smbios_string_that_switches_enforcement_off_is_refused(out: &Path) {
    line_is_refused(&with_smbios(out, "ipe.enforce=0"), "ipe.enforce=0");
}

fn an_smbios_string_that_skips_the_initramfs_is_refused(out: &Path) {
    let words = "noinitrd root=/dev/vdb rw";
    line_is_refused(&with_smbios(out, words).disk(attackers_disk()), words);
}

fn an_smbios_string_that_leaves_ipe_out_is_refused(out: &Path) {
    let words = "lsm=lockdown,yama root=/dev/vdb rw";
    line_is_refused(&with_smbios(out, words).disk(attackers_disk()), words);
}

/// Debian's generic kernel has neither disk driver nor disk file system built in: without stage0 there is no root.
fn a_signed_line_that_skips_stage0_finds_no_root(out: &Path) {
    for words in ["rdinit=/x root=/dev/vdb rw", "noinitrd root=/dev/vdb rw"] {
        let forgery = signed_again(out, |line| opened(words, line));
        let machine = image::machine(forgery.path()).disk(attackers_disk());
        let log = assert_stopped(&machine, Stop::Kernel("VFS: Unable to mount root fs"));
        assert!(!log.contains(ATTACKER) && !log.contains("graven: stage0"), "{words}: {log}");
    }
}

fn a_signed_line_that_leaves_ipe_out_is_refused_by_its_effect(out: &Path) {
    let forgery = signed_again(out, |line| opened("lsm=lockdown,yama", line));
    let machine = image::machine(forgery.path()).disk(attackers_disk());
    let log = assert_stopped(&machine, Stop::Stage0(Code::Lsm));
    assert!(!log.contains(ATTACKER), "{log}");
}

fn a_signed_line_that_switches_enforcement_off_is_refused_by_its_effect(out: &Path) {
    let forgery = signed_again(out, |line| line.replace("ipe.enforce=1", "ipe.enforce=0"));
    assert_stopped(&image::machine(forgery.path()), Stop::Stage0(Code::Enforce));
}

fn a_second_disk_with_the_same_partitions_is_refused(out: &Path) {
    let machine = image::machine(out).disk(out.join(graven::deliver::DISK));
    assert_stopped(&machine, Stop::Stage0(Code::PartitionTwice));
}

fn a_machine_without_secure_boot_is_refused(out: &Path) {
    let machine = Machine::new(out.join(graven::deliver::DISK));
    assert_stopped(&machine, Stop::Stage0(Code::SecureBoot));
}

fn a_machine_that_trusts_a_stranger_does_not_start_it(out: &Path) {
    let machine = image::machine_trusting(out, image::strangers_keys());
    assert_stopped(&machine, Stop::Firmware);
}

/// Each is a test with `recipes/minimal`, and one of those that `recipes/edge-server` is put to.
macro_rules! attempts {
    ($($(#[$more:meta])* $name:ident)*) => {
        mod on_minimal {
            $(#[test] $(#[$more])* fn $name() { super::$name(graven_tests::image::minimal()); })*
        }
        #[cfg(feature = "full")]
        const ATTEMPTS: &[(&str, fn(&Path))] = &[$((stringify!($name), $name)),*];
    };
}
attempts! {
    an_addon_that_switches_enforcement_off_is_refused
    an_smbios_string_that_names_another_root_is_refused
    #[cfg_attr(not(feature = "full"), ignore = "a boot more: feature `full`")]
    an_smbios_string_that_switches_enforcement_off_is_refused
    #[cfg_attr(not(feature = "full"), ignore = "a boot more: feature `full`")]
    an_smbios_string_that_skips_the_initramfs_is_refused
    #[cfg_attr(not(feature = "full"), ignore = "a boot more: feature `full`")]
    an_smbios_string_that_leaves_ipe_out_is_refused
    #[cfg_attr(not(feature = "full"), ignore = "a boot more: feature `full`")]
    a_signed_line_that_skips_stage0_finds_no_root
    #[cfg_attr(not(feature = "full"), ignore = "a boot more: feature `full`")]
    a_signed_line_that_leaves_ipe_out_is_refused_by_its_effect
    #[cfg_attr(not(feature = "full"), ignore = "a boot more: feature `full`")]
    a_signed_line_that_switches_enforcement_off_is_refused_by_its_effect
    a_second_disk_with_the_same_partitions_is_refused
    #[cfg_attr(not(feature = "full"), ignore = "a boot more: feature `full`")]
    a_machine_without_secure_boot_is_refused
    a_machine_that_trusts_a_stranger_does_not_start_it
}

#[test]
#[cfg(feature = "full")]
fn a_server_with_all_that_it_runs_is_stopped_the_same() {
    let edge = graven_tests::edge::Edge::server();
    image::build(&edge.recipe("server"), &edge.out(), &[]);
    let out = edge.out();
    let got_through = |(_, attempt): &&(&str, fn(&Path))| std::panic::catch_unwind(|| attempt(&out)).is_err();
    let got_through: Vec<&str> = ATTEMPTS.iter().filter(got_through).map(|(name, _)| *name).collect();
    assert!(got_through.is_empty(), "{got_through:#?}");
}
