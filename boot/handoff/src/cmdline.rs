//! The kernel command line: Graven's own words in it, and the comparison of the whole of it.

use std::fmt;

use crate::identity::{IdentityError, RootHash};
use crate::{base64, hex};

const ROOT_HASH: &str = "roothash";
const POLICY: &str = "graven.policy";
const POLICY_SHA256: &str = "graven.policy-sha256";

/// `roothash=HEX`
pub fn word_root_hash(root_hash: &RootHash) -> String {
    format!("{ROOT_HASH}={root_hash}")
}

/// `graven.policy=BASE64`: the signed policy itself (PKCS#7, DER).
pub fn word_policy(signed_policy: &[u8]) -> String {
    format!("{POLICY}={}", base64::encode(signed_policy))
}

/// `graven.policy-sha256=HEX`: the SHA-256 of the signed policy, which then lies in the initramfs.
pub fn word_policy_sha256(sha256: &[u8; 32]) -> String {
    format!("{POLICY_SHA256}={}", hex::encode(sha256))
}

/// What the command line binds: the root file system and the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// dm-verity's root hash.
    pub root_hash: RootHash,
    /// The signed policy, or what it is known by.
    pub policy: PolicySource,
}

/// Where stage0 takes the signed policy from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// From the command line: the PKCS#7 message.
    Inline(Vec<u8>),
    /// From [`initramfs::POLICY`](crate::initramfs::POLICY), whose SHA-256 is this.
    Sha256([u8; 32]),
}

impl Binding {
    /// The words of the command line, separated by one blank: `roothash=…` and the policy's.
    pub fn words(&self) -> String {
        let policy = match &self.policy {
            PolicySource::Inline(message) => word_policy(message),
            PolicySource::Sha256(sha256) => word_policy_sha256(sha256),
        };
        format!("{} {policy}", word_root_hash(&self.root_hash))
    }

    /// Finds the words in a whole command line. Each must be there exactly once, and one of the policy's two.
    pub fn parse(line: &str) -> Result<Self, CommandLineError> {
        let root_hash = value(line, ROOT_HASH)?.ok_or(CommandLineError::Missing(ROOT_HASH))?;
        let root_hash = RootHash::from_hex(root_hash).map_err(CommandLineError::RootHash)?;
        let policy = match (value(line, POLICY)?, value(line, POLICY_SHA256)?) {
            (Some(text), None) => {
                let message = base64::decode(text).filter(|message| !message.is_empty());
                PolicySource::Inline(message.ok_or(CommandLineError::Policy)?)
            }
            (None, Some(text)) => {
                let sha256 = hex::decode(text).and_then(|bytes| bytes.try_into().ok());
                PolicySource::Sha256(sha256.ok_or(CommandLineError::PolicySha256)?)
            }
            (None, None) => return Err(CommandLineError::Missing(POLICY)),
            (Some(_), Some(_)) => return Err(CommandLineError::TwoPolicies),
        };
        Ok(Binding { root_hash, policy })
    }
}

/// The words of a command line as the kernel separates them (`next_arg` in `lib/cmdline.c`): at blanks outside double
/// quotes. Quotes stay in the words.
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c: char| {
        quoted ^= c == '"';
        c.is_ascii_whitespace() && !quoted
    })
    .filter(|word| !word.is_empty())
}

/// The value of the word `key=…`, `None` where there is none; more than one is an error. Words after `--` are init's.
pub fn value<'a>(line: &'a str, key: &'static str) -> Result<Option<&'a str>, CommandLineError> {
    let mut found = words(line)
        .take_while(|word| *word != "--")
        .filter_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(CommandLineError::Twice(key)),
        (value, None) => Ok(value),
    }
}

/// A command line without the words it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandLineError {
    /// No such word.
    Missing(&'static str),
    /// The same word more than once.
    Twice(&'static str),
    /// `roothash=` is none.
    RootHash(IdentityError),
    /// `graven.policy=` is no base64, or empty.
    Policy,
    /// `graven.policy-sha256=` is no SHA-256.
    PolicySha256,
    /// Both the policy and its digest.
    TwoPolicies,
}

impl fmt::Display for CommandLineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(key) => write!(f, "the command line has no {key}="),
            Self::Twice(key) => write!(f, "the command line has {key}= more than once"),
            Self::RootHash(error) => write!(f, "{ROOT_HASH}=: {error}"),
            Self::Policy => write!(f, "{POLICY}= is not the base64 text of a signed policy"),
            Self::PolicySha256 => write!(f, "{POLICY_SHA256}= is not 64 lower-case hexadecimal digits"),
            Self::TwoPolicies => write!(f, "the command line has both {POLICY}= and {POLICY_SHA256}="),
        }
    }
}

impl std::error::Error for CommandLineError {}

/// Bytes that a board's firmware is known to put around the signed line, blanks included.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Addition {
    /// In front of it.
    Before(String),
    /// Behind it.
    After(String),
}

/// Holds the kernel's command line (without its final newline) against the signed one, byte for byte.
///
/// Of `additions` at most one may stand before and one behind, each exactly as given.
pub fn compare(actual: &[u8], signed: &[u8], additions: &[Addition]) -> Result<(), Mismatch> {
    let befores = additions.iter().filter_map(|addition| match addition {
        Addition::Before(text) => Some(text.as_bytes()),
        Addition::After(_) => None,
    });
    let afters = || {
        additions.iter().filter_map(|addition| match addition {
            Addition::After(text) => Some(text.as_bytes()),
            Addition::Before(_) => None,
        })
    };
    for before in std::iter::once(&b""[..]).chain(befores) {
        let Some(rest) = actual.strip_prefix(before).and_then(|rest| rest.strip_prefix(signed)) else {
            continue;
        };
        if rest.is_empty() || afters().any(|after| after == rest) {
            return Ok(());
        }
    }
    Err(Mismatch::between(actual, signed))
}

/// Where two command lines part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Offset of the first differing byte.
    pub offset: usize,
    /// The signed line from the start of the word that differs, shortened; "the end of the line" where more was added.
    pub expected: String,
    /// The kernel's line from the same offset on, shortened.
    pub found: String,
}

/// Characters of each line that a message quotes.
const QUOTED: usize = 60;

impl Mismatch {
    fn between(actual: &[u8], signed: &[u8]) -> Self {
        let same = actual.iter().zip(signed).take_while(|(a, b)| a == b).count();
        let added_or_cut = same == signed.len() || same == actual.len();
        // From the start of the word, unless the word is a long one such as the policy.
        let head = signed.get(..same).unwrap_or_default();
        let word = head.iter().rposition(|b| *b == b' ').map_or(0, |blank| blank.saturating_add(1));
        let start = if added_or_cut { same } else { word.max(same.saturating_sub(QUOTED / 2)) };
        Mismatch { offset: same, expected: excerpt(signed, start), found: excerpt(actual, start) }
    }
}

/// Printable and short: this goes to consoles, and half of it was written by whoever changed the line.
fn excerpt(line: &[u8], start: usize) -> String {
    let rest = line.get(start..).unwrap_or_default();
    let mut text: String = rest.iter().take(QUOTED).flat_map(|b| b.escape_ascii()).map(char::from).collect();
    if rest.len() > QUOTED {
        text.push('…');
    }
    if text.is_empty() { "the end of the line".to_owned() } else { format!("`{text}`") }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "differs from the signed one at byte {}: expected {}, found {}",
            self.offset, self.expected, self.found
        )
    }
}

impl std::error::Error for Mismatch {}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(policy: PolicySource) -> Binding {
        Binding { root_hash: RootHash::from_hex(&"0f".repeat(32)).unwrap(), policy }
    }

    #[test]
    fn a_binding_survives_the_line() {
        for policy in [PolicySource::Inline(vec![0x30, 0x82, 1, 2, 3]), PolicySource::Sha256([0xa5; 32])] {
            let binding = binding(policy);
            let line =
                format!("console=ttyS0 quoted=\"a roothash=b\" {} quiet -- roothash=init", binding.words());
            assert_eq!(Binding::parse(&line), Ok(binding));
        }
    }

    #[test]
    fn what_stands_twice_or_nowhere_is_refused() {
        let good = binding(PolicySource::Inline(vec![1])).words();
        let twice = format!("{good} roothash={}", "00".repeat(32));
        assert_eq!(Binding::parse(&twice), Err(CommandLineError::Twice("roothash")));
        let both = format!("{good} {}", word_policy_sha256(&[0; 32]));
        assert_eq!(Binding::parse(&both), Err(CommandLineError::TwoPolicies));
        assert_eq!(Binding::parse("quiet"), Err(CommandLineError::Missing("roothash")));
        let none = good.split(' ').next().unwrap();
        assert_eq!(Binding::parse(none), Err(CommandLineError::Missing("graven.policy")));
        assert_eq!(Binding::parse(&format!("{none} graven.policy=")), Err(CommandLineError::Policy));
        assert_eq!(Binding::parse(&format!("{none} graven.policy=A")), Err(CommandLineError::Policy));
        let short = format!("{none} graven.policy-sha256=00");
        assert_eq!(Binding::parse(&short), Err(CommandLineError::PolicySha256));
        assert!(matches!(Binding::parse("roothash=AA"), Err(CommandLineError::RootHash(_))));
    }

    #[test]
    fn only_the_listed_additions_are_taken() {
        let signed = b"console=ttyS0 quiet";
        let additions = [
            Addition::Before("BOOT_IMAGE=x ".to_owned()),
            Addition::After(" mac=1".to_owned()),
            Addition::After("\t".to_owned()),
        ];
        for good in
            [&b"console=ttyS0 quiet"[..], b"BOOT_IMAGE=x console=ttyS0 quiet\t", b"console=ttyS0 quiet mac=1"]
        {
            assert_eq!(compare(good, signed, &additions), Ok(()));
        }
        for bad in [
            &b""[..],
            b"console=ttyS0",
            b"console=ttyS0 quiet ",
            b"console=ttyS0 quiet mac=1 mac=1",
            b"console=ttyS0 quiet mac=10",
            b"BOOT_IMAGE=x BOOT_IMAGE=x console=ttyS0 quiet",
            b" mac=1console=ttyS0 quiet",
            b"console=ttyS0  quiet",
        ] {
            assert!(compare(bad, signed, &additions).is_err(), "{}", bad.escape_ascii());
        }
        assert!(compare(b"a b", b"a", &[]).is_err());
    }

    #[test]
    fn a_mismatch_names_the_word_and_hides_control_characters() {
        let mismatch =
            compare(b"console=tty0 ipe.enforce=0\x1b[2J", b"console=tty0 ipe.enforce=1", &[]).unwrap_err();
        assert_eq!(mismatch.offset, 25);
        assert_eq!(
            mismatch.to_string(),
            r"differs from the signed one at byte 25: expected `ipe.enforce=1`, found `ipe.enforce=0\x1b[2J`"
        );
        let added = compare(b"quiet rdinit=/x", b"quiet", &[]).unwrap_err();
        assert_eq!((added.expected.as_str(), added.found.as_str()), ("the end of the line", "` rdinit=/x`"));
        assert_eq!(compare(b"", b"a", &[]).unwrap_err().found, "the end of the line");
    }
}
