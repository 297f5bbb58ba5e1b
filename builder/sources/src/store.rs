//! A folder of files named by their SHA-256: what was fetched once is not fetched again, and what lies there under a name
//! has been seen to have it.
//!
//! ```text
//! STORE/sha256/ab/ab…64 digits   whole and checked; appear by rename, read-only
//! STORE/partial/ab…64 digits     the beginning of one, from a connection that broke; locked by whoever writes it
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::Sha256;
use crate::network::{Meter, Network, NetworkError, NetworkProblem, digest};

/// The folder.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// A store in `folder`, which need not be there yet.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a file of this digest lies, or would.
    #[must_use]
    pub fn path(&self, sha256: &Sha256) -> PathBuf {
        let name = sha256.to_string();
        self.folder.join("sha256").join(&name[..2]).join(name)
    }

    /// The file, where the store has it; read once to see that it is still what it was. One that is not is taken away.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn find(&self, sha256: &Sha256) -> io::Result<Option<PathBuf>> {
        let path = self.path(sha256);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if Sha256::of(&file)? == *sha256 {
            return Ok(Some(path));
        }
        fs::remove_file(&path)?;
        Ok(None)
    }

    /// The bytes, where the store has them and they are still what they were; else what is there is taken away.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn read(&self, sha256: &Sha256) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(sha256);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if digest(&bytes) == *sha256 {
            return Ok(Some(bytes));
        }
        fs::remove_file(&path)?;
        Ok(None)
    }

    /// Takes in bytes whose digest the caller has seen to be this.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn keep(&self, sha256: &Sha256, bytes: &[u8]) -> io::Result<PathBuf> {
        let (path, mut partial) = self.partial(sha256)?;
        partial.set_len(0)?;
        partial.write_all(bytes)?;
        self.adopt(&partial, &path, sha256)
    }

    /// The file, from the address where the store has it not. Two processes that want the same file wait for each other.
    ///
    /// # Errors
    /// [`NetworkError`]; then the store holds nothing of it, but for the beginning of a download that broke off.
    pub fn fetch(
        &self,
        network: &Network,
        url: &str,
        sha256: &Sha256,
        size: u64,
        meter: &dyn Meter,
    ) -> Result<PathBuf, NetworkError> {
        self.bring(url, sha256, |partial| network.file(url, sha256, size, partial, meter))
    }

    /// The same, from whoever appends to what there is of the file what it lacks, and has then seen its digest to be right.
    pub(crate) fn bring(
        &self,
        url: &str,
        sha256: &Sha256,
        go_on: impl Fn(&mut File) -> Result<(), NetworkError>,
    ) -> Result<PathBuf, NetworkError> {
        let failed = |error| NetworkError { url: url.to_owned(), problem: NetworkProblem::Io(error) };
        if let Some(path) = self.find(sha256).map_err(failed)? {
            return Ok(path);
        }
        let (partial_path, mut partial) = self.partial(sha256).map_err(failed)?;
        // Whoever held the lock before may have finished it.
        if let Some(path) = self.find(sha256).map_err(failed)? {
            let _ = fs::remove_file(&partial_path);
            return Ok(path);
        }
        let mut resumed = partial.metadata().map_err(failed)?.len() > 0;
        loop {
            match go_on(&mut partial) {
                Ok(()) => break,
                // The earlier beginning may have been the bad part: once more from the start.
                Err(error) if error.problem.is_bad_content() && resumed => {
                    partial.set_len(0).map_err(failed)?;
                    resumed = false;
                }
                Err(error) => {
                    if error.problem.is_bad_content() || partial.metadata().is_ok_and(|file| file.len() == 0)
                    {
                        let _ = fs::remove_file(&partial_path);
                    }
                    return Err(error);
                }
            }
        }
        self.adopt(&partial, &partial_path, sha256).map_err(failed)
    }

    /// Opens the beginning of a file, for this process alone.
    fn partial(&self, sha256: &Sha256) -> io::Result<(PathBuf, File)> {
        let folder = self.folder.join("partial");
        fs::create_dir_all(&folder)?;
        let path = folder.join(sha256.to_string());
        loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            // Another process may have renamed or removed it between the two calls.
            let (ours, named) = (rustix::fs::fstat(&file)?, rustix::fs::stat(&path));
            if named.is_ok_and(|named| (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)) {
                return Ok((path, file));
            }
        }
    }

    fn adopt(&self, file: &File, partial: &Path, sha256: &Sha256) -> io::Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(sha256);
        fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
        file.set_permissions(fs::Permissions::from_mode(0o444))?;
        file.sync_all()?;
        fs::rename(partial, &path)?;
        Ok(path)
    }
}
