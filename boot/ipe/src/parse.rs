//! The kernel's parser, rebuilt: same text in, same verdict and errno out.
//!
//! Source: Linux 7.3.4, `security/ipe/policy_parser.c` and `digest.c`, with `match_token` of `lib/parser.c`.

use crate::digest::Digest;
use crate::policy::{Action, Op, Policy, PolicyName, Property, Rule};
use crate::version::PolicyVersion;

/// The errno with which the kernel refuses a policy text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Errno {
    /// `EBADMSG`: the text does not have a policy's shape.
    Ebadmsg,
    /// `EINVAL`: a number or a hex string is none.
    Einval,
    /// `ERANGE`: a version part above 65535.
    Erange,
}

impl Errno {
    /// The symbol.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ebadmsg => "EBADMSG",
            Self::Einval => "EINVAL",
            Self::Erange => "ERANGE",
        }
    }

    /// The number on Linux (every architecture we build for).
    pub const fn number(self) -> i32 {
        match self {
            Self::Ebadmsg => 74,
            Self::Einval => 22,
            Self::Erange => 34,
        }
    }
}

/// Where and why the kernel would refuse the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what} (the kernel answers {})", .errno.name())]
pub struct ParseError {
    /// What a write to `new_policy` would fail with.
    pub errno: Errno,
    /// Line, counted from 1; LF, CR and CRLF each end one.
    pub line: usize,
    /// Column in bytes, counted from 1.
    pub column: usize,
    /// What was expected and what was found.
    pub what: String,
}

/// A position in the text, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// What one line after the header turned out to be, and where its first token stands.
#[derive(Clone, Debug)]
pub(crate) enum Statement {
    Default(Option<Op>, Action, Position),
    /// The rule, its position, and its properties' positions.
    Rule(Rule, Position, Vec<Position>),
}

/// A policy with the positions the linter wants.
pub(crate) struct Located {
    pub(crate) policy: Policy,
    pub(crate) header: Position,
    pub(crate) statements: Vec<Statement>,
}

impl Policy {
    /// Parses a policy text exactly as the kernel does.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        located(text).map(|l| l.policy)
    }
}

/// One blank-separated word of a line.
#[derive(Clone, Copy)]
struct Token<'a> {
    text: &'a [u8],
    at: Position,
}

impl Token<'_> {
    fn error(&self, errno: Errno, what: impl FnOnce(&str) -> String) -> ParseError {
        let found = String::from_utf8_lossy(self.text);
        ParseError { errno, line: self.at.line, column: self.at.column, what: what(&found) }
    }
}

/// Parses and keeps positions.
pub(crate) fn located(text: &[u8]) -> Result<Located, ParseError> {
    // The kernel works on a C string: a NUL ends the policy.
    let text = text.split(|&b| b == 0).next().unwrap_or_default();
    // LF and CR each end a line; for people, CRLF counts as one end.
    let mut lines = text
        .split(|&b| b == b'\n')
        .flat_map(|line| line.strip_suffix(b"\r").unwrap_or(line).split(|&b| b == b'\r'))
        .zip(1usize..)
        .map(|(line, number)| tokens(line, number))
        .filter(|tokens| !tokens.is_empty());

    let end = |what: &str| ParseError { errno: Errno::Ebadmsg, line: 1, column: 1, what: what.to_owned() };
    let header = lines.next().ok_or_else(|| end("empty: expected policy_name=NAME policy_version=A.B.C"))?;
    let (name, version) = parse_header(&header)?;
    let mut policy = Policy { name, version, default: None, op_defaults: [None; 7], rules: Vec::new() };
    let mut statements = Vec::new();
    for line in lines {
        let statement = parse_statement(&line)?;
        match &statement {
            Statement::Default(op, action, at) => set_default(&mut policy, *op, *action, *at)?,
            Statement::Rule(rule, ..) => policy.rules.push(rule.clone()),
        }
        statements.push(statement);
    }
    if policy.default.is_none() && policy.op_defaults.contains(&None) {
        return Err(end("no DEFAULT action=…, and not every operation has a DEFAULT of its own"));
    }
    let header = header.first().map_or(Position { line: 1, column: 1 }, |t| t.at);
    Ok(Located { policy, header, statements })
}

/// Cuts the comment and trailing white space off a line and splits the rest at blanks and tabs.
fn tokens(line: &[u8], number: usize) -> Vec<Token<'_>> {
    let line = line.split(|&b| b == b'#').next().unwrap_or_default();
    let length = line.iter().rposition(|&b| !isspace(b)).map_or(0, |last| last.saturating_add(1));
    let mut tokens = Vec::new();
    let mut column = 1usize;
    for text in line.get(..length).unwrap_or_default().split(|&b| b == b' ' || b == b'\t') {
        if !text.is_empty() {
            tokens.push(Token { text, at: Position { line: number, column } });
        }
        column = column.saturating_add(text.len()).saturating_add(1);
    }
    tokens
}

/// `isspace` of the kernel's Latin-1 table: it counts the no-break space.
const fn isspace(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0)
}

fn parse_header(tokens: &[Token<'_>]) -> Result<(PolicyName, PolicyVersion), ParseError> {
    let shape = |token: &Token<'_>, expected: &'static str| {
        token.error(Errno::Ebadmsg, |found| format!("expected {expected}, found '{found}'"))
    };
    let first = tokens.first().ok_or(ParseError {
        errno: Errno::Ebadmsg,
        line: 1,
        column: 1,
        what: "no header".to_owned(),
    })?;
    let name = value_of(first, b"policy_name=").ok_or_else(|| shape(first, "policy_name=NAME"))?;
    let second = tokens.get(1).ok_or_else(|| shape(first, "policy_version=A.B.C after the name"))?;
    let text = value_of(second, b"policy_version=").ok_or_else(|| shape(second, "policy_version=A.B.C"))?;
    let version = PolicyVersion::from_kernel(text).map_err(|errno| {
        second.error(errno, |found| format!("expected three numbers 0-65535 joined by dots, found '{found}'"))
    })?;
    if let Some(extra) = tokens.get(2) {
        return Err(shape(extra, "nothing after the version"));
    }
    Ok((PolicyName::from_kernel(name), version))
}

/// The non-empty value of a `key=value` token (`%s` of `match_token` does not match the empty string).
fn value_of<'a>(token: &Token<'a>, key: &[u8]) -> Option<&'a [u8]> {
    token.text.strip_prefix(key).filter(|value| !value.is_empty())
}

/// A line after the header: the last token is the action, the first may be `DEFAULT`, the next the operation, the rest
/// are properties. Tokens are judged from left to right, so the first wrong one gives the errno.
fn parse_statement(tokens: &[Token<'_>]) -> Result<Statement, ParseError> {
    let Some((last, before)) = tokens.split_last() else {
        return Err(ParseError { errno: Errno::Ebadmsg, line: 1, column: 1, what: "empty line".to_owned() });
    };
    let at = tokens.first().unwrap_or(last).at;
    let is_default = before.first().is_some_and(|t| t.text == b"DEFAULT");
    let mut rest = before.iter().skip(usize::from(is_default));

    let op = match rest.next() {
        Some(token) => Some(parse_op(token)?),
        None => None,
    };
    let mut properties = Vec::new();
    let mut positions = Vec::new();
    for token in rest {
        properties.push(parse_property(token)?);
        positions.push(token.at);
    }
    let action = parse_action(last)?;

    if is_default {
        if let Some(property) = positions.first() {
            let what = "a DEFAULT takes no property".to_owned();
            return Err(ParseError {
                errno: Errno::Ebadmsg,
                line: property.line,
                column: property.column,
                what,
            });
        }
        return Ok(Statement::Default(op, action, at));
    }
    let op = op.ok_or_else(|| {
        last.error(Errno::Ebadmsg, |found| format!("expected op=… or DEFAULT before '{found}'"))
    })?;
    Ok(Statement::Rule(Rule { op, properties, action }, at, positions))
}

fn parse_op(token: &Token<'_>) -> Result<Op, ParseError> {
    value_of(token, b"op=").and_then(Op::from_name).ok_or_else(|| {
        token.error(Errno::Ebadmsg, |found| {
            format!("expected op= and one of {}, found '{found}'", Op::ALL.map(Op::name).join(" "))
        })
    })
}

fn parse_action(token: &Token<'_>) -> Result<Action, ParseError> {
    match token.text {
        b"action=ALLOW" => Ok(Action::Allow),
        b"action=DENY" => Ok(Action::Deny),
        _ => Err(token.error(Errno::Ebadmsg, |found| {
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
                return Err(token.error(Errno::Ebadmsg, |found| {
                    format!(
                        "expected boot_verified=, dmverity_signature= or fsverity_signature= with TRUE or FALSE, \
                         dmverity_roothash= or fsverity_digest= with ALGORITHM:HEX, found '{found}'"
                    )
                }));
            }
        },
    })
}

fn set_default(policy: &mut Policy, op: Option<Op>, action: Action, at: Position) -> Result<(), ParseError> {
    let slot = match op {
        None => Some(&mut policy.default),
        Some(op) => policy.op_defaults.get_mut(op as usize),
    };
    match slot {
        Some(slot @ None) => {
            *slot = Some(action);
            Ok(())
        }
        _ => Err(ParseError {
            errno: Errno::Ebadmsg,
            line: at.line,
            column: at.column,
            what: match op {
                None => "a second DEFAULT action=…".to_owned(),
                Some(op) => format!("a second DEFAULT op={op}"),
            },
        }),
    }
}
