//! The IPE policy compiled into a kernel (`CONFIG_IPE_BOOT_POLICY`): active before the first program runs.
//!
//! The configuration names the file it was made from, not what it says; `scripts/ipe/polgen` turns that into one C string.

use graven_ipe::Policy;

/// Bytes on either side of a policy's name in which its text must begin and end.
const LONGEST: usize = 64 << 10;

/// The policy in a decompressed kernel; `None` where there is none that the kernel could read, or more than one.
pub(super) fn find(kernel: &[u8]) -> Option<Policy> {
    const NAME: &[u8] = b"policy_name=";
    let mut policies: Vec<Policy> = Vec::new();
    for (at, _) in kernel.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME) {
        // The kernel's own words (audit records, the parser's tokens) hold the name too, and are no policies.
        let Some(policy) = string_around(kernel, at).and_then(|text| Policy::parse(text).ok()) else {
            continue;
        };
        if !policies.contains(&policy) {
            policies.push(policy);
        }
    }
    match policies.len() {
        1 => policies.pop(),
        _ => None,
    }
}

/// The C string that this offset lies in.
fn string_around(kernel: &[u8], at: usize) -> Option<&[u8]> {
    let (before, after) = kernel.split_at_checked(at)?;
    let length_before = before.iter().rev().take(LONGEST).position(|&byte| byte == 0)?;
    let length_after = after.iter().take(LONGEST).position(|&byte| byte == 0)?;
    kernel.get(at.checked_sub(length_before)?..at.checked_add(length_after)?)
}
