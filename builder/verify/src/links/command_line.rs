//! The kernel command line: as the builder makes it, and the same in the initramfs.

use graven_boot::cmdline::{self, CommandLine, Guard, Parts, REQUIRE_SIGNATURES};
use graven_boot::initramfs::{Entry, Initramfs, Kind};
use graven_handoff::{
    self as handoff, Binding, Enforcement, KernelLockdown, PolicySource, word_policy, word_policy_sha256,
};
use graven_targets::{Arch, CommandLineLimit};

use super::profile::Profile;
use super::shown;
use crate::artefact::Artefact;
use crate::layout::Layout;
use crate::prove::Options;
use crate::report::Report;

/// A command line and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) binding: Binding,
    pub(crate) enforcement: Enforcement,
    pub(crate) lockdown: KernelLockdown,
    /// Words of Graven's own that it does without: for the plan to say why.
    pub(crate) left_out: Vec<Guard>,
}

/// Root hash and policy once, enforcement, lockdown, nothing that contradicts them, within the kernel's buffer.
pub(crate) fn command_line(
    boot: &Artefact<'_>,
    archive: Option<&Initramfs>,
    layout: Option<&Layout>,
    options: &Options<'_>,
    report: &mut Report,
) -> Option<Line> {
    const LINK: &str = "command-line";
    let text = match &boot.command_line {
        Ok(text) => &**text,
        Err(problem) => {
            report.bad(LINK, problem.clone());
            return None;
        }
    };
    let mut problems = Vec::new();
    if let Err(error) = CommandLine::parse(text) {
        problems.push(error.to_string());
    }
    if let Some(archive) = archive {
        problems.extend(differs_from_copy(text, archive));
    }
    let arch = layout.map_or(Arch::X86_64, |layout| layout.arch);
    let (bytes, limit) = (text.len(), arch.command_line_size());
    if bytes >= limit {
        problems.push(format!("it has {bytes} bytes, the kernel of {arch} takes {limit} with the final NUL"));
    }
    let binding = match Binding::parse(text) {
        Ok(binding) => binding,
        Err(error) => {
            problems.push(error.to_string());
            report.bad(LINK, problems.join("; "));
            return None;
        }
    };
    let words = Words::of(text);
    if let Err(problem) = words.rebuild(text, &binding) {
        problems.push(problem);
    }
    let development = options.allow_development && Profile::of(boot) == Profile::Development;
    if words.enforcement == Enforcement::Audit && !development {
        problems.push("ipe.enforce=0: the kernel would only record what the policy denies".to_owned());
    }
    let policy = match &binding.policy {
        PolicySource::Inline(_) => "the policy itself",
        PolicySource::Sha256(_) => "the policy's SHA-256",
    };
    let hash = &binding.root_hash;
    let extra = if words.extra.is_empty() { "nothing".to_owned() } else { shown(&words.extra.join(" ")) };
    let (enforcement, lockdown) = (words.enforcement, words.lockdown);
    report.judge(
        LINK,
        &problems,
        format!(
            "root hash {hash}, {policy}, {enforcement}, lockdown {lockdown}, {extra} besides; {bytes} of {limit} bytes; \
             the copy in the initramfs is the same"
        ),
    );
    let left_out = words.left_out;
    Some(Line { text: text.to_owned(), binding, enforcement, lockdown, left_out })
}

/// stage0 compares what the kernel got with this copy.
fn differs_from_copy(text: &str, archive: &Initramfs) -> Option<String> {
    let path = handoff::initramfs::COMMAND_LINE;
    match archive.get(path) {
        Some(Entry { kind: Kind::File(copy), .. }) => {
            let difference = handoff::compare(copy, text.as_bytes(), &[]).err()?;
            Some(format!("{path} in the initramfs {difference}"))
        }
        _ => Some(format!("{path} is not in the initramfs")),
    }
}

/// The words of a line, by whose they are.
struct Words {
    consoles: Vec<String>,
    enforcement: Enforcement,
    lockdown: KernelLockdown,
    left_out: Vec<Guard>,
    extra: Vec<String>,
}

impl Words {
    fn of(line: &str) -> Self {
        let mut words = Self {
            consoles: Vec::new(),
            enforcement: Enforcement::Audit,
            lockdown: KernelLockdown::None,
            left_out: Guard::ALL.to_vec(),
            extra: Vec::new(),
        };
        for word in handoff::words(line) {
            if Guard::ALL.iter().any(|guard| guard.word() == word) {
                words.left_out.retain(|guard| guard.word() != word);
                continue;
            }
            match word.split_once('=') {
                Some(("console", value)) => words.consoles.push(value.to_owned()),
                Some(("roothash" | "graven.policy" | "graven.policy-sha256", _)) => {}
                Some(("ipe.enforce", value)) if matches!(value, "0" | "1") => {
                    words.enforcement = if value == "1" { Enforcement::Enforce } else { Enforcement::Audit };
                }
                Some(("lockdown", value)) if KernelLockdown::from_word(value).is_some() => {
                    words.lockdown = KernelLockdown::from_word(value).unwrap_or(KernelLockdown::None);
                }
                None if word == "--" => {}
                _ if word == REQUIRE_SIGNATURES => {}
                _ => words.extra.push(word.to_owned()),
            }
        }
        words
    }

    /// The builder, given the same parts, must make the same line: then every word stands where it belongs, once, and
    /// none of the others is one that the builder refuses.
    fn rebuild(&self, line: &str, binding: &Binding) -> Result<(), String> {
        const STANDS_FOR_THE_POLICY: &[u8] = b"policy";
        let limit = CommandLineLimit { limit: usize::MAX, reserve: 0, additions: Vec::new() };
        let built = cmdline::build(&Parts {
            consoles: &self.consoles,
            root_hash: &binding.root_hash,
            signed_policy: STANDS_FOR_THE_POLICY,
            enforcement: self.enforcement,
            lockdown: self.lockdown,
            left_out: &self.left_out,
            extra: &self.extra,
            limit: &limit,
        })
        .map_err(|error| error.to_string())?;
        let policy = match &binding.policy {
            PolicySource::Inline(message) => word_policy(message),
            PolicySource::Sha256(sha256) => word_policy_sha256(sha256),
        };
        let expected = built.line.as_str().replacen(&word_policy(STANDS_FOR_THE_POLICY), &policy, 1);
        handoff::compare(line.as_bytes(), expected.as_bytes(), &[]).map_err(|difference| {
            let (offset, expected, found) = (difference.offset, difference.expected, difference.found);
            format!("not as the builder makes it, from byte {offset} on: expected {expected}, found {found}")
        })
    }
}
