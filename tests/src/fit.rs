//! FITs for QEMU's arm64 machine over the kernels of `tests/kernels`, and what an attacker does to them.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use graven::link::KEY_NAME;
use graven_boot::fdt::{Property, Tree};
use graven_boot::fit::{self, Fit, Hash, SignOptions, Signed};
use graven_boot::keys::read_certificates;
use graven_boot::sign::Signer;
use graven_boot::x509::Certificate;

use crate::{image, inputs};

/// Where the FIT lies on the EFI system partition.
pub const FIT_FILE: &str = "boot.itb";

/// A kernel of `tests/kernels`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Its disk driver is a module.
    Base,
    /// All built in, with a policy compiled in that denies by default.
    Deny,
}

/// `recipes/minimal` as a FIT over one of these kernels, built once for all tests of a process: its output folder.
pub fn minimal(kernel: Kernel) -> &'static Path {
    static IMAGES: [OnceLock<PathBuf>; 2] = [const { OnceLock::new() }; 2];
    IMAGES[kernel as usize].get_or_init(|| build(kernel))
}

fn build(kernel: Kernel) -> PathBuf {
    let (variant, accept) = match kernel {
        Kernel::Base => ("base", ""),
        Kernel::Deny => {
            ("deny", "accept.builtin-disk-driver-and-file-system = \"to show what it is worth\"\n")
        }
    };
    let minimal = inputs::project().join("recipes/minimal");
    let folder = image::scratch().join(format!("minimal-fit-{variant}"));
    std::fs::create_dir(&folder).expect("the scratch folder takes folders");
    for name in ["inputs", "overlay"] {
        symlink(minimal.join(name), folder.join(name)).expect("a link can be made");
    }
    describe_machine(&folder.join("virt.dtb"));
    let text = std::fs::read_to_string(minimal.join("recipe.toml")).expect("the recipe can be read");
    let (root, _) = text.split_once("[kernel]").expect("it names its kernel after its root");
    let root: String =
        root.lines().filter(|line| !line.starts_with("targets")).map(|line| format!("{line}\n")).collect();
    let kernel = inputs::arm64_kernels().join(variant);
    let recipe = format!(
        "targets = [\"qemu-arm64-fit\"]\n{root}[kernel]\nvmlinuz = \"{0}/Image\"\nconfig = \"{0}/config\"\n\
         modules-dir = \"{0}/modules\"\n{accept}[boot]\ndevice-trees = [\"virt.dtb\"]\non-failure = \"poweroff\"\n",
        kernel.display()
    );
    std::fs::write(folder.join("recipe.toml"), recipe).expect("the recipe can be written");
    let out = folder.join("out");
    let built = image::try_build(&folder, &out, &inputs::arm64_keys(), &["--target", "qemu-arm64-fit"]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    out
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
    let parsed = Fit::parse(fit).expect("a FIT of ours");
    let timestamp = parsed.timestamp().expect("it says when it was made");
    let mut device_tree = Tree::parse(parsed.image("fdt-1").expect("it has one").data).expect("it is one");
    device_tree.set_bootargs(line).expect("a line of text");
    let bytes = device_tree.to_bytes().expect("it can be written");
    let mut tree = Tree::parse(fit).expect("a FIT is a tree");
    let digest = Hash::Sha256.digest(&bytes);
    tree.set("/images/fdt-1", Property::bytes("data", bytes)).expect("the image is there");
    tree.set("/images/fdt-1/hash-1", Property::bytes("value", digest)).expect("its hash is, too");
    let changed = tree.to_bytes().expect("it can be written");
    match fit::sign(&changed, &SignOptions::new(KEY_NAME, timestamp), signer) {
        Ok(Signed::Whole(signed)) => signed,
        other => panic!("a file signer answers at once, not {other:?}"),
    }
}
