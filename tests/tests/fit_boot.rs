//! A FIT on arm64: U-Boot checks it, the kernel has the policy's certificate in it, stage0 enforces. Slow the first time: a
//! kernel is built.
#![cfg(feature = "full")]
#![allow(clippy::unwrap_used)]

use std::path::Path;

use graven::run::{Machine, Platform};
use graven_boot::x509::Certificate;
use graven_tests::fit::{self, Kernel, certificate};
use graven_tests::forge::Forgery;
use graven_tests::guest::{BOOT, Guest};
use graven_tests::refusal::UP;
use graven_tests::{image, inputs};

/// U-Boot's last word where it takes no configuration of a FIT.
const NO_KERNEL: &str = "can't get kernel image";

fn minimal() -> &'static Path {
    fit::minimal(Kernel::Base)
}

fn start(disk: &Path, key: Certificate) -> Guest {
    Guest::start(&Machine::new(disk).platform(Platform::Virt).u_boot(Some(key)))
}

#[test]
fn minimal_boots_enforced_from_a_fit_that_u_boot_verified() {
    let disk = minimal().join("disk.img");
    let mut guest = start(&disk, certificate(&inputs::arm64_keys(), "fit"));
    guest.expect(UP, BOOT);
    let log = guest.stop();
    assert!(log.contains("sha256,rsa2048:fit+ OK"), "{log}");
    assert!(log.contains("new_active_pol_name=\"minimal\""), "{log}");
}

#[test]
fn u_boot_takes_no_fit_that_a_stranger_signed_or_somebody_changed() {
    let own = certificate(&inputs::arm64_keys(), "fit");
    let stranger = certificate(image::strangers_keys(), "fit");
    let changed = |offset: fn(&[u8]) -> usize| {
        let forgery = Forgery::of(minimal());
        let mut fit = forgery.esp_file("boot.itb");
        let at = offset(&fit);
        fit[at] ^= 1;
        forgery.put_esp_file("boot.itb", &fit);
        forgery
    };
    // In the kernel, which comes first; and in the command line, of the device tree, which comes last.
    let kernel = changed(|fit| fit.len() / 4);
    let line = changed(|fit| {
        let word = b"ipe.enforce=1";
        fit.windows(word.len()).rposition(|window| window == word).unwrap() + word.len() - 1
    });
    for (disk, key) in [
        (minimal().join("disk.img"), stranger),
        (kernel.path().to_owned(), own.clone()),
        (line.path().to_owned(), own),
    ] {
        let mut guest = start(&disk, key);
        let stopped = guest.console.wait_for_one_of(&[UP, NO_KERNEL, "Failed to"], BOOT);
        let log = guest.stop();
        assert!(stopped.is_ok_and(|found| found.is_some_and(|index| index > 0)), "{log}");
        assert!(!log.contains("Linux version"), "{log}");
    }
}
