//! The kernel command line: built from its parts in a fixed order, within the target's limit, contradiction refused.
//!
//! The line ends in the word `--`. The kernel reads no parameter behind it (`parse_args` in `kernel/params.c`), and
//! whatever firmware, stub addon or SMBIOS string adds is *appended*: an added `rdinit=`, `lsm=` or `ipe.enforce=0`
//! becomes an argument of stage0, which compares the whole line and refuses.

use std::fmt;

use graven_handoff::{Binding, Enforcement, KernelLockdown, PolicySource, RootHash};
use graven_targets::CommandLineLimit;
use sha2::{Digest, Sha256};

/// A whole command line: printable ASCII, no blank at either end, quotes balanced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommandLine(String);

/// Why a text is no command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// A byte the kernel, the stub or a script on the way could take for something else.
    #[error("byte 0x{byte:02x} at offset {offset} of the command line: expected printable ASCII")]
    Byte {
        /// The byte.
        byte: u8,
        /// Its offset.
        offset: usize,
    },
    /// An odd number of double quotes.
    #[error("a double quote is not closed in the command line '{0}'")]
    Quotes(String),
    /// A blank at an end, where firmware may cut it.
    #[error("the command line begins or ends with a blank")]
    Blank,
}

impl CommandLine {
    /// Checks a line.
    pub fn parse(line: &str) -> Result<Self, LineError> {
        if let Some((offset, byte)) = line.bytes().enumerate().find(|(_, b)| !(b' '..=b'~').contains(b)) {
            return Err(LineError::Byte { byte, offset });
        }
        if !line.bytes().filter(|&b| b == b'"').count().is_multiple_of(2) {
            return Err(LineError::Quotes(line.to_owned()));
        }
        if line.starts_with(' ') || line.ends_with(' ') {
            return Err(LineError::Blank);
        }
        Ok(Self(line.to_owned()))
    }

    /// The line, without newline or NUL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its words as the kernel separates them.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        graven_handoff::words(&self.0)
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a line is built from.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Values of `console=`, the one that is to be `/dev/console` last. At least one: where there is none, the stub
    /// adds one of its own and the line is no longer what was signed.
    pub consoles: &'a [String],
    /// dm-verity's root hash.
    pub root_hash: &'a RootHash,
    /// The signed policy (PKCS#7, DER).
    pub signed_policy: &'a [u8],
    /// `ipe.enforce=`
    pub enforcement: Enforcement,
    /// `lockdown=`
    pub lockdown: KernelLockdown,
    /// Those of Graven's own words that the recipe does without.
    pub left_out: &'a [Guard],
    /// The recipe's words, in its order.
    pub extra: &'a [String],
    /// What the target takes.
    pub limit: &'a CommandLineLimit,
}

/// On every line: for a kernel with dm-verity built in. Where it is a module, stage0 passes the same itself.
pub const REQUIRE_SIGNATURES: &str = "dm_verity.require_signatures=1";

/// A word that is on every line unless the recipe relaxes it, with a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// `/proc/PID/mem` does not write into memory that is read-only.
    ProcMem,
    /// No hibernation: the memory image is not verified.
    Hibernation,
}

impl Guard {
    /// All of them, in the order in which they stand on the line.
    pub const ALL: [Self; 2] = [Self::ProcMem, Self::Hibernation];

    /// As it stands on the line.
    pub fn word(self) -> &'static str {
        match self {
            Self::ProcMem => "proc_mem.force_override=never",
            Self::Hibernation => "nohibernate",
        }
    }
}

/// Where the signed policy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyPlacement {
    /// Onto the line, in base64.
    Inline,
    /// Into the initramfs, its SHA-256 onto the line.
    Initramfs,
}

/// A line that fits, and where the policy went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The line.
    pub line: CommandLine,
    /// Where the policy went.
    pub policy: PolicyPlacement,
}

/// Why no line can be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Too long even with the policy in the initramfs.
    #[error(
        "the command line is {bytes} bytes, the limit is {limit} less {reserve} reserve and the final NUL: it is {over} \
         too long, even with the policy in the initramfs; shorten the recipe's own words ({extra} bytes)"
    )]
    TooLong {
        /// Length of the line in bytes.
        bytes: usize,
        /// The kernel's buffer.
        limit: usize,
        /// What is kept free.
        reserve: usize,
        /// Bytes too many.
        over: usize,
        /// Length of the recipe's words, blanks included.
        extra: usize,
    },
    /// No console.
    #[error("no console: the boot stub would add one of its own, and the line would not be the signed one")]
    NoConsole,
    /// A console that is not one word.
    #[error("'{0}' is no console: expected a name and options without blanks or quotes, as in ttyS0,115200")]
    Console(String),
    /// Not one word.
    #[error("'{0}' is not one word of a command line; a value with blanks is written key=\"a b\"")]
    NotOneWord(String),
    /// It would undo what the line or stage0 does.
    #[error("'{word}' may not be on the command line: {why}")]
    Contradicts {
        /// The recipe's word.
        word: String,
        /// Why.
        why: &'static str,
    },
    /// The line as a whole.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// Builds the line: consoles, root hash, policy, what Graven fixes, the recipe's words, `--`.
pub fn build(parts: &Parts<'_>) -> Result<Built, BuildError> {
    let inline = PolicySource::Inline(parts.signed_policy.to_vec());
    let line = render(parts, inline)?;
    if line.as_str().len() <= parts.limit.budget() {
        return Ok(Built { line, policy: PolicyPlacement::Inline });
    }
    let sha256: [u8; 32] = Sha256::digest(parts.signed_policy).into();
    let line = render(parts, PolicySource::Sha256(sha256))?;
    let (bytes, budget) = (line.as_str().len(), parts.limit.budget());
    if bytes <= budget {
        return Ok(Built { line, policy: PolicyPlacement::Initramfs });
    }
    Err(BuildError::TooLong {
        bytes,
        limit: parts.limit.limit,
        reserve: parts.limit.reserve,
        over: bytes.saturating_sub(budget),
        extra: parts.extra.iter().map(|word| word.len().saturating_add(1)).sum(),
    })
}

fn render(parts: &Parts<'_>, policy: PolicySource) -> Result<CommandLine, BuildError> {
    if parts.consoles.is_empty() {
        return Err(BuildError::NoConsole);
    }
    let mut words = Vec::new();
    for console in parts.consoles {
        let plain = |b: u8| b.is_ascii_graphic() && b != b'"';
        if console.is_empty() || !console.bytes().all(plain) {
            return Err(BuildError::Console(console.clone()));
        }
        words.push(format!("console={console}"));
    }
    words.push(Binding { root_hash: parts.root_hash.clone(), policy }.words());
    words.push(match parts.enforcement {
        Enforcement::Enforce => "ipe.enforce=1".to_owned(),
        Enforcement::Audit => "ipe.enforce=0".to_owned(),
    });
    words.push(REQUIRE_SIGNATURES.to_owned());
    if parts.lockdown != KernelLockdown::None {
        words.push(format!("lockdown={}", parts.lockdown));
    }
    let guards = Guard::ALL.into_iter().filter(|guard| !parts.left_out.contains(guard));
    words.extend(guards.map(|guard| guard.word().to_owned()));
    for word in parts.extra {
        check_extra(word)?;
        words.push(word.clone());
    }
    words.push("--".to_owned());
    Ok(CommandLine::parse(&words.join(" "))?)
}

/// Parameters that only Graven sets, or that nobody may: name (`_` for `-`, `.` for `/`; a final `.` stands for all
/// that begin so) and why.
const OURS: [(&str, &str); 38] = [
    ("graven.", "it is Graven's own"),
    ("ipe.", "the recipe's [policy] decides it"),
    ("roothash", "it follows from the image"),
    ("usrhash", "the image has one verified file system, and its hash is roothash"),
    ("lsm", "it can leave out ipe; the recipe's [kernel] decides it"),
    ("security", "it can leave out ipe"),
    ("lockdown", "the recipe's [policy] decides it"),
    ("proc_mem.force_override", "it lets /proc/PID/mem write into verified programs"),
    ("nohibernate", "Graven sets it"),
    ("hibernate", "a hibernated memory image is not verified"),
    ("resume", "a hibernated memory image is not verified"),
    ("rdinit", "it skips stage0"),
    ("init", "it skips the recipe's init; write init = there"),
    ("noinitrd", "it skips stage0"),
    ("initrd", "it brings an initramfs that nothing vouches for"),
    ("initrdmem", "it brings an initramfs that nothing vouches for"),
    ("root", "it names a root that nothing verifies"),
    ("rootflags", "stage0 mounts the root"),
    ("rootfstype", "stage0 mounts the root"),
    ("nfsroot", "it names a root that nothing verifies"),
    ("cifsroot", "it names a root that nothing verifies"),
    ("dm_mod.", "stage0 makes the verified device"),
    ("dm_verity.", "stage0 gives the module its parameters"),
    ("module.sig_enforce", "the kernel's own setting stays"),
    ("initcall_blacklist", "it can keep IPE from starting"),
    ("bootconfig", "it brings further parameters from outside the signed line"),
    ("audit", "denials would leave no record"),
    ("sysctl.kernel.usermodehelper.", "stage0 sets it"),
    ("sysctl.kernel.core_pattern", "it starts a helper of the kernel's"),
    ("sysctl.kernel.modprobe", "it starts a helper of the kernel's"),
    ("sysctl.kernel.hotplug", "it starts a helper of the kernel's"),
    ("sysctl.kernel.poweroff_cmd", "it starts a helper of the kernel's"),
    ("sysctl.kernel.yama.", "stage0 sets it"),
    ("sysctl.kernel.kexec_", "stage0 sets it"),
    ("sysctl.kernel.modules_disabled", "the recipe's hardening decides it"),
    ("sysctl.vm.memfd_noexec", "stage0 sets it"),
    ("iomem", "it opens the machine's memory to root"),
    ("firmware_class.path", "it loads firmware from elsewhere"),
];

/// Takes a word of the recipe's, or says why not.
fn check_extra(word: &str) -> Result<(), BuildError> {
    CommandLine::parse(word)?;
    let mut split = graven_handoff::words(word);
    if split.next() != Some(word) || split.next().is_some() {
        return Err(BuildError::NotOneWord(word.to_owned()));
    }
    let contradicts = |why| Err(BuildError::Contradicts { word: word.to_owned(), why });
    // The kernel takes quotes off and `-` for `_`; sysctl takes `/` for `.`.
    let bare = word.replace('"', "");
    let key = bare.split('=').next().unwrap_or_default().replace('-', "_").replace('/', ".");
    if bare == "--" || key == "__" {
        return contradicts("it ends the kernel's parameters, and Graven puts it last");
    }
    let ours = |name: &str| match name.ends_with(['.', '_']) {
        true => key.starts_with(name),
        false => key == name,
    };
    match OURS.into_iter().find(|(name, _)| ours(name)) {
        Some((_, why)) => contradicts(why),
        None => Ok(()),
    }
}
