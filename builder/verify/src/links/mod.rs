//! One function a link: it judges, reports, and hands on what it read even where it is bad.

pub(crate) mod boot;
pub(crate) mod command_line;
pub(crate) mod esp;
pub(crate) mod file_system;
pub(crate) mod firmware;
pub(crate) mod initramfs;
pub(crate) mod kernel;
pub(crate) mod manifest;
pub(crate) mod partitions;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod profile;
pub(crate) mod root_hash;
pub(crate) mod u_boot;
pub(crate) mod verity;

use std::error::Error;

use graven_boot::x509::Certificate;

/// An error with all that stands behind it, in one line.
pub(crate) fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let reason = error.to_string();
        // Some errors show their source themselves.
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        source = error.source();
    }
    text
}

/// A certificate for a line of the report.
pub(crate) fn named(certificate: &Certificate) -> String {
    format!("«{}» (sha256:{})", certificate.subject(), certificate.fingerprint())
}

/// Text of the image for a line of the report: no control characters, not too long.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 120;
    let clean: String = text
        .chars()
        .take(MOST)
        .flat_map(|c| match c.is_control() {
            true => c.escape_default().collect::<Vec<_>>(),
            false => vec![c],
        })
        .collect();
    if text.chars().count() > MOST { format!("{clean}…") } else { clean }
}
