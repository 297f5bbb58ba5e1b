//! What the kernel takes without a word, though it cannot be meant.

use std::fmt;

use crate::digest::Algorithm;
use crate::parse::{Position, Statement, located};
use crate::policy::{Action, Op, Property, Rule};

/// Most bytes of signed policy the kernel's ASN.1 decoder takes. The text itself must stay some way below.
pub const SIGNED_POLICY_LIMIT: usize = 65_535;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It may be meant.
    Warning,
    /// It cannot be meant, or the kernel refuses it.
    Error,
}

/// What is wrong. The codes are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The kernel refuses the text.
    Refused,
    /// A NUL byte: the kernel ignores what follows.
    Nul,
    /// More than the kernel's decoder takes, even before it is signed.
    TooLarge,
    /// A name that may not become a directory of securityfs.
    Name,
    /// An algorithm that dm-verity or fs-verity never reports: the rule never matches.
    DigestAlgorithm,
    /// A digest of the wrong length: the rule never matches.
    DigestLength,
    /// A rule after one that decides for everything it could match.
    Unreachable,
    /// A rule whose properties exclude each other.
    Contradiction,
    /// What no rule matches is allowed.
    DefaultAllow,
    /// A rule without a property allows whatever comes.
    UnconditionalAllow,
    /// `boot_verified=TRUE` is true of all that is ever written to the initramfs' file system.
    BootVerified,
    /// A negated property is true of every file the appliance did not bring.
    NegatedAllow,
}

impl Code {
    /// The stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "IPE-01",
            Self::Nul => "IPE-02",
            Self::TooLarge => "IPE-03",
            Self::Name => "IPE-04",
            Self::DigestAlgorithm => "IPE-05",
            Self::DigestLength => "IPE-06",
            Self::Unreachable => "IPE-07",
            Self::Contradiction => "IPE-08",
            Self::DefaultAllow => "IPE-09",
            Self::UnconditionalAllow => "IPE-10",
            Self::BootVerified => "IPE-11",
            Self::NegatedAllow => "IPE-12",
        }
    }

    /// How bad it is.
    pub const fn severity(self) -> Severity {
        match self {
            Self::Refused
            | Self::Nul
            | Self::TooLarge
            | Self::Name
            | Self::DigestAlgorithm
            | Self::DigestLength
            | Self::Contradiction => Severity::Error,
            Self::Unreachable
            | Self::DefaultAllow
            | Self::UnconditionalAllow
            | Self::BootVerified
            | Self::NegatedAllow => Severity::Warning,
        }
    }
}

/// One finding, with its place in the text (line and column counted from 1, columns in bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub code: Code,
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
    /// The sentence.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.line, self.column, self.code.as_str(), self.message)
    }
}

/// Everything found, in the order of the text.
pub fn lint(text: &[u8]) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    if let Some(offset) = text.iter().position(|&b| b == 0) {
        findings.add(Code::Nul, position_of(text, offset), "a NUL byte: the kernel ignores all that follows");
    }
    let start = Position { line: 1, column: 1 };
    if text.len() >= SIGNED_POLICY_LIMIT {
        let message = format!(
            "{} bytes: with its signature the policy must stay within {SIGNED_POLICY_LIMIT}; bind a whole file system \
             with dmverity_roothash= instead of single files",
            text.len()
        );
        findings.add(Code::TooLarge, start, message);
    }
    match located(text) {
        Err(error) => {
            let message = format!("{} (the kernel answers {})", error.what, error.errno.name());
            findings.add(Code::Refused, Position { line: error.line, column: error.column }, message);
        }
        Ok(parsed) => {
            if !parsed.policy.name().is_portable() {
                let message = format!(
                    "the name '{}' may not become a directory of securityfs: use 1 to 255 of A-Z a-z 0-9 . _ -",
                    parsed.policy.name()
                );
                findings.add(Code::Name, parsed.header, message);
            }
            let mut earlier: Vec<(&Rule, Position)> = Vec::new();
            for statement in &parsed.statements {
                match statement {
                    Statement::Default(op, action, at) => lint_default(*op, *action, *at, &mut findings),
                    Statement::Rule(rule, at, positions) => {
                        lint_rule(rule, *at, positions, &earlier, &mut findings);
                        earlier.push((rule, *at));
                    }
                }
            }
        }
    }
    findings.0.sort_by_key(|f| (f.line, f.column));
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, code: Code, at: Position, message: impl Into<String>) {
        self.0.push(Finding { code, line: at.line, column: at.column, message: message.into() });
    }
}

fn position_of(text: &[u8], offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or_default();
    let crlf = before.windows(2).filter(|pair| pair == b"\r\n").count();
    let ends = before.iter().filter(|&&b| b == b'\n' || b == b'\r').count();
    let line = ends.saturating_sub(crlf);
    let column = before.iter().rev().take_while(|&&b| b != b'\n' && b != b'\r').count();
    Position { line: line.saturating_add(1), column: column.saturating_add(1) }
}

fn lint_default(op: Option<Op>, action: Action, at: Position, findings: &mut Findings) {
    if action == Action::Allow {
        let what = op.map_or_else(|| "whatever operation".to_owned(), |op| op.to_string());
        let message =
            format!("{what} that no rule matches is allowed; an appliance wants DEFAULT action=DENY");
        findings.add(Code::DefaultAllow, at, message);
    }
}

fn lint_rule(
    rule: &Rule,
    at: Position,
    positions: &[Position],
    earlier: &[(&Rule, Position)],
    findings: &mut Findings,
) {
    for (property, &position) in rule.properties.iter().zip(positions) {
        lint_property(property, rule.action, position, findings);
    }
    if rule.properties.is_empty() && rule.action == Action::Allow {
        findings.add(Code::UnconditionalAllow, at, format!("allows {} of whatever comes", rule.op));
    }
    if let Some(name) = contradiction(&rule.properties) {
        let message = format!("never matches: no file has two values of {name}");
        findings.add(Code::Contradiction, at, message);
    } else if let Some((_, by)) = earlier.iter().find(|(first, _)| covers(first, rule)) {
        findings.add(
            Code::Unreachable,
            at,
            format!("never reached: line {} decides all that it could", by.line),
        );
    }
}

/// Whether the earlier rule decides whatever the later one could: same operation, and each of its properties is also
/// one of the later rule's.
fn covers(first: &Rule, later: &Rule) -> bool {
    first.op == later.op && first.properties.iter().all(|property| later.properties.contains(property))
}

/// Two properties of one kind with different values, which can never hold together.
fn contradiction(properties: &[Property]) -> Option<&'static str> {
    properties.iter().enumerate().find_map(|(index, one)| {
        let mut rest = properties.iter().skip(index);
        rest.find(|other| other.name() == one.name() && *other != one).map(|_| one.name())
    })
}

fn lint_property(property: &Property, action: Action, at: Position, findings: &mut Findings) {
    match property {
        Property::DmverityRoothash(digest) | Property::FsverityDigest(digest) => {
            let name = String::from_utf8_lossy(digest.algorithm_name());
            let algorithm = Algorithm::from_name(digest.algorithm_name()).filter(|a| {
                // fs-verity knows two; dm-verity takes whatever the crypto API has.
                *a != Algorithm::Sha384 || matches!(property, Property::DmverityRoothash(_))
            });
            match algorithm {
                None => {
                    let message = format!(
                        "never matches: '{name}' is no digest algorithm of {}; write it in lower case, as in sha256",
                        property.name()
                    );
                    findings.add(Code::DigestAlgorithm, at, message);
                }
                Some(algorithm) if algorithm.digest_bytes() != digest.as_bytes().len() => {
                    let message = format!(
                        "never matches: a {name} digest has {} hex digits, found {}",
                        algorithm.digest_bytes().saturating_mul(2),
                        digest.as_bytes().len().saturating_mul(2)
                    );
                    findings.add(Code::DigestLength, at, message);
                }
                Some(_) => {}
            }
        }
        Property::BootVerified(true) if action == Action::Allow => findings.add(
            Code::BootVerified,
            at,
            "true of all that anyone ever writes to the initramfs' file system, not only of what the boot loader brought",
        ),
        Property::BootVerified(false) | Property::DmveritySignature(false) | Property::FsveritySignature(false)
            if action == Action::Allow =>
        {
            let message = format!("{}=FALSE allows what nobody vouches for", property.name());
            findings.add(Code::NegatedAllow, at, message);
        }
        _ => {}
    }
}
