//! The disk, drawn.

use maud::{Markup, html};

use super::dossier::Dossier;
use super::words;
use crate::inspect::PartitionSummary;

const WIDTH: i32 = 360;
const BAR: i32 = 56;
/// Height of the smallest stretch, so that its words fit.
const LEAST: i32 = 40;
const GAP: i32 = 14;

/// A stretch of the disk.
enum Stretch<'a> {
    Partition(&'a PartitionSummary),
    /// What no partition has, in bytes.
    Free(u64),
}

pub(super) fn section(dossier: &Dossier) -> Markup {
    let summary = &dossier.summary;
    html! {
        div.side-by-side {
            figure { (picture(dossier)) figcaption { "From the first byte to the last. Heights grow with the logarithm of the size." } }
            div {
                p { "GPT disk " code { (summary.disk_guid) } ", " (words::bytes(dossier.disk_bytes)) "." }
                ul.cards {
                    @for part in &summary.partitions {
                        li {
                            b { (part.name) } " " span.quiet { (part.role) }
                            dl {
                                dt { "Size" } dd { (words::bytes(part.size)) ", from byte " (part.offset) }
                                dt { "PARTUUID" } dd { code { (part.uuid) } }
                                dt { "Vouched for by" } dd { (vouched(part.role)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What stands behind the bytes of a partition.
fn vouched(role: &str) -> &'static str {
    match role {
        "EFI system partition" => "the boot artefact's signature; nothing else may lie there",
        "root file system" | "volume" => "the hash tree, block by block, whenever one is read",
        "hash tree" => "the root hash on the signed command line",
        "hash tree of a volume" => {
            "its root hash in stage0's plan, which the boot artefact's signature covers"
        }
        "root hash signature" | "root hash signature of a volume" => {
            "the kernel, which checks it against its keyrings"
        }
        "empty slot" => "nothing: it is empty",
        role if role.starts_with("state") => {
            "nothing: it is written while the machine runs, and nothing runs from it"
        }
        _ => "nothing that this report knows of",
    }
}

fn stretches(dossier: &Dossier) -> Vec<Stretch<'_>> {
    let mut partitions: Vec<&PartitionSummary> = dossier.summary.partitions.iter().collect();
    partitions.sort_by_key(|part| part.offset);
    let mut all = Vec::new();
    let mut end = 0u64;
    for part in partitions {
        match part.offset.saturating_sub(end) {
            0 => {}
            free => all.push(Stretch::Free(free)),
        }
        end = end.max(part.offset.saturating_add(part.size));
        all.push(Stretch::Partition(part));
    }
    match dossier.disk_bytes.saturating_sub(end) {
        0 => {}
        free => all.push(Stretch::Free(free)),
    }
    all
}

fn picture(dossier: &Dossier) -> Markup {
    let mut top = 0;
    let mut drawn = Vec::new();
    for stretch in stretches(dossier) {
        let height = match stretch {
            Stretch::Partition(part) => {
                // 8 units for each doubling above a MiB.
                let doublings = i32::try_from((part.size >> 20).max(1).ilog2()).unwrap_or_default();
                LEAST + 8 * doublings
            }
            Stretch::Free(_) => GAP,
        };
        drawn.push((top, height, stretch));
        top += height + 3;
    }
    html! {
        svg.disk viewBox={ "-1 -1 " (WIDTH + 2) " " (top) } role="img" aria-labelledby="disk-picture disk-told" {
            title id="disk-picture" { "Map of the disk" }
            desc id="disk-told" { "The same partitions as in the list, in their order on the disk." }
            @for (top, height, stretch) in drawn {
                @match stretch {
                    Stretch::Partition(part) => {
                        rect x="0" y=(top) width=(BAR) height=(height) rx="4" class={ "part " (class(part.role)) } {}
                        text x=(BAR + 14) y=(top + height / 2 - 3) class="title" { (words::cut(&part.name, 36)) }
                        text x=(BAR + 14) y=(top + height / 2 + 13) class="small" {
                            (words::bytes(part.size)) ", " (words::cut(part.role, 34))
                        }
                    }
                    Stretch::Free(bytes) => {
                        rect x="0" y=(top) width=(BAR) height=(height) rx="3" class="part free" {}
                        text x=(BAR + 14) y=(top + 11) class="small" { (words::bytes(bytes)) ", tables and free space" }
                    }
                }
            }
        }
    }
}

/// By who vouches for it.
fn class(role: &str) -> &'static str {
    match role {
        "EFI system partition" => "boot",
        "root file system" | "volume" => "root",
        "hash tree" | "root hash signature" | "hash tree of a volume" | "root hash signature of a volume" => {
            "proof"
        }
        "empty slot" => "empty",
        _ => "open",
    }
}
