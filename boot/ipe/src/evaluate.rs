//! The kernel's decision, rebuilt (`security/ipe/eval.c`, 7.3.4).

use crate::digest::Digest;
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
