//! The command line of a FIT: who stops one that is not the signed one. U-Boot writes `bootargs` of its environment over
//! the signed line, so an environment that can be written is the attack; and a line that a stolen key signed again is one.
//! Slow the first time: kernels and a U-Boot are built.
#![cfg(feature = "full")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::path::{Path, PathBuf};

use graven::run::{Machine, Platform};
use graven_boot::fit::control::{Required, add_key};
use graven_boot::fit::{Hash, Padding, SignatureAlgorithm};
use graven_boot::u_boot::inspect;
use graven_handoff::Code;
use graven_tests::attacker::{self, ATTACKER};
use graven_tests::emulated::Emulated;
use graven_tests::fit::{self, FIT_FILE, Kernel, certificate};
use graven_tests::forge::{Forgery, signer_of};
use graven_tests::guest::{BOOT, Guest};
use graven_tests::oracle::ask;
use graven_tests::refusal::{Stop, UP, assert_stopped};
use graven_tests::{image, inputs};

/// What a line must have to lead the kernel past stage0, to the attacker's disk.
const LEADS_AWAY: &str = "console=ttyAMA0 rdinit=/none root=/dev/vdb rw init=/x";
/// Bytes of QEMU's second flash, where Debian's U-Boot keeps its environment, and of the environment in it
/// (`qemu_arm64_defconfig`: CONFIG_ENV_ADDR, CONFIG_ENV_SIZE).
const FLASH: u64 = 64 << 20;
const ENVIRONMENT: &str = "0x40000";

/// The machine of an image with an environment in its flash that has this `bootargs`, and the attacker's disk as its second.
fn with_bootargs(folder: &Path, disk: &Path, bootargs: &str) -> Machine {
    let flash = environment(folder, bootargs);
    machine(disk).arguments(["-drive", &format!("if=pflash,unit=1,format=raw,file={}", flash.display())])
}

fn machine(disk: &Path) -> Machine {
    fit::machine(disk).disk(attacker::disk(Emulated::Arm64))
}

/// A flash with an environment, made by U-Boot's own tool.
fn environment(folder: &Path, bootargs: &str) -> PathBuf {
    let path = |name: &str| folder.join(name);
    let (text, flash) = (path("environment.txt"), path("flash.img"));
    fs::write(&text, format!("bootargs={bootargs}\n")).unwrap();
    let names = [&flash, &text].map(|path| path.display().to_string());
    let made = ask("mkenvimage", ["-s", ENVIRONMENT, "-o", &names[0], &names[1]]);
    assert!(made.good, "{}", made.text);
    fs::File::options().write(true).open(&flash).unwrap().set_len(FLASH).unwrap();
    flash
}

fn signed_line() -> String {
    fit::line(&fs::read(fit::minimal(Kernel::Base).join("minimal.itb")).unwrap())
}

/// What `graven verify` says of a link.
fn link(disk: &Path, name: &str) -> String {
    let certificate = |role: &str| inputs::arm64_keys().join(format!("{role}.crt")).display().to_string();
    let (boot, policy) = (certificate("fit"), certificate("policy"));
    let disk = disk.display().to_string();
    let said = ask(
        image::graven(),
        ["verify", &disk, "--trust-boot", &boot, "--trust-policy", &policy, "--trust-root", &policy],
    );
    assert!(!said.good, "a FIT without its U-Boot is never proved: {}", said.text);
    let line = said.text.lines().find(|line| line.split_whitespace().nth(1) == Some(name));
    line.unwrap_or_else(|| panic!("no link {name}: {}", said.text)).to_owned()
}

/// As an attacker with the FIT's key signs it: the line in the device tree is another, its copy in the initramfs is not.
fn signed_again(line: &str) -> Forgery {
    let forgery = Forgery::of(fit::minimal(Kernel::Base));
    let signed = fit::with_line(&forgery.esp_file(FIT_FILE), line, &signer_of(&inputs::arm64_keys(), "fit"));
    forgery.put_esp_file(FIT_FILE, &signed);
    forgery
}

#[test]
fn an_environment_with_a_harmless_line_is_refused_by_stage0() {
    let folder = image::folder();
    let disk = fit::minimal(Kernel::Base).join("disk.img");
    let line = signed_line().replacen("console=", "quiet console=", 1);
    let log = assert_stopped(&with_bootargs(folder.path(), &disk, &line), Stop::Stage0(Code::CommandLine));
    assert!(log.contains("sha256,rsa2048:fit+ OK"), "the FIT itself is the signed one: {log}");
    assert!(
        link(&disk, "u-boot").starts_with("unproved"),
        "no image tells where its U-Boot has bootargs from"
    );
}

#[test]
fn an_environment_that_skips_stage0_finds_no_disk_where_the_driver_is_a_module() {
    let folder = image::folder();
    let disk = fit::minimal(Kernel::Base).join("disk.img");
    for words in ["", " ipe.enforce=0", " lsm=lockdown,yama"] {
        let line = format!("{LEADS_AWAY}{words}");
        let machine = with_bootargs(folder.path(), &disk, &line);
        let log = assert_stopped(&machine, Stop::Kernel("VFS: Unable to mount root fs"));
        assert!(log.contains("sha256,rsa2048:fit+ OK") && !log.contains("graven: stage0"), "{line}: {log}");
        assert!(!log.contains(ATTACKER), "{line}: {log}");
    }
}

#[test]
fn a_compiled_in_policy_stops_a_line_that_skips_stage0_unless_it_switches_enforcement_off() {
    let folder = image::folder();
    let disk = fit::minimal(Kernel::Deny).join("disk.img");
    let log = assert_stopped(
        &with_bootargs(folder.path(), &disk, LEADS_AWAY),
        Stop::Kernel("Requested init /x failed (error -13)"),
    );
    assert!(!log.contains(ATTACKER), "{log}");
    // Nothing stops these: that is why a module is the better half of the choice, and why the link is unproved.
    for words in ["ipe.enforce=0", "lsm=lockdown,yama"] {
        let machine = with_bootargs(folder.path(), &disk, &format!("{LEADS_AWAY} {words}"));
        let mut guest = Guest::start(&machine);
        guest.expect(ATTACKER, BOOT);
        let log = guest.stop();
        assert!(log.contains("sha256,rsa2048:fit+ OK") && !log.contains("graven: stage0"), "{words}: {log}");
    }
    assert!(link(&disk, "u-boot").starts_with("unproved"));
}

#[test]
fn a_line_signed_again_is_refused_by_stage0_and_by_verify() {
    let forgery = signed_again(&signed_line().replacen("console=", "quiet console=", 1));
    let log = assert_stopped(&machine(forgery.path()), Stop::Stage0(Code::CommandLine));
    assert!(log.contains("sha256,rsa2048:fit+ OK"), "{log}");
    assert!(link(forgery.path(), "command-line").starts_with("BAD"));
}

#[test]
fn a_line_signed_again_that_skips_stage0_finds_no_disk_and_is_refused_by_verify() {
    let forgery = signed_again(LEADS_AWAY);
    let log = assert_stopped(&machine(forgery.path()), Stop::Kernel("VFS: Unable to mount root fs"));
    assert!(!log.contains(ATTACKER) && !log.contains("graven: stage0"), "{log}");
    assert!(link(forgery.path(), "command-line").starts_with("BAD"));
}

/// The U-Boot of `tests/u-boot` with the machine's tree and the FIT's key behind it.
fn locked_u_boot(folder: &Path) -> PathBuf {
    let tree = folder.join("virt.dtb");
    fit::describe_machine(&tree);
    let key = certificate(&inputs::arm64_keys(), "fit");
    let algorithm = SignatureAlgorithm::of(key.public_key(), Hash::Sha256, Padding::Pkcs1).unwrap();
    let tree = add_key(&fs::read(tree).unwrap(), &key, "fit", algorithm, Required::Configuration).unwrap();
    let file = folder.join("u-boot.bin");
    fs::write(&file, [inputs::locked_u_boot(), tree].concat()).unwrap();
    file
}

#[test]
fn a_u_boot_by_the_book_takes_no_environment_no_key_and_no_strangers_fit() {
    let folder = image::folder();
    let u_boot = locked_u_boot(folder.path());
    let found = inspect(&fs::read(&u_boot).unwrap(), Some(&certificate(&inputs::arm64_keys(), "fit")));
    assert_eq!((found.refusals, found.open), (Vec::new(), Vec::new()));

    let disk = fit::minimal(Kernel::Base).join("disk.img");
    let flash = environment(folder.path(), &format!("{LEADS_AWAY} ipe.enforce=0"));
    let flash = format!("if=pflash,unit=1,format=raw,file={}", flash.display());
    let machine = |disk: &Path| Machine::new(disk).platform(Platform::Virt).own_u_boot(&u_boot);
    let mut guest = Guest::start(&machine(&disk).arguments(["-drive", &flash]));
    // Whoever presses keys from the beginning gets no prompt.
    for _ in 0..20 {
        guest.console.send_line("\x03");
    }
    guest.expect(UP, BOOT);
    let log = guest.stop();
    assert!(log.contains("sha256,rsa2048:fit+ OK") && !log.contains("=> "), "{log}");

    // A FIT that was changed ends in a reset, not at a prompt.
    let forgery = Forgery::of(fit::minimal(Kernel::Base));
    let mut changed = forgery.esp_file(FIT_FILE);
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    forgery.put_esp_file(FIT_FILE, &changed);
    let mut guest = Guest::start(&machine(forgery.path()));
    let log = guest.expect_end(BOOT);
    assert!(!log.contains("Linux version") && !log.contains("=> "), "{log}");
}
