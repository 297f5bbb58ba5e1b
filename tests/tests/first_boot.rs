//! `recipes/minimal`, built by the program, boots under Secure Boot with its policy enforced.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use graven_tests::console::Console;
use graven_tests::emulated::Emulated;
use graven_tests::guest::{BOOT, Guest};
#[cfg(feature = "full")]
use graven_tests::inputs;
use graven_tests::{audit, image};

#[test]
fn minimal_boots_enforced_under_secure_boot() {
    boots_enforced(image::minimal(), Emulated::X86_64, "secureboot: Secure boot enabled");
}

#[test]
fn minimal_boots_enforced_under_secure_boot_on_arm64() {
    boots_enforced(image::minimal_arm64(), Emulated::Arm64, "integrity: secureboot mode enabled");
}

fn boots_enforced(out: &Path, on: Emulated, firmware_enforces: &str) {
    let (mut guest, log) = Guest::reach(&image::machine(out).platform(on.platform()), "minimal: up");
    assert!(log.contains(firmware_enforces), "the firmware enforces: {log}");
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

/// What a user types. It becomes QEMU, so whatever ends it ends the machine.
#[test]
fn graven_run_boots_it_and_ends_with_its_process() {
    let mut run = Command::new(image::graven())
        .arg("run")
        .arg(image::minimal())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut console = Console::new(run.stdin.take().unwrap(), run.stdout.take().unwrap());
    console.wait_for("minimal: up", BOOT).unwrap();
    let ended = Command::new("kill").arg(run.id().to_string()).status().unwrap();
    assert!(ended.success());
    // The console ends when nobody holds it any more.
    console.wait_for_end(Duration::from_secs(30)).unwrap();
    run.wait().unwrap();
}

/// The generic targets carry the drivers of many machines; those without hardware stay out of the way.
#[test]
#[cfg(feature = "full")]
fn one_image_for_servers_boots_from_every_bus_that_their_firmware_knows() {
    use graven::run::Bus;
    for (target, on, buses) in [
        ("x86_64-uefi", Emulated::X86_64, &[Bus::Nvme, Bus::Sata][..]),
        ("arm64-uefi", Emulated::Arm64, &[Bus::Nvme]),
    ] {
        let folder = image::folder();
        let out = folder.path().join("out");
        image::build(&inputs::project().join("recipes/minimal"), &out, &["--target", target]);
        for bus in buses {
            let machine = image::machine(&out).platform(on.platform()).bus(*bus);
            Guest::reach(&machine, "minimal: up");
        }
    }
}
