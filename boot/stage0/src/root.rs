//! Step 6: the root file system.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use graven_handoff::{Code, Verified};
use rustix::fs::{
    Mode, OFlags, ResolveFlags, StatVfsMountFlags, fstat, fstatvfs, major, minor, open, openat2,
};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::failure::{Failure, OrFail};
use crate::sys;
use crate::verity::Device;

/// Where the root is mounted until the initramfs is left.
pub(crate) const ROOT: &str = "/root";
/// How a folder is opened that something is mounted on or looked up below.
pub(crate) const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Mounts the verified device read-only, and looks that this is what is there afterwards.
pub(crate) fn mount(root: &Verified, device: &Device) -> Result<(), Failure> {
    match std::fs::create_dir(ROOT) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Failure::new(Code::RootMount, format!("{ROOT}: {error}")));
        }
        _ => {}
    }
    let options = CString::new(root.options.as_str()).or_fail(Code::RootMount, "options")?;
    rustix::mount::mount(&*device.path, ROOT, &*root.file_system, MountFlags::RDONLY, options.as_c_str())
        .or_fail(Code::RootMount, format_args!("{} {}", root.file_system, device.path))?;

    let root = open(ROOT, FOLDER, Mode::empty()).or_fail(Code::RootMount, ROOT)?;
    is_verified(&root, device)
}

/// Holds that what is mounted at `folder` is this device, and read-only. IPE goes by the file system's own device: only when
/// that is the verity device do its properties hold.
pub(crate) fn is_verified(folder: &OwnedFd, device: &Device) -> Result<(), Failure> {
    let flags = fstatvfs(folder).or_fail(Code::RootNotVerified, "statvfs")?.f_flag;
    if !flags.contains(StatVfsMountFlags::RDONLY) {
        return Err(Failure::new(Code::RootNotVerified, "it is writable"));
    }
    let number = fstat(folder).or_fail(Code::RootNotVerified, "stat")?.st_dev;
    if (major(number), minor(number)) != (device.major, device.minor) {
        let detail = format!(
            "expected device {}:{}, found {}:{}",
            device.major,
            device.minor,
            major(number),
            minor(number)
        );
        return Err(Failure::new(Code::RootNotVerified, detail));
    }
    Ok(())
}

/// Asks the kernel, while everything can still be said plainly, whether it will run the root's init: a policy for another
/// root hash is found here.
pub(crate) fn lets_run(init: &str) -> Result<(), Failure> {
    let root = open(ROOT, FOLDER, Mode::empty()).or_fail(Code::RootMount, ROOT)?;
    let file = openat2(&root, init, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT)
        .or_fail(Code::Init, init)?;
    match sys::would_execute(&file.into()) {
        Ok(()) => Ok(()),
        // A kernel before 6.14 cannot be asked; it refuses when the time comes.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(()),
        Err(error) => Err(Failure::new(Code::InitRefused, format!("{init}: {error}"))),
    }
}
