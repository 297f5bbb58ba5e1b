//! Step 1: the kernel's own file systems.

use graven_handoff::Code;
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::failure::{Failure, OrFail};

/// Refuses to run as anything but the kernel's first program, where its failure would reboot somebody's machine.
pub(crate) fn be_the_first_process() -> Result<(), Failure> {
    match std::process::id() {
        1 => Ok(()),
        id => Err(Failure::new(Code::NotInit, format!("it is process {id}"))),
    }
}

/// Folders that are moved into the root at the end, where it has them.
pub(crate) const MOVED: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Mounts proc, sysfs, devtmpfs and securityfs.
pub(crate) fn mount() -> Result<(), Failure> {
    let locked = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let devices = MountFlags::NOSUID | MountFlags::NOEXEC;
    // Devices first: without them no failure could be told.
    mount_one("devtmpfs", "/dev", devices, c"mode=0755")?;
    mount_one("proc", "/proc", locked, c"")?;
    mount_one("sysfs", "/sys", locked, c"")?;
    mount_one("securityfs", "/sys/kernel/security", locked, c"")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // 0 to 2 were opened by the kernel, if at all, on the initramfs's own node.
    let console = rustix::fs::open(
        "/dev/console",
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    );
    // A machine without any console still boots; init then gets /dev/null.
    let input = console.or_else(|_| {
        rustix::fs::open(
            "/dev/null",
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
    });
    let input = input.or_fail(Code::Pseudo, "/dev/null")?;
    rustix::stdio::dup2_stdin(&input).or_fail(Code::Pseudo, "standard input")?;
    rustix::stdio::dup2_stdout(&input).or_fail(Code::Pseudo, "standard output")?;
    rustix::stdio::dup2_stderr(&input).or_fail(Code::Pseudo, "standard error")?;
    if rustix::fd::AsRawFd::as_raw_fd(&input) <= 2 {
        // It already is one of the three, and must not be closed when it goes out of scope.
        std::mem::forget(input);
    }
    Ok(())
}

fn mount_one(kind: &str, target: &str, flags: MountFlags, data: &std::ffi::CStr) -> Result<(), Failure> {
    match std::fs::create_dir(target) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Failure::new(Code::Pseudo, format!("{target}: {error}")));
        }
        _ => {}
    }
    match rustix::mount::mount(kind, target, kind, flags, data) {
        // The kernel may have mounted it itself (CONFIG_DEVTMPFS_MOUNT).
        Ok(()) | Err(Errno::BUSY) => Ok(()),
        Err(error) => Err(Failure::new(Code::Pseudo, format!("{kind} on {target}: {error}"))),
    }
}
