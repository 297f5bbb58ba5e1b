//! The same arm64 UKI under U-Boot's UEFI, Secure Boot keys set at its prompt: which links hold there, in the kernel's words.
#![cfg(feature = "full")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use graven::deliver::DISK;
use graven::run::{Machine, Platform};
use graven_tests::emulated::Emulated;
use graven_tests::guest::{BOOT, COMMAND, Guest};
use graven_tests::oracle::ask;
use graven_tests::refusal::UP;
use graven_tests::{image, inputs};

/// Debian's, whose UEFI knows Secure Boot.
const U_BOOT: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";
const PROMPT: &str = "=> ";
/// Namespaces of the variables: EFI_GLOBAL_VARIABLE, and that of db.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
const SECURITY: &str = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";

/// A FAT disk with the enrolment files of these keys.
fn enrolment_disk(folder: &Path, keys: &Path) -> PathBuf {
    let disk = folder.join("keys.img");
    let name = disk.display().to_string();
    std::fs::File::create(&disk).unwrap().set_len(8 << 20).unwrap();
    let made = ask("mkfs.fat", ["-F", "12", &name]);
    assert!(made.good, "{}", made.text);
    for file in ["PK.auth", "KEK.auth", "db.auth"] {
        let source = keys.join(file).display().to_string();
        let copied = ask("mcopy", ["-i", &name, &source, &format!("::/{file}")]);
        assert!(copied.good, "{}", copied.text);
    }
    disk
}

/// U-Boot at its prompt, with these keys enrolled.
fn at_the_prompt(folder: &Path, image: &Path, keys: &Path) -> Guest {
    let machine = Machine::new(image.join(DISK)).platform(Platform::Virt).own_u_boot(U_BOOT);
    let mut guest = Guest::start(&machine.disk(enrolment_disk(folder, keys)));
    guest.expect("Hit any key to stop autoboot", BOOT);
    guest.console.send_line("");
    guest.expect(PROMPT, COMMAND);
    command(&mut guest, "virtio scan");
    for (name, namespace) in [("db", SECURITY), ("KEK", GLOBAL), ("PK", GLOBAL)] {
        let loaded = command(&mut guest, &format!("load virtio 1 ${{scriptaddr}} {name}.auth"));
        assert!(loaded.contains("bytes read"), "{loaded}");
        let set =
            format!("setenv -e -nv -bs -rt -at -guid {namespace} -i ${{fileaddr}}:${{filesize}} {name}");
        let said = command(&mut guest, &set);
        assert!(!said.contains("Failed to set EFI variable"), "{set}: {said}");
    }
    guest
}

/// Types a command and answers what it said.
fn command(guest: &mut Guest, line: &str) -> String {
    guest.console.send_line(line);
    guest.expect(PROMPT, Duration::from_secs(120))
}

/// Starts the boot artefact of the first disk's ESP.
fn start(guest: &mut Guest) {
    let loaded = command(guest, "load virtio 0:1 ${kernel_addr_r} efi/boot/bootaa64.efi");
    assert!(loaded.contains("bytes read"), "{loaded}");
    guest.console.send_line("bootefi ${kernel_addr_r} ${fdtcontroladdr}");
}

/// U-Boot takes the UKI, whose signature `db` vouches for, and then refuses the kernel inside, which systemd-stub 257 has the
/// firmware load: elsewhere the stub vouches for it by a protocol that U-Boot does not have. So Linux never gets to its keyrings.
#[test]
fn u_boots_uefi_starts_the_uki_and_refuses_the_kernel_inside() {
    let folder = image::folder();
    let mut guest = at_the_prompt(folder.path(), image::minimal_arm64(), image::keys());
    start(&mut guest);
    guest.expect("Error loading kernel image: Security violation", BOOT);
    let log = guest.stop();
    assert!(log.contains("Image not authenticated") && !log.contains("Linux version"), "{log}");
}

/// A stub that starts the kernel itself asks no firmware about it: the UKI's signature covers it already. The kernel then has
/// db's certificate in `.platform`, and takes policy and root hash signature by it.
#[test]
fn with_a_newer_stub_the_image_boots_enforced_by_the_certificate_in_db() {
    let folder = image::folder();
    let out = folder.path().join("out");
    let stub = format!("boot.stub={:?}", inputs::newer_stub_arm64());
    let minimal = inputs::project().join("recipes/minimal");
    image::build(&minimal, &out, &["--target", Emulated::Arm64.target(), "--set", &stub]);
    let mut guest = at_the_prompt(folder.path(), &out, image::keys());
    start(&mut guest);
    guest.expect(UP, BOOT);
    guest.expect("minimal# ", BOOT);
    guest.succeed("mount -t securityfs securityfs /sys/kernel/security 2>/dev/null; true");
    assert_eq!(guest.succeed("cat /sys/kernel/security/ipe/enforce").trim(), "1");
    let keys = guest.succeed("cat /proc/keys");
    assert!(keys.contains("keyring   .platform: 1"), "{keys}");
    let log = guest.kernel_log();
    assert!(log.contains("integrity: Loading X.509 certificate: UEFI:db"), "{log}");
    assert!(log.contains("integrity: Loaded X.509 cert 'Tests db"), "{log}");
    assert!(log.contains("new_active_pol_name=\"minimal\""), "{log}");
}

#[test]
fn u_boots_uefi_starts_no_uki_of_a_stranger() {
    let folder = image::folder();
    let mut guest = at_the_prompt(folder.path(), image::minimal_arm64(), image::strangers_keys());
    start(&mut guest);
    let said = guest.expect(PROMPT, BOOT);
    assert!(said.contains("Image not authenticated") && !said.contains("linux_exec"), "{said}");
}
