//! A folder that appears all at once or not at all, and never over something.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{KeysError, io_error};

/// A folder being filled beside its final place; removed with all it holds unless it is published.
pub(super) struct NewFolder {
    place: PathBuf,
    draft: tempfile::TempDir,
    names: Vec<String>,
}

impl NewFolder {
    /// Starts a folder that will appear at `place`, where nothing (or an empty folder) may be.
    pub(super) fn beside(place: &Path) -> Result<Self, KeysError> {
        refuse_existing(place)?;
        let parent = match place.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        DirBuilder::new()
            .recursive(true)
            .create(parent)
            .map_err(|source| io_error("make folder", parent, source))?;
        // Mode 0700 by tempfile: nobody else sees a key even while it is made.
        let draft = tempfile::Builder::new()
            .prefix(".graven-keys-")
            .tempdir_in(parent)
            .map_err(|source| io_error("make a folder in", parent, source))?;
        Ok(Self { place: place.to_owned(), draft, names: Vec::new() })
    }

    /// Writes one new file through to the disk: mode 0600 for private keys, 0644 for the rest.
    pub(super) fn write(&mut self, name: &str, contents: &[u8]) -> Result<(), KeysError> {
        let path = self.draft.path().join(name);
        let mode = if name.ends_with(".key") { 0o600 } else { 0o644 };
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
            file.write_all(contents)?;
            file.sync_all()
        };
        write().map_err(|source| io_error("write", &path, source))?;
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Moves the folder to its place and names its files.
    pub(super) fn publish(self) -> Result<Vec<PathBuf>, KeysError> {
        let Self { place, draft, names } = self;
        refuse_existing(&place)?;
        // rename(2) replaces an empty folder and fails on any other, also on one that came since the look above.
        fs::rename(draft.path(), &place).map_err(|source| match source.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => {
                KeysError::Exists { path: place.clone() }
            }
            _ => io_error("rename the new keys to", &place, source),
        })?;
        let _ = draft.keep();
        if let Some(parent) = place.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let sync = File::open(parent).and_then(|parent| parent.sync_all());
            sync.map_err(|source| io_error("write through", parent, source))?;
        }
        Ok(names.iter().map(|name| place.join(name)).collect())
    }
}

/// An error if anything but an empty folder is at `place`; names the file that is in the way.
fn refuse_existing(place: &Path) -> Result<(), KeysError> {
    match fs::symlink_metadata(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(io_error("look at", place, source)),
        Ok(metadata) if !metadata.is_dir() => {
            return Err(KeysError::Exists { path: place.to_owned() });
        }
        Ok(_) => {}
    }
    let mut entries = fs::read_dir(place).map_err(|source| io_error("look into", place, source))?;
    match entries.next() {
        None => Ok(()),
        Some(Ok(entry)) => Err(KeysError::Exists { path: entry.path() }),
        Some(Err(source)) => Err(io_error("look into", place, source)),
    }
}
