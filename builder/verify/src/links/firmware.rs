//! Firmware that lies on the disk: what starts before anything that is signed for this image.

use std::io;

use graven_handoff::hex;
use graven_verity::io::Window;

use super::shown;
use crate::manifest::{Firmware, Manifest, sha256_of};
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

fn sha256(disk: &Disk, piece: &Firmware) -> io::Result<String> {
    Ok(hex::encode(&sha256_of(&Window::new(disk, piece.offset, piece.size))?))
}
