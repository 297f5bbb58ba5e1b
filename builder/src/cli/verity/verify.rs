//! `graven verity verify`.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use anyhow::Context;
use graven_verity::dm::{self, Finding, Report, RootHash, VerifyError};
use graven_verity::io::{Overlay, Window, WriteAt};
use graven_verity::setup::Layout;
use serde_json::{Value, json};

use super::devices::{Access, Device, layout};
use super::mend::Trial;
use super::{CORRUPTED, Failure, Options, Outcome, Status, WRONG, print, root_hash};
use crate::cli::progress::Bar;

#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "Example: graven verity verify root.img root.verity --root-hash-file=root.hash\n\n\
    All bad blocks are named, as byte ranges. With --fec-device data that its parity can mend is good (exit status 0), as\n\
    veritysetup has it; unlike there it is mended data that the root hash must vouch for."
)]
pub(super) struct Arguments {
    /// The data.
    data_device: PathBuf,
    /// The device with superblock and tree.
    hash_device: PathBuf,
    /// The root hash in hexadecimal.
    root_hash: Option<String>,
}

/// Whether bad data is as good as mended.
struct Parity {
    /// Bytes that differ, where all of them can be mended.
    repairable: Option<u64>,
}

pub(super) fn run(arguments: &Arguments, options: &Options) -> Outcome {
    let data = Device::open(&arguments.data_device, Access::Read)?;
    let hash = Device::open(&arguments.hash_device, Access::Read)?;
    let fec = options.fec_device.as_deref().map(|path| Device::open(path, Access::Read)).transpose()?;
    let (layout, _) = layout(options, &data, &hash, fec.as_ref())?;
    let root_hash = root_hash::given(arguments.root_hash.as_ref(), options, &layout.params)?;

    let report = check(&layout, &data, &hash, &root_hash)?;
    if report.is_clean() {
        return done(options, &layout, &root_hash, &report, None, Status::Good);
    }
    let parity = match &fec {
        Some(fec) => Some(judge_parity(&layout, &data, &hash, fec, &root_hash)?),
        None => None,
    };
    let other_root = agrees_with_another_root(&layout, &data, &hash, &report)?;
    let status = match (&parity, other_root) {
        (Some(Parity { repairable: Some(_) }), _) => Status::Good,
        (_, Some(_)) => WRONG,
        _ => CORRUPTED,
    };
    if !options.json {
        tell(&layout, &report, parity.as_ref(), other_root);
    }
    done(options, &layout, &root_hash, &report, parity.as_ref(), status)
}

/// Everything that the root hash does not vouch for.
fn check(layout: &Layout, data: &Device, hash: &Device, root_hash: &RootHash) -> Result<Report, Failure> {
    let tree = Window::new(&hash.file, layout.tree_start, hash.bytes.saturating_sub(layout.tree_start));
    let mut report = Report::new(1);
    let bar = Bar::of(layout.params.data_bytes(), "verifying");
    match dm::verify(&data.file, &tree, &layout.params, root_hash, &mut report, &bar) {
        Ok(()) | Err(VerifyError::Corrupted { .. }) => Ok(report),
        Err(error) => Err(failure(error)),
    }
}

/// Where nothing but the root hash is wrong, the one that would be right.
fn agrees_with_another_root(
    layout: &Layout,
    data: &Device,
    hash: &Device,
    report: &Report,
) -> Result<Option<RootHash>, Failure> {
    let top = match report.findings() {
        [Finding::HashBlock { found, data_blocks, .. }] if data_blocks.start == 0 => found,
        [Finding::DataBlock { found, .. }] if layout.params.data_blocks() == 1 => found,
        _ => return Ok(None),
    };
    if report.unproved_data_blocks() + report.bad_data_blocks() != layout.params.data_blocks() {
        return Ok(None);
    }
    let other = RootHash::new(*top).map_err(WRONG.because())?;
    // What lies unused in the top block has its share in the hash too, and has to be zero: else checking is an error.
    if !check(layout, data, hash, &other).is_ok_and(|report| report.is_clean()) {
        return Ok(None);
    }
    let of_data = dm::build(&data.file, &layout.params, &Nowhere).context("hashing the data");
    Ok((of_data.map_err(WRONG.because())? == other).then_some(other))
}

/// Takes a tree of which only the root is wanted.
struct Nowhere;

impl WriteAt for Nowhere {
    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// Tries the repair in memory: only what the root hash vouches for afterwards counts as repairable.
fn judge_parity(
    layout: &Layout,
    data: &Device,
    hash: &Device,
    fec: &Device,
    root_hash: &RootHash,
) -> Result<Parity, Failure> {
    let Some(place) = layout.parity else { return Ok(Parity { repairable: None }) };
    let (over_data, trial) = (Overlay::new(&data.file), Trial::new(data, hash, fec));
    let bar = Bar::bytes("trying to repair");
    let repaired = trial.places(&over_data).mend(layout, &place, root_hash, &bar).map_err(failure)?;
    let changed = over_data.changed_bytes().and_then(|bytes| Ok(bytes + trial.changed_hash_bytes()?));
    let changed = changed.context("reading again what was repaired").map_err(WRONG.because())?;
    Ok(Parity { repairable: repaired.is_whole().then_some(changed) })
}

fn tell(layout: &Layout, report: &Report, parity: Option<&Parity>, other_root: Option<RootHash>) {
    if let Some(other) = other_root {
        eprintln!("Verification of root hash failed.");
        eprintln!("Data and tree agree with each other; their root hash is {other}.");
    } else {
        let (data_block, hash_block) = (layout.params.data_block_size(), layout.params.hash_block_size());
        for range in report.bad_tree() {
            let place = shifted(&range, layout.tree_start);
            eprintln!("hash device: {} corrupted", blocks(&place, hash_block));
        }
        for range in report.unproved_data() {
            let place = blocks(&range, data_block);
            eprintln!("data device: {place} cannot be judged: a hash block above is corrupted");
        }
        for range in report.bad_data() {
            eprintln!("data device: {} corrupted", blocks(&range, data_block));
        }
        eprintln!("Verification of data area failed.");
    }
    match parity {
        Some(Parity { repairable: Some(bytes) }) => {
            eprintln!("Found {bytes} repairable errors with FEC device.");
        }
        Some(Parity { repairable: None }) => eprintln!("Errors cannot be repaired with FEC device."),
        None => {}
    }
}

fn done(
    options: &Options,
    layout: &Layout,
    root_hash: &RootHash,
    report: &Report,
    parity: Option<&Parity>,
    status: Status,
) -> Outcome {
    if options.json {
        let bad_tree: Vec<_> =
            report.bad_tree().iter().map(|range| shifted(range, layout.tree_start)).collect();
        let value = json!({
            "good": report.is_clean(),
            "root-hash": root_hash.to_string(),
            "corrupted": {
                "data": ranges_json(&report.bad_data()),
                "hash-device": ranges_json(&bad_tree),
            },
            "unproved": { "data": ranges_json(&report.unproved_data()) },
            "repairable": parity.map(|parity| parity.repairable.is_some()),
        });
        print(&format!("{value:#}\n"))?;
    }
    Ok(status)
}

/// An error of checking or mending: what is too short or cannot be read is no finding.
pub(super) fn failure(error: VerifyError) -> Failure {
    let status = if matches!(error, VerifyError::Corrupted { .. }) { CORRUPTED } else { WRONG };
    status.because()(error)
}

pub(super) fn shifted(range: &Range<u64>, by: u64) -> Range<u64> {
    range.start + by..range.end + by
}

/// A range in words: its bytes, and its blocks of `size` bytes.
pub(super) fn blocks(range: &Range<u64>, size: u32) -> String {
    let size = u64::from(size);
    let (first, last) = (range.start / size, (range.end - 1) / size);
    let blocks = if first == last { format!("block {first}") } else { format!("blocks {first} to {last}") };
    format!("bytes {} to {} ({blocks})", range.start, range.end - 1)
}

pub(super) fn ranges_json(ranges: &[Range<u64>]) -> Value {
    ranges.iter().map(|range| json!({ "start": range.start, "end": range.end })).collect()
}
