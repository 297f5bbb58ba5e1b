//! Every block of tree and data against the root hash; the parity against both.

use std::io;
use std::sync::Mutex;

use graven_handoff::{RootHash, Verified};
use graven_verity::dm::{self, Finding, Params, VerifyError};
use graven_verity::fec::{self, Roots};
use graven_verity::io::{Concat, ReadAt, Window, WriteAt};
use graven_verity::progress::Silent;

use super::explain;
use crate::device::Device;
use crate::layout::{Layout, window};
use crate::prove::{Disk, Options};
use crate::report::Report;
use crate::root_map::RootMap;

/// Bad blocks that a report names.
const NAMED: usize = 5;

/// What lies where in a verity partition, in bytes.
pub(crate) struct HashArea {
    pub(crate) tree_start: u64,
    pub(crate) tree_bytes: u64,
    /// Start and length, where parity lies in this partition.
    pub(crate) parity: Option<(u64, u64)>,
}

impl HashArea {
    /// `None` for numbers that no partition can have.
    pub(crate) fn of(params: &Params, device: &Device<'_>) -> Option<Self> {
        let planned = device.planned.map(|planned| &planned.verity);
        let block = u64::from(params.hash_block_size());
        let tree_start = planned.map_or(1, |planned| planned.hash_start).checked_mul(block)?;
        let tree_bytes = params.tree_bytes();
        tree_start.checked_add(tree_bytes)?;
        let parity = match planned.and_then(|planned| planned.fec.as_ref()) {
            Some(fec) if fec.partition.is_none() => {
                let start = fec.start.checked_mul(u64::from(params.data_block_size()))?;
                let roots = Roots::new(u32::from(fec.roots)).ok()?;
                let bytes = fec::parity_bytes(fec.blocks, params.data_block_size(), roots)?;
                start.checked_add(bytes)?;
                Some((start, bytes))
            }
            _ => None,
        };
        Some(Self { tree_start, tree_bytes, parity })
    }

    /// Where the area ends.
    pub(crate) fn end(&self) -> u64 {
        let tree = self.tree_start.saturating_add(self.tree_bytes);
        self.parity.map_or(tree, |(start, bytes)| tree.max(start.saturating_add(bytes)))
    }
}

/// The top of the tree has the root hash, every hash block its parent's digest, every data block its leaf's.
/// Two links, since what they say of the image is not the same.
pub(crate) fn tree_and_data(
    disk: &Disk,
    device: &Device<'_>,
    root_hash: &RootHash,
    params: &Params,
    options: &Options<'_>,
    report: &mut Report,
) -> Option<()> {
    let (tree_link, data_link) = (device.link("tree"), device.link("data"));
    let unreadable = |report: &mut Report, problem: String| {
        report.bad(tree_link.clone(), problem);
        report.unproved(data_link.clone(), "not looked at: without its tree no block can be judged");
        None
    };
    let root_hash: dm::RootHash = match root_hash.to_string().parse() {
        Ok(root_hash) => root_hash,
        Err(error) => return unreadable(report, explain(&error)),
    };
    let Some(area) = HashArea::of(params, device) else {
        return unreadable(report, "the tree lies beyond the end of any partition".to_owned());
    };
    let data = window(disk, device.data);
    let tree_len = device.verity.len.saturating_sub(area.tree_start);
    let tree = Window::new(window(disk, device.verity), area.tree_start, tree_len);
    let mut found = dm::Report::new(NAMED);
    match dm::verify(&data, &tree, params, &root_hash, &mut found, options.progress) {
        Ok(()) | Err(VerifyError::Corrupted { .. }) => {}
        Err(error) => return unreadable(report, explain(&error)),
    }
    let hash_blocks = found.findings().iter().filter(|one| matches!(one, Finding::HashBlock { .. }));
    let hash_blocks: Vec<String> = hash_blocks.map(ToString::to_string).collect();
    let blocks = params.tree_blocks();
    if found.bad_hash_blocks() == 0 {
        report.ok(tree_link, format!("{blocks} hash blocks under the root hash"));
    } else {
        let (bad, first) = (found.bad_hash_blocks(), hash_blocks.join("; "));
        report.bad(tree_link, format!("{bad} of {blocks} hash blocks are bad: {first}"));
    }
    let blocks = params.data_blocks();
    let unproved = found.unproved_data_blocks();
    if found.bad_data_blocks() > 0 {
        let size = u64::from(params.data_block_size());
        let bad_blocks = found.findings().iter().filter_map(|one| match one {
            Finding::DataBlock { offset, .. } => Some((one, *offset)),
            Finding::HashBlock { .. } => None,
        });
        let offsets = bad_blocks.clone().map(|(_, offset)| offset);
        let map = RootMap::read(disk, device.data, offsets, size);
        let first: Vec<String> = bad_blocks
            .map(|(one, offset)| {
                let on_disk = device.data.start.saturating_add(offset);
                format!("{one}, byte {on_disk} of the disk: {}", map.whose(offset))
            })
            .collect();
        let bad = found.bad_data_blocks();
        report.bad(data_link, format!("{bad} of {blocks} blocks are bad: {}", first.join("; ")));
    } else if unproved > 0 {
        report.unproved(data_link, format!("{unproved} of {blocks} blocks lie under bad hash blocks"));
    } else {
        report.ok(data_link, format!("{blocks} blocks are what the tree says"));
    }
    found.is_clean().then_some(())
}

/// Parity repairs blocks: what it would repair them to must be what they are.
pub(crate) fn error_correction(
    disk: &Disk,
    layout: &Layout,
    device: &Device<'_>,
    planned: &Verified,
    params: &Params,
    checked: Option<()>,
    report: &mut Report,
) -> Option<()> {
    let link = device.link("error-correction");
    let Some(planned) = &planned.verity.fec else {
        report.ok(link, "none in this image");
        return None;
    };
    if checked.is_none() {
        report.unproved(link, "not looked at: parity over blocks that are bad cannot be judged");
        return None;
    }
    let wrong = |what: &str| Err(what.to_owned());
    let judged = (|| {
        let roots = Roots::new(u32::from(planned.roots)).map_err(|error| error.to_string())?;
        let size = params.data_block_size();
        if size != params.hash_block_size() {
            return wrong("data and hash blocks differ in size");
        }
        let expected = params.data_blocks().saturating_add(params.tree_blocks());
        if planned.blocks != expected {
            return wrong(&format!("it covers {} blocks, data and tree have {expected}", planned.blocks));
        }
        let place = match planned.partition {
            None => device.verity,
            Some(uuid) => match layout.table.partitions.iter().find(|p| *p.guid.as_bytes() == uuid.0) {
                Some(partition) => partition,
                None => return wrong(&format!("partition {uuid} is missing")),
            },
        };
        let area = HashArea::of(params, device).ok_or("its place lies beyond any partition")?;
        let start =
            planned.start.checked_mul(u64::from(size)).ok_or("its place lies beyond any partition")?;
        let bytes =
            fec::parity_bytes(planned.blocks, size, roots).ok_or("its length is beyond any partition")?;
        if place.guid == device.verity.guid && start < area.tree_start.saturating_add(area.tree_bytes) {
            return wrong("it overlaps the tree");
        }
        let data = window(disk, device.data);
        let tree = Window::new(window(disk, device.verity), area.tree_start, area.tree_bytes);
        let message = Concat::new().then(&data, params.data_bytes()).then(&tree, area.tree_bytes);
        let there = Window::new(window(disk, place), start, bytes);
        let compare = Compare { there: &there, differs: Mutex::new(None) };
        fec::encode(&message, planned.blocks, size, roots, &compare, &Silent)
            .map_err(|error| error.to_string())?;
        let differs = compare.differs.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        match differs {
            None => Ok(format!("{bytes} bytes of parity over {} blocks, {roots} roots", planned.blocks)),
            Some(offset) => wrong(&format!(
                "the parity differs from what data and tree give, first at byte {} of its partition",
                start.saturating_add(offset)
            )),
        }
    })();
    match judged {
        Ok(detail) => report.ok(link, detail),
        Err(problem) => report.bad(link, problem),
    }
    Some(())
}

/// Takes what should be there and notes where something else is.
struct Compare<'a> {
    there: &'a dyn ReadAt,
    /// First offset that differs.
    differs: Mutex<Option<u64>>,
}

impl WriteAt for Compare<'_> {
    fn write_all_at(&self, expected: &[u8], offset: u64) -> io::Result<()> {
        let mut found = vec![0; expected.len()];
        self.there.read_exact_at(&mut found, offset)?;
        if let Some(place) = expected.iter().zip(&found).position(|(a, b)| a != b) {
            let place = offset.saturating_add(place as u64);
            let mut first = self.differs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *first = Some(first.map_or(place, |first| first.min(place)));
        }
        Ok(())
    }
}
