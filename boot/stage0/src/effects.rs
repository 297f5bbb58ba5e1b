//! Step 2: whether what the command line asks for has come about.

use graven_handoff::{Code, KernelLockdown, Plan, SecureBoot};
use rustix::mount::MountFlags;

use crate::failure::{Failure, OrFail};

const ACTIVE_MODULES: &str = "/sys/kernel/security/lsm";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
const EFI_VARIABLES: &str = "/sys/firmware/efi/efivars";

/// Linux security modules and the lockdown level.
pub(crate) fn check(plan: &Plan) -> Result<(), Failure> {
    let active = std::fs::read_to_string(ACTIVE_MODULES).or_fail(Code::Lsm, ACTIVE_MODULES)?;
    let demanded = plan.security_modules.iter().map(String::as_str);
    // No plan can do without IPE.
    for module in std::iter::once("ipe").chain(demanded) {
        if !active.trim().split(',').any(|name| name == module) {
            return Err(Failure::new(Code::Lsm, format!("expected {module}, found {}", active.trim())));
        }
    }
    if plan.kernel_lockdown == KernelLockdown::None {
        return Ok(());
    }
    let levels = std::fs::read_to_string(LOCKDOWN).or_fail(Code::Lockdown, LOCKDOWN)?;
    match lockdown_level(&levels) {
        Some(level) if level >= plan.kernel_lockdown => Ok(()),
        _ => {
            let found = levels.trim();
            Err(Failure::new(Code::Lockdown, format!("expected {}, found {found}", plan.kernel_lockdown)))
        }
    }
}

/// The level in brackets: `none [integrity] confidentiality`.
fn lockdown_level(levels: &str) -> Option<KernelLockdown> {
    let (_, rest) = levels.split_once('[')?;
    let (level, _) = rest.split_once(']')?;
    KernelLockdown::from_word(level)
}

/// Secure Boot as the firmware's variables have it. Comes after the modules, since `efivarfs` may be one.
pub(crate) fn secure_boot(plan: &Plan) -> Result<(), Failure> {
    if plan.secure_boot == SecureBoot::NotRequired {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    rustix::mount::mount("efivarfs", EFI_VARIABLES, "efivarfs", flags, None)
        .or_fail(Code::SecureBoot, format_args!("efivarfs on {EFI_VARIABLES}"))?;
    let checked = efi_flag("SecureBoot", 1).and_then(|()| efi_flag("SetupMode", 0));
    // Left as it was found: the root's init mounts it as it likes.
    rustix::mount::unmount(EFI_VARIABLES, rustix::mount::UnmountFlags::empty())
        .or_fail(Code::SecureBoot, EFI_VARIABLES)?;
    checked
}

/// A global variable of one byte, behind its four bytes of attributes.
fn efi_flag(name: &str, expected: u8) -> Result<(), Failure> {
    let path = format!("{EFI_VARIABLES}/{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    let content = std::fs::read(&path).or_fail(Code::SecureBoot, name)?;
    match content.as_slice() {
        [_, _, _, _, value] if *value == expected => Ok(()),
        [_, _, _, _, value] => {
            Err(Failure::new(Code::SecureBoot, format!("{name}: expected {expected}, found {value}")))
        }
        other => {
            Err(Failure::new(Code::SecureBoot, format!("{name}: expected 5 bytes, found {}", other.len())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_in_brackets_counts() {
        assert_eq!(lockdown_level("none [integrity] confidentiality\n"), Some(KernelLockdown::Integrity));
        assert_eq!(lockdown_level("[none] integrity confidentiality\n"), Some(KernelLockdown::None));
        assert_eq!(lockdown_level("none integrity confidentiality\n"), None);
        assert!(KernelLockdown::Confidentiality > KernelLockdown::Integrity);
    }
}
