//! The policy: its rules, what each covers, and what holds in other places.

use graven_ipe::{Action, Matched, Op, Place, Policy, Property, Rule};
use maud::{Markup, html};

use super::dossier::Dossier;
use super::words;
use crate::inspect::VolumeSummary;

pub(super) fn section(dossier: &Dossier) -> Markup {
    let policy = match &dossier.policy {
        Ok(policy) => policy,
        Err(error) => {
            return html! {
                p.bad { "The kernel refuses this policy: " (error) }
                pre tabindex="0" { code { (dossier.summary.policy) } }
            };
        }
    };
    html! {
        p {
            "The kernel asks " b { (policy.name()) " " (policy.version()) } " before it runs a program or a script, maps a library, "
            "loads a module or firmware. The first rule that fits decides; what no rule fits falls to the default."
        }
        ol.rules {
            @for (index, rule) in policy.rules().iter().enumerate() {
                (line(rule.action, &rule.to_string(), &in_words(dossier, rule), &match volume_of(dossier, rule) {
                    Some(volume) => html! { "Decides about what lies on " code { (volume.target) } ", whose files are not counted here." },
                    None => covers(dossier, policy, Matched::Rule(index), None),
                }))
            }
            @for op in Op::ALL {
                @if let Some(action) = policy.op_default(op) {
                    (line(action, &format!("DEFAULT op={op} action={action}"),
                        &format!("{} otherwise: {}.", capital(what(op)), verb(action)),
                        &covers(dossier, policy, Matched::OpDefault, Some(op))))
                }
            }
            @if let Some(action) = policy.default() {
                (line(action, &format!("DEFAULT action={action}"), &format!("Everything else is {}.", verb(action)),
                    &covers(dossier, policy, Matched::GlobalDefault, None)))
            }
        }
        h3 { "Where a file lies decides" }
        p { "The same file, asked about in other places:" }
        ul.places {
            @for place in Place::ALL { (place_row(dossier, policy, place)) }
        }
        details {
            summary { "The text that the kernel is given" }
            pre tabindex="0" { code { (dossier.summary.policy) } }
        }
    }
}

fn line(action: Action, text: &str, meaning: &str, covers: &Markup) -> Markup {
    let class = if action == Action::Allow { "allow" } else { "deny" };
    html! {
        li class=(class) {
            p { (decision(action)) (meaning) }
            p.text { code { (text) } }
            p.quiet { (covers) }
        }
    }
}

/// How many files of the root it decides about, where they lie and as copies.
fn covers(dossier: &Dossier, policy: &Policy, by: Matched, op: Option<Op>) -> Markup {
    let told = |place| match dossier.decides(policy, by, op, place) {
        0 => "no file".to_owned(),
        count => words::count(count, "file", "files"),
    };
    html! { "Decides about " (told(Place::Root)) " of the root, and about " (told(Place::Tmpfs)) " when copied elsewhere." }
}

fn place_row(dossier: &Dossier, policy: &Policy, place: Place) -> Markup {
    let facts = dossier.facts(place);
    let allowed = |op: &Op| policy.evaluate(*op, &facts).action == Action::Allow;
    let (yes, no): (Vec<Op>, Vec<Op>) = Op::ALL.into_iter().partition(allowed);
    let chips = |ops: &[Op], action: Action| {
        html! {
            @if ops.len() == Op::ALL.len() { p { (decision(action)) "everything" } }
            @else if !ops.is_empty() { p { (decision(action)) @for op in ops { code.chip { (op) } " " } } }
        }
    };
    html! {
        li {
            b { (place) } p.quiet { (place.meaning()) }
            (chips(&yes, Action::Allow))
            (chips(&no, Action::Deny))
        }
    }
}

/// An action as a sign with a word.
pub(super) fn decision(action: Action) -> Markup {
    let (class, sign, text) = match action {
        Action::Allow => ("ok", "✓", "allowed"),
        Action::Deny => ("no", "⊘", "refused"),
    };
    html! { span class={ "mark " (class) } { span aria-hidden="true" { (sign) } " " (text) } " " }
}

fn verb(action: Action) -> &'static str {
    if action == Action::Allow { "allowed" } else { "refused" }
}

/// What an operation is about.
fn what(op: Op) -> &'static str {
    match op {
        Op::Execute => "programs, libraries and scripts",
        Op::Firmware => "firmware of devices",
        Op::Kmodule => "kernel modules",
        Op::KexecImage => "kernels for kexec",
        Op::KexecInitramfs => "initramfs for kexec",
        Op::Policy => "policies that other parts of the kernel read",
        Op::X509Cert => "certificates that the kernel reads",
    }
}

/// A rule for who does not read policies.
fn in_words(dossier: &Dossier, rule: &Rule) -> String {
    let conditions: Vec<String> =
        rule.properties.iter().map(|property| condition(dossier, property)).collect();
    let whose = if conditions.is_empty() { "wherever they lie".to_owned() } else { conditions.join(" and ") };
    format!("{} {whose}.", capital(what(rule.op)))
}

/// The volume whose root hash a rule names.
fn volume_of<'a>(dossier: &'a Dossier, rule: &Rule) -> Option<&'a VolumeSummary> {
    rule.properties.iter().find_map(|property| named_volume(dossier, property))
}

fn named_volume<'a>(dossier: &'a Dossier, property: &Property) -> Option<&'a VolumeSummary> {
    let Property::DmverityRoothash(digest) = property else { return None };
    let (_, hash) = digest
        .to_string()
        .split_once(':')
        .map(|(algorithm, hash)| (algorithm.to_owned(), hash.to_owned()))?;
    dossier.summary.volumes.iter().find(|volume| volume.root_hash == hash)
}

fn condition(dossier: &Dossier, property: &Property) -> String {
    let not = |value: &bool| if *value { "" } else { "not " };
    match property {
        Property::BootVerified(value) => format!("{}from the initramfs", not(value)),
        Property::DmverityRoothash(_) => match named_volume(dossier, property) {
            Some(volume) => format!("from the volume {}", volume.name),
            None => "from the device that has this root hash".to_owned(),
        },
        Property::DmveritySignature(value) => {
            format!("{}from a device whose root hash is signed", not(value))
        }
        Property::FsverityDigest(_) => "with this fs-verity digest".to_owned(),
        Property::FsveritySignature(value) => {
            format!("{}with a signature of their own (fs-verity)", not(value))
        }
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
