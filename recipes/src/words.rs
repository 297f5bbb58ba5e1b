//! The recipe's fixed words, each set of them a type.

use schemars::JsonSchema;

macro_rules! words {
    ($($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+ })+) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema)]
        pub enum $name {
            $($(#[$variant_meta])* #[schemars(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as the recipe writes it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The one that is written so.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Word for $name {
            const WORDS: &'static [&'static str] = &[$($word),+];
            fn from_word(word: &str) -> Option<Self> {
                Self::parse(word)
            }
        }
    )+ };
}

/// A set of fixed words, for the decoder.
pub(crate) trait Word: Sized {
    const WORDS: &'static [&'static str];
    fn from_word(word: &str) -> Option<Self>;
}

words! {
    /// How strict an image is.
    #[derive(Default)]
    Profile {
        /// Enforced, no way around it.
        #[default]
        Release = "release",
        /// For the laboratory: may be permissive, says so, and takes no release keys.
        Development = "development",
    }

    /// What IPE does with what its policy denies.
    #[derive(Default)]
    PolicyMode {
        /// Denies it (`ipe.enforce=1`).
        #[default]
        Enforce = "enforce",
        /// Only records it (`ipe.enforce=0`); development images only.
        Audit = "audit",
    }

    /// An operation that a rule of the policy is about.
    PolicyOp {
        /// Programs, libraries and scripts.
        Execute = "EXECUTE",
        /// Firmware of devices.
        Firmware = "FIRMWARE",
        /// Kernel modules.
        Kmodule = "KMODULE",
        /// A kernel for kexec.
        KexecImage = "KEXEC_IMAGE",
        /// Its initramfs.
        KexecInitramfs = "KEXEC_INITRAMFS",
        /// Policies of other parts of the kernel.
        Policy = "POLICY",
        /// Certificates of IMA and EVM.
        X509Cert = "X509_CERT",
    }

    /// What a rule of the policy decides.
    #[derive(Default)]
    PolicyAction {
        /// It may be.
        #[default]
        Allow = "ALLOW",
        /// It may not.
        Deny = "DENY",
    }

    /// What the build does where an interpreter does not ask the kernel before it runs a script.
    #[derive(Default)]
    Unenlightened {
        /// Says so.
        #[default]
        Warn = "warn",
        /// Stops.
        Deny = "deny",
    }

    /// Whether stage0 goes on where the firmware did not check the boot artefact.
    #[derive(Default)]
    SecureBoot {
        /// stage0 refuses to go on without.
        #[default]
        Required = "required",
        /// stage0 says so and goes on.
        Optional = "optional",
    }

    /// What stage0 does once it has refused to go on.
    #[derive(Default)]
    OnFailure {
        /// Restarts the machine.
        #[default]
        Reboot = "reboot",
        /// Switches it off.
        Poweroff = "poweroff",
        /// Stops the processor, the reason left on the console.
        Halt = "halt",
    }

    /// What a tmpfs holds when it is mounted.
    #[derive(Default)]
    MountContents {
        /// Nothing.
        #[default]
        Empty = "empty",
        /// A copy of what the image has at the mount point.
        Image = "image",
    }

    /// The root's file system.
    #[derive(Default)]
    RootFs {
        /// EROFS.
        #[default]
        Erofs = "erofs",
        /// squashfs.
        Squashfs = "squashfs",
        /// ext4.
        Ext4 = "ext4",
    }

    /// What the root's file system is compressed with.
    Compressor {
        /// LZ4: EROFS and squashfs.
        Lz4 = "lz4",
        /// LZ4, compressed with more effort: EROFS.
        Lz4hc = "lz4hc",
        /// DEFLATE: EROFS.
        Deflate = "deflate",
        /// DEFLATE, as squashfs calls it.
        Gzip = "gzip",
        /// Zstandard: EROFS and squashfs.
        Zstd = "zstd",
        /// LZMA: EROFS.
        Lzma = "lzma",
        /// LZMA, as squashfs has it.
        Xz = "xz",
    }

    /// The state's file system.
    #[derive(Default)]
    StateFs {
        /// `ext4`
        #[default]
        Ext4 = "ext4",
    }

    /// On which boots a seed is taken.
    #[derive(Default)]
    SeedTime {
        /// Only on the first.
        #[default]
        FirstBoot = "first-boot",
        /// On each on which it is there.
        Always = "always",
    }

    /// What happens to a state that is damaged.
    #[derive(Default)]
    IfDamaged {
        /// It is made anew, with a warning.
        #[default]
        Reset = "reset",
        /// A tmpfs takes its place for this boot, with a warning.
        Volatile = "volatile",
        /// The boot stops.
        Fail = "fail",
    }

    /// Where owners, modes and times of a source's files come from.
    Metadata {
        /// Owner 0:0, mode 0755 or 0644 by the owner's execute bit, time `source-date`.
        Normalised = "normalised",
        /// As the source has them.
        Keep = "keep",
    }

    /// File systems that a `[[mount]]` may mount: the kernel's own, none of which reads a disk.
    MountType {
        /// `tmpfs`
        Tmpfs = "tmpfs",
        /// `devpts`
        Devpts = "devpts",
        /// `mqueue`
        Mqueue = "mqueue",
        /// `hugetlbfs`
        Hugetlbfs = "hugetlbfs",
        /// `cgroup2`
        Cgroup2 = "cgroup2",
        /// `bpf`
        Bpf = "bpf",
        /// `configfs`
        Configfs = "configfs",
        /// `debugfs`
        Debugfs = "debugfs",
        /// `tracefs`
        Tracefs = "tracefs",
        /// `efivarfs`
        Efivarfs = "efivarfs",
        /// `pstore`
        Pstore = "pstore",
    }

    /// The parts of stage0's lockdown that a recipe may leave out, each with a reason.
    Relaxation {
        /// `kernel.usermodehelper.bset` and `inheritable` keep what the kernel gives them.
        Usermodehelper = "usermodehelper",
        /// The kernel's helpers keep `CAP_SYS_MODULE`, so that it can load modules on demand.
        ModuleAutoload = "module-autoload",
        /// `CAP_MAC_ADMIN` stays in the capability sets.
        MacAdmin = "mac-admin",
        /// No seccomp filter on device-mapper ioctls.
        DeviceMapper = "device-mapper",
        /// No `PR_SET_MDWE`.
        Mdwe = "mdwe",
        /// `kernel.yama.ptrace_scope` is not set.
        Ptrace = "ptrace",
        /// `vm.memfd_noexec` is not set.
        Memfd = "memfd",
        /// `kernel.kexec_load_disabled` is not set.
        Kexec = "kexec",
        /// No `lockdown=integrity` on the command line.
        KernelLockdown = "kernel-lockdown",
        /// No `proc_mem.force_override=never` on the command line.
        ProcMem = "proc-mem",
        /// No `nohibernate` on the command line.
        Hibernation = "hibernation",
    }
}
