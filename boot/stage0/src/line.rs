//! Step 2: the kernel's command line against its signed copy.

use graven_handoff::{Binding, Code, Plan, compare, initramfs};

use crate::failure::{Failure, OrFail};

const KERNELS: &str = "/proc/cmdline";

/// Holds the whole line against the signed one, then takes Graven's words out of the **signed** one.
pub(crate) fn hold_against_signed(plan: &Plan) -> Result<Binding, Failure> {
    let signed = std::fs::read(initramfs::COMMAND_LINE).or_fail(Code::SignedLine, initramfs::COMMAND_LINE)?;
    let actual = std::fs::read(KERNELS).or_fail(Code::CommandLine, KERNELS)?;
    // The kernel puts one newline behind its line.
    let actual = actual.strip_suffix(b"\n").unwrap_or(&actual);
    compare(actual, &signed, &plan.additions)
        .map_err(|mismatch| Failure::new(Code::CommandLine, mismatch))?;
    let signed = std::str::from_utf8(&signed).or_fail(Code::SignedLine, initramfs::COMMAND_LINE)?;
    Binding::parse(signed).map_err(|error| Failure::new(Code::Binding, error))
}
