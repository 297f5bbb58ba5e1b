//! The disk: partitions, firmware, files of the EFI system partition.

use graven_image::fat::EntryKind;
use graven_image::gpt::Partition;
use graven_verity::io::{ReadAt, Window};

use super::listed::{self, Named, one};
use super::{Change, DiffError, Side};
use crate::contents::ContentsError;
use crate::links::shown;
use crate::manifest::{sha256_hex, sha256_of};

/// Most bytes of firmware, or of a partition that is none of an image's own, whose contents are compared.
const MOST_FIRMWARE_BYTES: u64 = 256 << 20;
/// Where the partition table ends.
const FIRST_FREE: u64 = 34 * 512;

/// Partitions by name; then what of them follows: UUIDs from the root hash, sizes from what is in them, places from sizes.
pub(super) fn partitions(old: &Side<'_>, new: &Side<'_>) -> Result<(Vec<Change>, Vec<Change>), DiffError> {
    let (was, is) = (describe("first", old)?, describe("second", new)?);
    let mut tell = listed::named(&was, &is);
    let mut follow = Vec::new();
    follow.extend(one("disk GUID", Some(old.summary.disk_guid.clone()), Some(new.summary.disk_guid.clone())));
    follow.extend(bytes("disk size", old.contents.disk_bytes().ok(), new.contents.disk_bytes().ok()));
    let pairs = table(old).into_iter().filter_map(|(name, partition)| {
        let (_, other) = table(new).into_iter().find(|(other, _)| *other == name)?;
        Some((name, partition, other))
    });
    let mut resized = !tell.is_empty();
    for (name, partition, other) in pairs {
        let fits = fitted(old, partition) && fitted(new, other);
        let uuids = [partition, other].map(|partition| Some(partition.guid.to_string()));
        let [was, is] = uuids;
        follow.extend(one(&format!("PARTUUID of {name}"), was, is));
        let size = bytes(&format!("size of {name}"), Some(partition.len), Some(other.len));
        resized |= size.is_some();
        if fits {
            follow.extend(size);
        } else {
            tell.extend(size);
        }
        let place = bytes(&format!("place of {name}"), Some(partition.start), Some(other.start));
        if resized { follow.extend(place) } else { tell.extend(place) }
    }
    Ok((tell, follow))
}

/// Partitions by their names, which are told apart by a number where they are the same.
fn table<'a>(side: &'a Side<'_>) -> Vec<(String, &'a Partition)> {
    let mut seen = std::collections::BTreeMap::<&str, u32>::new();
    let partitions = side.contents.layout().table.partitions.iter();
    let named = partitions.map(|partition| {
        let count = seen.entry(partition.name.as_str()).or_default();
        *count += 1;
        let name = shown(&partition.name);
        (if *count == 1 { name } else { format!("{name} {count}") }, partition)
    });
    named.collect()
}

/// Whether a partition is just as large as what the image has in it, rather than as somebody said.
fn fitted(side: &Side<'_>, partition: &Partition) -> bool {
    let layout = side.contents.layout();
    let root_fits = layout.root.len == side.summary.root.bytes;
    root_fits
        && (*partition == layout.root || *partition == layout.verity || layout.empty.contains(partition))
}

/// What partitions are, and what firmware there is.
fn describe(which: &'static str, side: &Side<'_>) -> Result<Named, DiffError> {
    let layout = side.contents.layout();
    let state = side.boot.plan.state.as_ref().map(|state| state.partition.0);
    let mut all = Named::new();
    for ((name, partition), summary) in table(side).into_iter().zip(&side.summary.partitions) {
        let mut text =
            format!("{}, type {}, attributes {}", summary.role, summary.type_uuid, summary.attributes);
        // The state is written by the machine; all others have what the release put there.
        if layout.others.contains(partition) && state != Some(*partition.guid.as_bytes()) {
            let sum = digest(which, &side.contents.partition(partition), partition.len)?;
            text.push_str(&format!(", {sum}"));
        }
        all.insert(name, text);
    }
    let first = layout.table.partitions.iter().map(|partition| partition.start).min().unwrap_or_default();
    let before = first.saturating_sub(FIRST_FREE);
    let window = Window::new(side.contents.disk(), FIRST_FREE, before);
    all.insert("before the first partition".to_owned(), digest(which, &window, before)?);
    Ok(all)
}

/// SHA-256 of so many bytes, unless they are too many to be firmware.
fn digest(which: &'static str, from: &impl ReadAt, length: u64) -> Result<String, DiffError> {
    if length > MOST_FIRMWARE_BYTES {
        return Ok(format!("{length} bytes"));
    }
    let sum = sha256_of(&Window::new(from, 0, length)).map_err(|source| DiffError::Disk { which, source })?;
    Ok(format!("sha256:{}", graven_handoff::hex::encode(&sum)))
}

fn bytes(what: &str, old: Option<u64>, new: Option<u64>) -> Option<Change> {
    let text = |number: Option<u64>| number.map(|number| number.to_string());
    one(what, text(old), text(new))
}

/// Files of the EFI system partition but the boot artefact, whose parts are told of.
pub(super) fn esp(old: &Side<'_>, new: &Side<'_>) -> Result<Vec<Change>, DiffError> {
    let files = |which, side: &Side<'_>| -> Result<Named, DiffError> {
        let failed = |source: ContentsError| DiffError::Contents { which, source: source.into() };
        let esp = side.contents.esp().map_err(failed)?;
        let artefact = side.contents.layout().boot_path(side.boot.chain);
        let mut files = Named::new();
        for entry in esp.entries().iter().filter(|entry| entry.kind == EntryKind::File) {
            if entry.path.trim_start_matches('/') != artefact {
                let bytes = esp.read(entry).map_err(ContentsError::from).map_err(failed)?;
                files.insert(shown(&entry.path), format!("sha256:{}", sha256_hex(&bytes)));
            }
        }
        Ok(files)
    };
    Ok(listed::named(&files("first", old)?, &files("second", new)?))
}
