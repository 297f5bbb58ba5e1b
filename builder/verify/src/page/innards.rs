//! Digests and texts, for who mends.

use maud::{Markup, html};

use super::dossier::Dossier;
use super::words;

pub(super) fn section(dossier: &Dossier) -> Markup {
    let summary = &dossier.summary;
    let (boot, root) = (&summary.boot, &summary.root);
    html! {
        h3 { "Boot artefact" }
        dl.facts {
            dt { "File" } dd { code { (boot.path) } ", " (words::bytes(boot.size as u64)) }
            dt { "SHA-256" } dd { code { (boot.sha256) } }
            @if let Some(digest) = &boot.authenticode { dt { "Authenticode" } dd { code { (digest) } } }
            dt { "Kernel" } dd { (boot.kernel_release) " " code { (boot.kernel_sha256) } }
            dt { "stage0" } dd { code { (boot.stage0_sha256) } }
            dt { "Made of" }
            dd { @for (at, (name, size)) in boot.sections.iter().enumerate() {
                @if at > 0 { ", " }
                code { (name) } " " (words::bytes(*size as u64))
            } }
        }
        h3 { "Root file system" }
        dl.facts {
            dt { (root.file_system) } dd { code { (root.uuid.as_deref().unwrap_or_default()) } " " (words::bytes(root.bytes)) }
            dt { "Inodes" }
            dd { @for (at, (kind, count)) in root.files.iter().enumerate() { @if at > 0 { ", " } (kind) " " (count) } }
            dt { "Contents" } dd { (words::bytes(root.content_bytes)) }
            dt { "Root hash" } dd { code { (summary.root_hash) } }
            dt { "Tree" } dd { (root.algorithm) ", " (root.data_blocks) " blocks of " (root.data_block_size) " bytes, salt " code { (root.salt) } }
        }
        h3 { "Kernel command line" }
        p.quiet { (words::count(summary.command_line_bytes, "byte", "bytes")) }
        ul.paths { @for word in &summary.command_line { li { code { (word) } } } }
        details {
            summary { "Plan of stage0" }
            pre tabindex="0" { code { (summary.plan) } }
        }
        details {
            summary { "Initramfs: " (words::count(summary.initramfs.len(), "entry", "entries")) }
            dl.folders {
                @for entry in &summary.initramfs {
                    dt { code { "/" (entry.path) } }
                    dd {
                        (entry.kind) " " (entry.mode)
                        @if let Some(size) = entry.size { ", " (words::bytes(size)) }
                    }
                }
            }
        }
    }
}
