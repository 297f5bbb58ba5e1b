//! `graven policy scripts`.

use std::path::PathBuf;

use graven_handoff::Hardening;
use graven_verify::Contents;
use graven_verify::survey::{Asking, Code, Interpreter, Problem, survey};
use serde_json::{Value, json};

use super::super::run::disk_of;
use super::super::verify::open;
use super::super::{Outcome, Status, print};
use super::eval::folder;
use super::findings::{self, visible};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  graven policy scripts out/acme-fw-2.4.1-x86_64-uefi\n  \
    graven policy scripts rootfs/ --strict\n\n\
    IPE judges a script only where the kernel starts it, or where its interpreter asks. What an interpreter shows of asking\n\
    is told from its code: that one never asks is as good as certain, that one obeys the answer is for you to make sure of\n\
    ([scripts] interpreters in the recipe). docs/policy.md says how it is told.")]
pub(super) struct Arguments {
    /// The disk image, the output folder of a build, or a folder that is to become a root.
    what: PathBuf,
    /// Name every script, and every file without an exec bit.
    #[arg(long)]
    all: bool,
    /// Exit status 1 where an interpreter does not ask.
    #[arg(long)]
    strict: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Scripts and files that are named of each interpreter unless all are asked for.
const NAMED: usize = 3;
/// What is found of interpreters, scripts and where scripts can be put.
const FINDINGS: [Code; 4] =
    [Code::NoExecBit, Code::LibraryWithoutExecBit, Code::ExecutableMount, Code::SetIdInterpreter];

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let disk = disk_of(&arguments.what);
    let (root, securebits) = if arguments.what.is_dir() && !disk.is_file() {
        (folder(&arguments.what)?, None)
    } else {
        let contents = Contents::open(open(&disk)?)?;
        (contents.tree()?, Some(contents.boot()?.plan.hardens(Hardening::ExecSecurebits)))
    };
    let found = survey(&root).map_err(Status::Environment.because())?;
    let problems: Vec<&Problem> =
        found.problems.iter().filter(|problem| FINDINGS.contains(&problem.code)).collect();
    print(&match arguments.json {
        true => to_json(&found.interpreters, &problems, securebits),
        false => to_text(arguments, &found.interpreters, &problems, securebits),
    })?;
    let silent = found.interpreters.iter().any(|interpreter| interpreter.asking() != Asking::Asks);
    Ok(if arguments.strict && silent { Status::Bad } else { Status::Good })
}

fn to_text(
    arguments: &Arguments,
    interpreters: &[Interpreter],
    problems: &[&Problem],
    securebits: Option<bool>,
) -> String {
    let named = if arguments.all { usize::MAX } else { NAMED };
    let list = |heading: &str, paths: &[String]| {
        let mut text = String::new();
        for path in paths.iter().take(named) {
            text += &format!("    {heading}  {}\n", visible(path));
        }
        match paths.len().saturating_sub(named) {
            0 => text,
            more => text + &format!("    {heading}  … and {more} more (--all names them)\n"),
        }
    };
    let mut text = String::new();
    for interpreter in interpreters {
        let mut words = vec![interpreter.asking().words()];
        if interpreter.asking() != Asking::Never {
            words.push(match interpreter.evidence.securebits {
                true => "reads the securebits",
                false => "never reads the securebits",
            });
        }
        if interpreter.makes_system_calls {
            words.push("what it runs makes system calls of its own");
        }
        let origin = interpreter.origin.as_deref().map(|origin| format!(" ({})", visible(origin)));
        text +=
            &format!("{}{}: {}\n", visible(&interpreter.path), origin.unwrap_or_default(), words.join(", "));
        text += &list("runs       ", &interpreter.scripts);
        if interpreter.asking() != Asking::Never {
            text += &list("no exec bit", &interpreter.without_exec_bit);
        }
    }
    text.extend(problems.iter().map(|problem| findings::to_text(problem)));
    let asking = interpreters.iter().filter(|interpreter| interpreter.asking() == Asking::Asks).count();
    text += &format!("\ninterpreters: {}, asking the kernel: {asking}", interpreters.len());
    text + match securebits {
        Some(true) => "; stage0 locks the exec securebits\n",
        Some(false) => "; the exec securebits stay off, so none has to obey\n",
        None => "\n",
    }
}

fn to_json(interpreters: &[Interpreter], problems: &[&Problem], securebits: Option<bool>) -> String {
    let interpreters = interpreters.iter().map(|interpreter| {
        json!({
            "path": interpreter.path,
            "origin": interpreter.origin,
            "asking": interpreter.asking().words(),
            "evidence": {
                "execveat": interpreter.evidence.execveat,
                "check": interpreter.evidence.check,
                "securebits": interpreter.evidence.securebits,
            },
            "makes_system_calls": interpreter.makes_system_calls,
            "scripts": interpreter.scripts,
            "without_exec_bit": interpreter.without_exec_bit,
        })
    });
    let problems = problems.iter().map(|problem| findings::to_json(problem));
    let value = json!({
        "interpreters": interpreters.collect::<Vec<Value>>(),
        "findings": problems.collect::<Vec<Value>>(),
        "exec_securebits": securebits,
    });
    format!("{value:#}\n")
}
