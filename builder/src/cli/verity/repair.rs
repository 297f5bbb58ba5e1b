//! `graven verity repair`.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use graven::output::folder_of;
use graven_verity::fec::Repaired;
use graven_verity::io::Overlay;
use graven_verity::setup::{Layout, ParityPlace};
use graven_verity::stream::{self, CopyTo};
use serde_json::json;
use tempfile::NamedTempFile;

use super::devices::{Access, Device, layout};
use super::mend::{Places, Trial};
use super::verify::{blocks, failure, ranges_json, shifted};
use super::{CORRUPTED, Failure, Options, Outcome, Status, WRONG, print, root_hash};
use crate::cli::progress::Bar;

/// Zeros of at least this length stay holes in a copy.
const HOLE: usize = 4096;

#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "Example: graven verity repair root.img root.verity --root-hash-file=root.hash --fec-device=root.fec\n\n\
    A block is written only where the root hash vouches for what is written; good blocks are never touched. A damaged\n\
    superblock is not covered by the parity: give the parameters by options, with --no-superblock and --hash-offset at the\n\
    tree. Exit status 0: everything is good, or was mended; 2: something is lost."
)]
pub(super) struct Arguments {
    /// The data.
    data_device: PathBuf,
    /// The device with superblock and tree.
    hash_device: PathBuf,
    /// The root hash in hexadecimal.
    root_hash: Option<String>,
    /// Say what would be mended, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Write a mended copy of the data device here, which must not exist, and leave the devices as they are.
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    output: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, options: &Options) -> Outcome {
    let Some(fec_path) = &options.fec_device else {
        return Err(WRONG.because()(anyhow!("nothing can be mended without parity: give --fec-device")));
    };
    let in_place = !arguments.dry_run && arguments.output.is_none();
    let access = if in_place { Access::Write } else { Access::Read };
    let data = Device::open(&arguments.data_device, access)?;
    let hash = Device::open(&arguments.hash_device, access)?;
    let fec = Device::open(fec_path, access)?;
    let (layout, _) = layout(options, &data, &hash, Some(&fec))?;
    let root_hash = root_hash::given(arguments.root_hash.as_ref(), options, &layout.params)?;
    let parity = layout.parity.ok_or_else(|| WRONG.because()(anyhow!("there is no parity")))?;

    let bar = Bar::bytes("repairing");
    let mend = |places: Places<'_>| places.mend(&layout, &parity, &root_hash, &bar).map_err(failure);
    let repaired = if in_place {
        let repaired = mend(Places { data: &data.file, hash: &hash.file, fec: &fec.file })?;
        for device in [&data, &hash, &fec] {
            let name = || device.path.display().to_string();
            device.file.sync_data().with_context(name).map_err(WRONG.because())?;
        }
        repaired
    } else {
        let trial = Trial::new(&data, &hash, &fec);
        match &arguments.output {
            None => mend(trial.places(&Overlay::new(&data.file)))?,
            Some(output) => {
                let copy = copy_of(&data, output)?;
                let repaired = mend(trial.places(copy.as_file()))?;
                keep(copy, output)?;
                repaired
            }
        }
    };
    drop(bar);
    tell(&repaired, &layout, &parity, arguments, options)?;
    Ok(if repaired.is_whole() { Status::Good } else { CORRUPTED })
}

/// A copy of a device beside `output`, to be kept under that name.
fn copy_of(device: &Device, output: &Path) -> Result<NamedTempFile, Failure> {
    if output.symlink_metadata().is_ok() {
        return Err(WRONG.because()(anyhow!("{} exists: nothing is overwritten", output.display())));
    }
    let copy = || {
        let copy = tempfile::Builder::new().prefix(".graven-").tempfile_in(folder_of(output))?;
        copy.as_file().set_len(device.bytes)?;
        let bar = Bar::of(device.bytes, "copying");
        stream::run(&device.file, device.bytes, &mut [&mut CopyTo::sparse(copy.as_file(), HOLE)], &bar)?;
        io::Result::Ok(copy)
    };
    copy()
        .with_context(|| format!("copying {} to {}", device.path.display(), output.display()))
        .map_err(WRONG.because())
}

fn keep(copy: NamedTempFile, output: &Path) -> Result<(), Failure> {
    let keep = || {
        copy.as_file().sync_all()?;
        copy.persist_noclobber(output).map_err(|error| error.error)?;
        io::Result::Ok(())
    };
    keep().with_context(|| format!("writing {}", output.display())).map_err(WRONG.because())
}

fn tell(
    repaired: &Repaired,
    layout: &Layout,
    parity: &ParityPlace,
    arguments: &Arguments,
    options: &Options,
) -> Result<(), Failure> {
    let moved = |ranges: &[Range<u64>], by| ranges.iter().map(|range| shifted(range, by)).collect::<Vec<_>>();
    let mended = [
        ("data", repaired.mended_data.clone()),
        ("hash-device", moved(&repaired.mended_tree, layout.tree_start)),
        ("fec-device", moved(&repaired.mended_parity, parity.start)),
    ];
    let lost = [
        ("data", repaired.lost_data.clone()),
        ("hash-device", moved(&repaired.lost_tree, layout.tree_start)),
    ];
    if options.json {
        let object = |all: &[(&str, Vec<Range<u64>>)]| -> serde_json::Value {
            all.iter().map(|(device, ranges)| ((*device).to_owned(), ranges_json(ranges))).collect()
        };
        let value = json!({
            "good": repaired.is_whole(),
            "written": !arguments.dry_run,
            "mended": object(&mended),
            "lost": object(&lost),
        });
        return print(&format!("{value:#}\n"));
    }
    let (size, would) = (layout.params.data_block_size(), if arguments.dry_run { "can be " } else { "" });
    let mut text = String::new();
    for (all, what) in [(&mended[..], format!("{would}mended")), (&lost, "lost".into())] {
        for (device, ranges) in all {
            for range in ranges {
                text.push_str(&format!("{device}: {} {what}\n", blocks(range, size)));
            }
        }
    }
    text.push_str(match (repaired.is_untouched(), repaired.is_whole()) {
        (true, _) => "Nothing to repair: data, tree and parity are what the root hash says.\n",
        (_, true) if arguments.dry_run => "All of it can be repaired.\n",
        (_, true) => "Repaired: data and tree are what the root hash says.\n",
        (_, false) => "Not all of it can be repaired.\n",
    });
    print(&text)
}
