//! The kernel's decision, rebuilt (`security/ipe/eval.c`, 7.3.4).

use std::fmt;

use crate::digest::Digest;
use crate::kernel::Release;
use crate::policy::{Action, Op, Policy, Property, Rule};

/// What the kernel knows of the file at hand. All absent (the default) is a file on no verity device, or no file at all
/// (`init_module`, legacy `kexec_load`, anonymous memory).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// On the superblock the initramfs was unpacked into.
    pub boot_verified: bool,
    /// Root hash of the dm-verity device that *is* the file system's block device.
    pub dmverity_roothash: Option<Digest>,
    /// That device's table carried a root hash signature which the kernel checked.
    pub dmverity_signature: bool,
    /// The file's fs-verity digest.
    pub fsverity_digest: Option<Digest>,
    /// The file's fs-verity built-in signature was checked.
    pub fsverity_signature: bool,
    /// Which properties the kernel was built with.
    pub providers: Providers,
}

/// Which properties the kernel was built with. Where one is off, both its TRUE and its FALSE are false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Providers {
    /// `CONFIG_IPE_PROP_DM_VERITY`
    pub dm_verity: bool,
    /// `CONFIG_IPE_PROP_DM_VERITY_SIGNATURE`
    pub dm_verity_signature: bool,
    /// `CONFIG_IPE_PROP_FS_VERITY`
    pub fs_verity: bool,
    /// `CONFIG_IPE_PROP_FS_VERITY_BUILTIN_SIG`
    pub fs_verity_builtin_sig: bool,
}

impl Default for Providers {
    fn default() -> Self {
        Self { dm_verity: true, dm_verity_signature: true, fs_verity: true, fs_verity_builtin_sig: true }
    }
}

/// Where in the kernel a policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// `BPRM_CHECK`: `execve` of a program or a script, and of the interpreter that either names.
    BprmCheck,
    /// `BPRM_CREDS_FOR_EXEC`: an interpreter asks with `AT_EXECVE_CHECK` whether a file may run.
    BprmCredsForExec,
    /// `MMAP`: memory to execute, of a file or of none.
    Mmap,
    /// `MPROTECT`: memory that becomes executable.
    Mprotect,
    /// `KERNEL_READ`: the kernel reads a file for itself.
    KernelRead,
    /// `KERNEL_LOAD`: the kernel is handed bytes, and knows no file of them.
    KernelLoad,
}

impl Hook {
    /// All of them, in the kernel's order.
    pub const ALL: [Self; 6] = [
        Self::BprmCheck,
        Self::BprmCredsForExec,
        Self::Mmap,
        Self::Mprotect,
        Self::KernelRead,
        Self::KernelLoad,
    ];

    /// As audit records name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BprmCheck => "BPRM_CHECK",
            Self::BprmCredsForExec => "BPRM_CREDS_FOR_EXEC",
            Self::Mmap => "MMAP",
            Self::Mprotect => "MPROTECT",
            Self::KernelRead => "KERNEL_READ",
            Self::KernelLoad => "KERNEL_LOAD",
        }
    }

    /// The hook of that exact name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.name() == name)
    }

    /// Where this operation is asked about in a kernel of this release.
    pub fn of(op: Op, release: Release) -> &'static [Self] {
        match op {
            Op::Execute if release.judges_scripts() => {
                &[Self::BprmCheck, Self::BprmCredsForExec, Self::Mmap, Self::Mprotect]
            }
            Op::Execute => &[Self::BprmCheck, Self::Mmap, Self::Mprotect],
            Op::Firmware | Op::Kmodule | Op::KexecImage => &[Self::KernelRead, Self::KernelLoad],
            Op::KexecInitramfs | Op::Policy | Op::X509Cert => &[Self::KernelRead],
        }
    }

    /// Whether the kernel knows the file it is about.
    pub const fn knows_the_file(self) -> bool {
        !matches!(self, Self::KernelLoad)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matched {
    /// The rule of this index in [`Policy::rules`].
    Rule(usize),
    /// `DEFAULT op=…`
    OpDefault,
    /// `DEFAULT action=…`
    GlobalDefault,
    /// No default covers it: the kernel warns and allows. Only for operations it cannot map.
    Nothing,
}

/// A decision and what made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Allowed or denied.
    pub action: Action,
    /// By what.
    pub by: Matched,
}

impl Policy {
    /// What this policy, active and enforced, answers: the first rule of the operation whose properties all hold, then
    /// the operation's default, then the global one.
    pub fn evaluate(&self, op: Op, facts: &Facts) -> Verdict {
        let mut rules = self.rules.iter().enumerate().filter(|(_, rule)| rule.op == op);
        if let Some((index, rule)) = rules.find(|(_, rule)| rule.matches(facts)) {
            return Verdict { action: rule.action, by: Matched::Rule(index) };
        }
        match self.op_default(op) {
            Some(action) => Verdict { action, by: Matched::OpDefault },
            None => self.evaluate_unmapped(),
        }
    }

    /// What decided, as the policy writes it: the rule, or the default.
    pub fn words(&self, op: Op, verdict: Verdict) -> String {
        let action = verdict.action;
        match verdict.by {
            Matched::Rule(index) => self.rules.get(index).map(ToString::to_string).unwrap_or_default(),
            Matched::OpDefault => format!("DEFAULT op={op} action={action}"),
            Matched::GlobalDefault => format!("DEFAULT action={action}"),
            Matched::Nothing => "no DEFAULT".to_owned(),
        }
    }

    /// The same as `rule="…"` of the kernel's audit record holds it: to be looked for in a log.
    pub fn audited(&self, op: Op, verdict: Verdict) -> String {
        match verdict.by {
            Matched::Rule(index) => self.rules.get(index).map(Rule::audited).unwrap_or_default(),
            _ => self.words(op, verdict),
        }
    }

    /// What the policy answers for an operation the kernel cannot map to one of [`Op`].
    pub fn evaluate_unmapped(&self) -> Verdict {
        match self.default {
            Some(action) => Verdict { action, by: Matched::GlobalDefault },
            None => Verdict { action: Action::Allow, by: Matched::Nothing },
        }
    }
}

impl Rule {
    /// Whether all its properties hold.
    pub fn matches(&self, facts: &Facts) -> bool {
        self.properties.iter().all(|property| property.holds(facts))
    }
}

impl Property {
    /// Whether the property is true of the file.
    pub fn holds(&self, facts: &Facts) -> bool {
        let on = &facts.providers;
        match self {
            Self::BootVerified(wanted) => facts.boot_verified == *wanted,
            Self::DmverityRoothash(digest) => {
                on.dm_verity && facts.dmverity_roothash.as_ref() == Some(digest)
            }
            Self::DmveritySignature(wanted) => on.dm_verity_signature && facts.dmverity_signature == *wanted,
            Self::FsverityDigest(digest) => on.fs_verity && facts.fsverity_digest.as_ref() == Some(digest),
            Self::FsveritySignature(wanted) => {
                on.fs_verity_builtin_sig && facts.fsverity_signature == *wanted
            }
        }
    }
}
