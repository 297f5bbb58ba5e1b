//! Making a FIT.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;

use graven_targets::Arch;

use super::read::board_compatible;
use super::{Compression, FitError, Hash};
use crate::fdt::{Node, Property, Tree};

/// What goes into a FIT.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// `description`, for people.
    pub description: &'a str,
    /// `timestamp`, Unix seconds.
    pub timestamp: u32,
    /// Digest of every image's `hash-1`.
    pub hash: Hash,
    /// What the images are for.
    pub arch: Arch,
    /// The images, in the order in which they stand in the file.
    pub images: Vec<ImageParts<'a>>,
    /// The configurations; the first is the default.
    pub configurations: Vec<ConfigurationParts>,
}

/// An image to be.
#[derive(Clone, Debug)]
pub struct ImageParts<'a> {
    name: String,
    kind: Kind,
    compression: Compression,
    data: Cow<'a, [u8]>,
}

/// What an image is, and where U-Boot puts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Linux kernel.
    Kernel(Address),
    /// A device tree; U-Boot finds room for it.
    DeviceTree,
    /// A device tree overlay, with the address that U-Boot loads it to before it applies it.
    Overlay(u64),
    /// An initramfs, compressed in the kernel's ways or not, for the kernel to unpack; U-Boot finds room for it.
    Ramdisk,
}

/// Where a kernel goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// First byte in memory.
    pub load: u64,
    /// Where it is entered.
    pub entry: u64,
}

/// A configuration to be.
#[derive(Clone, Debug, Default)]
pub struct ConfigurationParts {
    /// Its name, as in `bootm ADDRESS#NAME`.
    pub name: String,
    /// `description`, for people.
    pub description: String,
    /// The boards that it is for; where none is given, those of its device tree.
    pub compatible: Vec<String>,
    /// Name of the kernel's image.
    pub kernel: String,
    /// Name of the initramfs' image.
    pub ramdisk: Option<String>,
    /// Names of the device tree's image, then of its overlays'.
    pub fdt: Vec<String>,
}

impl<'a> ImageParts<'a> {
    /// An image with this data, not compressed for U-Boot.
    pub fn new(name: &str, kind: Kind, data: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { name: name.to_owned(), kind, compression: Compression::None, data: data.into() }
    }

    /// The image with its data compressed. Not for a ramdisk, which U-Boot hands on as it is.
    pub fn compressed(mut self, compression: Compression) -> io::Result<Self> {
        if self.kind != Kind::Ramdisk {
            self.data = Cow::Owned(compression.compress(&self.data)?);
            self.compression = compression;
        }
        Ok(self)
    }

    /// The image with data that is compressed already.
    #[must_use]
    pub fn already(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    fn node(&self, arch: Arch, hash: Hash) -> Node<'_> {
        let value = Property::bytes("value", hash.digest(&self.data));
        let node = Node::new(self.name.as_str())
            .with(Property::text("description", self.kind.description()))
            .with(Property::text("type", self.kind.name()))
            .with(Property::text("arch", arch_name(arch)))
            .with(Property::text("compression", self.compression.name()));
        let node = match self.kind {
            Kind::DeviceTree => node,
            Kind::Ramdisk => node.with(Property::text("os", "linux")),
            Kind::Overlay(load) => node.with(Property::number("load", load)),
            Kind::Kernel(Address { load, entry }) => node
                .with(Property::text("os", "linux"))
                .with(Property::number("load", load))
                .with(Property::number("entry", entry)),
        };
        node.with(Property::bytes("data", &*self.data))
            .with_child(Node::new("hash-1").with(Property::text("algo", hash.name())).with(value))
    }
}

impl Kind {
    /// The value of `type`.
    const fn name(self) -> &'static str {
        match self {
            Self::Kernel(_) => "kernel",
            Self::DeviceTree | Self::Overlay(_) => "flat_dt",
            Self::Ramdisk => "ramdisk",
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Kernel(_) => "Linux",
            Self::DeviceTree => "device tree",
            Self::Overlay(_) => "device tree overlay",
            Self::Ramdisk => "initramfs",
        }
    }
}

/// Makes a FIT with all data embedded and nothing signed yet; for [`super::sign`]. The same parts always give the same
/// bytes.
///
/// # Errors
/// Where a configuration names an image that is missing or of the wrong kind, an image or configuration is named twice or
/// not as a node can be, or a device tree is none.
pub fn build(parts: &Parts<'_>) -> Result<Vec<u8>, FitError> {
    check_names(parts)?;
    let mut images = Node::new("images");
    for image in &parts.images {
        images = images.with_child(image.node(parts.arch, parts.hash));
    }
    let default = parts.configurations.first().map(|first| first.name.as_str());
    let default = default.ok_or_else(|| FitError::Parts("there is no configuration".to_owned()))?;
    let mut configurations = Node::new("configurations").with(Property::text("default", default));
    for configuration in &parts.configurations {
        configurations = configurations.with_child(configuration_node(configuration, &parts.images)?);
    }
    let addresses = parts.images.iter().flat_map(|image| match image.kind {
        Kind::Kernel(Address { load, entry }) => vec![load, entry],
        Kind::Overlay(load) => vec![load],
        Kind::DeviceTree | Kind::Ramdisk => Vec::new(),
    });
    let cells = if addresses.into_iter().all(|address| u32::try_from(address).is_ok()) { 1 } else { 2 };
    let root = Node::new("")
        .with(Property::text("description", parts.description))
        .with(Property::cell("timestamp", parts.timestamp))
        .with(Property::cell("#address-cells", cells))
        .with_child(images)
        .with_child(configurations);
    Ok(Tree::new(root)?.to_bytes()?)
}

fn configuration_node<'a>(
    configuration: &'a ConfigurationParts,
    images: &[ImageParts<'_>],
) -> Result<Node<'a>, FitError> {
    let refused = |reason: String| FitError::Configuration { name: configuration.name.clone(), reason };
    let image = |name: &str, what: &str, right: fn(Kind) -> bool| {
        let image = images.iter().find(|image| image.name == name);
        let image = image.ok_or_else(|| refused(format!("its {what} «{name}» is no image of the FIT")))?;
        match right(image.kind) {
            true => Ok(image),
            false => Err(refused(format!("its {what} «{name}» is a {}", image.kind.description()))),
        }
    };
    image(&configuration.kernel, "kernel", |kind| matches!(kind, Kind::Kernel(_)))?;
    if let Some(ramdisk) = &configuration.ramdisk {
        image(ramdisk, "ramdisk", |kind| kind == Kind::Ramdisk)?;
    }
    let mut compatible = configuration.compatible.clone();
    if let Some((device_tree, overlays)) = configuration.fdt.split_first() {
        let device_tree = image(device_tree, "device tree", |kind| kind == Kind::DeviceTree)?;
        if device_tree.compression == Compression::None {
            let tree = Tree::parse(&device_tree.data)?;
            if compatible.is_empty() {
                compatible = board_compatible(&tree);
            }
        }
        for overlay in overlays {
            image(overlay, "overlay", |kind| matches!(kind, Kind::Overlay(_)))?;
        }
    }
    let texts = |name, texts: &[String]| Property::texts(name, texts.iter().map(String::as_str));
    let mut node = Node::new(configuration.name.as_str())
        .with(Property::text("description", &configuration.description));
    if !compatible.is_empty() {
        node = node.with(texts("compatible", &compatible));
    }
    node = node.with(Property::text("kernel", &configuration.kernel));
    if !configuration.fdt.is_empty() {
        node = node.with(texts("fdt", &configuration.fdt));
    }
    if let Some(ramdisk) = &configuration.ramdisk {
        node = node.with(Property::text("ramdisk", ramdisk));
    }
    Ok(node)
}

/// Names of images and configurations: letters, digits and a few signs, so that no shell or path takes them for more.
fn check_names(parts: &Parts<'_>) -> Result<(), FitError> {
    let images = parts.images.iter().map(|image| image.name.as_str());
    let configurations = parts.configurations.iter().map(|configuration| configuration.name.as_str());
    let mut seen = BTreeSet::new();
    for name in images.chain(configurations) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(plain) {
            let expected = format!("1 to {LONGEST_NAME} of A-Z a-z 0-9 . _ + -");
            return Err(FitError::Parts(format!("«{name}» cannot be a name in a FIT: expected {expected}")));
        }
        if !seen.insert(name) {
            return Err(FitError::Parts(format!("two images or configurations are named «{name}»")));
        }
    }
    let texts = parts.configurations.iter().map(|configuration| configuration.description.as_str());
    if texts.chain([parts.description]).any(|text| text.contains('\0')) {
        return Err(FitError::Parts("a description has a NUL in it".to_owned()));
    }
    Ok(())
}

/// U-Boot's name of an architecture (`boot/image.c`, `uimage_arch`).
pub const fn arch_name(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "x86_64",
        Arch::Aarch64 => "arm64",
        Arch::Arm => "arm",
    }
}

/// Keeps the paths of hash nodes well inside U-Boot's buffer of 200 bytes.
const LONGEST_NAME: usize = 64;
