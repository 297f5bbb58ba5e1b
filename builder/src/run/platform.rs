//! What tells one architecture's machine from another's: QEMU's program, its words, the firmware.

use std::path::{Path, PathBuf};

use graven_targets::Arch;

use super::{Bus, RunError};

/// A machine with UEFI that QEMU emulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Platform {
    /// x86-64: q35, OVMF; SMM keeps the operating system away from the firmware's variables.
    #[default]
    Q35,
    /// arm64: virt, AAVMF, with 64 MiB of flash for variables.
    Virt,
}

/// What QEMU is told of a processor: a model, and the machine's own where hardware carries it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Processor {
    pub(super) emulated: &'static str,
    pub(super) virtualised: &'static str,
}

/// Where the variables of a firmware's first start come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum VariableStore {
    /// A file of the firmware's package: an empty store of the flash's length.
    Template(PathBuf),
    /// One of our own making. Debian's package has a template of zeros, out of which the firmware makes a store itself.
    Blank,
}

impl Platform {
    /// The machine that an image for this architecture boots on.
    ///
    /// # Errors
    /// 32-bit ARM, for which there is none.
    pub fn of(arch: Arch) -> Result<Self, RunError> {
        match arch {
            Arch::X86_64 => Ok(Self::Q35),
            Arch::Aarch64 => Ok(Self::Virt),
            Arch::Arm => Err(RunError::NoMachine(arch)),
        }
    }

    pub(super) fn qemu(self) -> &'static str {
        match self {
            Self::Q35 => "qemu-system-x86_64",
            Self::Virt => "qemu-system-aarch64",
        }
    }

    pub(super) fn qemu_package(self) -> &'static str {
        match self {
            Self::Q35 => "qemu-system-x86",
            Self::Virt => "qemu-system-arm",
        }
    }

    pub(super) fn machine(self) -> &'static str {
        match self {
            Self::Q35 => "q35,smm=on",
            Self::Virt => "virt",
        }
    }

    pub(super) fn processor(self) -> Processor {
        match self {
            Self::Q35 => Processor { emulated: "max", virtualised: "max" },
            // `max` signs pointers, which is slow to emulate.
            Self::Virt => Processor { emulated: "cortex-a72", virtualised: "host" },
        }
    }

    /// Further words: what the firmware wants of the flash.
    pub(super) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Q35 => &["-global", "driver=cfi.pflash01,property=secure,value=on"],
            Self::Virt => &[],
        }
    }

    /// Whether the firmware can start from a disk on this bus: AAVMF has no driver for SATA.
    pub(super) fn starts_from(self, bus: Bus) -> Result<(), RunError> {
        match (self, bus) {
            (Self::Virt, Bus::Sata) => Err(RunError::NoSata),
            (Self::Virt, Bus::Virtio | Bus::Nvme) | (Self::Q35, _) => Ok(()),
        }
    }

    /// The firmware's code and the store of its variables, where Debian and its derivatives keep them.
    pub(super) fn firmware(self) -> Result<(PathBuf, VariableStore), RunError> {
        let is_here = |path: &str| Path::new(path).exists();
        match self {
            Self::Q35 => OVMF
                .iter()
                .find(|(code, variables)| is_here(code) && is_here(variables))
                .map(|(code, variables)| (code.into(), VariableStore::Template(variables.into())))
                .ok_or(RunError::Missing {
                    what: "UEFI firmware with Secure Boot (OVMF_CODE_4M.secboot.fd)".into(),
                    packages: "ovmf",
                }),
            Self::Virt => {
                AAVMF.iter().find(|code| is_here(code)).map(|code| (code.into(), VariableStore::Blank)).ok_or(
                    RunError::Missing {
                        what: "UEFI firmware for arm64 (AAVMF_CODE.fd)".into(),
                        packages: "qemu-efi-aarch64",
                    },
                )
            }
        }
    }
}

/// OVMF with SMM and 4 MiB of flash: code, and the empty variable store.
const OVMF: [(&str, &str); 2] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.secboot.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
];
/// AAVMF, which Debian 13 also has in a variant with Secure Boot compiled in.
const AAVMF: [&str; 2] = ["/usr/share/AAVMF/AAVMF_CODE.secboot.fd", "/usr/share/AAVMF/AAVMF_CODE.fd"];
