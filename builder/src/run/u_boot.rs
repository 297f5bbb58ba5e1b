//! U-Boot on QEMU's arm64 machine as a secured board has it: its control device tree requires a key, and its boot command
//! is fixed. Debian's is not a secured board's all the same: it has a shell and an environment.

use std::path::{Path, PathBuf};

use graven_boot::fdt::{Node, Property, Tree};
use graven_boot::fit::control::{Required, add_key};
use graven_boot::fit::{FitError, Hash, Padding, SignatureAlgorithm};
use graven_boot::x509::Certificate;
use graven_verify::FIT_FILE;

use super::{Bus, RunError};
use crate::link::KEY_NAME;

/// Where Debian keeps U-Boot for QEMU's `virt`.
const U_BOOT: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";
/// Where the FIT is read to: clear of the kernel's place (`qemu-arm64-fit`) and of U-Boot, which moves to the end of memory.
const ADDRESS: &str = "0x50000000";
/// `bootdelay`: boot at once, and look at no key press.
const AT_ONCE: u32 = -2i32 as u32;

/// U-Boot's own file.
pub(super) fn program() -> Result<PathBuf, RunError> {
    match Path::new(U_BOOT).exists() {
        true => Ok(U_BOOT.into()),
        false => Err(RunError::Missing { what: U_BOOT.into(), packages: "u-boot-qemu" }),
    }
}

/// The machine's device tree with what a board's own U-Boot has compiled in: boot command, and the key that it requires.
pub(super) fn control_tree(machine: &[u8], bus: Bus, key: Option<&Certificate>) -> Result<Vec<u8>, FitError> {
    let interface = match bus {
        Bus::Virtio => "virtio",
        Bus::Nvme => "nvme",
        Bus::Sata => "scsi",
    };
    let command =
        format!("{interface} scan; load {interface} 0:1 {ADDRESS} {FIT_FILE} && bootm {ADDRESS}; poweroff");
    let mut tree = Tree::parse(machine)?;
    let config = Node::new("config")
        .with(Property::text("bootcmd", &command))
        .with(Property::cell("bootdelay", AT_ONCE));
    tree.add("/", config)?;
    let bytes = tree.to_bytes()?;
    let Some(certificate) = key else { return Ok(bytes) };
    let algorithm = SignatureAlgorithm::of(certificate.public_key(), Hash::Sha256, Padding::default());
    let algorithm = algorithm.ok_or_else(|| FitError::Key {
        subject: certificate.subject(),
        found: certificate.public_key().to_string(),
    })?;
    add_key(&bytes, certificate, KEY_NAME, algorithm, Required::Configuration)
}
