//! Files of the host, read late, refused when they are no longer what was scanned.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use graven_verity::io::ReadAt;
use rustix::fs::{Mode, OFlags, Stat};

/// What tells a file from what it was before: another file or other contents differ in at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    size: i64,
    mtime: i64,
    mtime_nsec: u64,
}

impl From<&Stat> for Identity {
    #[allow(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as i64,
            mtime: stat.st_mtime as i64,
            mtime_nsec: stat.st_mtime_nsec as u64,
        }
    }
}

fn changed(path: &Path) -> io::Error {
    let message = format!("`{}` changed while it was in use; build again", path.display());
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// An input file that is held open and must stay as it was when it was opened.
#[derive(Debug)]
pub(crate) struct OpenFile {
    path: PathBuf,
    file: File,
    identity: Identity,
}

impl OpenFile {
    /// Opens a regular file for reading; symbolic links are followed, since its user named it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // Without O_NONBLOCK a named pipe would wait for a writer that never comes.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let identity = Identity::from(&rustix::fs::fstat(&file)?);
        Ok(Self { path: path.to_path_buf(), file, identity })
    }
}

impl ReadAt for OpenFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let read = self.file.read_exact_at(buf, offset);
        // Looked at after reading: what was read is what was there at the start.
        if Identity::from(&rustix::fs::fstat(&self.file)?) != self.identity {
            return Err(changed(&self.path));
        }
        read
    }

    fn size(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.identity.size).unwrap_or(0))
    }
}

/// A regular file of a scanned folder, opened anew for each read. A million of them are held at once.
#[derive(Debug)]
pub(crate) struct FolderFile {
    folder: Arc<Path>,
    name: Box<[u8]>,
    identity: Identity,
}

impl FolderFile {
    pub(crate) fn new(folder: Arc<Path>, name: &[u8], stat: &Stat) -> Self {
        Self { folder, name: name.into(), identity: stat.into() }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(OsStr::from_bytes(&self.name))
    }
}

impl ReadAt for FolderFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let path = self.path();
        let named = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()));
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {
                return Err(changed(&path));
            }
            Err(error) => return Err(named(error.into())),
        };
        let identity = || rustix::fs::fstat(&file).map(|stat| Identity::from(&stat));
        // Before reading: another file behind this name (a folder became a link) is not to be read at all.
        if identity()? != self.identity {
            return Err(changed(&path));
        }
        let read = file.read_exact_at(buf, offset);
        if identity()? != self.identity {
            return Err(changed(&path));
        }
        read.map_err(named)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.identity.size).unwrap_or(0))
    }
}
