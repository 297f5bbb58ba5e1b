//! What somebody should look at, the worst first.

use std::collections::BTreeMap;

use graven_ipe::lint::Severity;
use maud::{Markup, html};

use super::dossier::Dossier;
use super::words;
use crate::report::State;

/// Findings of one kind: what it is, and each place with what is said of it.
struct Group<'a> {
    severity: Severity,
    code: &'a str,
    meaning: &'a str,
    places: Vec<(String, String)>,
}

/// Errors and warnings, of all links, of the policy and of the files.
pub(super) fn counts(dossier: &Dossier) -> (usize, usize) {
    let count = |severity| {
        let groups = groups(dossier);
        groups.iter().filter(|group| group.severity == severity).map(|group| group.places.len()).sum()
    };
    (count(Severity::Error), count(Severity::Warning))
}

pub(super) fn section(dossier: &Dossier) -> Markup {
    let groups = groups(dossier);
    html! {
        @if groups.is_empty() { p { "Nothing was found." } }
        @for group in &groups {
            details.finding open[group.severity == Severity::Error] {
                summary {
                    (mark(group.severity)) b { (group.code) } " " (group.meaning) " "
                    span.quiet { (words::count(group.places.len(), "place", "places")) }
                }
                dl.folders {
                    @for (place, message) in &group.places { dt { code { (place) } } dd { (message) } }
                }
            }
        }
    }
}

fn groups(dossier: &Dossier) -> Vec<Group<'_>> {
    let mut all = Vec::new();
    for (state, severity, meaning) in [
        (State::Bad, Severity::Error, "A link of the chain does not hold."),
        (State::Unproved, Severity::Warning, "A link of the chain could not be judged."),
    ] {
        let links = dossier.proof.in_state(state);
        let places: Vec<_> = links.map(|link| (link.name.to_string(), link.detail.clone())).collect();
        if !places.is_empty() {
            all.push(Group { severity, code: "CHAIN", meaning, places });
        }
    }
    let mut by_code: BTreeMap<_, Group<'_>> = BTreeMap::new();
    for finding in &dossier.policy_findings {
        let (code, severity) = (finding.code, finding.severity);
        let group = Group { severity, code: code.as_str(), meaning: code.meaning(), places: Vec::new() };
        let place = format!("policy, line {}", finding.at.line);
        let message = format!("{}. To do: {}.", finding.message, finding.help);
        by_code.entry((code.as_str(), severity)).or_insert(group).places.push((place, message));
    }
    for problem in &dossier.survey.problems {
        let (code, severity) = (problem.code, problem.severity);
        let group = Group { severity, code: code.as_str(), meaning: code.meaning(), places: Vec::new() };
        let place = (problem.path.clone(), problem.message.clone());
        by_code.entry((code.as_str(), severity)).or_insert(group).places.push(place);
    }
    all.extend(by_code.into_values());
    // A stable sort: within a severity, the chain, then the policy, then the files.
    all.sort_by_key(|group| std::cmp::Reverse(group.severity));
    all
}

fn mark(severity: Severity) -> Markup {
    let (class, sign) = match severity {
        Severity::Error => ("bad", "✗"),
        Severity::Warning => ("unproved", "!"),
        Severity::Note => ("note", "i"),
    };
    html! { span class={ "mark " (class) } { span aria-hidden="true" { (sign) } " " (severity) } " " }
}
