//! A tree as an unprivileged user can have it: files, folders, links, permission bits and times.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use graven_image::tree::{InodeId, Kind, Metadata, Tree};

use super::{ExtractError, Selected, copy, describe, print};

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Regular files, each name counted.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Device nodes, pipes and sockets that only root could make; [`to_tar`](super::to_tar) keeps them.
    pub skipped: Vec<String>,
}

/// Copies a file or folder of a tree to `dest`, which must not exist.
///
/// Owners, extended attributes, set-uid, set-gid and sticky bits are left out: a file that an image made set-uid must
/// not become so on the machine that looks into it.
///
/// # Errors
/// Where `dest` exists, or the image or the file system fails; what was written so far stays.
pub fn to_folder(tree: &Tree, start: InodeId, dest: &Path) -> Result<Extracted, ExtractError> {
    let mut done = Extracted::default();
    let mut first_names: HashMap<InodeId, PathBuf> = HashMap::new();
    let mut directories: Vec<(PathBuf, &Metadata)> = Vec::new();
    for entry in tree.below(start) {
        // `join` with an empty path would add a slash.
        let path = match entry.path.is_empty() {
            true => dest.to_owned(),
            false => dest.join(OsStr::from_bytes(&entry.path)),
        };
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => ExtractError::Exists(path.clone()),
            _ => ExtractError::Io { what: describe(path.as_os_str().as_bytes()), source },
        };
        match &entry.inode.kind {
            Kind::Directory(_) => {
                DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
                directories.push((path, &entry.inode.metadata));
                done.directories = done.directories.saturating_add(1);
            }
            Kind::File(content) => {
                match first_names.get(&entry.id) {
                    Some(first) => fs::hard_link(first, &path).map_err(failed)?,
                    None => {
                        let file = new_file(&path).map_err(failed)?;
                        let mut out = BufWriter::new(file);
                        copy(&content.window(), &mut out).map_err(failed)?;
                        let file =
                            out.into_inner().map_err(io::IntoInnerError::into_error).map_err(failed)?;
                        settle(&file, &entry.inode.metadata).map_err(failed)?;
                        first_names.insert(entry.id, path.clone());
                    }
                }
                done.files = done.files.saturating_add(1);
            }
            Kind::Symlink(target) => {
                symlink(OsStr::from_bytes(target), &path).map_err(failed)?;
                done.symlinks = done.symlinks.saturating_add(1);
            }
            other @ (Kind::CharDevice(_) | Kind::BlockDevice(_) | Kind::Fifo | Kind::Socket) => {
                done.skipped.push(format!("{} ({})", describe(&entry.path), other.noun()));
            }
        }
    }
    // Last, and the inner ones first: a folder may be read-only.
    for (path, metadata) in directories.iter().rev() {
        let failed = |source| ExtractError::Io { what: describe(path.as_os_str().as_bytes()), source };
        File::open(path).and_then(|folder| settle(&folder, metadata)).map_err(failed)?;
    }
    Ok(done)
}

/// Writes a part, a partition or a file to a new file.
///
/// # Errors
/// Where `dest` exists, and what reading and writing say.
pub fn to_new_file(selected: &Selected, dest: &Path) -> Result<(), ExtractError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => ExtractError::Exists(dest.to_owned()),
        _ => ExtractError::Io { what: dest.display().to_string(), source },
    };
    let mut out = BufWriter::new(new_file(dest).map_err(failed)?);
    print(selected, &mut out)?;
    out.flush().map_err(failed)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error).map_err(failed)?;
    file.set_permissions(Permissions::from_mode(0o644)).map_err(failed)
}

/// Never follows a symbolic link: `O_CREAT|O_EXCL` fails on one.
fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn settle(file: &File, metadata: &Metadata) -> io::Result<()> {
    let time = u64::try_from(metadata.mtime)
        .ok()
        .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    if let Some(time) = time {
        file.set_modified(time)?;
    }
    file.set_permissions(Permissions::from_mode(u32::from(metadata.mode & 0o777)))
}
