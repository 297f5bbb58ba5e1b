//! The policy's version: three numbers of 16 bits, compared in order.

use std::fmt;
use std::str::FromStr;

use crate::errno::Errno;

/// `MAJOR.MINOR.REVISION`, each 0–65535. The kernel activates a policy only if its version is not below the active
/// one's, and updates one only if it is above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyVersion {
    /// First and most significant part.
    pub major: u16,
    /// Second part.
    pub minor: u16,
    /// Third part.
    pub revision: u16,
}

/// Why a text is no policy version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no policy version: expected three numbers 0-65535 joined by dots, as in 2.4.1")]
pub struct VersionError {
    text: String,
}

impl PolicyVersion {
    /// The version of these three parts.
    pub const fn new(major: u16, minor: u16, revision: u16) -> Self {
        Self { major, minor, revision }
    }

    /// Reads a version as the kernel does (`+1` and `007` pass).
    pub(crate) fn from_kernel(text: &[u8]) -> Result<Self, Errno> {
        // Part by part: a fourth is EBADMSG whatever it is; too few are found last, so `1.x` is EINVAL and `1.2` EBADMSG.
        let mut numbers = [0u16; 3];
        let mut slots = numbers.iter_mut();
        for part in text.split(|&b| b == b'.') {
            let slot = slots.next().ok_or(Errno::Ebadmsg)?;
            *slot = kstrtou16(part)?;
        }
        if slots.next().is_some() {
            return Err(Errno::Ebadmsg);
        }
        let [major, minor, revision] = numbers;
        Ok(Self { major, minor, revision })
    }
}

/// `kstrtou16(text, 10)` of `lib/kstrtox.c`: one `+` may lead, 64-bit overflow is ERANGE whatever follows the digits,
/// then anything after the digits is EINVAL, then what does not fit 16 bits is ERANGE.
fn kstrtou16(text: &[u8]) -> Result<u16, Errno> {
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let mut value: u64 = 0;
    for &digit in text.iter().take(digits) {
        value = value
            .checked_mul(10)
            .and_then(|v| v.checked_add(u64::from(digit.wrapping_sub(b'0'))))
            .ok_or(Errno::Erange)?;
    }
    if digits == 0 || digits != text.len() {
        return Err(Errno::Einval);
    }
    u16::try_from(value).map_err(|_| Errno::Erange)
}

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.revision)
    }
}

impl FromStr for PolicyVersion {
    type Err = VersionError;

    /// Strict: canonical decimals only, as [`Display`](fmt::Display) writes them.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let error = || VersionError { text: text.to_owned() };
        let version = Self::from_kernel(text.as_bytes()).map_err(|_| error())?;
        if version.to_string() == text { Ok(version) } else { Err(error()) }
    }
}
