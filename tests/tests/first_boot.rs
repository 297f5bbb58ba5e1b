//! `recipes/minimal`, built by the program, boots under Secure Boot with its policy enforced.

use graven_tests::guest::{BOOT, Guest};
#[cfg(feature = "full")]
use graven_tests::inputs;
use graven_tests::{audit, image};

#[test]
fn minimal_boots_enforced_under_secure_boot() {
    let mut guest = Guest::start(&image::machine(image::minimal()));
    let log = guest.expect("minimal: up", BOOT);
    assert!(log.contains("secureboot: Secure boot enabled"), "the firmware enforces");
    for step in 1..=8 {
        assert!(log.contains(&format!("graven: stage0: step {step}/8 ")), "stage0 takes step {step}");
    }
    let changes: Vec<_> =
        audit::records(&log).into_iter().filter(|record| record.kind == audit::IPE_CONFIG_CHANGE).collect();
    assert_eq!(changes.len(), 1, "one policy is activated: {changes:?}");
    assert_eq!(changes[0].get("new_active_pol_name"), "minimal");

    guest.expect("# ", BOOT);
    guest.succeed("mount -t securityfs securityfs /sys/kernel/security 2>/dev/null; true");
    assert_eq!(guest.succeed("cat /sys/kernel/security/ipe/enforce").trim(), "1");
    assert_eq!(guest.succeed("ls /sys/kernel/security/ipe/policies").trim(), "minimal");
}

/// The generic target carries the drivers of many machines; those without hardware stay out of the way.
#[test]
#[cfg(feature = "full")]
fn one_image_for_servers_boots_from_nvme_and_from_sata() {
    use graven::run::Bus;
    let folder = image::folder();
    let out = folder.path().join("out");
    image::build(&inputs::project().join("recipes/minimal"), &out, &["--target", "x86_64-uefi"]);
    for bus in [Bus::Nvme, Bus::Sata] {
        Guest::start(&image::machine(&out).bus(bus)).expect("minimal: up", BOOT);
    }
}
