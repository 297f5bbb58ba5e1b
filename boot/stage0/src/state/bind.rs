//! From the state into the root.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use graven_handoff::{Code, Plan};
use rustix::fs::{Mode, OFlags, ResolveFlags, StatVfsMountFlags, fstatvfs, open, openat2};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_bind, mount_remount};

use super::entries::place;
use super::identity::MACHINE_ID;
use super::{CLOSED, STATE, SUBSTITUTE, close};
use crate::failure::{Failure, OrFail};
use crate::root::ROOT;

/// Binds every entry to its path, after all other mounts, and takes the state itself away: nothing else of it can be
/// reached.
pub(crate) fn bind(plan: &Plan) -> Result<(), Failure> {
    let Some(state) = &plan.state else { return Ok(()) };
    for path in &state.persist {
        bind_one(path, state.exec.contains(path))?;
    }
    close(SUBSTITUTE);
    close(STATE);
    Ok(())
}

fn bind_one(path: &str, exec: bool) -> Result<(), Failure> {
    let code = Code::Persist;
    let substitute = place(SUBSTITUTE, path);
    let entry = if substitute.symlink_metadata().is_ok() { substitute } else { place(STATE, path) };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let entry = open(&entry, flags, Mode::empty()).or_fail(code, entry.display())?;
    let target = match target(path) {
        Err(Errno::NOENT) => {
            make_target(path, &entry).or_fail(code, path)?;
            target(path)
        }
        found => found,
    };
    let target = target.or_fail(code, path)?;
    mount_bind(name(&entry), name(&target)).or_fail(code, path)?;

    // The mount is found under the path only now, and its flags are its own.
    let mounted = self::target(path).or_fail(code, path)?;
    let guards = if exec { CLOSED.difference(MountFlags::NOEXEC) } else { CLOSED };
    // Nobody but stage0 makes an identity.
    let read_only = if path == MACHINE_ID { MountFlags::RDONLY } else { MountFlags::empty() };
    mount_remount(name(&mounted), MountFlags::BIND | guards | read_only, c"").or_fail(code, path)?;
    let found = fstatvfs(&mounted).or_fail(code, path)?.f_flag;
    let closed = StatVfsMountFlags::NOSUID | StatVfsMountFlags::NODEV;
    match found.contains(closed) && found.contains(StatVfsMountFlags::NOEXEC) != exec {
        true => Ok(()),
        false => Err(Failure::new(code, format!("{path}: not as closed as it should be: {found:?}"))),
    }
}

/// What the root has at the path, other mounts in it included. No symbolic link is followed.
fn target(path: &str) -> Result<OwnedFd, Errno> {
    let root = open(ROOT, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(&root, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// In an empty tmpfs, what is bound over is made first. Only stage0 has been there, so no name can mislead.
fn make_target(path: &str, entry: &OwnedFd) -> std::io::Result<()> {
    let place = format!("{ROOT}{path}");
    let place = Path::new(&place);
    if let Some(folder) = place.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if std::fs::metadata(name(entry))?.is_dir() {
        std::fs::create_dir(place)
    } else {
        std::fs::File::create_new(place).map(drop)
    }
}

fn name(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
