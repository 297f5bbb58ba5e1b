//! The state's entries: one for each persisted path, made from what the verified root has there.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use graven_handoff::{Code, State, seed};
use rustix::fs::{
    CWD, Mode, OFlags, ResolveFlags, fchmod, fchown, mkdirat, open, openat, openat2, renameat, syncfs,
};
use rustix::mount::mount;
use rustix::process::{Gid, Uid};

use super::identity::{MACHINE_ID, is_machine_id, machine_id};
use super::{CLOSED, STATE, SUBSTITUTE, make_folder};
use crate::copy;
use crate::failure::{Failure, OrFail};
use crate::root::ROOT;

/// The two kinds of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
}

impl Kind {
    /// What the verified root has at a path, without following a link.
    pub(super) fn in_root(path: &str) -> io::Result<Kind> {
        let root = open(ROOT, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let metadata = File::from(openat2(&root, path, flags, Mode::empty(), resolve)?).metadata()?;
        Kind::of(&metadata).ok_or_else(|| io::Error::other("neither a file nor a folder"))
    }

    fn noun(self) -> &'static str {
        match self {
            Kind::File => "a file",
            Kind::Folder => "a folder",
        }
    }

    fn of(metadata: &fs::Metadata) -> Option<Kind> {
        match (metadata.is_file(), metadata.is_dir()) {
            (true, _) => Some(Kind::File),
            (_, true) => Some(Kind::Folder),
            _ => None,
        }
    }
}

/// Where an entry lies: in the state, or in the tmpfs for those that it has no room for.
pub(super) fn place(base: &str, path: &str) -> PathBuf {
    Path::new(base).join("persist").join(State::entry(path))
}

/// Makes all entries, in a state that has none.
pub(super) fn make_all(state: &State) -> Result<(), Failure> {
    for path in &state.persist {
        make(STATE, path).or_fail(Code::StateFormat, path)?;
    }
    Ok(())
}

/// Makes those that are not there, since this version of the image is the first to have them. One that the state has no
/// room for lies in a tmpfs until it has.
pub(super) fn make_missing(state: &State) -> Result<(), String> {
    for path in &state.persist {
        let missing = place(STATE, path).symlink_metadata().is_err();
        match if missing { make(STATE, path) } else { Ok(()) } {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                Failure::new(Code::StateDamaged, format!("{path}: {error}"))
                    .warn("it is full: a tmpfs takes this path's place");
                substitute(path).map_err(|error| format!("{path}: {error}"))?;
            }
            Err(error) => return Err(format!("{path}: {error}")),
        }
    }
    Ok(())
}

fn substitute(path: &str) -> io::Result<()> {
    if !Path::new(SUBSTITUTE).exists() {
        make_folder(SUBSTITUTE).map_err(|failure| io::Error::other(failure.detail().to_owned()))?;
        mount("tmpfs", SUBSTITUTE, "tmpfs", CLOSED, c"mode=0755")?;
    }
    make(SUBSTITUTE, path)
}

/// Makes one entry beside its place and moves it there when it is on the disk, so that it is whole or not there.
fn make(base: &str, path: &str) -> io::Result<()> {
    let new = Path::new(base).join("new");
    clear(&new)?;
    let source = PathBuf::from(format!("{ROOT}{path}"));
    Kind::in_root(path)?;
    copy::whole(&source, &new, &|_| false)?;
    if path == MACHINE_ID {
        fs::write(&new, machine_id()?)?;
    }
    syncfs(File::open(base)?)?;
    let place = place(base, path);
    if let Some(folder) = place.parent() {
        if !folder.exists() {
            fs::create_dir(folder)?;
        }
    }
    fs::rename(&new, &place)?;
    syncfs(File::open(base)?)?;
    Ok(())
}

/// Puts a file or folder of a seed into an entry, at `below` in it or as itself; no name in it is followed.
pub(super) fn put(
    path: &str,
    below: &str,
    kind: seed::Kind<'_>,
    mode: u32,
    (uid, gid): (u32, u32),
) -> io::Result<()> {
    let entry = place(STATE, path);
    let (folder, name) = match below.rsplit_once('/') {
        Some((folder, name)) => (inside(&entry, folder)?, name),
        None if below.is_empty() => (inside(&Path::new(STATE).join("persist"), "")?, ""),
        None => (inside(&entry, "")?, below),
    };
    let own_name = State::entry(path);
    let name = if below.is_empty() { &*own_name } else { name };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let there = openat(&folder, name, flags, Mode::empty()).ok().map(File::from);
    let there = there.map(|file| file.metadata()).transpose()?;
    match (kind, there) {
        (seed::Kind::Folder, Some(there)) if there.is_dir() => {}
        (seed::Kind::Folder, None) => mkdirat(&folder, name, Mode::from_raw_mode(0o700))?,
        (seed::Kind::File(contents), None) => write(&folder, name, contents)?,
        (seed::Kind::File(contents), Some(there)) if there.is_file() => write(&folder, name, contents)?,
        _ => return Err(io::Error::other("something of another kind is there")),
    }
    let made = openat(&folder, name, OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    fchmod(&made, Mode::from_raw_mode(mode))?;
    Ok(())
}

/// A folder of the state, reached without following a link.
fn inside(entry: &Path, below: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let entry = open(entry, flags, Mode::empty())?;
    if below.is_empty() {
        return Ok(entry);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    Ok(openat2(&entry, below, flags, Mode::empty(), resolve)?)
}

/// A new file, moved to its name when it is on the disk.
fn write(folder: &OwnedFd, name: &str, contents: &[u8]) -> io::Result<()> {
    let new = Path::new(STATE).join("new");
    clear(&new)?;
    let mut file = File::create_new(&new)?;
    file.write_all(contents)?;
    file.sync_all()?;
    renameat(CWD, &new, folder, name)?;
    Ok(())
}

/// What a boot left that was cut short.
fn clear(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// Every entry that is there is of its kind, and by itself: a link would lead elsewhere, a second name could be written
/// through another path.
pub(super) fn check_all(state: &State) -> Result<(), String> {
    let folder = Path::new(STATE).join("persist");
    let is_folder = folder.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    if !is_folder && !state.persist.is_empty() {
        return Err("its folder `persist` is missing".to_owned());
    }
    for path in &state.persist {
        let place = place(STATE, path);
        let metadata = match place.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            metadata => metadata.map_err(|error| format!("{path}: {error}"))?,
        };
        let expected = Kind::in_root(path).map_err(|error| format!("{path} in the root: {error}"))?;
        if Kind::of(&metadata) != Some(expected) {
            let found = match Kind::of(&metadata) {
                Some(kind) => kind.noun(),
                None if metadata.is_symlink() => "a symbolic link",
                None => "a special file",
            };
            return Err(format!("{path}: expected {}, found {found}", expected.noun()));
        }
        if expected == Kind::File && metadata.nlink() != 1 {
            return Err(format!("{path}: expected one name, found {}", metadata.nlink()));
        }
        if path == MACHINE_ID {
            let contents = fs::read(&place).map_err(|error| format!("{path}: {error}"))?;
            if !is_machine_id(&contents) {
                return Err(format!("{path}: expected 32 hexadecimal digits"));
            }
        }
    }
    Ok(())
}
