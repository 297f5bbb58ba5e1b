//! A folder that appears all at once or not at all, and never over something.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{KeysError, io_error};

/// A folder that is to appear. Until all that belongs in it is made, which takes seconds, nothing of it is on the disk: an
/// interrupted run leaves nothing.
pub(super) struct NewFolder {
    place: PathBuf,
    files: Vec<(String, Zeroizing<Vec<u8>>)>,
}

impl NewFolder {
    /// Starts a folder that will appear at `place`, where nothing (or an empty folder) may be.
    pub(super) fn at(place: &Path) -> Result<Self, KeysError> {
        refuse_existing(place)?;
        Ok(Self { place: place.to_owned(), files: Vec::new() })
    }

    /// One file of it.
    pub(super) fn add(&mut self, name: &str, contents: &[u8]) {
        self.files.push((name.to_owned(), Zeroizing::new(contents.to_owned())));
    }

    /// Writes everything beside its place and moves it there; names its files.
    pub(super) fn publish(self) -> Result<Vec<PathBuf>, KeysError> {
        let Self { place, files } = self;
        let parent = match place.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let made = DirBuilder::new().recursive(true).create(parent);
        made.map_err(|source| io_error("make folder", parent, source))?;
        // Mode 0700 by tempfile: nobody else sees a key even while it is written.
        let draft = tempfile::Builder::new()
            .prefix(".graven-keys-")
            .tempdir_in(parent)
            .map_err(|source| io_error("make a folder in", parent, source))?;
        for (name, contents) in &files {
            let path = draft.path().join(name);
            write(&path, contents).map_err(|source| io_error("write", &path, source))?;
        }
        refuse_existing(&place)?;
        // rename(2) replaces an empty folder and fails on any other, also on one that came since the look above.
        fs::rename(draft.path(), &place).map_err(|source| match source.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => {
                KeysError::Exists { path: place.clone() }
            }
            _ => io_error("rename the new keys to", &place, source),
        })?;
        let _ = draft.keep();
        let sync = File::open(parent).and_then(|parent| parent.sync_all());
        sync.map_err(|source| io_error("write through", parent, source))?;
        Ok(files.iter().map(|(name, _)| place.join(name)).collect())
    }
}

/// Writes one new file through to the disk: mode 0600 for private keys, 0644 for the rest.
fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mode = if path.extension().is_some_and(|extension| extension == "key") { 0o600 } else { 0o644 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
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
