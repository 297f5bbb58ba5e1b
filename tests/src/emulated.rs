//! The targets that are booted in QEMU.

use graven::run::Platform;

/// A target with a machine in QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Emulated {
    /// `qemu-x86_64`
    #[default]
    X86_64,
    /// `qemu-arm64-uefi`
    Arm64,
}

impl Emulated {
    /// The target's name.
    pub fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-x86_64",
            Self::Arm64 => "qemu-arm64-uefi",
        }
    }

    /// Its machine.
    pub fn platform(self) -> Platform {
        match self {
            Self::X86_64 => Platform::Q35,
            Self::Arm64 => Platform::Virt,
        }
    }
}
