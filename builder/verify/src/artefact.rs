//! The boot artefact taken apart, whichever firmware starts it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use graven_boot::fdt::{MAGIC, Tree};
use graven_boot::fit::{Fit, Image};
use graven_boot::uki::Uki;
use graven_targets::BootChain;

use crate::links::{explain, shown};

/// Most bytes that a kernel may have once decompressed.
const MOST_KERNEL_BYTES: u64 = 512 << 20;

/// What a boot artefact binds together. A part that cannot be read is the reason in words: other parts can still be judged.
#[derive(Debug)]
pub(crate) struct Artefact<'a> {
    /// What starts it.
    pub(crate) chain: BootChain,
    /// The kernel command line.
    pub(crate) command_line: Result<Cow<'a, str>, String>,
    /// The initramfs, as the kernel unpacks it.
    pub(crate) initrd: Result<&'a [u8], String>,
    /// The kernel, as it is started; zeros can follow it.
    pub(crate) kernel: Result<Cow<'a, [u8]>, String>,
    /// What it says that `uname -r` is; a FIT says nothing.
    pub(crate) release: Option<&'a str>,
    /// What it says that the image's profile is, as often as it says so.
    pub(crate) profiles: Vec<String>,
}

impl<'a> From<&Uki<'a>> for Artefact<'a> {
    fn from(uki: &Uki<'a>) -> Self {
        let os_release = uki.os_release().unwrap_or_default().lines();
        let profiles = os_release.filter_map(|line| line.strip_prefix("VARIANT_ID="));
        Self {
            chain: BootChain::Uki,
            command_line: uki.cmdline().map(Cow::Borrowed).map_err(|error| explain(&error)),
            initrd: uki.initrd().map_err(|error| explain(&error)),
            kernel: uki.linux().map(Cow::Borrowed).map_err(|error| explain(&error)),
            release: Some(uki.uname().unwrap_or_default()),
            profiles: profiles.map(|value| value.trim_matches('"').to_owned()).collect(),
        }
    }
}

impl<'a> From<&Fit<'a>> for Artefact<'a> {
    fn from(fit: &Fit<'a>) -> Self {
        let kernel = only(fit, "kernel").and_then(|image| {
            let kernel = image.decompressed(MOST_KERNEL_BYTES);
            kernel.map(Cow::Owned).map_err(|error| explain(&error))
        });
        // `NAME VERSION (PROFILE)`
        let description = fit.description().unwrap_or_default();
        let profile = description.rsplit_once(" (").and_then(|(_, rest)| rest.strip_suffix(')'));
        Self {
            chain: BootChain::Fit,
            command_line: bootargs(fit).map(Cow::Owned),
            initrd: only(fit, "ramdisk").map(|image| image.data),
            kernel,
            release: None,
            profiles: profile.map(str::to_owned).into_iter().collect(),
        }
    }
}

/// A FIT is a device tree; what is none is taken for a UKI.
pub(crate) fn chain_of(bytes: &[u8]) -> BootChain {
    if bytes.starts_with(&MAGIC.to_be_bytes()) { BootChain::Fit } else { BootChain::Uki }
}

/// The one image that every configuration names by this property.
fn only<'f, 'a>(fit: &'f Fit<'a>, property: &str) -> Result<&'f Image<'a>, String> {
    let mut named = BTreeSet::new();
    for configuration in fit.configurations() {
        let images: Vec<&str> = configuration.named_by(property).collect();
        let [image] = images.as_slice() else {
            let (name, found) = (shown(&configuration.name), images.len());
            return Err(format!("configuration {name}: expected one image as {property}, found {found}"));
        };
        named.insert((*image).to_owned());
    }
    let named: Vec<String> = named.into_iter().collect();
    match named.as_slice() {
        [name] => fit.image(name).ok_or_else(|| format!("there is no image {}", shown(name))),
        [] => Err("there is no configuration".to_owned()),
        several => {
            Err(format!("the configurations differ in their {property}: {}", shown(&several.join(", "))))
        }
    }
}

/// `/chosen/bootargs` of the configurations' device trees, which is one and the same line.
fn bootargs(fit: &Fit<'_>) -> Result<String, String> {
    let mut lines: Vec<(String, String)> = Vec::new();
    for configuration in fit.configurations() {
        let name = shown(&configuration.name);
        let image = configuration.named_by("fdt").next().and_then(|image| fit.image(image));
        let image = image.ok_or_else(|| {
            format!("configuration {name} has no device tree: the kernel would get a line that nobody signed")
        })?;
        let bytes = image.decompressed(MOST_DEVICE_TREE_BYTES).map_err(|error| explain(&error))?;
        let tree = Tree::parse(&bytes).map_err(|error| explain(&error))?;
        let line = tree.node("/chosen").and_then(|chosen| chosen.text("bootargs"));
        let line =
            line.ok_or_else(|| format!("the device tree of configuration {name} has no /chosen/bootargs"))?;
        lines.push((name, line.to_owned()));
    }
    let mut rest = lines.into_iter();
    let (first, line) = rest.next().ok_or("there is no configuration")?;
    match rest.find(|(_, other)| *other != line) {
        None => Ok(line),
        Some((other, _)) => {
            Err(format!("the configurations {first} and {other} have different command lines"))
        }
    }
}

/// Most bytes that a device tree may have.
const MOST_DEVICE_TREE_BYTES: u64 = 16 << 20;
