//! The stage0 programs that this Graven carries inside.

use graven_targets::Arch;

/// A target for whose processor there is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "this graven carries no stage0 for {0}: build graven where rustup has the target {0}-unknown-linux-musl, or give \
     one with --stage0 FILE"
)]
pub struct Missing(&'static str);

/// The program for an architecture, a static ELF.
///
/// # Errors
/// Where this Graven was built without one.
pub fn carried(arch: Arch) -> Result<&'static [u8], Missing> {
    match arch {
        #[cfg(stage0_x86_64)]
        Arch::X86_64 => Ok(include_bytes!(env!("GRAVEN_STAGE0_X86_64_FILE"))),
        #[cfg(stage0_aarch64)]
        Arch::Aarch64 => Ok(include_bytes!(env!("GRAVEN_STAGE0_AARCH64_FILE"))),
        other => Err(Missing(other.name())),
    }
}
