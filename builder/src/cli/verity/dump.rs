//! `graven verity dump`.

use std::path::PathBuf;

use anyhow::anyhow;
use graven_verity::setup::{Devices, FecPlace, Layout};

use super::devices::{Access, Device, superblock};
use super::{Options, Outcome, Status, WRONG, show};

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, after_help = "Example: graven verity dump root.verity")]
pub(super) struct Arguments {
    /// The device with the superblock.
    hash_device: PathBuf,
}

pub(super) fn run(arguments: &Arguments, options: &Options) -> Outcome {
    let unused = [
        ("root-hash-file", options.root_hash_file.is_some()),
        ("root-hash-signature", options.root_hash_signature.is_some()),
        ("trust", !options.trust.is_empty()),
    ];
    options.refuse("dump", &unused)?;
    let hash = Device::open(&arguments.hash_device, Access::Read)?;
    if options.no_superblock {
        let hint = "without a superblock there is nothing to show";
        return Err(WRONG.because()(anyhow!(hint)));
    }
    let offset = options.hash_offset.unwrap_or(0);
    let superblock = superblock(&hash, offset)?;
    let fec = options.fec_device.as_deref().map(|path| Device::open(path, Access::Read)).transpose()?;
    let place = match fec {
        Some(fec) if fec.is(&hash) => FecPlace::Hash,
        _ => FecPlace::Own,
    };
    // Whether the data lies on this device too cannot be told from here.
    let devices = Devices { data_bytes: u64::MAX, hash_bytes: hash.bytes, hash_on_data: false, fec: place };
    let layout = Layout::of(superblock.params, offset, true, options.fec()?, &devices)?;
    let device = arguments.hash_device.display().to_string();
    show(&layout.header(&device, &superblock.uuid.to_string()), options.json)?;
    Ok(Status::Good)
}
