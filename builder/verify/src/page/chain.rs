//! The chain as a picture, then link by link.

use maud::{Markup, html};

use super::dossier::Dossier;
use super::{mark, sign, word, words};
use crate::report::{Link, State};
use crate::trust::Role;

/// One box of the picture: where it stands, what it is, and the links that tell how it stands.
struct Station {
    title: &'static str,
    /// Left and upper edge.
    at: (i32, i32),
    /// A box of half the width.
    half: bool,
    /// None: all of them.
    links: &'static [&'static str],
}

const WIDTH: i32 = 360;
const HALF: i32 = 172;
const HEIGHT: i32 = 52;
const STEP: i32 = 84;
const RIGHT: i32 = WIDTH - HALF;

/// From the key down to what runs.
const STATIONS: [Station; 8] = [
    Station { title: "Platform key", at: (0, 0), half: false, links: &["boot-signature"] },
    Station {
        title: "Boot artefact",
        at: (0, STEP),
        half: false,
        links: &["boot-signature", "boot-artefact", "esp", "kernel", "firmware", "u-boot"],
    },
    Station { title: "Command line", at: (0, 2 * STEP), half: true, links: &["command-line"] },
    Station { title: "stage0", at: (RIGHT, 2 * STEP), half: true, links: &["initramfs", "stage0", "plan"] },
    Station {
        title: "Root hashes",
        at: (0, 3 * STEP),
        half: true,
        links: &["root-signature", "partition-uuids", "superblock"],
    },
    Station {
        title: "IPE policy",
        at: (RIGHT, 3 * STEP),
        half: true,
        links: &["policy-signature", "policy"],
    },
    Station {
        title: "File systems",
        at: (0, 4 * STEP),
        half: true,
        links: &["tree", "data", "error-correction", "file-system"],
    },
    Station { title: "What may run", at: (RIGHT, 4 * STEP), half: true, links: &[] },
];
/// Which station vouches for which.
const ARROWS: [(usize, usize); 9] = [(0, 1), (1, 2), (1, 3), (2, 4), (2, 5), (3, 5), (4, 6), (5, 7), (6, 7)];

pub(super) fn section(dossier: &Dossier) -> Markup {
    html! {
        p { "Each part vouches for the next one. A machine follows the chain from the top when it starts; so did this report, "
            "from the bytes of the image alone." }
        div.side-by-side {
            figure { (picture(dossier)) figcaption { "What vouches for what, and how each part stands." } }
            ol.links {
                @for link in &dossier.proof.links {
                    li class=(word(link.state)) { (mark(link.state)) b { (link.name) } p { (link.detail) } }
                }
            }
        }
    }
}

/// The worst of what is known of a station; what runs in the end hangs on all of them.
fn state(dossier: &Dossier, station: &Station) -> State {
    if station.links.is_empty() {
        return dossier.proof.verdict();
    }
    let links = dossier.proof.links.iter().filter(|link| station.links.contains(&link.kind()));
    links.map(|link: &Link| link.state).max().unwrap_or(State::Unproved)
}

fn picture(dossier: &Dossier) -> Markup {
    let height = 4 * STEP + HEIGHT;
    let told: Vec<String> = STATIONS
        .iter()
        .map(|station| format!("{} {}", station.title, text_of(state(dossier, station))))
        .collect();
    html! {
        svg.chain viewBox={ "-2 -2 " (WIDTH + 4) " " (height + 4) } role="img" aria-labelledby="chain-picture chain-told" {
            title id="chain-picture" { "The chain of trust" }
            desc id="chain-told" { (told.join("; ")) }
            defs {
                marker #arrow viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto" {
                    path d="M0 0 8 4 0 8z" class="head" {}
                }
            }
            @for (from, to) in ARROWS { (arrow(&STATIONS[from], &STATIONS[to])) }
            @for station in &STATIONS { (station_box(dossier, station)) }
        }
    }
}

fn text_of(state: State) -> &'static str {
    match state {
        State::Ok => "holds",
        State::Unproved => "is open",
        State::Bad => "is broken",
    }
}

fn width(station: &Station) -> i32 {
    if station.half { HALF } else { WIDTH }
}

fn arrow(from: &Station, to: &Station) -> Markup {
    let middle = |station: &Station| station.at.0 + width(station) / 2;
    // Side by side, or from above.
    let (start, end) = match from.at.1 == to.at.1 {
        true => ((from.at.0 + width(from), from.at.1 + HEIGHT / 2), (to.at.0, to.at.1 + HEIGHT / 2)),
        false => {
            let x = if from.half { middle(from) } else { middle(to) };
            let aside = if from.at.0 == to.at.0 || !from.half { 0 } else { -40 };
            ((x, from.at.1 + HEIGHT), (middle(to) + aside, to.at.1))
        }
    };
    html! { line x1=(start.0) y1=(start.1) x2=(end.0) y2=(end.1) class="arrow" marker-end="url(#arrow)" {} }
}

fn station_box(dossier: &Dossier, station: &Station) -> Markup {
    let state = state(dossier, station);
    let (x, y) = station.at;
    let letters = if station.half { 25 } else { 54 };
    html! {
        g class={ "station " (word(state)) } {
            rect x=(x) y=(y) width=(width(station)) height=(HEIGHT) rx="8" {}
            text x=(x + 12) y=(y + 22) class="title" { (station.title) }
            text x=(x + 12) y=(y + 40) class="small" { (words::cut(&about(dossier, station), letters)) }
            text x=(x + width(station) - 12) y=(y + 24) class="sign" text-anchor="end" { (sign(state)) }
        }
    }
}

/// Who vouches for the boot artefact; where nobody does, who signed it.
fn platform_key(dossier: &Dossier) -> String {
    let vouchers =
        dossier.proof.vouchers.iter().filter(|one| one.links.iter().any(|link| link == "boot-signature"));
    let mut subjects: Vec<String> = vouchers.map(|one| one.certificate.subject()).collect();
    if subjects.is_empty() {
        let signers = dossier.certificates.iter().filter(|known| known.signs.contains(&Role::Boot));
        subjects.extend(signers.map(|known| known.certificate.subject()));
    }
    if subjects.is_empty() { "nobody known here".to_owned() } else { subjects.join(", ") }
}

/// The second line of a box.
fn about(dossier: &Dossier, station: &Station) -> String {
    let summary = &dossier.summary;
    match station.title {
        "Platform key" => platform_key(dossier),
        "Boot artefact" => {
            format!("kernel {}, {}", summary.boot.kernel_release, words::bytes(summary.boot.size as u64))
        }
        "Command line" => words::count(summary.command_line_bytes, "byte", "bytes"),
        "stage0" => words::cut(&summary.boot.stage0_sha256, 18),
        "Root hashes" => words::cut(&summary.root_hash, 18),
        "IPE policy" => match &dossier.policy {
            Ok(policy) => format!("{} {}", policy.name(), policy.version()),
            Err(_) => "refused by the kernel".to_owned(),
        },
        "File systems" => match summary.volumes.len() {
            0 => format!("EROFS, {}", words::bytes(summary.root.bytes)),
            count => format!("root, {}", words::count(count, "volume", "volumes")),
        },
        _ => words::count(super::files::counts(dossier).allowed, "file", "files"),
    }
}
