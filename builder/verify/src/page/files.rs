//! The files that the kernel may be asked about, by what it answers.

use std::collections::BTreeMap;

use graven_ipe::{Action, Op, Place};
use maud::{Markup, html};

use super::dossier::Dossier;
use super::policy::decision;
use super::words;

/// Files of the root, by what is decided about them there.
pub(super) struct Counts {
    pub(super) allowed: usize,
    pub(super) denied: usize,
}

/// A kind of file with a decision: the files, by their folders.
type Groups<'a> = BTreeMap<(bool, &'static str), BTreeMap<&'a str, Vec<&'a str>>>;

pub(super) fn counts(dossier: &Dossier) -> Counts {
    let is_allowed = decisions(dossier);
    let allowed = dossier.survey.files.iter().filter(|file| is_allowed(file.nature.op())).count();
    Counts { allowed, denied: dossier.survey.files.len() - allowed }
}

/// Whether the policy allows an operation with files of the root, where they lie there. One that the kernel refuses allows
/// nothing: the machine does not start.
fn decisions(dossier: &Dossier) -> impl Fn(Op) -> bool {
    let facts = dossier.facts(Place::Root);
    let allowed = Op::ALL.map(|op| match &dossier.policy {
        Ok(policy) => policy.evaluate(op, &facts).action == Action::Allow,
        Err(_) => false,
    });
    move |op| allowed[op as usize]
}

pub(super) fn section(dossier: &Dossier) -> Markup {
    let is_allowed = decisions(dossier);
    let mut groups = Groups::new();
    for file in &dossier.survey.files {
        let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        // What is refused stands first.
        let group = groups.entry((is_allowed(file.nature.op()), words::kinds(&file.nature))).or_default();
        group.entry(folder).or_default().push(name);
    }
    html! {
        p {
            "Of everything on the root, the kernel may be asked about "
            (words::count(dossier.survey.files.len(), "file", "files"))
            ". A copy of any of them, anywhere else, is another file: see "
            a href="#policy" { "the policy" } "."
        }
        @for ((allowed, kind), folders) in &groups {
            details.files {
                summary {
                    (decision(if *allowed { Action::Allow } else { Action::Deny }))
                    b { (kind) } " "
                    span.quiet { (words::number(folders.values().map(Vec::len).sum())) }
                }
                dl.folders {
                    @for (folder, names) in folders {
                        dt { code { (folder) "/" } }
                        dd { @for name in names { code { (name) } " " } }
                    }
                }
            }
        }
    }
}
