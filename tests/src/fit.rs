//! FITs for QEMU's arm64 machine over the kernels of `tests/kernels`, and what an attacker does to them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use graven::run::{Machine, Platform};
use graven_boot::fdt::Tree;
use graven_boot::fit::Fit;
use graven_boot::keys::read_certificates;
use graven_boot::sign::Signer;
use graven_boot::x509::Certificate;

pub use crate::forge::FIT_FILE;
use crate::forge::fit::{DEVICE_TREE, changed, put_image, sign, value};
use crate::guest::{BOOT, Guest};
use crate::refusal::UP;
use crate::{image, inputs};

/// A kernel of `tests/kernels`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Its disk driver is a module.
    Base,
    /// All built in, with a policy compiled in that denies by default.
    Deny,
}

/// `recipes/minimal` as a FIT over one of these kernels, built once for all tests of a run: its output folder.
pub fn minimal(kernel: Kernel) -> &'static Path {
    static IMAGES: [OnceLock<PathBuf>; 2] = [const { OnceLock::new() }; 2];
    IMAGES[kernel as usize].get_or_init(|| {
        image::shared(&format!("minimal-fit-{kernel:?}"), |out| match kernel {
            Kernel::Base => build(out, &[]),
            Kernel::Deny => {
                let accepted =
                    "kernel.accept.builtin-disk-driver-and-file-system=\"to show what it is worth\"";
                build(out, &[&over("deny")[..], &[accepted.to_owned()]].concat());
            }
        })
    })
}

/// Overrides that take a kernel of `tests/kernels`, by the name of its folder.
fn over(kernel: &str) -> [String; 3] {
    let folder = inputs::arm64_kernels().join(kernel);
    [("vmlinuz", "Image"), ("config", "config"), ("modules-dir", "modules")]
        .map(|(key, name)| format!("kernel.{key}={:?}", folder.join(name)))
}

/// Overrides that take the kernel `base` with another policy certificate in the place of its own: a shorter one, so that nothing else
/// moves. `folder` gets what differs.
pub fn base_trusting(other: &Certificate, folder: &Path) -> [String; 3] {
    // `.align 8` on ARM (`certs/system_certificates.S`).
    const ALIGN: usize = 256;
    let base = inputs::arm64_kernels().join("base");
    let read = |name: &str| fs::read(base.join(name)).expect("the kernel can be read");
    let (mut image, list) = (read("Image"), read("certificates.der"));
    let own = certificate(&inputs::arm64_keys(), "policy");
    let modules = list.strip_suffix(own.der()).expect("it is the last of the list").to_vec();
    assert!(other.der().len() <= own.der().len(), "a certificate of more bytes than the kernel has room for");
    let at = image.windows(list.len()).position(|window| window == list).expect("the list is in the kernel");
    // Behind the list its length, where the list ends now and where the kernel looks, and behind that how much of it is of the modules' key.
    let changed = [&modules, other.der()].concat();
    image[at..at + list.len()].fill(0);
    image[at..at + changed.len()].copy_from_slice(&changed);
    for end in [changed.len(), list.len()] {
        let numbers = at + end.next_multiple_of(ALIGN);
        for (place, number) in [(numbers, changed.len()), (numbers + ALIGN, modules.len())] {
            image[place..place + 8].copy_from_slice(&(number as u64).to_le_bytes());
        }
    }
    let kernel = folder.join("Image");
    fs::write(&kernel, image).expect("the folder takes files");
    [
        format!("kernel.vmlinuz={kernel:?}"),
        format!("kernel.config={:?}", base.join("config")),
        format!("kernel.modules-dir={:?}", base.join("modules")),
    ]
}

/// Builds `recipes/minimal` for `qemu-arm64-fit` with [`inputs::arm64_keys`] into `out`, with these overrides.
pub fn build(out: &Path, overrides: &[String]) {
    build_with(&inputs::arm64_keys(), out, overrides);
}

/// The same with other keys.
pub fn build_with(keys: &Path, out: &Path, overrides: &[String]) {
    let built = try_build_with(keys, out, overrides);
    assert!(built.status.success(), "graven build: {}", String::from_utf8_lossy(&built.stderr));
}

/// As [`build`], whatever comes of it.
pub fn try_build(out: &Path, overrides: &[String]) -> Output {
    try_build_with(&inputs::arm64_keys(), out, overrides)
}

fn try_build_with(keys: &Path, out: &Path, overrides: &[String]) -> Output {
    inputs::fit();
    let sets = overrides.iter().flat_map(|set| ["--set", set]);
    let more: Vec<&str> = ["--target", "qemu-arm64-fit"].into_iter().chain(sets).collect();
    image::try_build(&inputs::project().join("recipes/minimal"), out, keys, &more)
}

/// What `graven verify` is told of an image that a folder of keys signed: each certificate for its own role.
pub fn trust(keys: &Path) -> Vec<String> {
    let certificate = |role: &str| keys.join(format!("{role}.crt")).display().to_string();
    [("--trust-boot", "fit"), ("--trust-policy", "policy"), ("--trust-root", "policy")]
        .into_iter()
        .flat_map(|(option, role)| [option.to_owned(), certificate(role)])
        .collect()
}

/// Boots `recipes/minimal` to its prompt: the policy is the only one, and enforced. Answers the console.
pub fn boots_enforced(machine: &Machine) -> String {
    let (mut guest, _) = Guest::reach(machine, UP);
    guest.expect("# ", BOOT);
    guest.succeed("mount -t securityfs securityfs /sys/kernel/security 2>/dev/null; true");
    assert_eq!(guest.succeed("cat /sys/kernel/security/ipe/enforce").trim(), "1");
    assert_eq!(guest.succeed("ls /sys/kernel/security/ipe/policies").trim(), "minimal");
    guest.succeed("cp /usr/bin/busybox /tmp/sh");
    let copied = guest.shell("/tmp/sh -c true");
    assert!(copied.status != 0 && copied.text.contains("Permission denied"), "{copied:?}");
    let log = guest.stop();
    assert!(log.contains("sha256,rsa2048:fit+ OK"), "{log}");
    assert!(log.contains("new_active_pol_name=\"minimal\""), "{log}");
    log
}

/// QEMU's machine for arm64 with a U-Boot that requires the key of [`inputs::arm64_keys`].
pub fn machine(disk: &Path) -> Machine {
    machine_trusting(disk, &inputs::arm64_keys())
}

/// A machine that requires another key.
pub fn machine_trusting(disk: &Path, keys: &Path) -> Machine {
    Machine::new(disk).platform(Platform::Virt).u_boot(Some(certificate(keys, "fit")))
}

/// Has QEMU describe the machine that [`graven::run::Machine`] makes of an image without more disks.
pub fn describe_machine(to: &Path) {
    let machine = ["-cpu", "cortex-a72", "-smp", "2", "-m", "1024", "-net", "none", "-nographic"];
    let described = Command::new("qemu-system-aarch64")
        .args(["-machine", &format!("virt,dumpdtb={}", to.display())])
        .args(machine)
        .args(["-bios", "/usr/lib/u-boot/qemu_arm64/u-boot.bin"])
        .output()
        .expect("QEMU can be started");
    assert!(described.status.success(), "{}", String::from_utf8_lossy(&described.stderr));
}

/// The one certificate of this role in a folder of keys.
pub fn certificate(keys: &Path, role: &str) -> Certificate {
    let mut all = read_certificates(&keys.join(format!("{role}.crt"))).expect("the keys can be read");
    all.remove(0)
}

/// The command line that a FIT of ours carries in its device tree.
pub fn line(fit: &[u8]) -> String {
    let fit = Fit::parse(fit).expect("a FIT of ours");
    let tree = Tree::parse(fit.image("fdt-1").expect("it has a device tree").data).expect("it is one");
    tree.node("/chosen").and_then(|chosen| chosen.text("bootargs")).expect("with a line").to_owned()
}

/// The FIT with another command line in its device tree, hashed and signed again; what is in its initramfs stays.
pub fn with_line(fit: &[u8], line: &str, signer: &dyn Signer) -> Vec<u8> {
    let changed = changed(fit, |tree| {
        let bytes = value(tree, DEVICE_TREE, "data");
        let mut device_tree = Tree::parse(&bytes).expect("a device tree");
        device_tree.set_bootargs(line).expect("a line of text");
        put_image(tree, DEVICE_TREE, &device_tree.to_bytes().expect("it can be written"));
    });
    sign(&changed, signer)
}
