//! What the kernel takes without a word, though it cannot be meant.

mod code;
mod reach;

use std::fmt;

use crate::digest::{Algorithm, Digest};
use crate::kernel::Kernel;
use crate::parse::{Located, Span, Statement, lines, loaded, shortened};
use crate::policy::{Action, Op, Policy, Property};

pub use code::{Code, Severity};

/// Most bytes of signed policy the kernel's ASN.1 decoder takes. The text itself must stay some way below.
pub const SIGNED_POLICY_LIMIT: usize = 65_535;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// Where in the text.
    pub at: Span,
    /// What is wrong and why: one sentence.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.at.line, self.at.column, self.code, self.message)
    }
}

/// What a policy is checked against besides itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Against<'a> {
    /// The kernel that it is for.
    pub kernel: Kernel,
    /// The policy in whose place it is to be put.
    pub older: Option<&'a Policy>,
}

/// Everything found, in the order of the text.
pub fn lint(text: &[u8], against: &Against<'_>) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    lint_bytes(text, &mut findings);
    match loaded(text) {
        Err(error) => {
            let message = format!("the kernel refuses it with {}: {}", error.errno, error.what);
            let help = error.help.unwrap_or_else(|| "write what is expected there".to_owned());
            findings.add(Code::Refused, error.at, message, help);
        }
        Ok(parsed) => {
            lint_header(&parsed, against, &mut findings);
            lint_statements(&parsed, against, &mut findings);
            reach::lint(&parsed, &mut findings);
        }
    }
    findings.0.sort_by_key(|f| (f.at, f.code));
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, code: Code, at: Span, message: impl Into<String>, help: impl Into<String>) {
        let (message, help) = (message.into(), help.into());
        self.0.push(Finding { code, severity: code.severity(), at, message, help });
    }
}

/// What can be said before anything is parsed.
fn lint_bytes(text: &[u8], findings: &mut Findings) {
    let nul = lines(text).zip(1usize..).find_map(|(line, number)| {
        let column = line.iter().position(|&b| b == 0)?.saturating_add(1);
        Some(Span { line: number, column, length: 1 })
    });
    if let Some(at) = nul {
        findings.add(
            Code::Nul,
            at,
            "a NUL byte: the kernel ignores all that follows",
            "take the NUL byte out, and what follows if it is not meant",
        );
    }
    if text.len() >= SIGNED_POLICY_LIMIT {
        findings.add(
            Code::TooLarge,
            Span::START,
            format!("{} bytes of text: with its signature a policy has {SIGNED_POLICY_LIMIT} at most", text.len()),
            "bind a whole file system with dmverity_roothash= instead of single files, or use fsverity_signature=TRUE",
        );
    }
}

fn lint_header(parsed: &Located, against: &Against<'_>, findings: &mut Findings) {
    let (policy, at) = (&parsed.policy, parsed.name);
    if !policy.name().is_portable() {
        findings.add(
            Code::Name,
            at,
            format!(
                "the name '{}' is a folder's and a file's name too, and not every tool takes it there",
                policy.name()
            ),
            "use 1 to 255 of A-Z a-z 0-9 . _ -",
        );
    }
    if !against.kernel.release.judges_scripts() {
        findings.add(
            Code::ScriptsUnasked,
            at,
            format!(
                "kernel {} does not ask IPE when an interpreter asks for a script (AT_EXECVE_CHECK): any with an \
                 exec bit may run",
                against.kernel.release
            ),
            "use kernel 6.19 or newer where scripts matter",
        );
    }
    if let Some(older) = against.older {
        lint_successor(parsed, older, findings);
    }
}

/// Whether `update` takes it in the place of the older one: `ipe_update_policy` of `security/ipe/policy.c`.
fn lint_successor(parsed: &Located, older: &Policy, findings: &mut Findings) {
    let (name, version) = (parsed.policy.name(), parsed.policy.version());
    if name != older.name() {
        findings.add(
            Code::NoSuccessor,
            parsed.name,
            format!(
                "an update of '{}' must have its name, found '{name}': the kernel answers EINVAL",
                older.name()
            ),
            format!("write policy_name={}", older.name()),
        );
    } else if version <= older.version() {
        findings.add(
            Code::NoSuccessor,
            parsed.version,
            format!(
                "version {version} is not above {}, the older policy's: the kernel answers ESTALE",
                older.version()
            ),
            "count the version up",
        );
    }
}

fn lint_statements(parsed: &Located, against: &Against<'_>, findings: &mut Findings) {
    for statement in &parsed.statements {
        match statement {
            Statement::Default(op, action, at) => lint_default(*op, *action, *at, findings),
            Statement::Rule(index, at, places) => {
                let Some(rule) = parsed.policy.rules().get(*index) else { continue };
                for (property, &place) in rule.properties.iter().zip(places) {
                    lint_property(property, rule.action, place, findings);
                    lint_provider(property, against, place, findings);
                }
                if rule.properties.is_empty() && rule.action == Action::Allow {
                    findings.add(
                        Code::UnconditionalAllow,
                        *at,
                        format!("allows {} of whatever comes, whoever brought it", rule.op),
                        "bind it with dmverity_roothash= or another property",
                    );
                }
            }
        }
    }
}

fn lint_default(op: Option<Op>, action: Action, at: Span, findings: &mut Findings) {
    if action == Action::Allow {
        let what = op.map_or_else(|| "every operation".to_owned(), |op| op.to_string());
        findings.add(
            Code::DefaultAllow,
            at,
            format!("{what} that no rule matches is allowed"),
            "write action=DENY, and a rule for what is to be allowed",
        );
    }
}

fn lint_provider(property: &Property, against: &Against<'_>, at: Span, findings: &mut Findings) {
    let providers = &against.kernel.providers;
    let (on, symbol) = match property {
        Property::BootVerified(_) => return,
        Property::DmverityRoothash(_) => (providers.dm_verity, "IPE_PROP_DM_VERITY"),
        Property::DmveritySignature(_) => (providers.dm_verity_signature, "IPE_PROP_DM_VERITY_SIGNATURE"),
        Property::FsverityDigest(_) => (providers.fs_verity, "IPE_PROP_FS_VERITY"),
        Property::FsveritySignature(_) => (providers.fs_verity_builtin_sig, "IPE_PROP_FS_VERITY_BUILTIN_SIG"),
    };
    if !on {
        findings.add(
            Code::NotProvided,
            at,
            format!(
                "the kernel was built without {}: the rule never matches, whatever its value",
                property.name()
            ),
            format!("set CONFIG_{symbol}=y, or use another property"),
        );
    }
}

fn lint_property(property: &Property, action: Action, at: Span, findings: &mut Findings) {
    match property {
        Property::DmverityRoothash(digest) => {
            // dm-verity takes whatever the crypto API has; these are what one can tell the length of.
            lint_digest(digest, &[Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512], "dm-verity", at, findings);
        }
        Property::FsverityDigest(digest) => {
            lint_digest(digest, &[Algorithm::Sha256, Algorithm::Sha512], "fs-verity", at, findings);
        }
        Property::BootVerified(true) if action == Action::Allow => findings.add(
            Code::BootVerified,
            at,
            "true of all that anyone ever writes to the initramfs' file system, not only of what the boot loader brought",
            "leave it out of the policy that is active once the root's init runs",
        ),
        Property::BootVerified(false) | Property::DmveritySignature(false) | Property::FsveritySignature(false)
            if action == Action::Allow =>
        {
            findings.add(
                Code::NegatedAllow,
                at,
                format!("{}=FALSE allows what nobody vouches for", property.name()),
                "say what is to be allowed, not what is not",
            );
        }
        _ => {}
    }
}

fn lint_digest(digest: &Digest, known: &[Algorithm], of: &str, at: Span, findings: &mut Findings) {
    let name = String::from_utf8_lossy(digest.algorithm_name());
    let names: Vec<&str> = known.iter().map(|algorithm| algorithm.name()).collect();
    match known.iter().find(|algorithm| algorithm.name() == name) {
        None => findings.add(
            Code::DigestAlgorithm,
            at,
            format!("never matches: '{}' is no digest algorithm that {of} reports", shortened(&name)),
            format!("write one of {}, in lower case", names.join(" ")),
        ),
        Some(algorithm) if algorithm.digest_bytes() != digest.as_bytes().len() => findings.add(
            Code::DigestLength,
            at,
            format!(
                "never matches: a {name} digest has {} hex digits, found {}",
                algorithm.digest_bytes().saturating_mul(2),
                digest.as_bytes().len().saturating_mul(2)
            ),
            "write the whole digest",
        ),
        Some(_) => {}
    }
}
