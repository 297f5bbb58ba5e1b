//! The U-Boot that starts a FIT: what it requires and what else it starts, as far as its bytes tell.

use graven_boot::u_boot::{self, Inspection};
use graven_boot::x509::Certificate;
use graven_targets::BootChain;
use graven_verity::io::ReadAt;

use super::shown;
use crate::artefact::Artefact;
use crate::manifest::{Manifest, UBoot};
use crate::prove::Disk;
use crate::report::Report;

/// Most bytes of firmware that are looked through.
const MOST_BYTES: u64 = 64 << 20;

/// The U-Boot on the disk requires the key that signed the FIT and starts nothing else. One that is not on the disk, or
/// that the recipe accepted with what speaks against it, is never better than unproved.
pub(crate) fn u_boot(
    disk: &Disk,
    manifest: Option<&Manifest>,
    boot: Option<&Artefact<'_>>,
    signer: Option<&Certificate>,
    report: &mut Report,
) {
    const LINK: &str = "u-boot";
    if boot.is_none_or(|boot| boot.chain != BootChain::Fit) {
        return;
    }
    let seen = manifest.and_then(|manifest| manifest.u_boot.as_ref());
    if seen.is_some_and(|seen| !seen.on_disk) || manifest.is_none_or(|manifest| manifest.firmware.is_empty())
    {
        report.unproved(LINK, not_here(seen, manifest));
        return;
    }
    let Some(manifest) = manifest else { return };
    let firmware = match read(disk, manifest) {
        Ok(firmware) => firmware,
        Err(problem) => {
            report.bad(LINK, problem);
            return;
        }
    };
    let Inspection { versions, refusals, open } = u_boot::inspect(&firmware, signer);
    let (mut problems, mut accepted) = (Vec::new(), Vec::new());
    for refusal in refusals {
        match manifest.accepted.get(&format!("firmware.{}", refusal.name)) {
            Some(reason) => accepted.push(format!("ACCEPTED {} ({})", refusal.name, shown(reason))),
            None => problems.push(refusal.to_string()),
        }
    }
    let version = shown(&versions.join(", "));
    if !problems.is_empty() {
        report.bad(LINK, problems.join("; "));
    } else if accepted.is_empty() && open.is_empty() && signer.is_some() {
        report.ok(
            LINK,
            format!("U-Boot {version} requires the key that signed the FIT, and starts nothing else"),
        );
    } else {
        let mut details = accepted;
        if signer.is_none() {
            details.push("no trusted signer of the FIT to hold its key against".to_owned());
        }
        if !open.is_empty() {
            let names: Vec<&str> = open.iter().map(|open| open.name).collect();
            details.push(format!("its bytes do not tell: {}", names.join(", ")));
        }
        report.unproved(LINK, format!("U-Boot {version}: {}", details.join("; ")));
    }
}

/// In words: which U-Boot starts this FIT cannot be seen from here.
fn not_here(seen: Option<&UBoot>, manifest: Option<&Manifest>) -> String {
    let Some(seen) = seen else {
        return "whether the U-Boot that starts this FIT requires its signature, and takes the command line from nowhere else, \
                is not known: it is not on the disk, and was not given to the builder"
            .to_owned();
    };
    let names = manifest.into_iter().flat_map(|manifest| manifest.accepted.keys());
    let accepted: Vec<String> = names.filter_map(|name| name.strip_prefix("firmware.")).map(shown).collect();
    let open: Vec<String> = seen.open.iter().map(|name| shown(name)).collect();
    let mut text = format!(
        "not on the disk; the builder was shown U-Boot {} (SHA-256 {})",
        shown(&seen.versions.join(", ")),
        shown(&seen.sha256)
    );
    for (what, names) in [("ACCEPTED", accepted), ("its bytes do not tell", open)] {
        if !names.is_empty() {
            text.push_str(&format!("; {what}: {}", names.join(", ")));
        }
    }
    text
}

/// All firmware of the disk, in the order of its offsets.
fn read(disk: &Disk, manifest: &Manifest) -> Result<Vec<u8>, String> {
    let mut pieces: Vec<_> = manifest.firmware.iter().collect();
    pieces.sort_by_key(|piece| piece.offset);
    let total = pieces.iter().fold(0u64, |total, piece| total.saturating_add(piece.size));
    if total > MOST_BYTES {
        return Err(format!("the manifest lists {total} bytes of firmware, expected at most {MOST_BYTES}"));
    }
    let mut all = Vec::new();
    for piece in pieces {
        let mut bytes = vec![0; usize::try_from(piece.size).unwrap_or_default()];
        let failed = |error| format!("{} at byte {}: {error}", shown(&piece.name), piece.offset);
        disk.read_exact_at(&mut bytes, piece.offset).map_err(failed)?;
        all.append(&mut bytes);
    }
    Ok(all)
}
