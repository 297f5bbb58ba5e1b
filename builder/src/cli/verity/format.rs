//! `graven verity format`.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use graven_verity::dm::{self, RootHash, Salt, Superblock};
use graven_verity::fec;
use graven_verity::io::{Concat, Window, WriteAt, flushing};
use graven_verity::setup::{self, Layout, ParityPlace, Uuid};

use super::devices::{Access, Device, Made, facts};
use super::{Failure, Options, Outcome, Status, WRONG, name_of, show};
use crate::cli::progress::Bar;

/// Bytes of a tree between two flushes: what a disk takes while the data of the next ones is hashed.
const FLUSHED: NonZeroU64 = NonZeroU64::new(4 << 20).unwrap();

/// Bytes of a salt that is not given, as veritysetup has it.
const RANDOM_SALT: usize = 32;

#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "Example: graven verity format root.img root.verity --salt=- --fec-device=root.fec\n\n\
    A hash or FEC device that does not exist is made. Nothing is left behind of a run that fails."
)]
pub(super) struct Arguments {
    /// The data, which is only read.
    data_device: PathBuf,
    /// Where superblock and tree go; may be the data device, with --hash-offset behind the data.
    hash_device: PathBuf,
}

pub(super) fn run(arguments: &Arguments, options: &Options) -> Outcome {
    let signature = ("root-hash-signature", options.root_hash_signature.is_some());
    options.refuse("format", &[signature, ("trust", !options.trust.is_empty())])?;
    let uuid = match &options.uuid {
        // Without a superblock there is no place for it.
        _ if options.no_superblock => None,
        Some(text) => Some((setup::uuid(text).map_err(WRONG.because())?, text.clone())),
        None => Some(random_uuid()?),
    };
    let mut wanted = options.layout()?;
    if options.salt.is_none() {
        wanted.salt = random_salt()?;
    }

    let mut made = Made::default();
    let data = Device::open(&arguments.data_device, Access::Read)?;
    let hash = Device::open_or_make(&arguments.hash_device, &mut made)?;
    let fec = options.fec_device.as_deref().map(|path| Device::open_or_make(path, &mut made)).transpose()?;
    let layout = Layout::plan(&wanted, &facts(&data, &hash, fec.as_ref()))?;
    warn_of_pages(layout.params.data_block_size());

    hash.reserve(layout.tree_end())?;
    let root_hash = write_tree(&layout, &data, &hash)?;
    if let (Some(parity), Some(fec)) = (&layout.parity, &fec) {
        write_parity(&layout, parity, &data, &hash, fec)?;
    }
    if let (Some(offset), Some((uuid, _))) = (layout.superblock, &uuid) {
        let superblock = Superblock { uuid: *uuid, params: layout.params.clone() };
        on(&hash, hash.file.write_all_at(&superblock.to_bytes(), offset))?;
    }
    for device in [Some(&hash), fec.as_ref()].into_iter().flatten() {
        on(device, device.file.sync_data())?;
    }

    let uuid = uuid.map(|(_, text)| text).unwrap_or_default();
    let mut header = layout.header(&arguments.hash_device.display().to_string(), &uuid);
    header.algorithm = name_of(layout.params.algorithm(), options.hash.as_ref());
    header.root_hash = Some(root_hash);
    if let Some(path) = &options.root_hash_file {
        write_root_hash(path, &root_hash)?;
    }
    made.keep();
    show(&header, options.json)?;
    Ok(Status::Good)
}

fn write_tree(layout: &Layout, data: &Device, hash: &Device) -> Result<RootHash, Failure> {
    let bar = Bar::of(layout.params.data_bytes(), "hashing");
    let (built, flushed) = flushing(&hash.file, FLUSHED, |hash| {
        let tree = Window::new(hash, layout.tree_start, layout.tree_bytes());
        dm::build_with(&data.file, &layout.params, &tree, &bar)
    });
    built
        .and_then(|root_hash| flushed.map(|()| root_hash))
        .with_context(|| format!("writing the tree over {} to {}", data.path.display(), hash.path.display()))
        .map_err(WRONG.because())
}

fn write_parity(
    layout: &Layout,
    parity: &ParityPlace,
    data: &Device,
    hash: &Device,
    fec: &Device,
) -> Result<(), Failure> {
    fec.reserve(parity.start + parity.bytes)?;
    let (data_bytes, block_size) = (layout.params.data_bytes(), layout.params.data_block_size());
    let message_bytes = parity.blocks * u64::from(block_size);
    let tree_and_gap = Window::new(&hash.file, layout.tree_start, message_bytes - data_bytes);
    let message = Concat::new().then(&data.file, data_bytes).then(&tree_and_gap, message_bytes - data_bytes);
    let out = Window::new(&fec.file, parity.start, parity.bytes);
    let bar = Bar::of(message_bytes, "encoding");
    on(fec, fec::encode(&message, parity.blocks, block_size, parity.roots, &out, &bar))
}

/// As veritysetup: no newline, for its owner alone.
fn write_root_hash(path: &Path, root_hash: &RootHash) -> Result<(), Failure> {
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| write!(file, "{root_hash}"))
        .with_context(|| format!("Cannot create root hash file {} for writing", path.display()))
        .map_err(WRONG.because())
}

/// The kernel takes no data blocks that are larger than a page.
fn warn_of_pages(block_size: u32) {
    let page = rustix::param::page_size();
    if block_size as usize > page {
        eprintln!("WARNING: Kernel cannot activate device if data block size exceeds page size ({page}).");
    }
}

fn random_salt() -> Result<Salt, Failure> {
    Salt::new(&random::<RANDOM_SALT>()?).map_err(WRONG.because())
}

fn random_uuid() -> Result<(Uuid, String), Failure> {
    let uuid = uuid::Builder::from_random_bytes(random()?).into_uuid();
    Ok((uuid, uuid.to_string()))
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    const SOURCE: &str = "/dev/urandom";
    let mut bytes = [0; N];
    File::open(SOURCE)
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context(SOURCE)
        .map_err(WRONG.because())?;
    Ok(bytes)
}

fn on<T>(device: &Device, result: std::io::Result<T>) -> Result<T, Failure> {
    result.with_context(|| device.path.display().to_string()).map_err(WRONG.because())
}
