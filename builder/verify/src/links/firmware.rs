//! Firmware that lies on the disk: what starts before anything that is signed for this image.

use graven_verity::io::ReadAt;
use sha2::{Digest, Sha256};

use super::shown;
use crate::manifest::{Firmware, Manifest};
use crate::prove::Disk;
use crate::report::Report;

/// Each piece is what the manifest lists. Whether the boot ROM checks it, and whether it checks the boot artefact, no
/// image can tell: that link is never better than unproved. A UEFI proves it to stage0, which demands Secure Boot.
pub(crate) fn firmware(disk: &Disk, manifest: Option<&Manifest>, report: &mut Report) {
    const LINK: &str = "firmware";
    let listed = manifest.map(|manifest| manifest.firmware.as_slice()).unwrap_or_default();
    if listed.is_empty() {
        return;
    }
    let (mut problems, mut found) = (Vec::new(), Vec::new());
    for piece in listed {
        let name = shown(&piece.name);
        match sha256(disk, piece) {
            Ok(digest) if digest == piece.sha256 => {
                found
                    .push(format!("{name}, {} bytes at byte {}, SHA-256 {digest}", piece.size, piece.offset));
            }
            Ok(digest) => problems.push(format!(
                "{name} at byte {}: expected SHA-256 {}, found {digest}",
                piece.offset,
                shown(&piece.sha256)
            )),
            Err(error) => problems.push(format!("{name} at byte {}: {error}", piece.offset)),
        }
    }
    match problems.is_empty() {
        true => report.unproved(
            LINK,
            format!(
                "{}: whether the boot ROM checks it, and it the boot artefact, an image does not tell",
                found.join("; ")
            ),
        ),
        false => report.bad(LINK, problems.join("; ")),
    }
}

fn sha256(disk: &Disk, piece: &Firmware) -> std::io::Result<String> {
    const STEP: u64 = 1 << 20;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; STEP as usize];
    let mut done = 0u64;
    while done < piece.size {
        let step = usize::try_from(piece.size.saturating_sub(done).min(STEP)).unwrap_or_default();
        let (now, _) = buffer.split_at_mut(step);
        disk.read_exact_at(now, piece.offset.saturating_add(done))?;
        hash.update(&*now);
        done = done.saturating_add(step as u64);
    }
    Ok(graven_handoff::hex::encode(&hash.finalize()))
}
