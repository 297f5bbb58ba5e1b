//! What images were made from, by their manifests.

use super::listed::{self, Named};
use super::{Change, Side};
use crate::manifest::Manifest;

/// Facts of a manifest that only the next release has otherwise.
const OF_THE_RELEASE: [&str; 2] = ["source date", "version"];

/// Facts that the image itself does not tell; then those that are another release's.
pub(super) fn changes(old: &Side<'_>, new: &Side<'_>) -> (Vec<Change>, Vec<Change>) {
    let (Some(old), Some(new)) = (old.manifest, new.manifest) else { return (Vec::new(), Vec::new()) };
    let follows = |change: &Change| OF_THE_RELEASE.contains(&change.what.as_str());
    listed::split(listed::named(&facts(old), &facts(new)), follows, str::to_owned)
}

fn facts(manifest: &Manifest) -> Named {
    let mut facts = Named::from(
        [
            ("name", manifest.name.clone()),
            ("version", manifest.version.clone()),
            ("source date", manifest.source_date.to_string()),
            ("target", manifest.target.clone()),
            ("profile", manifest.profile.clone()),
            ("graven", manifest.graven.version.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    for input in &manifest.inputs {
        // `name=version` of a package, a file's name of others.
        let (name, version) = input.name.split_once('=').unwrap_or((&input.name, ""));
        let mut value = version.to_owned();
        if let Some(sum) = &input.sha256 {
            value.push_str(if value.is_empty() { "sha256:" } else { ", sha256:" });
            value.push_str(sum);
        }
        facts.insert(format!("{} {name}", input.kind), value);
    }
    for firmware in &manifest.firmware {
        let text = format!("{} bytes at {}, sha256:{}", firmware.size, firmware.offset, firmware.sha256);
        facts.insert(format!("firmware {}", firmware.name), text);
    }
    if let Some(u_boot) = &manifest.u_boot {
        facts
            .insert("U-Boot".to_owned(), format!("{}, sha256:{}", u_boot.versions.join(", "), u_boot.sha256));
    }
    facts
}
