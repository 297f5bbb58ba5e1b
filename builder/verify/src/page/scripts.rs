//! Scripts, and the programs that run them.

use maud::{Markup, html};

use super::dossier::Dossier;
use super::words;
use crate::survey::{Asking, Interpreter};

pub(super) fn section(dossier: &Dossier) -> Markup {
    let interpreters = &dossier.survey.interpreters;
    html! {
        p {
            "The kernel sees a script where it starts it, and where its interpreter asks. An interpreter that never asks runs "
            "whatever text it is handed, from anywhere: whoever may start it can run code of their own with it, as that user."
        }
        @if interpreters.is_empty() { p { "There is no interpreter on the root." } }
        ul.cards {
            @for interpreter in interpreters { (card(interpreter)) }
        }
    }
}

fn card(interpreter: &Interpreter) -> Markup {
    let (class, sign) = match interpreter.asking() {
        Asking::Asks => ("ok", "✓"),
        Asking::Perhaps => ("note", "?"),
        Asking::Never => ("unproved", "!"),
    };
    let text = interpreter.asking().words();
    html! {
        li {
            span class={ "mark " (class) } { span aria-hidden="true" { (sign) } " " (text) } " "
            b { code { (interpreter.path) } }
            @if let Some(origin) = &interpreter.origin { " " span.quiet { "of " (origin) } }
            @if interpreter.makes_system_calls {
                p { "What it runs can make system calls of its own: as good as a program." }
            }
            @if interpreter.scripts.is_empty() { p.quiet { "No script names it." } }
            (list(&interpreter.scripts, "script", "scripts"))
            (list(&interpreter.without_exec_bit, "file that it runs has no exec bit", "files that it runs have no exec bit"))
        }
    }
}

fn list(paths: &[String], one: &str, many: &str) -> Markup {
    html! {
        @if !paths.is_empty() {
            details {
                summary { (words::count(paths.len(), one, many)) }
                ul.paths { @for path in paths { li { code { (path) } } } }
            }
        }
    }
}
