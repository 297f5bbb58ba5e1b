//! The output folder: everything at once, or nothing.
//!
//! A build writes into a locked staging folder beside its output and renames it at the end. A killed build leaves
//! only the staging folder, and the next one clears it. What is only compared with an output is built in such a folder, too.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use graven_verify::manifest::Manifest;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::{FdFlags, fcntl_setfd};

/// A folder that becomes the output, or vanishes.
#[derive(Debug)]
pub struct Staging {
    folder: PathBuf,
    target: PathBuf,
    lock: File,
    done: bool,
}

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The folder holds something that no build of ours made.
    #[error("{}: exists and holds no manifest of ours; it is left alone. Give another --out, or remove it", .0.display())]
    NotOurs(PathBuf),
    /// Another build is at work there.
    #[error("{}: another build is writing this output; wait for it, or give another --out", .0.display())]
    Busy(PathBuf),
    /// A path that cannot name a folder.
    #[error("{}: no folder can have this name; give another --out", .0.display())]
    Name(PathBuf),
    /// The operating system's word.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> OutputError + '_ {
    move |source| OutputError::Io { path: path.to_owned(), source }
}

impl Staging {
    /// Prepares the staging folder for `target`, clearing what a killed build left.
    ///
    /// # Errors
    /// When `target` exists and is not ours, when another build is writing it, or the file system refuses.
    pub fn open(target: &Path) -> Result<Self, OutputError> {
        let name = target.file_name().ok_or_else(|| OutputError::Name(target.to_owned()))?;
        let parent = folder_of(target);
        refuse_foreign(target)?;
        fs::create_dir_all(parent).map_err(at(parent))?;

        let mut staging_name = std::ffi::OsString::from(".");
        staging_name.push(name);
        staging_name.push(".building");
        let folder = parent.join(staging_name);
        let lock = lock_folder(&folder).map_err(locking(&folder, target))?;
        clear(&folder).map_err(at(&folder))?;
        Ok(Self { folder, target: target.to_owned(), lock, done: false })
    }

    /// Where to write.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes one small file.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), OutputError> {
        let path = self.folder.join(name);
        fs::write(&path, bytes).map_err(at(&path))
    }

    /// Has programs that are started from here on hold the lock, too, so that nobody clears what they write if this one ends
    /// before them.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub fn share_lock(&self) -> Result<(), OutputError> {
        fcntl_setfd(&self.lock, FdFlags::empty()).map_err(|error| at(&self.folder)(error.into()))
    }

    /// Makes the folder the output, exchanging it with an older one of ours.
    ///
    /// # Errors
    /// Whatever the file system says; the older output is then still there.
    pub fn publish(mut self) -> Result<(), OutputError> {
        let older = replace(&self.target, &self.folder)?;
        self.done = true;
        match older {
            Some(_lock) => remove_if_there(&self.folder),
            None => Ok(()),
        }
    }
}

/// Makes a finished folder the output `target`. An older one of ours then lies where that folder was; its lock is returned.
///
/// # Errors
/// Whatever the file system says; the older output is then still there.
pub fn replace(target: &Path, finished: &Path) -> Result<Option<File>, OutputError> {
    File::open(finished).and_then(|folder| folder.sync_all()).map_err(at(finished))?;
    let (older, how) = if target.exists() {
        refuse_foreign(target)?;
        // It is about to stand where the next build would clear it.
        (Some(lock(target).map_err(locking(target, target))?), RenameFlags::EXCHANGE)
    } else {
        (None, RenameFlags::NOREPLACE)
    };
    renameat_with(CWD, finished, CWD, target, how).map_err(|error| at(target)(error.into()))?;
    Ok(older)
}

/// The folder in which a path lies.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.done {
            // Best effort: the next build clears what is left.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Makes the folder if need be and locks it; the lock goes with the process, however that ends.
fn lock_folder(folder: &Path) -> io::Result<File> {
    loop {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let lock = lock(folder)?;
        // Between open and lock, another build may have published or removed the folder that we opened.
        let locked = lock.metadata()?;
        if fs::metadata(folder).is_ok_and(|now| now.ino() == locked.ino() && now.dev() == locked.dev()) {
            return Ok(lock);
        }
    }
}

fn lock(folder: &Path) -> io::Result<File> {
    let lock = File::open(folder)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    Ok(lock)
}

fn locking(folder: &Path, target: &Path) -> impl FnOnce(io::Error) -> OutputError {
    move |error| match error.kind() {
        io::ErrorKind::WouldBlock => OutputError::Busy(target.to_owned()),
        _ => at(folder)(error),
    }
}

fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn remove_if_there(folder: &Path) -> Result<(), OutputError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(folder)(error)),
        _ => Ok(()),
    }
}

/// An existing output may be replaced only if it is empty or holds a manifest of ours.
fn refuse_foreign(target: &Path) -> Result<(), OutputError> {
    let foreign = || OutputError::NotOurs(target.to_owned());
    match fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(target)(error)),
        Ok(metadata) if !metadata.is_dir() => return Err(foreign()),
        Ok(_) => {}
    }
    if fs::read_dir(target).map_err(at(target))?.next().is_none() {
        return Ok(());
    }
    let ours = fs::read_to_string(target.join("manifest.json"))
        .is_ok_and(|text| Manifest::from_json(&text).is_ok() || is_older_manifest(&text));
    if ours { Ok(()) } else { Err(foreign()) }
}

/// A manifest of another version of ours: its fields are unknown, its format's name is not.
fn is_older_manifest(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text).is_ok_and(|json| {
        json["format"].as_str().is_some_and(|format| format.starts_with("graven-manifest-"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_ours_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("out");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("thesis.tex"), "years of work").unwrap();
        assert!(matches!(Staging::open(&target), Err(OutputError::NotOurs(_))));
        assert_eq!(fs::read_to_string(target.join("thesis.tex")).unwrap(), "years of work");
    }

    #[test]
    fn nothing_stands_under_the_final_name_before_publish() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("out");
        let staging = Staging::open(&target).unwrap();
        staging.write("a", b"1").unwrap();
        assert!(!target.exists());
        drop(staging);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn an_output_of_ours_is_exchanged() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("out");
        for round in ["1", "2"] {
            let staging = Staging::open(&target).unwrap();
            staging.write("manifest.json", br#"{"format":"graven-manifest-0"}"#).unwrap();
            staging.write("round", round.as_bytes()).unwrap();
            staging.publish().unwrap();
        }
        assert_eq!(fs::read_to_string(target.join("round")).unwrap(), "2");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "the older output is gone");
    }

    #[test]
    fn nobody_clears_an_older_output_that_is_still_being_removed() {
        let parent = tempfile::tempdir().unwrap();
        let (target, finished) = (parent.path().join("out"), parent.path().join(".out.building"));
        for folder in [&target, &finished] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("manifest.json"), br#"{"format":"graven-manifest-0"}"#).unwrap();
        }
        let older = replace(&target, &finished).unwrap();
        assert!(matches!(Staging::open(&target), Err(OutputError::Busy(_))));
        drop(older);
        Staging::open(&target).unwrap();
    }

    #[test]
    fn two_builds_do_not_share_a_staging_folder() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("out");
        let _first = Staging::open(&target).unwrap();
        assert!(matches!(Staging::open(&target), Err(OutputError::Busy(_))));
    }
}
