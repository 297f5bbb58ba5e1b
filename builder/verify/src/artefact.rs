//! The boot artefact taken apart, whichever firmware starts it.

use std::borrow::Cow;

use graven_boot::uki::Uki;
use graven_targets::BootChain;

use crate::links::explain;

/// What a boot artefact binds together. A part that cannot be read is the reason in words: other parts can still be judged.
#[derive(Debug)]
pub(crate) struct Artefact<'a> {
    /// What starts it.
    pub(crate) chain: BootChain,
    /// The kernel command line.
    pub(crate) command_line: Result<&'a str, String>,
    /// The initramfs, as the kernel unpacks it.
    pub(crate) initrd: Result<&'a [u8], String>,
    /// The kernel, as it is started; zeros can follow it.
    pub(crate) kernel: Result<Cow<'a, [u8]>, String>,
    /// What it says that `uname -r` is.
    pub(crate) release: &'a str,
    /// os-release, for the profile.
    pub(crate) os_release: &'a str,
}

impl<'a> From<&Uki<'a>> for Artefact<'a> {
    fn from(uki: &Uki<'a>) -> Self {
        Self {
            chain: BootChain::Uki,
            command_line: uki.cmdline().map_err(|error| explain(&error)),
            initrd: uki.initrd().map_err(|error| explain(&error)),
            kernel: uki.linux().map(Cow::Borrowed).map_err(|error| explain(&error)),
            release: uki.uname().unwrap_or_default(),
            os_release: uki.os_release().unwrap_or_default(),
        }
    }
}
