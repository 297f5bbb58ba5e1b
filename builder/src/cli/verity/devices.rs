//! The devices that a verb works on: files or block devices.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use graven_verity::dm::{Superblock, SuperblockError};
use graven_verity::io::ReadAt;
use graven_verity::setup::{Devices, FecPlace, Layout};

use super::{Failure, NO_DEVICE, Options, WRONG};

/// A device that is open.
pub(super) struct Device {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) bytes: u64,
    identity: Identity,
    /// Whether it grows where it is written past its end.
    growing: bool,
}

#[derive(PartialEq, Eq)]
enum Identity {
    Block(u64),
    File(u64, u64),
}

/// How a device is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

impl Device {
    pub(super) fn open(path: &Path, access: Access) -> Result<Self, Failure> {
        let file = File::options().read(true).write(access == Access::Write).open(path);
        let file = file.map_err(|error| {
            NO_DEVICE.because()(
                anyhow!(error).context(format!("Device {} does not exist or access denied", path.display())),
            )
        })?;
        Self::of(path, file)
    }

    /// Opens a device for writing; where there is none, makes a file, which `made` takes back if things go wrong.
    pub(super) fn open_or_make(path: &Path, made: &mut Made) -> Result<Self, Failure> {
        let new = File::options().read(true).write(true).create_new(true).mode(0o600).open(path);
        match new {
            Ok(file) => {
                made.0.push(path.to_owned());
                Self::of(path, file)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::open(path, Access::Write),
            Err(error) => Err(WRONG.because()(
                anyhow!(error).context(format!("Cannot create {} for writing", path.display())),
            )),
        }
    }

    fn of(path: &Path, file: File) -> Result<Self, Failure> {
        let metadata =
            file.metadata().with_context(|| path.display().to_string()).map_err(WRONG.because())?;
        let kind = metadata.file_type();
        let identity = match (kind.is_file(), kind.is_block_device()) {
            (true, _) => Identity::File(metadata.dev(), metadata.ino()),
            (_, true) => Identity::Block(metadata.rdev()),
            _ => {
                let hint = anyhow!("Device {} is neither a file nor a block device", path.display());
                return Err(NO_DEVICE.because()(hint));
            }
        };
        let bytes =
            ReadAt::size(&file).with_context(|| path.display().to_string()).map_err(WRONG.because())?;
        Ok(Self { path: path.to_owned(), file, bytes, identity, growing: kind.is_file() })
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// Makes room for `bytes` bytes in all.
    pub(super) fn reserve(&self, bytes: u64) -> Result<(), Failure> {
        if self.bytes >= bytes {
            return Ok(());
        }
        let path = self.path.display();
        if !self.growing {
            let found = self.bytes;
            return Err(WRONG.because()(anyhow!("Device {path} has {found} bytes, {bytes} are needed")));
        }
        self.file.set_len(bytes).with_context(|| path.to_string()).map_err(WRONG.because())
    }
}

/// What a layout depends on.
pub(super) fn facts(data: &Device, hash: &Device, fec: Option<&Device>) -> Devices {
    let fec = match fec {
        Some(fec) if fec.is(hash) => FecPlace::Hash,
        Some(fec) if fec.is(data) => FecPlace::Data,
        _ => FecPlace::Own,
    };
    Devices { data_bytes: data.bytes, hash_bytes: hash.bytes, hash_on_data: hash.is(data), fec }
}

/// The layout of devices that were formatted before: by the superblock, or by the options where there is none; and the
/// superblock's UUID.
pub(super) fn layout(
    options: &Options,
    data: &Device,
    hash: &Device,
    fec: Option<&Device>,
) -> Result<(Layout, String), Failure> {
    let facts = facts(data, hash, fec);
    if options.no_superblock {
        return Ok((Layout::plan(&options.layout()?, &facts)?, String::new()));
    }
    let offset = options.hash_offset.unwrap_or(0);
    let superblock = superblock(hash, offset)?;
    let layout = Layout::of(superblock.params, offset, true, options.fec()?, &facts)?;
    Ok((layout, superblock.uuid.to_string()))
}

/// The superblock at `offset` of a device.
pub(super) fn superblock(device: &Device, offset: u64) -> Result<Superblock, Failure> {
    let mut bytes = [0; Superblock::SIZE];
    let path = device.path.display();
    let read = device.file.read_exact_at(&mut bytes, offset);
    let superblock = read
        .map_err(anyhow::Error::from)
        .and_then(|()| Superblock::from_bytes(&bytes).map_err(|error: SuperblockError| error.into()));
    superblock
        .with_context(|| format!("Device {path} is not a valid VERITY device (superblock at byte {offset})"))
        .map_err(WRONG.because())
}

/// Files that were made, and that go again unless all goes well.
#[derive(Default)]
pub(super) struct Made(Vec<PathBuf>);

impl Made {
    pub(super) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in &self.0 {
            // Nothing better can be done about a file that will not go.
            let _ = fs::remove_file(path);
        }
    }
}
