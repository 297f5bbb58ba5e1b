//! The kernel's parser, rebuilt: same text in, same verdict and errno out.
//!
//! Source: Linux 7.3.4, `security/ipe/policy_parser.c` and `digest.c`, with `match_token` of `lib/parser.c`. IPE's parser
//! is the same in every kernel since 6.12, the first that has it.

use crate::digest::Digest;
use crate::errno::Errno;
use crate::policy::{Action, Op, Policy, PolicyName, Property, Rule};
use crate::version::PolicyVersion;

/// Where and why the kernel would refuse the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {what} (the kernel answers {errno})", .at.line, .at.column)]
pub struct ParseError {
    /// What a write to `new_policy` would fail with.
    pub errno: Errno,
    /// The first wrong word; where something is missing, the word before it or the start of the text.
    pub at: Span,
    /// What was expected and what was found.
    pub what: String,
    /// What would be right, where that can be told.
    pub help: Option<String>,
}

/// A stretch of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Line, counted from 1; LF, CR and CRLF each end one.
    pub line: usize,
    /// Column in bytes, counted from 1.
    pub column: usize,
    /// Length in bytes.
    pub length: usize,
}

impl Span {
    /// Where a text begins.
    pub(crate) const START: Self = Self { line: 1, column: 1, length: 0 };
}

/// The lines of a text as people count them: LF, CR and CRLF each end one.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&b| b == b'\n')
        .flat_map(|line| line.strip_suffix(b"\r").unwrap_or(line).split(|&b| b == b'\r'))
}

/// What one line after the header turned out to be, and where it stands.
#[derive(Clone, Debug)]
pub(crate) enum Statement {
    Default(Option<Op>, Action, Span),
    /// The rule by its number, its place, and its properties' places.
    Rule(usize, Span, Vec<Span>),
}

/// A policy with the places that the linter wants.
pub(crate) struct Located {
    pub(crate) policy: Policy,
    pub(crate) name: Span,
    pub(crate) version: Span,
    pub(crate) statements: Vec<Statement>,
}

impl Policy {
    /// Parses a policy text exactly as the kernel does.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        located(text).map(|l| l.policy)
    }

    /// What a write of this text, signed, to `new_policy` does: parses it, and makes a folder of its name in securityfs.
    pub fn load(text: &[u8]) -> Result<Self, ParseError> {
        loaded(text).map(|l| l.policy)
    }
}

/// One blank-separated word of a line.
#[derive(Clone, Copy)]
struct Token<'a> {
    text: &'a [u8],
    at: Span,
}

impl Token<'_> {
    fn error(&self, errno: Errno, what: impl FnOnce(&str) -> String) -> ParseError {
        let found = String::from_utf8_lossy(self.text);
        ParseError { errno, at: self.at, what: what(&shortened(&found)), help: None }
    }

    /// The same with the nearest word that would be right here.
    fn unknown(&self, words: &[&'static str], what: impl FnOnce(&str) -> String) -> ParseError {
        let found = String::from_utf8_lossy(self.text);
        let help = nearest(&found, words).map(|word| format!("did you mean {word}?"));
        ParseError { help, ..self.error(Errno::Ebadmsg, what) }
    }
}

/// A word for a message: a long one loses its end.
pub(crate) fn shortened(word: &str) -> String {
    const MOST: usize = 80;
    match word.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", word.get(..end).unwrap_or_default()),
        None => word.to_owned(),
    }
}

/// As [`Policy::load`], with places.
pub(crate) fn loaded(text: &[u8]) -> Result<Located, ParseError> {
    let located = located(text)?;
    match located.policy.name.folder() {
        Ok(()) => Ok(located),
        Err(errno) => Err(ParseError {
            errno,
            at: located.name,
            what: format!(
                "'{}' cannot be a folder of securityfs",
                shortened(&located.policy.name.to_string())
            ),
            help: Some("name it with 1 to 255 of A-Z a-z 0-9 . _ -".to_owned()),
        }),
    }
}

/// Parses and keeps places.
pub(crate) fn located(text: &[u8]) -> Result<Located, ParseError> {
    // The kernel works on a C string: a NUL ends the policy.
    let text = text.split(|&b| b == 0).next().unwrap_or_default();
    let mut lines = lines(text)
        .zip(1usize..)
        .map(|(line, number)| tokens(line, number))
        .filter(|tokens| !tokens.is_empty());

    let header = lines.next().ok_or_else(|| ParseError {
        errno: Errno::Ebadmsg,
        at: Span::START,
        what: "there is no policy: expected policy_name=NAME policy_version=A.B.C".to_owned(),
        help: None,
    })?;
    let (name, version, places) = parse_header(&header)?;
    let mut policy = Policy { name, version, default: None, op_defaults: [None; 7], rules: Vec::new() };
    let mut statements = Vec::new();
    for line in lines {
        statements.push(parse_statement(&line, &mut policy)?);
    }
    if let Some(op) = Op::ALL.into_iter().find(|op| policy.op_default(*op).is_none())
        && policy.default.is_none()
    {
        let what = format!("there is no DEFAULT action=…, and {op} has no DEFAULT of its own");
        let help = Some("add the line DEFAULT action=DENY".to_owned());
        return Err(ParseError { errno: Errno::Ebadmsg, at: places.0, what, help });
    }
    Ok(Located { policy, name: places.0, version: places.1, statements })
}

/// Cuts the comment and trailing white space off a line and splits the rest at blanks and tabs.
fn tokens(line: &[u8], number: usize) -> Vec<Token<'_>> {
    let line = line.split(|&b| b == b'#').next().unwrap_or_default();
    let length = line.iter().rposition(|&b| !isspace(b)).map_or(0, |last| last.saturating_add(1));
    let mut tokens = Vec::new();
    let mut column = 1usize;
    for text in line.get(..length).unwrap_or_default().split(|&b| b == b' ' || b == b'\t') {
        if !text.is_empty() {
            tokens.push(Token { text, at: Span { line: number, column, length: text.len() } });
        }
        column = column.saturating_add(text.len()).saturating_add(1);
    }
    tokens
}

/// `isspace` of the kernel's Latin-1 table: it counts the no-break space.
const fn isspace(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0)
}

/// The name, the version, and where each stands.
fn parse_header(tokens: &[Token<'_>]) -> Result<(PolicyName, PolicyVersion, (Span, Span)), ParseError> {
    let expected = |token: &Token<'_>, what: &'static str| {
        token.unknown(&["policy_name=", "policy_version="], |found| {
            format!("expected {what}, found '{found}'")
        })
    };
    let mut tokens = tokens.iter();
    let Some(first) = tokens.next() else {
        return Err(ParseError {
            errno: Errno::Ebadmsg,
            at: Span::START,
            what: "no header".to_owned(),
            help: None,
        });
    };
    let name = value_of(first, b"policy_name=").ok_or_else(|| expected(first, "policy_name=NAME"))?;
    let second = tokens.next().ok_or_else(|| {
        first.error(Errno::Ebadmsg, |found| format!("expected policy_version=A.B.C after '{found}'"))
    })?;
    let text =
        value_of(second, b"policy_version=").ok_or_else(|| expected(second, "policy_version=A.B.C"))?;
    let version = PolicyVersion::from_kernel(text).map_err(|errno| {
        second.error(errno, |found| format!("expected three numbers 0-65535 joined by dots, found '{found}'"))
    })?;
    match tokens.next() {
        Some(extra) => Err(expected(extra, "nothing after the version")),
        None => Ok((PolicyName::from_kernel(name), version, (first.at, second.at))),
    }
}

/// The non-empty value of a `key=value` token (`%s` of `match_token` does not match the empty string).
fn value_of<'a>(token: &Token<'a>, key: &[u8]) -> Option<&'a [u8]> {
    token.text.strip_prefix(key).filter(|value| !value.is_empty())
}

/// A line after the header: the last token is the action, the first may be `DEFAULT`, the next the operation, the rest
/// are properties. Tokens are judged from left to right, so the first wrong one gives the errno.
fn parse_statement(tokens: &[Token<'_>], policy: &mut Policy) -> Result<Statement, ParseError> {
    let Some((last, before)) = tokens.split_last() else {
        return Err(ParseError {
            errno: Errno::Ebadmsg,
            at: Span::START,
            what: "empty line".to_owned(),
            help: None,
        });
    };
    let first = tokens.first().unwrap_or(last).at;
    let end = last.at.column.saturating_add(last.at.length);
    let whole = Span { length: end.saturating_sub(first.column), ..first };
    let is_default = before.first().is_some_and(|t| t.text == b"DEFAULT");
    let mut rest = before.iter().skip(usize::from(is_default));

    let op = match rest.next() {
        Some(token) => Some(parse_op(token, is_default)?),
        None => None,
    };
    let mut properties = Vec::new();
    let mut places = Vec::new();
    for token in rest {
        properties.push(parse_property(token)?);
        places.push(token.at);
    }
    let action = parse_action(last)?;

    let refused = |at: Span, what: String, help: &str| {
        Err(ParseError { errno: Errno::Ebadmsg, at, what, help: Some(help.to_owned()) })
    };
    if is_default {
        if let Some(&at) = places.first() {
            return refused(
                at,
                "a DEFAULT takes no property".to_owned(),
                "leave DEFAULT out to make it a rule",
            );
        }
        let slot = match op {
            None => Some(&mut policy.default),
            Some(op) => policy.op_defaults.get_mut(op as usize),
        };
        return match slot {
            Some(slot @ None) => {
                *slot = Some(action);
                Ok(Statement::Default(op, action, whole))
            }
            _ => {
                let op = op.map_or_else(String::new, |op| format!("op={op} "));
                refused(whole, format!("a second DEFAULT {op}action=…"), "leave one of the two out")
            }
        };
    }
    let Some(op) = op else {
        return refused(
            last.at,
            "expected op=… or DEFAULT before the action".to_owned(),
            "begin the line with op=…",
        );
    };
    policy.rules.push(Rule { op, properties, action });
    Ok(Statement::Rule(policy.rules.len().saturating_sub(1), whole, places))
}

fn parse_op(token: &Token<'_>, after_default: bool) -> Result<Op, ParseError> {
    const WORDS: [&str; 8] = [
        "op=EXECUTE",
        "op=FIRMWARE",
        "op=KMODULE",
        "op=KEXEC_IMAGE",
        "op=KEXEC_INITRAMFS",
        "op=POLICY",
        "op=X509_CERT",
        "DEFAULT",
    ];
    value_of(token, b"op=").and_then(Op::from_name).ok_or_else(|| {
        let words = if after_default { WORDS.get(..7).unwrap_or_default() } else { &WORDS };
        token.unknown(words, |found| {
            format!("expected op= and one of {}, found '{found}'", Op::ALL.map(Op::name).join(" "))
        })
    })
}

fn parse_action(token: &Token<'_>) -> Result<Action, ParseError> {
    match token.text {
        b"action=ALLOW" => Ok(Action::Allow),
        b"action=DENY" => Ok(Action::Deny),
        _ => Err(token.unknown(&["action=ALLOW", "action=DENY"], |found| {
            format!("expected action=ALLOW or action=DENY at the end of the line, found '{found}'")
        })),
    }
}

fn parse_property(token: &Token<'_>) -> Result<Property, ParseError> {
    let digest = |value: &[u8]| {
        Digest::from_kernel(value).map_err(|errno| {
            token.error(errno, |found| {
                format!("expected ALGORITHM:HEX with an even number of digits, found '{found}'")
            })
        })
    };
    Ok(match token.text {
        b"boot_verified=TRUE" => Property::BootVerified(true),
        b"boot_verified=FALSE" => Property::BootVerified(false),
        b"dmverity_signature=TRUE" => Property::DmveritySignature(true),
        b"dmverity_signature=FALSE" => Property::DmveritySignature(false),
        b"fsverity_signature=TRUE" => Property::FsveritySignature(true),
        b"fsverity_signature=FALSE" => Property::FsveritySignature(false),
        _ => match (value_of(token, b"dmverity_roothash="), value_of(token, b"fsverity_digest=")) {
            (Some(value), _) => Property::DmverityRoothash(digest(value)?),
            (_, Some(value)) => Property::FsverityDigest(digest(value)?),
            _ => {
                return Err(token.unknown(&PROPERTIES, |found| {
                    format!(
                        "expected boot_verified=, dmverity_signature= or fsverity_signature= with TRUE or FALSE, \
                         dmverity_roothash= or fsverity_digest= with ALGORITHM:HEX, found '{found}'"
                    )
                }));
            }
        },
    })
}

/// What a property can be, as far as it is one word.
const PROPERTIES: [&str; 8] = [
    "boot_verified=TRUE",
    "boot_verified=FALSE",
    "dmverity_signature=TRUE",
    "dmverity_signature=FALSE",
    "fsverity_signature=TRUE",
    "fsverity_signature=FALSE",
    "dmverity_roothash=",
    "fsverity_digest=",
];

/// The word most like a wrong one, if any is like it at all. One that ends in `=` is held against what stands before the
/// value.
fn nearest(wrong: &str, words: &[&'static str]) -> Option<&'static str> {
    if wrong.len() > 1000 {
        return None;
    }
    let wrong = wrong.to_lowercase();
    let key = wrong.split_inclusive('=').next().unwrap_or_default();
    let distances = words.iter().map(|word| {
        let wrong = if word.ends_with('=') { key } else { &wrong };
        (strsim::damerau_levenshtein(wrong, &word.to_lowercase()), *word)
    });
    let near = distances.filter(|(distance, _)| *distance <= 3);
    near.min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}
