//! Kernel settings below `/proc/sys`.

use graven_handoff::Code;

use crate::failure::{Failure, OrFail};

const HELPER_SETS: [&str; 2] =
    ["/proc/sys/kernel/usermodehelper/bset", "/proc/sys/kernel/usermodehelper/inheritable"];
const CAP_SYS_MODULE: u32 = 16;

/// Takes all capabilities from the kernel's helper programs, except, where modules may be loaded on demand, the one for
/// that. The kernel only ever narrows these sets.
pub(super) fn helpers(module_autoload: bool) -> Result<(), Failure> {
    let low = if module_autoload { 1u32 << CAP_SYS_MODULE } else { 0 };
    for path in HELPER_SETS {
        // Two words of 32 bits, the low one first.
        let wanted = format!("{low}\t0");
        std::fs::write(path, &wanted).or_fail(Code::HelperCapabilities, path)?;
        let found = std::fs::read_to_string(path).or_fail(Code::HelperCapabilities, path)?;
        if !found.split_ascii_whitespace().eq(wanted.split_ascii_whitespace()) {
            let detail = format!("{path}: expected {wanted}, found {}", found.trim());
            return Err(Failure::new(Code::HelperCapabilities, detail));
        }
    }
    Ok(())
}

/// As [`set`]; a kernel that was built without the setting was built without what it switches off.
pub(super) fn set_where_there_is(path: &str, value: &str) -> Result<(), Failure> {
    match std::fs::exists(path) {
        Ok(false) => Ok(()),
        _ => set(path, value),
    }
}

/// Sets one value and reads it back.
pub(super) fn set(path: &str, value: &str) -> Result<(), Failure> {
    std::fs::write(path, value).or_fail(Code::Sysctl, path)?;
    let found = std::fs::read_to_string(path).or_fail(Code::Sysctl, path)?;
    if found.trim() == value {
        Ok(())
    } else {
        Err(Failure::new(Code::Sysctl, format!("{path}: expected {value}, found {}", found.trim())))
    }
}
