//! Step 6: the other file systems.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use graven_handoff::{Code, Contents, Mount, MountSource, OnDamage, Plan, Programs};
use rustix::fs::{Mode, ResolveFlags, open, openat2};
use rustix::mount::MountFlags;

use crate::copy;
use crate::failure::{Failure, OrFail};
use crate::partitions::Found;
use crate::root::{self, FOLDER, ROOT};
use crate::verity::Device;

/// Where a tmpfs is filled before it is put in its place, over what it is filled from.
const FILLED: &str = "/filled";

/// Mounts them in the plan's order.
pub(crate) fn mount(plan: &Plan, found: &Found) -> Result<(), Failure> {
    // What the state is bound over is not copied as well.
    let persisted = plan.state.iter().flat_map(|state| &state.persist);
    let persisted: Vec<PathBuf> = persisted.map(|path| format!("{ROOT}{path}").into()).collect();
    for mount in &plan.mounts {
        let target = target(&mount.target)?;
        let (flags, options) = flags(&mount.options);
        match (mount_at(&target, mount, found, flags, &options, &persisted), mount.on_damage) {
            (Ok(()), _) => {}
            (Err(failure), OnDamage::Fail) => return Err(failure),
            (Err(failure), OnDamage::Volatile) => {
                failure.warn(&format!("an empty tmpfs takes its place on {}", mount.target));
                rustix::mount::mount("tmpfs", path(&target), "tmpfs", flags, c"mode=0755")
                    .or_fail(Code::Mount, format_args!("tmpfs on {}", mount.target))?;
            }
        }
    }
    Ok(())
}

/// Mounts the volumes, read-only, each as what was verified.
pub(crate) fn mount_volumes(plan: &Plan, devices: &[Device]) -> Result<(), Failure> {
    for (volume, device) in plan.volumes.iter().zip(devices) {
        let mut flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        if volume.programs == Programs::Noexec {
            flags |= MountFlags::NOEXEC;
        }
        let mount = || {
            let image = &volume.image;
            let options = CString::new(image.options.as_str()).or_fail(Code::Mount, "options")?;
            let folder = target(&volume.target)?;
            rustix::mount::mount(
                &*device.path,
                path(&folder),
                &*image.file_system,
                flags,
                options.as_c_str(),
            )
            .or_fail(Code::Mount, format_args!("{} on {}", image.file_system, volume.target))?;
            // Looked up again: what was opened before lies below the mount.
            root::is_verified(&target(&volume.target)?, device)
        };
        mount().map_err(|failure| failure.of(format_args!("volume {}", volume.name)))?;
    }
    Ok(())
}

/// The folder to mount on. No symbolic link is followed: below an earlier mount it could have been written by anyone.
fn target(target: &str) -> Result<OwnedFd, Failure> {
    let root = open(ROOT, FOLDER, Mode::empty()).or_fail(Code::Mount, ROOT)?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(&root, target, FOLDER, Mode::empty(), resolve).or_fail(Code::Mount, target)
}

fn path(folder: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", folder.as_raw_fd())
}

fn mount_at(
    target: &OwnedFd,
    mount: &Mount,
    found: &Found,
    flags: MountFlags,
    options: &str,
    persisted: &[PathBuf],
) -> Result<(), Failure> {
    let source = match mount.source {
        MountSource::Partition(uuid) => found.get(uuid, &mount.target)?.node(),
        MountSource::None => mount.file_system.clone(),
    };
    let options = CString::new(options).or_fail(Code::Mount, &mount.target)?;
    let mount_on = |place: &str| {
        rustix::mount::mount(&*source, place, &*mount.file_system, flags, options.as_c_str())
            .or_fail(Code::Mount, format_args!("{} {source} on {}", mount.file_system, mount.target))
    };
    match mount.contents {
        Contents::Empty => mount_on(&path(target)),
        Contents::Image => {
            std::fs::create_dir_all(FILLED).or_fail(Code::Mount, FILLED)?;
            mount_on(FILLED)?;
            let below = Path::new(ROOT).join(mount.target.trim_start_matches('/'));
            copy::below(&below, Path::new(FILLED), &|path| persisted.contains(&path.to_owned()))
                .or_fail(Code::Mount, format_args!("filling {}", mount.target))?;
            rustix::mount::mount_move(FILLED, path(target)).or_fail(Code::Mount, &mount.target)
        }
    }
}

/// Splits the plan's options into the kernel's flags and what the file system takes.
fn flags(options: &str) -> (MountFlags, String) {
    let mut flags = MountFlags::NOEXEC | MountFlags::NOSUID | MountFlags::NODEV;
    let mut rest = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "exec" => flags.remove(MountFlags::NOEXEC),
            "suid" => flags.remove(MountFlags::NOSUID),
            "dev" => flags.remove(MountFlags::NODEV),
            "noexec" | "nosuid" | "nodev" | "rw" => {}
            "ro" => flags.insert(MountFlags::RDONLY),
            "noatime" => flags.insert(MountFlags::NOATIME),
            "relatime" => flags.insert(MountFlags::RELATIME),
            "strictatime" => flags.insert(MountFlags::STRICTATIME),
            "nosymfollow" => flags.insert(MountFlags::NOSYMFOLLOW),
            "sync" => flags.insert(MountFlags::SYNCHRONOUS),
            other => rest.push(other),
        }
    }
    (flags, rest.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_closed_until_the_plan_opens_it() {
        let closed = MountFlags::NOEXEC | MountFlags::NOSUID | MountFlags::NODEV;
        assert_eq!(flags(""), (closed, String::new()));
        let (flags, rest) = flags("ro,exec,noatime,mode=0700,size=10%");
        assert_eq!(flags, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RDONLY | MountFlags::NOATIME);
        assert_eq!(rest, "mode=0700,size=10%");
    }
}
