//! What is not the same in two images, as a page: for who lets a release go out.

use maud::{Markup, html};

use super::frame::Frame;
use super::words;
use crate::diff::{About, Change, Concern, Differences, Fate, FileChange, Identity, PackageFate, Section};

/// Rows of a section that is open from the start.
const MOST_OPEN: usize = 24;

/// Writes the page.
#[must_use]
pub fn render_differences(differences: &Differences) -> String {
    let told = Section::ALL.iter().filter(|section| differences.count(**section) > 0);
    let sections = told.map(|section| {
        let body = match section {
            Section::Security => security(&differences.security),
            Section::Packages => packages(differences),
            Section::Files => files(differences),
            section => changes(*section, differences.changes(*section)),
        };
        (section.name(), section.title(), body)
    });
    Frame {
        title: format!("What changed: {} and {}", differences.old.name, differences.new.name),
        header: header(differences),
        sections: sections.collect(),
        footer: html! {
            "Made by graven " (env!("CARGO_PKG_VERSION")) " from the bytes of both images. The same images make the same page. "
            "Nothing is proved by it: " code { "graven verify" } " says whether an image can be relied on."
        },
    }
    .render()
}

fn header(differences: &Differences) -> Markup {
    let Differences { old, new, .. } = differences;
    let grave = differences.security.len();
    let (class, sign, headline) = match grave {
        _ if differences.is_empty() => ("ok", "=", "No difference".to_owned()),
        0 => ("note", "≠", "They differ".to_owned()),
        1 => ("unproved", "!", "One change bears on security".to_owned()),
        grave => ("unproved", "!", format!("{} changes bear on security", words::number(grave))),
    };
    html! {
        header class=(class) {
            p.kicker { "What changed" }
            h1 { (old.name) " → " (new.name) }
            dl.facts { (identity("Old", old)) (identity("New", new)) }
            p.verdict { span aria-hidden="true" { (sign) " " } (headline) }
            p.meaning { (meaning(differences)) }
            @if !differences.is_empty() { (figures(differences)) }
        }
    }
}

fn identity(which: &str, identity: &Identity) -> Markup {
    let Identity { name, profile, arch, root_hash } = identity;
    html! {
        dt { (which) }
        dd {
            (name) ", " (profile.as_deref().unwrap_or("unknown profile")) " image for " (arch) ", root hash " code { (root_hash) }
        }
    }
}

fn meaning(differences: &Differences) -> &'static str {
    match differences.security.is_empty() {
        _ if differences.is_empty() => {
            "Partitions, boot artefact and every file of the root are the same, metadata and contents."
        }
        true => {
            "No set-uid program, file capability, listener, account, interpreter, script or kernel module is new or another one. \
             What changed is below; what only follows from it stands last."
        }
        false => {
            "Set-uid programs, file capabilities, listeners, accounts, interpreters, scripts and kernel modules that are new or \
             other ones stand first. What only follows from a change stands last."
        }
    }
}

fn figures(differences: &Differences) -> Markup {
    let figure = |section, one: &'static str, many: &'static str| {
        let count = differences.count(section);
        html! { @if count > 0 { li { b { (words::number(count)) } span { (if count == 1 { one } else { many }) } } } }
    };
    html! {
        ul.figures {
            (figure(Section::Packages, "package is another", "packages are others"))
            (figure(Section::Files, "file is not the same", "files are not the same"))
            (figure(Section::Policy, "line of the policy", "lines of the policy"))
            (figure(Section::Boot, "part of the boot artefact", "parts of the boot artefact"))
            (figure(Section::KernelConfig, "symbol of the kernel", "symbols of the kernel"))
        }
    }
}

fn security(concerns: &[Concern]) -> Markup {
    let of = |about| concerns.iter().filter(move |concern| concern.about == about);
    html! {
        @for about in About::ALL.into_iter().filter(|about| of(*about).next().is_some()) {
            details.files open[of(about).count() <= MOST_OPEN] {
                summary { b { (about.title()) } " " span.quiet { (of(about).count()) } }
                ul.changes {
                    @for concern in of(about) {
                        li { (mark(concern.fate)) div { code { (concern.what) } p.quiet { (concern.says) } } }
                    }
                }
            }
        }
    }
}

fn packages(differences: &Differences) -> Markup {
    html! {
        ul.changes {
            @for package in &differences.packages {
                @let files = differences.files.iter().filter(|file| file.package.as_deref() == Some(&package.name)).count();
                li {
                    @match package.fate {
                        PackageFate::Added => (mark(Fate::Added)),
                        PackageFate::Removed => (mark(Fate::Removed)),
                        PackageFate::Upgraded => (labelled("note", "↑", "upgraded")),
                        PackageFate::Downgraded => (labelled("unproved", "↓", "downgraded")),
                        PackageFate::Changed => (mark(Fate::Changed)),
                    }
                    div {
                        b { (package.name) } " " span.quiet { (package.architecture) }
                        (values(package.old.as_deref(), package.new.as_deref()))
                        p.quiet { (words::count(files, "file", "files")) " of it " (if files == 1 { "is" } else { "are" }) " not the same" }
                    }
                }
            }
        }
    }
}

fn files(differences: &Differences) -> Markup {
    html! {
        @for (package, files) in differences.files_by_package() {
            details.files open[files.len() <= MOST_OPEN] {
                summary { b { (package.unwrap_or("of no package")) } " " span.quiet { (words::count(files.len(), "file", "files")) } }
                ul.changes { @for file in files { (file_row(file)) } }
            }
        }
    }
}

fn file_row(file: &FileChange) -> Markup {
    html! {
        li {
            (mark(file.fate))
            div {
                code { (file.path) }
                @for change in &file.changes {
                    @match change.what.as_str() {
                        "file" => p.quiet { (change.new.as_ref().or(change.old.as_ref()).map_or("", String::as_str)) },
                        what => { p.quiet { (what) } (values(change.old.as_deref(), change.new.as_deref())) },
                    }
                }
                @if let Some(lines) = &file.lines {
                    pre.lines tabindex="0" aria-label={ "Lines of " (file.path) } {
                        @for line in lines.lines() { span class=[line_class(line)] { (line) } "\n" }
                    }
                }
            }
        }
    }
}

fn line_class(line: &str) -> Option<&'static str> {
    match line.chars().next() {
        Some('+') => Some("come"),
        Some('-') => Some("gone"),
        Some('@') => Some("quiet"),
        _ => None,
    }
}

fn changes(section: Section, changes: &[Change]) -> Markup {
    let rows = html! {
        ul.changes {
            @for change in changes {
                @let fate = match (&change.old, &change.new) {
                    (None, _) => Fate::Added,
                    (_, None) => Fate::Removed,
                    _ => Fate::Changed,
                };
                li { (mark(fate)) div { b { (change.what) } (values(change.old.as_deref(), change.new.as_deref())) } }
            }
        }
    };
    let told = match section {
        Section::Follows => {
            "Nobody decided these: they are another release's, or follow from what stands above. A root hash, for one, stands for \
             every byte of the root."
        }
        Section::Policy => "ROOTHASH stands for the root hash of each.",
        Section::MadeFrom => "By the manifests beside the disks, which nobody signs.",
        _ => "",
    };
    html! {
        @if !told.is_empty() { p { (told) } }
        @if changes.len() <= MOST_OPEN && section != Section::Follows { (rows) } @else {
            details.files { summary { (words::count(changes.len(), "change", "changes")) } (rows) }
        }
    }
}

/// What it was, and what it is.
fn values(old: Option<&str>, new: Option<&str>) -> Markup {
    html! {
        div.values {
            @if let Some(old) = old { del { span.hidden { "was " } code { (old) } } }
            @if let Some(new) = new { ins { span.hidden { "is " } code { (new) } } }
        }
    }
}

fn mark(fate: Fate) -> Markup {
    match fate {
        Fate::Added => labelled("ok", "+", "new"),
        Fate::Removed => labelled("bad", "−", "gone"),
        Fate::Changed => labelled("note", "≠", "other"),
    }
}

fn labelled(class: &str, sign: &str, text: &str) -> Markup {
    html! { span class={ "mark " (class) } { span aria-hidden="true" { (sign) } " " (text) } }
}
