//! The plan: all that stage0 has to do and may not decide by itself.
//!
//! The text is `key=value` lines, each ended by a newline, in any order; keys that are lists repeat. [`Plan::render`]
//! writes it, [`Plan::parse`] reads it and takes nothing that it does not know.

use std::fmt;

use crate::cmdline::Addition;
use crate::identity::{PartUuid, PolicyVersion};

mod state;
mod text;
mod verity;
mod volume;

pub use state::{IfDamaged, Seed, SeedTime, State, StateSize};
pub use verity::{Algorithm, Fec, OnCorruption, Verity, VerityDevices};
pub use volume::{Programs, Volume};

/// The plan, [`initramfs::PLAN`](crate::initramfs::PLAN).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The image's name and version, for messages.
    pub image: String,
    /// The policy as it must be found in the kernel after loading.
    pub policy: PolicyIdentity,
    /// The policy compiled into the kernel (`CONFIG_IPE_BOOT_POLICY`), where it has one: in force until the image's is, and
    /// removed then.
    pub compiled_in_policy: Option<PolicyIdentity>,
    /// Where in the root, on a path of the state, a signed policy may lie that takes the image's place.
    pub successor: Option<String>,
    /// What `ipe.enforce` must be.
    pub enforcement: Enforcement,
    /// Whether the firmware must have Secure Boot on.
    pub secure_boot: SecureBoot,
    /// The lockdown level that must be reached at least.
    pub kernel_lockdown: KernelLockdown,
    /// Linux security modules that must be active, e.g. `ipe`, `yama`, `lockdown`.
    pub security_modules: Vec<String>,
    /// What the board's firmware may put around the command line, exactly.
    pub additions: Vec<Addition>,
    /// Parameters given to the modules that the initramfs carries.
    pub module_parameters: Vec<ModuleParameter>,
    /// How long the partitions may take to appear, in seconds, 1 to 3600.
    pub wait_seconds: u32,
    /// The root file system. The command line has its root hash.
    pub root: Verified,
    /// Further verified file systems, in the order in which they are mounted.
    pub volumes: Vec<Volume>,
    /// The other file systems, in the order in which they are mounted.
    pub mounts: Vec<Mount>,
    /// The one place that outlives a boot.
    pub state: Option<State>,
    /// Seconds since 1970: a clock that is behind is set to it.
    pub clock_not_before: u64,
    /// The parts of the lockdown that this image does without.
    pub relaxed: Vec<Relaxed>,
    /// Parts of the lockdown that are not for every image.
    pub hardening: Vec<Hardening>,
    /// What to do when a step fails.
    pub on_failure: OnFailure,
    /// The image's own first program.
    pub init: Init,
}

/// An IPE policy's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyIdentity {
    /// `policy_name`: `[A-Za-z0-9._-]`, 1 to 255 bytes, its folder's name in securityfs.
    pub name: String,
    /// `policy_version`
    pub version: PolicyVersion,
}

/// A file system on its dm-verity device. Its partitions follow from its root hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The kernel's name of the file system, e.g. `erofs`.
    pub file_system: String,
    /// Options for the file system itself, comma-separated, mostly none.
    pub options: String,
    /// The partition that holds the root hash signature (verity-sig).
    pub signature_partition: PartUuid,
    /// The dm-verity device.
    pub verity: Verity,
}

/// A file system besides the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Where, an absolute path in the root without `.` or `..` components or blanks; the folder must be there.
    pub target: String,
    /// The kernel's name of the file system, e.g. `ext4`, `tmpfs`.
    pub file_system: String,
    /// Comma-separated: `ro`, `exec`, `suid`, `dev`, `noatime`, `relatime`, `strictatime`, `nosymfollow`, `sync`, and
    /// what the file system takes. Without the first four a mount is writable, `noexec`, `nosuid` and `nodev`.
    pub options: String,
    /// What happens when it cannot be mounted.
    pub on_damage: OnDamage,
    /// What a tmpfs holds at first.
    pub contents: Contents,
}

/// A mount's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// The partition with this UUID.
    Partition(PartUuid),
    /// No device (tmpfs and the like).
    None,
}

/// A parameter of a module that the initramfs carries, passed when it is loaded and read back afterwards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModuleParameter {
    /// The module as in `/sys/module`, e.g. `dm_verity`.
    pub module: String,
    /// The parameter, e.g. `require_signatures`.
    pub name: String,
    /// Its value, without blanks or quotes; `1`, `Y` and `y` are the same to a flag, as are `0`, `N` and `n`.
    pub value: String,
}

/// One part of the lockdown that the image does without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relaxed {
    /// Which.
    pub what: Relaxation,
    /// Why, in the recipe's words; stage0 prints it.
    pub reason: String,
}

/// The image's init.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// Absolute path in the root; also its `argv[0]`.
    pub path: String,
    /// Its further arguments.
    pub arguments: Vec<String>,
    /// The whole of its environment: name and value, each name once.
    pub environment: Vec<(String, String)>,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The word for it in the plan.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            /// The value that a word stands for.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.word() == word)
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}
use words;

words! {
    /// Whether the kernel denies what the policy denies.
    Enforcement {
        /// `ipe.enforce=1`
        Enforce = "enforce",
        /// `ipe.enforce=0`: development images only.
        Audit = "audit",
    }
}

words! {
    /// What is asked of the firmware.
    SecureBoot {
        /// `SecureBoot` = 1 and `SetupMode` = 0, or the boot stops.
        Required = "required",
        /// Not looked at: boards whose boot chain is another one, development images.
        NotRequired = "not-required",
    }
}

words! {
    /// The kernel's lockdown level, the weaker first.
    KernelLockdown {
        /// Not looked at.
        None = "none",
        /// `lockdown=integrity`
        Integrity = "integrity",
        /// `lockdown=confidentiality`
        Confidentiality = "confidentiality",
    }
}

words! {
    /// Parts of the lockdown that are on unless the recipe takes them away, with a reason; named as recipes name them.
    Relaxation {
        /// The kernel's helper programs (core_pattern, request-key, …) keep all capabilities.
        Usermodehelper = "usermodehelper",
        /// Helper programs keep `CAP_SYS_MODULE`, so that the kernel can load modules by itself.
        ModuleAutoload = "module-autoload",
        /// `CAP_MAC_ADMIN` stays: root can load policies and switch enforcement off.
        MacAdmin = "mac-admin",
        /// Device-mapper ioctls stay: root can put a forged device under the root hash.
        DeviceMapper = "device-mapper",
        /// Memory may become executable after it was written (just-in-time compilers).
        Mdwe = "mdwe",
        /// ptrace stays as the kernel has it.
        Ptrace = "ptrace",
        /// memfds may be executable.
        Memfd = "memfd",
        /// kexec stays.
        Kexec = "kexec",
        /// The line has no `lockdown=`: root can write into the kernel.
        KernelLockdown = "kernel-lockdown",
        /// The line has no `proc_mem.force_override=never`: a debugger can write into verified programs.
        ProcMem = "proc-mem",
        /// The line has no `nohibernate`: a memory image that nothing verifies can be resumed.
        Hibernation = "hibernation",
    }
}

words! {
    /// Parts of the lockdown that are off unless the recipe asks for them.
    Hardening {
        /// Exec securebits, locked: for images in which every interpreter honours them.
        ExecSecurebits = "exec-securebits",
        /// No modules after stage0's.
        ModulesDisabled = "modules-disabled",
    }
}

words! {
    /// What happens when a mount fails.
    OnDamage {
        /// The boot stops.
        Fail = "fail",
        /// An empty tmpfs in its place, with a warning: whatever is written is gone at the next boot.
        Volatile = "volatile",
    }
}

words! {
    /// What a file system without a device holds when it is mounted.
    Contents {
        /// Nothing.
        Empty = "empty",
        /// A copy of what the root has at its mount point.
        Image = "image",
    }
}

words! {
    /// What stage0 does when it cannot go on.
    OnFailure {
        /// Start again.
        Reboot = "reboot",
        /// Switch off.
        Poweroff = "poweroff",
        /// Stand still.
        Halt = "halt",
    }
}

impl Plan {
    /// The plan as text. An error means that a value cannot be written, or would not be read back as what it is.
    pub fn render(&self) -> Result<String, PlanError> {
        let text = text::render(self);
        match Plan::parse(&text)? {
            same if same == *self => Ok(text),
            _ => Err(PlanError { line: None, key: "plan".to_owned(), problem: Problem::NotText }),
        }
    }

    /// Reads a plan: every key known, every single one there once, every value good.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        text::parse(text)
    }

    /// Whether this part of the lockdown is taken away.
    pub fn relaxes(&self, what: Relaxation) -> bool {
        self.relaxed.iter().any(|relaxed| relaxed.what == what)
    }

    /// Whether this part of the lockdown is asked for.
    pub fn hardens(&self, what: Hardening) -> bool {
        self.hardening.contains(&what)
    }
}

/// A text that is no plan, or a plan that cannot be written as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// The line, counted from 1; `None` where no single line is to blame.
    pub line: Option<usize>,
    /// The key.
    pub key: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with a key of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No line has it.
    Missing,
    /// No such key.
    Unknown,
    /// It is there already: its line.
    Twice(usize),
    /// The line has no `=`, or the last one no newline.
    NoLine,
    /// The value is not one of these.
    Value {
        /// What is written there.
        expected: &'static str,
        /// What was there.
        found: String,
    },
    /// A value has a newline or is otherwise not what would be read back.
    NotText,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "plan, line {line}: {}: ", self.key)?,
            None => write!(f, "plan: {}: ", self.key)?,
        }
        match &self.problem {
            Problem::Missing => f.write_str("missing"),
            Problem::Unknown => f.write_str("unknown key"),
            Problem::Twice(line) => write!(f, "already given in line {line}"),
            Problem::NoLine => f.write_str("expected a line `key=value` with a newline at its end"),
            Problem::Value { expected, found } => write!(f, "expected {expected}, found {found:?}"),
            Problem::NotText => f.write_str("a value cannot be written as one line of text"),
        }
    }
}

impl std::error::Error for PlanError {}

#[cfg(test)]
mod tests;
