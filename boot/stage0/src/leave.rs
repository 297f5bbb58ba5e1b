//! Step 8: out of the initramfs, into the root's init.

use std::convert::Infallible;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use graven_handoff::{Code, Init};
use rustix::mount::{UnmountFlags, mount_move, unmount};
use rustix::process::{chdir, chroot, pivot_root};

use crate::failure::{Failure, OrFail};
use crate::pseudo::MOVED;
use crate::root::ROOT;
use crate::sys;

/// Makes the root `/` and leaves nothing of the initramfs.
pub(crate) fn initramfs() -> Result<(), Failure> {
    let own = Path::new("/").metadata().or_fail(Code::Leave, "/")?.dev();
    for folder in MOVED {
        let target = format!("{ROOT}{folder}");
        // Not through a symbolic link: it would be resolved in the initramfs.
        if Path::new(&target).symlink_metadata().is_ok_and(|target| target.is_dir()) {
            mount_move(folder, &target).or_fail(Code::Leave, &target)?;
        } else {
            unmount(folder, UnmountFlags::DETACH).or_fail(Code::Leave, folder)?;
        }
    }
    chdir(ROOT).or_fail(Code::Leave, ROOT)?;
    // Where the initramfs is a mount of its own (7.x), it is swapped with the root and unmounted as a whole.
    if pivot_root(".", ".").is_ok() {
        unmount(".", UnmountFlags::DETACH).or_fail(Code::Leave, "the initramfs")?;
    } else {
        // Where it is the kernel's first root, it is emptied, and the root moved over it.
        empty(Path::new("/"), own);
        mount_move(".", "/").or_fail(Code::Leave, "moving the root to /")?;
        chroot(".").or_fail(Code::Leave, "chroot")?;
    }
    chdir("/").or_fail(Code::Leave, "/")?;
    let now = Path::new("/").metadata().or_fail(Code::Leave, "/")?.dev();
    if now == own { Err(Failure::new(Code::Leave, "/ is still the initramfs")) } else { Ok(()) }
}

/// Deletes what is on the file system `own` below `folder`, and goes to no other. What cannot be deleted only takes room.
fn empty(folder: &Path, own: u64) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(metadata) = path.symlink_metadata() else { continue };
        if metadata.dev() != own {
            continue;
        }
        if metadata.is_dir() {
            empty(&path, own);
            let _ = std::fs::remove_dir(&path);
        } else {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Becomes the image's init, with the plan's arguments and environment and descriptors 0 to 2.
pub(crate) fn become_init(init: &Init) -> Result<Infallible, Failure> {
    sys::close_on_exec_from(3).or_fail(Code::Init, "close_range")?;
    let environment = init.environment.iter().map(|(name, value)| (name, value));
    let error = Command::new(&init.path).args(&init.arguments).env_clear().envs(environment).exec();
    let hint = match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            " (the policy denies it, or it is not executable: see the audit records above)"
        }
        _ => "",
    };
    Err(Failure::new(Code::Init, format!("{}: {error}{hint}", init.path)))
}
