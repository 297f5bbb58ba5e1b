//! The errors with which the kernel refuses a policy.

use std::fmt;

/// What a write to `new_policy`, `update` or `active` fails with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Errno {
    /// `EACCES`: the policy's name cannot be a folder of securityfs.
    Eacces,
    /// `EBADMSG`: the text does not have a policy's shape, or the message not that of PKCS#7.
    Ebadmsg,
    /// `EINVAL`: a number or a hex string is none; an update of another name; an active policy that would become older.
    Einval,
    /// `EKEYREJECTED`: the signature does not hold.
    Ekeyrejected,
    /// `EMSGSIZE`: the message is longer than the kernel's ASN.1 decoder takes.
    Emsgsize,
    /// `ENAMETOOLONG`: the policy's name is longer than the name of a folder.
    Enametoolong,
    /// `ENOKEY`: no key that the kernel trusts made the signature.
    Enokey,
    /// `ENOPKG`: an algorithm that the kernel does not have, or not there.
    Enopkg,
    /// `ERANGE`: a version part above 65535.
    Erange,
    /// `ESTALE`: an update whose version is not above the loaded one's.
    Estale,
}

impl Errno {
    /// The symbol.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eacces => "EACCES",
            Self::Ebadmsg => "EBADMSG",
            Self::Einval => "EINVAL",
            Self::Ekeyrejected => "EKEYREJECTED",
            Self::Emsgsize => "EMSGSIZE",
            Self::Enametoolong => "ENAMETOOLONG",
            Self::Enokey => "ENOKEY",
            Self::Enopkg => "ENOPKG",
            Self::Erange => "ERANGE",
            Self::Estale => "ESTALE",
        }
    }

    /// The number on Linux (every architecture we build for).
    pub const fn number(self) -> i32 {
        match self {
            Self::Eacces => 13,
            Self::Ebadmsg => 74,
            Self::Einval => 22,
            Self::Ekeyrejected => 129,
            Self::Emsgsize => 90,
            Self::Enametoolong => 36,
            Self::Enokey => 126,
            Self::Enopkg => 65,
            Self::Erange => 34,
            Self::Estale => 116,
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
