//! Where unpacked contents lie until the image is written.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use graven_image::tree::Content;
use graven_verity::io::WriteAt;

/// A file without a name that takes the contents of compressed archives, from several threads at once. It is
/// gone when the last tree that refers to it is.
#[derive(Debug)]
pub struct Spool {
    file: Arc<File>,
    next: AtomicU64,
    folder: PathBuf,
}

/// Room for one file in a [`Spool`], filled front to back.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    spool: &'a Spool,
    start: u64,
    filled: u64,
}

impl Spool {
    /// A spool in `folder`, which should be on a disk with room for all that is unpacked.
    ///
    /// # Errors
    /// When no file can be made there.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(folder)?;
        Ok(Self { file: Arc::new(file), next: AtomicU64::new(0), folder: folder.to_path_buf() })
    }

    /// A spool in memory, for what is known to be small.
    pub(crate) fn in_memory() -> io::Result<Self> {
        let file = rustix::fs::memfd_create("graven-spool", rustix::fs::MemfdFlags::CLOEXEC)?;
        Ok(Self { file: Arc::new(file.into()), next: AtomicU64::new(0), folder: PathBuf::new() })
    }

    /// The folder it was made in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Room for `len` bytes: a range of offsets, nothing is written or allocated yet.
    pub(crate) fn reserve(&self, len: u64) -> io::Result<Room<'_>> {
        let start = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                next.checked_add(len).filter(|end| i64::try_from(*end).is_ok())
            })
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        Ok(Room { spool: self, start, filled: 0 })
    }
}

impl Room<'_> {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let position = self.start.checked_add(self.filled).ok_or(io::ErrorKind::FileTooLarge)?;
        self.spool.file.as_ref().write_all_at(bytes, position)?;
        self.filled = self.filled.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// What was written.
    pub(crate) fn content(self) -> Content {
        Content { source: Arc::<File>::clone(&self.spool.file), offset: self.start, len: self.filled }
    }
}
