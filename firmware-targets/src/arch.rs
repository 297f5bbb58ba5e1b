//! What follows from the processor architecture alone.

use serde::Deserialize;
use uuid::{Uuid, uuid};

/// Processor architecture of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub enum Arch {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit ARM.
    #[serde(rename = "aarch64")]
    Aarch64,
    /// 32-bit ARM with hardware floating point.
    #[serde(rename = "arm")]
    Arm,
}

/// GPT type GUIDs of the Discoverable Partitions Specification for one architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionTypes {
    /// The root file system (dm-verity data).
    pub root: Uuid,
    /// Its dm-verity superblock and hash tree.
    pub root_verity: Uuid,
    /// The signature of its root hash.
    pub root_verity_sig: Uuid,
}

impl Arch {
    /// Every architecture.
    pub const ALL: [Self; 3] = [Self::X86_64, Self::Aarch64, Self::Arm];

    /// As the kernel's `uname -m` family and the board files write it: `x86_64`, `aarch64`, `arm`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Arm => "arm",
        }
    }

    /// Debian's name of the architecture, as in package file names.
    pub const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
            Self::Arm => "armhf",
        }
    }

    /// What container images call it, which is Go's name of the architecture.
    pub const fn oci(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
            Self::Arm => "arm",
        }
    }

    /// File name of the removable-media boot path, below `EFI/BOOT/` (UEFI specification 2.10, 3.5.1.1).
    pub const fn efi_boot_file(self) -> &'static str {
        match self {
            Self::X86_64 => "BOOTX64.EFI",
            Self::Aarch64 => "BOOTAA64.EFI",
            Self::Arm => "BOOTARM.EFI",
        }
    }

    /// File name of systemd's EFI stub for kernels, as `systemd-boot-efi` installs it below `usr/lib/systemd/boot/efi/`.
    pub const fn efi_stub_file(self) -> &'static str {
        match self {
            Self::X86_64 => "linuxx64.efi.stub",
            Self::Aarch64 => "linuxaa64.efi.stub",
            Self::Arm => "linuxarm.efi.stub",
        }
    }

    /// `Machine` of the PE/COFF file header (PE format, "Machine Types").
    pub const fn pe_machine(self) -> u16 {
        match self {
            Self::X86_64 => 0x8664,
            Self::Aarch64 => 0xaa64,
            // IMAGE_FILE_MACHINE_ARMNT, Thumb-2: what UEFI runs on 32-bit ARM.
            Self::Arm => 0x01c2,
        }
    }

    /// The kernel's `COMMAND_LINE_SIZE` in bytes, terminating NUL included (Linux 7.3).
    pub const fn command_line_size(self) -> usize {
        match self {
            Self::X86_64 | Self::Aarch64 => 2048,
            Self::Arm => 1024,
        }
    }

    /// The type GUIDs of root, its tree and its signature.
    pub const fn partition_types(self) -> PartitionTypes {
        match self {
            Self::X86_64 => PartitionTypes {
                root: uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
                root_verity: uuid!("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"),
                root_verity_sig: uuid!("41092b05-9fc8-4523-994f-2def0408b176"),
            },
            Self::Aarch64 => PartitionTypes {
                root: uuid!("b921b045-1df0-41c3-af44-4c6f280d3fae"),
                root_verity: uuid!("df3300ce-d69f-4c92-978c-9bfb0f38d820"),
                root_verity_sig: uuid!("6db69de6-29f4-4758-a7a5-962190f00ce3"),
            },
            Self::Arm => PartitionTypes {
                root: uuid!("69dad710-2ce4-4e3c-b16c-21a1d49abed3"),
                root_verity: uuid!("7386cdf2-203c-47a9-a498-f2ecce45a2d6"),
                root_verity_sig: uuid!("42b0455f-eb11-491d-98d3-56145ba9d037"),
            },
        }
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Arch;

    #[test]
    fn no_two_partition_types_are_the_same() {
        let mut all: Vec<_> = Arch::ALL
            .iter()
            .flat_map(|arch| {
                let types = arch.partition_types();
                [types.root, types.root_verity, types.root_verity_sig]
            })
            .collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
