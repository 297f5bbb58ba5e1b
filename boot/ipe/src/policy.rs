//! What a policy says: header, defaults, rules; and its canonical text.

use std::fmt;

use crate::digest::Digest;
use crate::errno::Errno;
use crate::evaluate::Facts;
use crate::version::PolicyVersion;

/// An operation the kernel asks the policy about. The order is the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// `EXECUTE`: `execve`, executable mappings, `AT_EXECVE_CHECK`.
    Execute,
    /// `FIRMWARE`: device firmware loaded at the kernel's request.
    Firmware,
    /// `KMODULE`: kernel modules.
    Kmodule,
    /// `KEXEC_IMAGE`: a kernel to be started by kexec.
    KexecImage,
    /// `KEXEC_INITRAMFS`: its initramfs.
    KexecInitramfs,
    /// `POLICY`: policy files other kernel parts read by path (never IPE's own).
    Policy,
    /// `X509_CERT`: certificates IMA and EVM read by path.
    X509Cert,
}

impl Op {
    /// All seven, in the kernel's order.
    pub const ALL: [Self; 7] = [
        Self::Execute,
        Self::Firmware,
        Self::Kmodule,
        Self::KexecImage,
        Self::KexecInitramfs,
        Self::Policy,
        Self::X509Cert,
    ];

    /// The word after `op=`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Execute => "EXECUTE",
            Self::Firmware => "FIRMWARE",
            Self::Kmodule => "KMODULE",
            Self::KexecImage => "KEXEC_IMAGE",
            Self::KexecInitramfs => "KEXEC_INITRAMFS",
            Self::Policy => "POLICY",
            Self::X509Cert => "X509_CERT",
        }
    }

    /// The operation of that exact (case-sensitive) name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.name().as_bytes() == name)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The operations an appliance binds to its root: the others (kexec, foreign policies, certificates) fall to DENY.
pub const APPLIANCE_OPS: [Op; 3] = [Op::Execute, Op::Kmodule, Op::Firmware];

/// What a rule or a default decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// `action=ALLOW`
    Allow,
    /// `action=DENY`
    Deny,
}

impl Action {
    /// The word after `action=`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Deny => "DENY",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// `boot_verified=`: the file is on the superblock the initramfs was unpacked into.
    BootVerified(bool),
    /// `dmverity_roothash=`: the file's block device is a dm-verity device of this root hash.
    DmverityRoothash(Digest),
    /// `dmverity_signature=`: the file's block device is dm-verity with a root hash signature the kernel checked.
    DmveritySignature(bool),
    /// `fsverity_digest=`: the file has this fs-verity digest.
    FsverityDigest(Digest),
    /// `fsverity_signature=`: the file has an fs-verity built-in signature the kernel checked.
    FsveritySignature(bool),
}

impl Property {
    /// The word before `=`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BootVerified(_) => "boot_verified",
            Self::DmverityRoothash(_) => "dmverity_roothash",
            Self::DmveritySignature(_) => "dmverity_signature",
            Self::FsverityDigest(_) => "fsverity_digest",
            Self::FsveritySignature(_) => "fsverity_signature",
        }
    }

    /// As an audit record writes it.
    fn audited(&self) -> String {
        match self {
            Self::DmverityRoothash(digest) | Self::FsverityDigest(digest) => {
                format!("{}={}", self.name(), digest.audited())
            }
            _ => {
                let mut text = Vec::new();
                self.render(&mut text);
                String::from_utf8_lossy(&text).into_owned()
            }
        }
    }

    fn render(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name().as_bytes());
        out.push(b'=');
        match self {
            Self::DmverityRoothash(digest) | Self::FsverityDigest(digest) => digest.render(out),
            Self::BootVerified(value) | Self::DmveritySignature(value) | Self::FsveritySignature(value) => {
                out.extend_from_slice(if *value { b"TRUE" } else { b"FALSE" });
            }
        }
    }
}

/// `op=… PROPERTY… action=…`: decides if all its properties are true; with none, always.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The operation it is about.
    pub op: Op,
    /// The conditions, all of which must hold.
    pub properties: Vec<Property>,
    /// What it decides.
    pub action: Action,
}

impl Rule {
    /// As the kernel's audit records write it (`audit_rule` of `security/ipe/audit.c`): not quite as the policy does.
    pub(crate) fn audited(&self) -> String {
        let properties: Vec<String> =
            self.properties.iter().map(|property| property.audited() + " ").collect();
        format!("op={} {}action={}", self.op, properties.concat(), self.action)
    }

    fn render(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("op={}", self.op).as_bytes());
        for property in &self.properties {
            out.push(b' ');
            property.render(out);
        }
        out.extend_from_slice(format!(" action={}", self.action).as_bytes());
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.render(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// A policy's name. The kernel takes any bytes without blanks and makes a securityfs directory of it; [`new`](Self::new)
/// takes only what is safe there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PolicyName(Vec<u8>);

/// Why a name cannot be given to a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{name}' cannot name a policy: use 1 to 255 of A-Z a-z 0-9 . _ - and neither '.' nor '..'")]
pub struct NameError {
    name: String,
}

impl PolicyName {
    /// A name of `[A-Za-z0-9._-]`, 1 to 255 bytes, neither `.` nor `..`.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let parsed = Self(name.as_bytes().to_vec());
        if parsed.is_portable() { Ok(parsed) } else { Err(NameError { name: name.to_owned() }) }
    }

    pub(crate) fn from_kernel(name: &[u8]) -> Self {
        Self(name.to_vec())
    }

    /// Whether [`new`](Self::new) would take it.
    pub fn is_portable(&self) -> bool {
        (1..=255).contains(&self.0.len())
            && !matches!(self.0.as_slice(), b"." | b"..")
            && self.0.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
    }

    /// What securityfs says to a folder of this name where none is yet: with a slash, `.` and `..` are EACCES, more than
    /// 255 bytes are ENAMETOOLONG (`lookup_noperm_common` of `fs/namei.c`, `simple_lookup` of `fs/libfs.c`).
    pub fn folder(&self) -> Result<(), Errno> {
        match self.0.as_slice() {
            b"" | b"." | b".." => Err(Errno::Eacces),
            name if name.contains(&b'/') => Err(Errno::Eacces),
            name if name.len() > 255 => Err(Errno::Enametoolong),
            _ => Ok(()),
        }
    }

    /// The name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// A whole policy, as the kernel holds it after parsing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(crate) name: PolicyName,
    pub(crate) version: PolicyVersion,
    pub(crate) default: Option<Action>,
    pub(crate) op_defaults: [Option<Action>; 7],
    pub(crate) rules: Vec<Rule>,
}

impl Policy {
    /// The policy of an appliance: `DEFAULT action=DENY`, and one rule for each of `ops` that allows what comes from the
    /// dm-verity device of `root_hash`. Nothing else: no `boot_verified`, so nothing of the initramfs runs once it is active.
    pub fn appliance(name: PolicyName, version: PolicyVersion, root_hash: Digest, ops: &[Op]) -> Self {
        let property = Property::DmverityRoothash(root_hash);
        let rule = |&op| Rule { op, properties: vec![property.clone()], action: Action::Allow };
        Self {
            name,
            version,
            default: Some(Action::Deny),
            op_defaults: [None; 7],
            rules: ops.iter().map(rule).collect(),
        }
    }

    /// What is compiled into a kernel (`CONFIG_IPE_BOOT_POLICY`) for such an appliance: until the image's policy is active,
    /// these operations from the initramfs alone, and nothing else. Its version is the lowest, so that any other may follow.
    pub fn compiled_in(name: PolicyName, ops: &[Op]) -> Self {
        let rule = |&op| Rule { op, properties: vec![Property::BootVerified(true)], action: Action::Allow };
        Self {
            name,
            version: PolicyVersion::default(),
            default: Some(Action::Deny),
            op_defaults: [None; 7],
            rules: ops.iter().map(rule).collect(),
        }
    }

    /// The same with these rules before its own: the first that matches decides.
    pub fn preceded_by(self, rules: impl IntoIterator<Item = Rule>) -> Self {
        Self { rules: rules.into_iter().chain(self.rules).collect(), ..self }
    }

    /// The operations that it allows of files that nobody vouches for: on no verity device, with no digest, or merely on the
    /// initramfs' file system.
    pub fn unbound(&self) -> Vec<Op> {
        let anything = [Facts::default(), Facts { boot_verified: true, ..Facts::default() }];
        let allows = |op: &Op| anything.iter().any(|facts| self.evaluate(*op, facts).action == Action::Allow);
        Op::ALL.into_iter().filter(allows).collect()
    }

    /// `policy_name=`.
    pub fn name(&self) -> &PolicyName {
        &self.name
    }

    /// `policy_version=`.
    pub fn version(&self) -> PolicyVersion {
        self.version
    }

    /// The global `DEFAULT action=`, if there is one. A parsed policy without it has a default for every operation.
    pub fn default(&self) -> Option<Action> {
        self.default
    }

    /// `DEFAULT op=… action=` of this operation, if there is one.
    pub fn op_default(&self, op: Op) -> Option<Action> {
        self.op_defaults.get(op as usize).copied().flatten()
    }

    /// The rules in file order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The canonical text: header, global default, defaults in the kernel's order of operations, rules in their order;
    /// one blank between tokens, lower-case hex, LF after each line. Bytes, since a parsed name may be no UTF-8.
    pub fn render(&self) -> Vec<u8> {
        let mut out = b"policy_name=".to_vec();
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(format!(" policy_version={}\n", self.version).as_bytes());
        if let Some(action) = self.default {
            out.extend_from_slice(format!("DEFAULT action={action}\n").as_bytes());
        }
        for op in Op::ALL {
            if let Some(action) = self.op_default(op) {
                out.extend_from_slice(format!("DEFAULT op={op} action={action}\n").as_bytes());
            }
        }
        for rule in &self.rules {
            rule.render(&mut out);
            out.push(b'\n');
        }
        out
    }
}
