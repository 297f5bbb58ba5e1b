//! A FIT on arm64: U-Boot checks it, the kernel has the policy's certificate in it, stage0 enforces. Slow the first time: a
//! kernel is built.
#![cfg(feature = "full")]
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use graven::run::{Machine, Platform};
use graven_boot::keys::read_certificates;
use graven_boot::x509::Certificate;
use graven_tests::forge::Forgery;
use graven_tests::guest::{BOOT, Guest};
use graven_tests::refusal::UP;
use graven_tests::{image, inputs};

/// U-Boot's last word where it takes no configuration of a FIT.
const NO_KERNEL: &str = "can't get kernel image";

/// `recipes/minimal` over the test kernel, built once for all tests: its output folder.
fn minimal() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(build)
}

fn build() -> PathBuf {
    let minimal = inputs::project().join("recipes/minimal");
    let folder = image::scratch().join("minimal-fit");
    std::fs::create_dir(&folder).unwrap();
    for name in ["inputs", "overlay"] {
        symlink(minimal.join(name), folder.join(name)).unwrap();
    }
    let tree = folder.join("virt.dtb");
    let machine = ["-cpu", "cortex-a72", "-smp", "2", "-m", "1024", "-net", "none", "-nographic"];
    let described = Command::new("qemu-system-aarch64")
        .args(["-machine", &format!("virt,dumpdtb={}", tree.display())])
        .args(machine)
        .args(["-bios", "/usr/lib/u-boot/qemu_arm64/u-boot.bin"])
        .output()
        .unwrap();
    assert!(described.status.success(), "{}", String::from_utf8_lossy(&described.stderr));

    let text = std::fs::read_to_string(minimal.join("recipe.toml")).unwrap();
    let (root, _) = text.split_once("[kernel]").unwrap();
    let root: String =
        root.lines().filter(|line| !line.starts_with("targets")).map(|line| format!("{line}\n")).collect();
    let kernel = inputs::arm64_kernels().join("base");
    let recipe = format!(
        "targets = [\"qemu-arm64-fit\"]\n{root}[kernel]\nvmlinuz = \"{0}/Image\"\nconfig = \"{0}/config\"\n\
         modules-dir = \"{0}/modules\"\n[boot]\ndevice-trees = [\"virt.dtb\"]\non-failure = \"poweroff\"\n",
        kernel.display()
    );
    std::fs::write(folder.join("recipe.toml"), recipe).unwrap();
    let out = folder.join("out");
    let built = image::try_build(&folder, &out, &inputs::arm64_keys(), &["--target", "qemu-arm64-fit"]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    out
}

fn certificate(keys: &Path, role: &str) -> Certificate {
    read_certificates(&keys.join(format!("{role}.crt"))).unwrap().remove(0)
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
