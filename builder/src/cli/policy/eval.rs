//! `graven policy eval`.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use graven_handoff::hex;
use graven_image::tree::{Metadata, Tree};
use graven_ipe::lint::{Against, Severity};
use graven_ipe::{Action, Algorithm, Digest, Facts, Hook, Kernel, Op, Place, Policy, Verdict};
use graven_sources::dir::{Attributes, scan};
use graven_verify::Contents;
use graven_verify::survey::{Survey, Surveyed, survey};
use serde_json::{Value, json};

use super::super::run::disk_of;
use super::super::verify::open;
use super::super::{Failure, Outcome, Status, print};
use super::findings::{self, visible};
use super::judged::judge;
use super::{KernelArguments, read};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  graven policy eval out/acme-fw-2.4.1-x86_64-uefi --only denied\n  \
    graven policy eval out/acme-fw-2.4.1-x86_64-uefi --where state --path /usr/bin\n  \
    graven policy eval rootfs/ --policy policy.pol --root-hash 5a5a… --signed\n\n\
    Each file that the kernel could ask about is listed with the decision and the rule or default that makes it, then\n\
    what will not run for other reasons. Exit status 1: a program, module or firmware of the root is denied there, or an\n\
    error is found. docs/policy.md lists the findings.")]
pub(super) struct Arguments {
    /// The disk image, the output folder of a build, or a folder that is to become a root.
    what: PathBuf,
    /// The policy, signed or not [default: the image's].
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The root hash (SHA-256) of the dm-verity device that the folder is to lie on [default: the image's].
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    root_hash: Option<Digest>,
    /// The device's root hash is signed.
    #[arg(long, requires = "root_hash")]
    signed: bool,
    /// Where the files lie when the kernel asks.
    #[arg(long = "where", value_name = "PLACE", default_value_t, value_parser = places())]
    place: Place,
    /// Only what is so decided.
    #[arg(long, value_name = "DECISION", value_enum)]
    only: Option<Only>,
    /// Only this file, or the files of this folder.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Only this operation: EXECUTE, KMODULE, …
    #[arg(long, value_name = "OP", value_parser = op)]
    op: Option<Op>,
    /// Only as this hook asks: BPRM_CHECK, MMAP, KERNEL_LOAD, …
    #[arg(long, value_name = "HOOK", value_parser = hook)]
    hook: Option<Hook>,
    #[command(flatten)]
    kernel: KernelArguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    Allowed,
    Denied,
}

fn sha256(text: &str) -> Result<Digest, String> {
    Digest::from_hex(Algorithm::Sha256, text).map_err(|error| error.to_string())
}

/// Their names, each with what it is.
fn places() -> impl TypedValueParser<Value = Place> {
    let values = Place::ALL.map(|place| PossibleValue::new(place.name()).help(place.meaning()));
    PossibleValuesParser::new(values).map(|name| Place::from_name(&name).unwrap_or_default())
}

fn op(name: &str) -> Result<Op, String> {
    let words = || format!("expected one of {}", Op::ALL.map(Op::name).join(" "));
    Op::from_name(name.to_uppercase().as_bytes()).ok_or_else(words)
}

fn hook(name: &str) -> Result<Hook, String> {
    let words = || format!("expected one of {}", Hook::ALL.map(Hook::name).join(" "));
    Hook::from_name(&name.to_uppercase()).ok_or_else(words)
}

/// A root, a policy, and what the kernel knows of the root's files.
struct Subject {
    root: Tree,
    policy: Policy,
    facts: Facts,
}

/// What a hook would be told about a file.
struct Decision<'a> {
    file: &'a Surveyed,
    hook: Hook,
    verdict: Verdict,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let config = arguments.kernel.config()?;
    let kernel = arguments.kernel.kernel(config.as_ref());
    let subject = subject(arguments, kernel)?;
    let found = survey(&subject.root).map_err(Status::Environment.because())?;
    let decided = decide(&found, &subject, arguments, kernel);
    let told: Vec<&Decision<'_>> = decided.iter().filter(|decision| arguments.tells(decision)).collect();
    print(&match arguments.json {
        true => to_json(arguments, &subject, &found, &told),
        false => to_text(arguments, &subject, &found, &told),
    })?;
    let runs = |op| matches!(op, Op::Execute | Op::Kmodule | Op::Firmware);
    let refused = arguments.place == Place::Root
        && decided.iter().any(|decision| {
            let of_file = decision.hook.knows_the_file() && runs(decision.file.nature.op());
            of_file && decision.verdict.action == Action::Deny
        });
    let error = found.problems.iter().any(|problem| problem.severity == Severity::Error);
    Ok(if refused || error { Status::Bad } else { Status::Good })
}

impl Arguments {
    fn tells(&self, decision: &Decision<'_>) -> bool {
        let action = match self.only {
            None => true,
            Some(Only::Allowed) => decision.verdict.action == Action::Allow,
            Some(Only::Denied) => decision.verdict.action == Action::Deny,
        };
        let file = decision.file;
        action && self.names(&file.path) && self.op.is_none_or(|op| file.nature.op() == op)
    }

    /// Whether a path is the one asked for, or below it.
    fn names(&self, path: &str) -> bool {
        self.path.as_deref().is_none_or(|wanted| {
            let rest = path.strip_prefix(wanted.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

fn subject(arguments: &Arguments, kernel: Kernel) -> Result<Subject, Failure> {
    let path = &arguments.what;
    let from_file = arguments.policy.as_deref().map(policy).transpose()?;
    let digest = arguments.root_hash.clone();
    let disk = disk_of(path);
    if path.is_dir() && !disk.is_file() {
        let Some(policy) = from_file else {
            let hint = format!("{} is no image: say with --policy which policy is meant", path.display());
            return Err(Status::Usage.because()(anyhow!(hint)));
        };
        let facts = Facts {
            dmverity_signature: arguments.signed,
            dmverity_roothash: digest,
            providers: kernel.providers,
            ..Facts::default()
        };
        return Ok(Subject { root: folder(path)?, policy, facts });
    }
    let contents = Contents::open(open(&disk)?)?;
    let boot = contents.boot()?;
    let policy = match from_file {
        Some(policy) => policy,
        None => {
            let parsed =
                Policy::load(&boot.policy).with_context(|| format!("the policy of {}", disk.display()));
            parsed.map_err(Status::Bad.because())?
        }
    };
    let bytes = boot.binding.root_hash.as_bytes();
    let algorithm = match bytes.len() {
        32 => Algorithm::Sha256,
        48 => Algorithm::Sha384,
        _ => Algorithm::Sha512,
    };
    let own = Digest::from_hex(algorithm, &hex::encode(bytes)).map_err(Status::Bad.because())?;
    let facts = Facts {
        dmverity_roothash: Some(digest.unwrap_or(own)),
        dmverity_signature: true,
        providers: kernel.providers,
        ..Facts::default()
    };
    Ok(Subject { root: contents.tree()?, policy, facts })
}

/// A policy that the kernel takes.
fn policy(path: &Path) -> Result<Policy, Failure> {
    let judged = judge(&read(path)?, &Against::default(), &[]);
    judged.verdict.map_err(|errno| {
        let problem =
            format!("{}: the kernel refuses it with {errno}; graven policy check says why", path.display());
        Status::Bad.because()(anyhow!(problem))
    })
}

/// A folder as a tree, with its modes.
pub(super) fn folder(path: &Path) -> Result<Tree, Failure> {
    let mut root = Tree::new(Metadata { mode: 0o755, ..Metadata::default() });
    let layer = scan(path, Attributes::Kept, None);
    layer.and_then(|layer| layer.apply(&mut root)).map_err(graven::error::Error::from)?;
    Ok(root)
}

/// What each hook that could ask about a file is told. Files of one place differ in nothing that a policy can ask for, so
/// there is one verdict for each operation, with the file and without.
fn decide<'a>(
    found: &'a Survey,
    subject: &Subject,
    arguments: &Arguments,
    kernel: Kernel,
) -> Vec<Decision<'a>> {
    let there = arguments.place.facts(&subject.facts);
    let no_file = Facts { providers: kernel.providers, ..Facts::default() };
    let verdicts = Op::ALL.map(|op| {
        let hooks = Hook::of(op, kernel.release);
        let hooks = hooks.iter().filter(|hook| arguments.hook.is_none_or(|wanted| wanted == **hook));
        let verdict =
            |hook: &Hook| subject.policy.evaluate(op, if hook.knows_the_file() { &there } else { &no_file });
        hooks.map(|hook| (*hook, verdict(hook))).collect::<Vec<_>>()
    });
    let decisions = found.files.iter().flat_map(|file| {
        let verdicts = &verdicts[file.nature.op() as usize];
        verdicts.iter().map(move |(hook, verdict)| Decision { file, hook: *hook, verdict: *verdict })
    });
    decisions.collect()
}

fn to_text(arguments: &Arguments, subject: &Subject, found: &Survey, told: &[&Decision<'_>]) -> String {
    let policy = &subject.policy;
    let mut text = String::new();
    let mut lines: Vec<(Action, Op, &str, Vec<&str>, String)> = Vec::new();
    for decision in told {
        let op = decision.file.nature.op();
        let (path, words) = (decision.file.path.as_str(), policy.words(op, decision.verdict));
        // Hooks that are told the same stand on one line.
        match lines.last_mut() {
            Some((action, _, last, hooks, before))
                if *last == path && *action == decision.verdict.action && *before == words =>
            {
                hooks.push(decision.hook.name());
            }
            _ => lines.push((decision.verdict.action, op, path, vec![decision.hook.name()], words)),
        }
    }
    for (action, op, path, hooks, words) in &lines {
        let op = op.name();
        let action = if *action == Action::Allow { "allowed" } else { "denied" };
        let shown = visible(path);
        text += &match arguments.hook {
            None if hooks.len() == 1 && hooks[0] == Hook::KernelLoad.name() => {
                format!("{action:<8}{op:<16}{shown}  handed over as bytes: {words}\n")
            }
            _ => format!("{action:<8}{op:<16}{shown}  {words}\n"),
        };
    }
    let problems = found.problems.iter().filter(|problem| arguments.names(&problem.path));
    let problems: Vec<String> = problems.map(findings::to_text).collect();
    if !problems.is_empty() {
        text += if lines.is_empty() { "" } else { "\n" };
        text += &problems.concat();
    }
    let interpreters = found.interpreters.iter().filter(|interpreter| arguments.names(&interpreter.path));
    let interpreters: Vec<String> = interpreters
        .map(|interpreter| {
            let asks = interpreter.asking().words();
            let calls =
                if interpreter.makes_system_calls { ", and makes system calls of its own" } else { "" };
            let scripts = match interpreter.scripts.len() {
                0 => "no script names it".to_owned(),
                1 => format!("1 script: {}", visible(&interpreter.scripts[0])),
                count => format!("{count} scripts"),
            };
            format!(
                "{}: {asks} the kernel about what it runs{calls}; {scripts}\n",
                visible(&interpreter.path)
            )
        })
        .collect();
    if !interpreters.is_empty() {
        text += "\ninterpreters:\n";
        text += &interpreters.concat();
    }
    let count = |wanted| {
        let mut paths: Vec<&str> =
            lines.iter().filter(|(action, ..)| *action == wanted).map(|(_, _, path, ..)| *path).collect();
        paths.dedup();
        paths.len()
    };
    text + &format!(
        "\n{} {}, files on {}: {} allowed, {} denied\n",
        visible(&policy.name().to_string()),
        policy.version(),
        arguments.place.name(),
        count(Action::Allow),
        count(Action::Deny)
    )
}

fn to_json(arguments: &Arguments, subject: &Subject, found: &Survey, told: &[&Decision<'_>]) -> String {
    let policy = &subject.policy;
    let decisions = told.iter().map(|decision| {
        let (file, op) = (decision.file, decision.file.nature.op());
        json!({
            "path": file.path,
            "kind": file.nature.name(),
            "op": op.name(),
            "hook": decision.hook.name(),
            "allowed": decision.verdict.action == Action::Allow,
            "rule": policy.words(op, decision.verdict),
            "audited": policy.audited(op, decision.verdict),
        })
    });
    let problems = found.problems.iter().filter(|problem| arguments.names(&problem.path));
    let interpreters = found.interpreters.iter().map(|interpreter| {
        json!({
            "path": interpreter.path,
            "asking": interpreter.asking().words(),
            "makes_system_calls": interpreter.makes_system_calls,
            "scripts": interpreter.scripts,
        })
    });
    let value = json!({
        "policy": { "name": policy.name().to_string(), "version": policy.version().to_string() },
        "where": arguments.place.name(),
        "decisions": decisions.collect::<Vec<Value>>(),
        "findings": problems.map(findings::to_json).collect::<Vec<Value>>(),
        "interpreters": interpreters.collect::<Vec<Value>>(),
    });
    format!("{value:#}\n")
}
