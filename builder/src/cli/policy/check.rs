//! `graven policy check`.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use graven_ipe::lint::{Against, Finding, Severity};
use graven_ipe::{Policy, Release, lines};
use graven_recipe::Snippet;
use graven_verify::read_certificates;
use serde_json::{Value, json};

use super::super::{Failure, Outcome, Status, print};
use super::judged::{Judged, Signature, judge, lint_keyrings};
use super::{KernelArguments, read, sarif};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: graven policy check policy.pol --replaces deployed.p7b --trust keys/db.crt\n\n\
    The verdict is the kernel's: what a write to /sys/kernel/security/ipe/new_policy answers. Exit status 0: taken, and\n\
    no error found; 1: refused, or an error found. docs/policy.md lists the findings."
)]
pub(super) struct Arguments {
    /// Policies: texts, or signed ones (PKCS#7, DER); - is standard input.
    #[arg(required = true)]
    policies: Vec<PathBuf>,
    #[command(flatten)]
    kernel: KernelArguments,
    /// The policy that each is to replace, signed or not.
    #[arg(long, value_name = "POLICY")]
    replaces: Option<PathBuf>,
    /// Certificates in the kernel's keyrings (PEM or DER), or folders of them, to judge signatures by.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    trust: Vec<PathBuf>,
    /// Let warnings fail the check, too.
    #[arg(long)]
    strict: bool,
    /// Print JSON.
    #[arg(long, conflicts_with = "sarif")]
    json: bool,
    /// Print SARIF 2.1.0, for code scanning.
    #[arg(long)]
    sarif: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let config = arguments.kernel.config()?;
    let older = arguments.replaces.as_deref().map(older).transpose()?;
    let against = Against { kernel: arguments.kernel.kernel(config.as_ref()), older: older.as_ref() };
    let mut trusted = Vec::new();
    for path in &arguments.trust {
        trusted.extend(read_certificates(path)?);
    }
    let mut all = Vec::new();
    for path in &arguments.policies {
        let mut judged = judge(&read(path)?, &against, &trusted);
        judged.findings.extend(config.as_ref().and_then(lint_keyrings));
        all.push((path.as_path(), judged));
    }
    let release = arguments.kernel.kernel;
    if arguments.json {
        let told: Vec<Value> = all.iter().map(|(path, judged)| to_json(path, judged, release)).collect();
        print(&format!("{:#}\n", json!({ "policies": told })))?;
    } else if arguments.sarif {
        print(&format!("{:#}\n", sarif::log(&all)))?;
    } else {
        for (path, judged) in &all {
            print(&to_text(path, judged, release))?;
        }
    }
    let bad = all.iter().any(|(_, judged)| judged.is_bad(arguments.strict));
    Ok(if bad { Status::Bad } else { Status::Good })
}

/// The policy to be replaced: one that the kernel took.
fn older(path: &Path) -> Result<Policy, Failure> {
    let judged = judge(&read(path)?, &Against::default(), &[]);
    judged.verdict.map_err(|errno| {
        let problem =
            format!("{}: the kernel refuses it with {errno}, so it cannot be replaced", path.display());
        Status::Usage.because()(anyhow!(problem))
    })
}

fn to_text(path: &Path, judged: &Judged, release: Release) -> String {
    let mut text = String::new();
    let lines: Vec<&[u8]> = lines(&judged.text).collect();
    for finding in &judged.findings {
        let Finding { code, severity, message, .. } = finding;
        text += &format!("{severity}[{code}]: {}\n{}\n\n", visible(message), snippet(path, &lines, finding));
    }
    let verdict = match &judged.verdict {
        Ok(policy) => {
            format!("kernel {release} takes it: {} {}", visible(&policy.name().to_string()), policy.version())
        }
        Err(errno) => format!("kernel {release} refuses it: {errno}"),
    };
    let unchecked = match judged.signature {
        Signature::Unchecked => "; its signature is not checked without --trust",
        _ => "",
    };
    let counts: Vec<String> = [Severity::Error, Severity::Warning, Severity::Note]
        .into_iter()
        .filter_map(|severity| match judged.count(severity) {
            0 => None,
            1 => Some(format!("1 {severity}")),
            count => Some(format!("{count} {severity}s")),
        })
        .collect();
    let counts = if counts.is_empty() { "nothing found".to_owned() } else { counts.join(", ") };
    text + &format!("{}: {verdict}{unchecked}; {counts}\n", path.display())
}

/// The finding's line with its place underlined.
fn snippet(path: &Path, lines: &[&[u8]], finding: &Finding) -> Snippet {
    let at = finding.at;
    let place = format!("{}:{}:{}", path.display(), at.line, at.column);
    let line = lines.get(at.line - 1).copied().unwrap_or_default();
    let characters = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().count();
    let start = (at.column - 1).min(line.len());
    let end = (start + at.length).min(line.len());
    Snippet {
        place,
        line: at.line,
        text: String::from_utf8_lossy(line).into_owned(),
        before: characters(&line[..start]),
        length: characters(&line[start..end]),
        help: Some(finding.help.clone()),
    }
}

/// Without what a terminal would obey.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn to_json(path: &Path, judged: &Judged, release: Release) -> Value {
    let policy = judged.verdict.as_ref().ok();
    let errno = judged.verdict.as_ref().err();
    let findings: Vec<Value> = judged
        .findings
        .iter()
        .map(|finding| {
            json!({
                "code": finding.code.as_str(),
                "name": finding.code.name(),
                "severity": finding.severity.name(),
                "line": finding.at.line,
                "column": finding.at.column,
                "length": finding.at.length,
                "message": finding.message,
                "help": finding.help,
            })
        })
        .collect();
    json!({
        "file": path.display().to_string(),
        "kernel": release.to_string(),
        "accepted": policy.is_some(),
        "errno": errno.map(|errno| errno.name()),
        "name": policy.map(|policy| policy.name().to_string()),
        "version": policy.map(|policy| policy.version().to_string()),
        "signature": judged.signature.name(),
        "findings": findings,
    })
}
