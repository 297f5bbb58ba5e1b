//! The trust report: one HTML page about an image, for who decides, who audits and who mends; and one about what is not the
//! same in two.
//!
//! They need no network, no script and nothing beside them. They are functions of the images and of what those are held
//! against: no clock, no path of the machine that made them. Whatever comes from an image is escaped by the template.

mod certificates;
mod chain;
mod differences;
mod disk;
mod dossier;
mod files;
mod findings;
mod frame;
mod innards;
mod policy;
mod scripts;
mod words;

use maud::{Markup, html};

pub use differences::render_differences;
pub use dossier::{Dossier, DossierError};
use frame::Frame;

use crate::report::State;
use crate::survey::Asking;

/// The sections: their anchors and titles, in order.
const SECTIONS: [(&str, &str); 8] = [
    ("chain", "Chain of trust"),
    ("disk", "Disk"),
    ("policy", "Policy"),
    ("files", "Files"),
    ("scripts", "Scripts"),
    ("certificates", "Certificates"),
    ("findings", "Findings"),
    ("innards", "Innards"),
];

/// Writes the trust report.
#[must_use]
pub fn render(dossier: &Dossier) -> String {
    let product = product(dossier);
    let sections = [
        chain::section(dossier),
        disk::section(dossier),
        policy::section(dossier),
        files::section(dossier),
        scripts::section(dossier),
        certificates::section(dossier),
        findings::section(dossier),
        innards::section(dossier),
    ];
    Frame {
        title: format!("Trust report: {product}"),
        header: header(dossier, &product),
        sections: SECTIONS.iter().zip(sections).map(|((anchor, title), body)| (*anchor, *title, body)).collect(),
        footer: html! {
            "Made by graven " (env!("CARGO_PKG_VERSION")) " from the bytes of the image. The same image, held against "
            "the same certificates, makes the same page. " code { "graven verify" } " proves what is shown here again."
        },
    }
    .render()
}

/// What the image calls itself.
fn product(dossier: &Dossier) -> String {
    let boot = &dossier.summary.boot;
    let name = boot.os_release.get("PRETTY_NAME").or(boot.description.as_ref());
    name.cloned().unwrap_or_else(|| "an image without a name".to_owned())
}

fn header(dossier: &Dossier, product: &str) -> Markup {
    let verdict = dossier.proof.verdict();
    let variant = dossier.summary.boot.os_release.get("VARIANT_ID").map_or("unknown", String::as_str);
    html! {
        header class=(word(verdict)) {
            p.kicker { "Trust report" }
            h1 { (product) }
            p.about { (variant) " image for " (dossier.summary.arch) }
            p.verdict { span aria-hidden="true" { (sign(verdict)) " " } (headline(dossier)) }
            p.meaning {
                (meaning(dossier))
                @if verdict != State::Ok { " " a href="#findings" { "What was found" } "." }
            }
            (figures(dossier))
        }
    }
}

fn headline(dossier: &Dossier) -> String {
    let count = |state| dossier.proof.in_state(state).count();
    let all = dossier.proof.links.len();
    match dossier.proof.verdict() {
        State::Ok => format!("Proved: all {all} links of the chain hold"),
        State::Unproved => format!("Not proved: {} of {all} links are open", count(State::Unproved)),
        State::Bad => format!("Broken: {} of {all} links do not hold", count(State::Bad)),
    }
}

/// The verdict for who has no use for links.
fn meaning(dossier: &Dossier) -> &'static str {
    match (dossier.proof.verdict(), dossier.held) {
        (State::Ok, _) => {
            "A machine that trusts these certificates and no others starts this image, and every program, library, kernel \
             module and firmware file that it runs is one that was signed. Whoever changes one of them, stops it."
        }
        (State::Unproved, false) => {
            "Nobody said whose signature counts, so nothing can be proved by one. The rest of the chain was followed as far as \
             it goes. Make the report again with the certificates of whoever may vouch for this image."
        }
        (State::Unproved, true) => {
            "Nothing was found broken, but something could not be judged from the image alone. Read the open links below \
             before you rely on it."
        }
        (State::Bad, _) => {
            "Do not rely on this image. At least one link does not hold: what is behind it may be something else than what \
             was signed. The broken links below say what was expected and what was found."
        }
    }
}

/// The numbers that a reader looks for first.
fn figures(dossier: &Dossier) -> Markup {
    let decided = files::counts(dossier);
    let never_ask = dossier.survey.interpreters.iter().filter(|one| one.asking() == Asking::Never);
    let behind: usize = never_ask.map(|one| one.scripts.len()).sum();
    let (errors, warnings) = findings::counts(dossier);
    let figure = |number: usize, what: &str, class: &str| {
        html! { li class=(class) { b { (words::number(number)) } span { (what) } } }
    };
    let colour = |number: usize, class: &'static str| if number > 0 { class } else { "" };
    html! {
        ul.figures {
            (figure(decided.allowed, "files of the root may run or be loaded", ""))
            (figure(decided.denied, "files of the root are refused there", colour(decided.denied, "unproved")))
            (figure(behind, "scripts behind interpreters that never ask", colour(behind, "unproved")))
            (figure(errors, if errors == 1 { "error" } else { "errors" }, colour(errors, "bad")))
            (figure(warnings, if warnings == 1 { "warning" } else { "warnings" }, colour(warnings, "unproved")))
        }
    }
}

/// The class of a state.
fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Unproved => "unproved",
        State::Bad => "bad",
    }
}

fn sign(state: State) -> &'static str {
    match state {
        State::Ok => "✓",
        State::Unproved => "?",
        State::Bad => "✗",
    }
}

/// A state as a sign with a word: colour alone tells too few people.
fn mark(state: State) -> Markup {
    let text = match state {
        State::Ok => "holds",
        State::Unproved => "open",
        State::Bad => "broken",
    };
    html! { span class={ "mark " (word(state)) } { span aria-hidden="true" { (sign(state)) } " " (text) } " " }
}
