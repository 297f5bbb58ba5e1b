//! What can be wrong with a policy, each kind with a code that stays.

use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know.
    Note,
    /// It may be meant.
    Warning,
    /// It cannot be meant, or the kernel refuses it.
    Error,
}

impl Severity {
    /// `note`, `warning` or `error`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $variant:ident = $code:literal, $name:literal;)+) => {
        /// What is wrong. The codes are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $meaning])+ $variant,)+
        }

        impl Code {
            /// All of them, in the order of their codes.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The code.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// Its name: a few words joined by `-`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it means, in a sentence or two.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($meaning,)+).trim_start(),)+ }
            }
        }
    };
}

codes! {
    /// The kernel refuses the policy.
    Refused = "IPE-01", "refused";
    /// A NUL byte ends the policy for the kernel, which ignores what follows without a word.
    Nul = "IPE-02", "text-after-nul";
    /// The kernel's decoder takes 65,535 bytes of signed policy at most.
    TooLarge = "IPE-03", "too-large";
    /// The name can be a folder of securityfs, but not in every tool and file name that it will stand in.
    Name = "IPE-04", "name";
    /// dm-verity or fs-verity never reports this algorithm: the rule never matches.
    DigestAlgorithm = "IPE-05", "digest-algorithm";
    /// No digest of this algorithm has this length: the rule never matches.
    DigestLength = "IPE-06", "digest-length";
    /// An earlier rule decides all that this one could.
    Unreachable = "IPE-07", "unreachable";
    /// The rule's properties exclude each other: it never matches.
    Contradiction = "IPE-08", "contradiction";
    /// What no rule matches is allowed.
    DefaultAllow = "IPE-09", "default-allow";
    /// A rule without a property allows whatever comes.
    UnconditionalAllow = "IPE-10", "unconditional-allow";
    /// boot_verified=TRUE is true of all that is ever written to the initramfs' file system.
    BootVerified = "IPE-11", "boot-verified";
    /// A property with FALSE is true of every file that nobody vouches for.
    NegatedAllow = "IPE-12", "negated-allow";
    /// Nothing can be allowed for the operation.
    NoAllow = "IPE-13", "no-allow";
    /// The kernel would not put this policy in the place of the older one.
    NoSuccessor = "IPE-14", "no-successor";
    /// The kernel was built without this property: it is false with TRUE and with FALSE.
    NotProvided = "IPE-15", "not-provided";
    /// The rule decides what the default would decide without it.
    Redundant = "IPE-16", "redundant";
    /// This kernel does not ask IPE when an interpreter asks whether a script may run.
    ScriptsUnasked = "IPE-17", "scripts-unasked";
    /// No keyring of the kernel would trust the signature.
    Untrusted = "IPE-18", "untrusted";
}

impl Code {
    /// How bad it is, unless the finding says otherwise.
    pub const fn severity(self) -> Severity {
        match self {
            Self::Refused
            | Self::Nul
            | Self::TooLarge
            | Self::Name
            | Self::DigestAlgorithm
            | Self::DigestLength
            | Self::Contradiction
            | Self::NoSuccessor
            | Self::NotProvided
            | Self::Untrusted => Severity::Error,
            Self::Unreachable
            | Self::DefaultAllow
            | Self::UnconditionalAllow
            | Self::BootVerified
            | Self::NegatedAllow => Severity::Warning,
            Self::NoAllow | Self::Redundant | Self::ScriptsUnasked => Severity::Note,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
