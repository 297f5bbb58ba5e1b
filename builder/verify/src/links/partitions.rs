//! The partition table, what it must say of the root hash, and the room between.

use std::iter;

use graven_handoff::{MountSource, Plan, Volume};
use graven_image::gpt::{HEAD_BYTES, Partition, TAIL_BYTES, Table, attributes};
use graven_verity::dm::Params;
use graven_verity::io::ReadAt;
use uuid::Uuid;

use super::command_line::Line;
use super::explain;
use super::verity::HashArea;
use crate::device::{self, Device};
use crate::layout::Layout;
use crate::manifest::{Firmware, Manifest};
use crate::prove::Disk;
use crate::report::Report;

/// Both tables, alike; one slot of the architecture's types, read-only.
pub(crate) fn partition_table(
    disk: &Disk,
    manifest: Option<&Manifest>,
    report: &mut Report,
) -> Option<Layout> {
    const LINK: &str = "partition-table";
    let from_manifest = || manifest.and_then(Layout::from_manifest);
    let table = match Table::read(disk) {
        Ok(table) => table,
        Err(error) => {
            report.bad(LINK, explain(&error));
            return from_manifest();
        }
    };
    let layout = match Layout::of(&table) {
        Ok(layout) => layout,
        Err(error) => {
            report.bad(LINK, error.to_string());
            return from_manifest();
        }
    };
    let mut problems = Vec::new();
    for (what, partition) in
        [("root", &layout.root), ("root-verity", &layout.verity), ("root-verity-sig", &layout.signature)]
    {
        if partition.attributes & attributes::READ_ONLY == 0 {
            problems.push(format!("the {what} partition is not marked read-only (attribute bit 60)"));
        }
    }
    for partition in &layout.empty {
        if partition.attributes & attributes::NO_AUTO == 0 {
            let start = partition.start;
            problems.push(format!(
                "the empty partition at byte {start} is not marked no-auto (attribute bit 63)"
            ));
        }
    }
    let slots = if layout.empty.is_empty() { "one slot" } else { "one slot filled, one empty" };
    let arch = layout.arch;
    let count = table.partitions.len();
    report.judge(LINK, &problems, format!("both GPTs agree; {count} partitions for {arch}, {slots}"));
    Some(layout)
}

/// Root and tree are named by the root hash, the signature by the plan; every other partition is explained.
pub(crate) fn partition_uuids(
    layout: &Layout,
    line: &Line,
    plan: Option<&Plan>,
    manifest: Option<&Manifest>,
    report: &mut Report,
) -> Option<()> {
    const LINK: &str = "partition-uuids";
    let hash = &line.binding.root_hash;
    let mut expected = vec![
        ("root", &layout.root, hash.data_partition().0, "the first half of the root hash"),
        ("root-verity", &layout.verity, hash.hash_partition().0, "the last half of the root hash"),
    ];
    if let Some(plan) = plan {
        let uuid = plan.root.signature_partition.0;
        expected.push(("root-verity-sig", &layout.signature, uuid, "stage0's plan"));
    }
    let mut problems: Vec<String> = expected
        .into_iter()
        .filter(|(_, partition, uuid, _)| partition.guid.as_bytes() != uuid)
        .map(|(what, partition, uuid, by)| {
            let (expected, found) = (Uuid::from_bytes(uuid), partition.guid);
            format!("{what}: expected PARTUUID {expected} by {by}, found {found}")
        })
        .collect();
    let mut state = None;
    for other in &layout.others {
        if plan
            .and_then(|plan| plan.state.as_ref())
            .is_some_and(|state| state.partition.0 == *other.guid.as_bytes())
        {
            state = Some(other);
            continue;
        }
        let mounted = plan.is_some_and(|plan| {
            let of = |source: MountSource| match source {
                MountSource::Partition(uuid) => uuid.0 == *other.guid.as_bytes(),
                MountSource::None => false,
            };
            plan.mounts.iter().any(|mount| of(mount.source))
                || iter::once(&plan.root)
                    .chain(plan.volumes.iter().map(|volume| &volume.image))
                    .filter_map(|image| image.verity.fec.as_ref()?.partition)
                    .any(|uuid| uuid.0 == *other.guid.as_bytes())
        });
        let of_volume = plan.is_some_and(|plan| {
            let uuids = plan.volumes.iter().flat_map(device::partitions);
            uuids.into_iter().any(|(_, uuid)| uuid.0 == *other.guid.as_bytes())
        });
        let is_firmware = firmware(manifest).any(|piece| piece.offset == other.start);
        if !mounted && !of_volume && !is_firmware {
            problems.push(format!(
                "partition {} (type {}, at byte {}): neither chain nor stage0's plan nor the manifest's firmware explains it",
                other.guid, other.type_guid, other.start
            ));
        }
    }
    for volume in plan.iter().flat_map(|plan| &plan.volumes) {
        problems.extend(volume_problems(layout, volume));
    }
    if let Some(state) = state {
        let end = |partition: &Partition| partition.start.saturating_add(partition.len);
        if layout.table.partitions.iter().any(|other| end(other) > end(state)) {
            problems.push("the state's partition is not the last one on the disk".to_owned());
        }
        if state.attributes & attributes::NO_AUTO == 0 {
            problems.push("the state's partition is not marked no-auto (attribute bit 63)".to_owned());
        }
    } else if plan.is_some_and(|plan| plan.state.is_some()) {
        problems.push("stage0's plan has a state, and the disk no partition for it".to_owned());
    }
    let mut detail = "root and tree are named by the root hash, the signature by the plan".to_owned();
    match plan.map_or(0, |plan| plan.volumes.len()) {
        0 => {}
        1 => detail.push_str("; likewise one volume's"),
        count => detail.push_str(&format!("; likewise those of {count} volumes")),
    }
    if let Some(state) = state {
        detail.push_str(&format!(
            "; the state ({} bytes) is authenticated by nothing, and its contents are not judged",
            state.len
        ));
    }
    report.judge(LINK, &problems, detail);
    Some(())
}

/// A volume's partitions: there, each once, and mounted by nothing but stage0.
fn volume_problems(layout: &Layout, volume: &Volume) -> Vec<String> {
    let mut problems = Vec::new();
    for (what, uuid) in device::partitions(volume) {
        let named = layout.table.partitions.iter().filter(|partition| *partition.guid.as_bytes() == uuid.0);
        let named: Vec<&Partition> = named.collect();
        let [partition] = named.as_slice() else {
            let (name, count) = (&volume.name, named.len());
            problems.push(format!("{name}: expected one partition {uuid} for the {what}, found {count}"));
            continue;
        };
        for (bit, word, number) in
            [(attributes::READ_ONLY, "read-only", 60), (attributes::NO_AUTO, "no-auto", 63)]
        {
            if partition.attributes & bit == 0 {
                problems.push(format!(
                    "{}: the {what} is not marked {word} (attribute bit {number})",
                    volume.name
                ));
            }
        }
    }
    problems
}

/// Nothing hides where nothing is proved: every byte outside the table, the file systems and the hash area is zero.
pub(crate) fn unused_space(
    disk: &Disk,
    layout: &Layout,
    devices: &[(Device<'_>, Option<Params>)],
    manifest: Option<&Manifest>,
    report: &mut Report,
) -> Option<()> {
    const LINK: &str = "unused-space";
    let mut ranges = around(between(layout), manifest);
    for partition in &layout.empty {
        ranges.push((format!("the empty partition {}", partition.guid), partition.start, partition.len));
    }
    for partition in &layout.others {
        if let Some(piece) = firmware(manifest).find(|piece| piece.offset == partition.start) {
            ranges.extend(behind(&format!("firmware in {}", partition.guid), partition, piece.size));
        }
    }
    for (device, params) in devices {
        let Some(params) = params else { continue };
        let (data, area) = match device.volume {
            None => ("root file system".to_owned(), "hash area".to_owned()),
            Some(Volume { name, .. }) => {
                (format!("volume {name}"), format!("hash area of the volume {name}"))
            }
        };
        ranges.extend(behind(&data, device.data, params.data_bytes()));
        if let Some(end) = HashArea::of(params, device).map(|area| area.end()) {
            ranges.extend(behind(&area, device.verity, end));
        }
    }
    let mut problems = Vec::new();
    let mut total = 0u64;
    for (what, start, len) in ranges {
        total = total.saturating_add(len);
        match first_non_zero(disk, start, len) {
            Ok(None) => {}
            Ok(Some(offset)) => {
                problems.push(format!(
                    "{what}: expected zeros, found something else at byte {offset} of the disk"
                ));
            }
            Err(error) => problems.push(format!("{what}: cannot be read: {error}")),
        }
    }
    report.judge(LINK, &problems, format!("{total} bytes outside of all that is proved are zero"));
    Some(())
}

/// What lies before, between and behind the partitions.
fn between(layout: &Layout) -> Vec<(String, u64, u64)> {
    let mut partitions: Vec<&Partition> = layout.table.partitions.iter().collect();
    partitions.sort_by_key(|partition| partition.start);
    let mut ranges = Vec::new();
    let mut free = HEAD_BYTES;
    let end = layout.table.disk_bytes.saturating_sub(TAIL_BYTES);
    let places = partitions.iter().map(|p| (p.start, p.start.saturating_add(p.len)));
    for (start, next) in places.chain([(end, end)]) {
        if start > free {
            ranges.push((
                format!("between partitions, bytes {free} to {start}"),
                free,
                start.saturating_sub(free),
            ));
        }
        free = free.max(next);
    }
    ranges
}

/// The firmware that the manifest lists: links::firmware holds it against its digests.
fn firmware(manifest: Option<&Manifest>) -> impl Iterator<Item = &Firmware> {
    manifest.into_iter().flat_map(|manifest| &manifest.firmware)
}

/// The ranges without the firmware that lies in them.
fn around(ranges: Vec<(String, u64, u64)>, manifest: Option<&Manifest>) -> Vec<(String, u64, u64)> {
    firmware(manifest).fold(ranges, |ranges, piece| {
        let piece_end = piece.offset.saturating_add(piece.size);
        let mut left = Vec::new();
        for (what, start, len) in ranges {
            let end = start.saturating_add(len);
            if piece_end <= start || end <= piece.offset {
                left.push((what, start, len));
                continue;
            }
            for (from, to) in [(start, piece.offset), (piece_end, end)] {
                if from < to {
                    left.push((what.clone(), from, to.saturating_sub(from)));
                }
            }
        }
        left
    })
}

fn behind(what: &str, partition: &Partition, used: u64) -> Option<(String, u64, u64)> {
    let len = partition.len.checked_sub(used).filter(|len| *len > 0)?;
    Some((format!("behind the {what}"), partition.start.checked_add(used)?, len))
}

fn first_non_zero(disk: &Disk, start: u64, len: u64) -> std::io::Result<Option<u64>> {
    const STEP: usize = 1 << 20;
    let mut buffer = vec![0; STEP];
    let mut done = 0u64;
    while done < len {
        let step = usize::try_from(len.saturating_sub(done)).unwrap_or(STEP).min(STEP);
        let (now, _) = buffer.split_at_mut(step);
        let offset = start.saturating_add(done);
        disk.read_exact_at(now, offset)?;
        if let Some(place) = now.iter().position(|byte| *byte != 0) {
            return Ok(Some(offset.saturating_add(place as u64)));
        }
        done = done.saturating_add(step as u64);
    }
    Ok(None)
}
