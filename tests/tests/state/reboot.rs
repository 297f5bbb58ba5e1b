//! What is made on the first boot, and is there on the next.

use graven_tests::emulated::Emulated;
use graven_tests::oracle;

use crate::device::{Device, power_off};

fn survives_and_grows(on: Emulated) {
    let device = Device::new(on, 200);
    let mut guest = device.boot();
    let log = guest.kernel_log();
    assert!(log.contains("graven: stage0: state: its partition takes the rest of the disk"), "{log}");
    assert!(log.contains("graven: stage0: state: not made yet"), "{log}");
    assert!(!log.contains("graven: stage0: warning"), "{log}");
    let id = guest.succeed("cat /etc/machine-id");
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");

    // Closed, and nothing else of it to be seen.
    let mounts = guest.succeed("cat /proc/mounts");
    let bound: Vec<&str> = mounts.lines().filter(|line| line.contains(" ext4 ")).collect();
    assert_eq!(bound.len(), 4, "{mounts}");
    assert!(bound.iter().all(|line| line.contains("nosuid,nodev,noexec")), "{mounts}");
    assert_ne!(guest.shell("echo x >/etc/machine-id").status, 0);
    assert_ne!(guest.shell("touch /etc/new").status, 0, "nothing else is writable");
    guest.succeed("cp /usr/bin/busybox /var/log/evil");
    assert_ne!(guest.shell("/var/log/evil true").status, 0);
    // As the image has it.
    assert_eq!(guest.succeed("stat -c '%a %u:%g' /etc/settings /var/lib/app"), "640 0:0\n750 33:33");
    assert_eq!(
        guest.succeed("cat /etc/settings /var/lib/app/shipped /var/cache/kept"),
        "as shipped\nshipped\nof the image"
    );
    // Grown: the image's 64 MiB and what the disk has more, less ext4's own.
    let kib: u64 =
        guest.succeed("df -k /var/log | tail -n 1").split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib > 230 * 1024, "{kib}");
    guest.succeed("echo mine >/etc/settings; echo kept >/var/log/kept; touch /var/cache/gone");
    power_off(guest);
    let disk = device.disk().display().to_string();
    let checked = oracle::ask("sgdisk", ["-v", &disk]);
    assert!(checked.text.contains("No problems found"), "{}", checked.text);
    device.check();

    let mut guest = device.boot();
    let log = guest.kernel_log();
    assert!(!log.contains("graven: stage0: state:") && !log.contains("graven: stage0: warning"), "{log}");
    assert_eq!(guest.succeed("cat /etc/machine-id"), id);
    assert_eq!(guest.succeed("cat /etc/settings /var/log/kept"), "mine\nkept");
    assert_ne!(guest.shell("stat /var/cache/gone").status, 0, "/var is of one boot");
    power_off(guest);
}

#[test]
fn state_survives_a_reboot_and_grows_to_the_disk() {
    survives_and_grows(Emulated::X86_64);
}

#[test]
#[cfg_attr(not(feature = "full"), ignore = "two boots more: feature `full`")]
fn state_survives_a_reboot_and_grows_to_the_disk_on_arm64() {
    survives_and_grows(Emulated::Arm64);
}
