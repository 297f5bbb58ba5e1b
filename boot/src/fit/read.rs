//! Reading a FIT.

use std::borrow::Cow;

use super::region::SIGNATURE;
use super::{Compression, FitError};
use crate::compression::DecompressError;
use crate::fdt::{FdtError, Node, Tree};

/// A FIT whose layout has been checked: every image's data lies in the file, and no name can be taken for another.
/// Whether anyone signed it is for [`super::verify`] to say.
#[derive(Clone, Debug)]
pub struct Fit<'a> {
    bytes: &'a [u8],
    pub(super) tree: Tree<'a>,
    images: Vec<Image<'a>>,
    configurations: Vec<Configuration>,
    default: Option<String>,
}

/// An image: what is loaded as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// Its name, that of the node below `/images`.
    pub name: String,
    /// `description`, for people.
    pub description: Option<String>,
    /// `type`: `kernel`, `flat_dt`, `ramdisk` …
    pub kind: Option<String>,
    /// `arch`: `arm64`, `arm` …
    pub arch: Option<String>,
    /// `os`: `linux` …
    pub os: Option<String>,
    /// `compression`: `none`, `gzip` …; none given is `none`.
    pub compression: Option<String>,
    /// `load`: where in memory it goes.
    pub load: Option<u64>,
    /// `entry`: where it is entered.
    pub entry: Option<u64>,
    /// The data as it lies in the file.
    pub data: &'a [u8],
    /// Where that stands.
    pub placement: Placement,
}

/// Where an image's data stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In the tree, as `data`.
    Embedded,
    /// After the tree, at `data-offset` from its end (on a multiple of 4).
    Offset,
    /// In the file, at `data-position` from its start.
    Position,
}

/// A configuration: images that are booted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Its name, that of the node below `/configurations`.
    pub name: String,
    /// `description`, for people.
    pub description: Option<String>,
    /// `compatible`: the boards that it is for, where it says so itself.
    pub compatible: Vec<String>,
    /// The images that its properties name, in the order of the file: what U-Boot's configuration signature covers.
    pub references: Vec<Reference>,
    /// Its signature nodes, in the order of the file.
    pub signatures: Vec<SignatureNode>,
}

/// What a signature node says of itself; nothing of it is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureNode {
    /// The node's name, `signature-1`.
    pub name: String,
    /// `algo`, and `padding` where it is given: `sha256,rsa2048 pss`.
    pub algorithm: String,
    /// `key-name-hint`.
    pub hint: Option<String>,
    /// Whether there is a `value`.
    pub signed: bool,
}

/// An image named by a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The property: `kernel`, `fdt`, `ramdisk`, `loadables` …
    pub property: String,
    /// The image.
    pub image: String,
}

impl Configuration {
    /// The images that a property names: `fdt` gives the device tree and then its overlays.
    pub fn named_by(&self, property: &str) -> impl Iterator<Item = &str> {
        self.references
            .iter()
            .filter(move |reference| reference.property == property)
            .map(|reference| reference.image.as_str())
    }
}

impl Image<'_> {
    /// The data as U-Boot hands it on, at most `limit` bytes; a ramdisk is not decompressed by U-Boot.
    pub fn decompressed(&self, limit: u64) -> Result<Vec<u8>, FitError> {
        let name = self.compression.as_deref().unwrap_or("none");
        let compression = Compression::named(name)
            .ok_or_else(|| FitError::Compression { image: self.name.clone(), found: name.to_owned() })?;
        compression
            .decompress(self.data, limit)
            .map_err(|source: DecompressError| FitError::Data { image: self.name.clone(), source })
    }
}

impl<'a> Fit<'a> {
    /// Reads a FIT: a device tree with `/images`, with external data after it or not.
    ///
    /// Refused is what U-Boot refuses (unit addresses in names, no description), and what it would read in its own way:
    /// FDT_NOP tokens, data both inside and outside.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FitError> {
        let tree = Tree::parse(bytes)?;
        if tree.had_nops() {
            return Err(FitError::Nops);
        }
        refuse_unit_addresses(tree.root(), "")?;
        if tree.root().property("description").is_none() {
            return Err(FitError::Missing { node: "/".to_owned(), what: "property description" });
        }
        let missing = |node: &'static str| FitError::Missing { node: "/".to_owned(), what: node };
        let image_nodes = tree.node("/images").ok_or_else(|| missing("node images"))?;
        let images: Vec<Image<'a>> = image_nodes
            .children()
            .iter()
            .map(|node| image(node, bytes, tree.extent()))
            .collect::<Result<_, _>>()?;
        let (mut configurations, mut default) = (Vec::new(), None);
        if let Some(nodes) = tree.node("/configurations") {
            configurations = nodes.children().iter().map(|node| configuration(node, image_nodes)).collect();
            default = nodes.text("default").map(str::to_owned);
        }
        Ok(Self { bytes, tree, images, configurations, default })
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The device tree.
    pub fn tree(&self) -> &Tree<'a> {
        &self.tree
    }

    /// `description`, for people.
    pub fn description(&self) -> Option<&str> {
        self.tree.root().text("description")
    }

    /// `timestamp`: when it was made, Unix seconds.
    pub fn timestamp(&self) -> Option<u32> {
        self.tree.root().number("timestamp")?.try_into().ok()
    }

    /// The images, in the order of the file.
    pub fn images(&self) -> &[Image<'a>] {
        &self.images
    }

    /// The image of that name.
    pub fn image(&self, name: &str) -> Option<&Image<'a>> {
        self.images.iter().find(|image| image.name == name)
    }

    /// The configurations, in the order of the file.
    pub fn configurations(&self) -> &[Configuration] {
        &self.configurations
    }

    /// The configuration of that name.
    pub fn configuration(&self, name: &str) -> Option<&Configuration> {
        self.configurations.iter().find(|configuration| configuration.name == name)
    }

    /// Name of the configuration that is booted where nothing names another.
    pub fn default(&self) -> Option<&str> {
        self.default.as_deref()
    }

    /// The configuration for a board: the one that fits the earliest of the compatible strings of its U-Boot's control
    /// device tree, and of those the first (`fit_conf_find_compat` of U-Boot, CONFIG_FIT_BEST_MATCH).
    pub fn best_match(&self, compatible: &[&str]) -> Option<&Configuration> {
        let own: Vec<Vec<String>> = self.configurations.iter().map(|one| self.compatible_with(one)).collect();
        compatible.iter().find_map(|wanted| {
            let fits = own.iter().position(|strings| strings.iter().any(|string| string == wanted))?;
            self.configurations.get(fits)
        })
    }

    /// The compatible strings of a configuration: its own, or those of its device tree where that is not compressed.
    pub fn compatible_with(&self, configuration: &Configuration) -> Vec<String> {
        if !configuration.compatible.is_empty() {
            return configuration.compatible.clone();
        }
        let device_tree = configuration.named_by("fdt").next().and_then(|name| self.image(name));
        let plain = device_tree.filter(|image| image.compression.as_deref().unwrap_or("none") == "none");
        let tree = plain.and_then(|image| Tree::parse(image.data).ok());
        tree.as_ref().map(board_compatible).unwrap_or_default()
    }

    /// Where external data starts in the file: `data-offset` counts from here.
    pub(super) fn external_start(&self) -> usize {
        external_start(self.tree.extent())
    }
}

/// The compatible strings of a device tree's root.
pub(super) fn board_compatible(tree: &Tree<'_>) -> Vec<String> {
    let strings = tree.root().texts("compatible").unwrap_or_default();
    strings.into_iter().map(str::to_owned).collect()
}

fn external_start(extent: usize) -> usize {
    extent.checked_next_multiple_of(4).unwrap_or(extent)
}

/// libfdt can take `kernel` for `kernel@1`; U-Boot refuses such FITs since 2021.04, and so does this.
fn refuse_unit_addresses(node: &Node<'_>, path: &str) -> Result<(), FitError> {
    for child in node.children() {
        let path = format!("{path}/{}", child.name());
        if child.name().contains('@') {
            return Err(FitError::UnitAddress { node: path });
        }
        refuse_unit_addresses(child, &path)?;
    }
    Ok(())
}

fn image<'a>(node: &Node<'a>, bytes: &'a [u8], extent: usize) -> Result<Image<'a>, FitError> {
    let text = |name| node.text(name).map(str::to_owned);
    let (data, placement) = data(node, bytes, extent)?;
    Ok(Image {
        name: node.name().to_owned(),
        description: text("description"),
        kind: text("type"),
        arch: text("arch"),
        os: text("os"),
        compression: text("compression"),
        load: node.number("load"),
        entry: node.number("entry"),
        data,
        placement,
    })
}

fn data<'a>(node: &Node<'a>, bytes: &'a [u8], extent: usize) -> Result<(&'a [u8], Placement), FitError> {
    let path = || format!("/images/{}", node.name());
    let (position, offset) = (node.property("data-position"), node.property("data-offset"));
    let (start, placement) = match (node.raw("data"), position, offset) {
        (Some(data), None, None) => return Ok((data, Placement::Embedded)),
        (None, Some(position), None) => (position.as_number(), Placement::Position),
        (None, None, Some(offset)) => {
            let start = offset.as_number().and_then(|n| n.checked_add(external_start(extent) as u64));
            (start, Placement::Offset)
        }
        (None, None, None) => return Err(FitError::Missing { node: path(), what: "property data" }),
        _ => return Err(FitError::TwoPlaces { node: path() }),
    };
    let size = node.number("data-size");
    let range = start.zip(size).and_then(|(start, size)| {
        let (start, size) = (usize::try_from(start).ok()?, usize::try_from(size).ok()?);
        bytes.get(start..start.checked_add(size)?)
    });
    let data = range.ok_or_else(|| FitError::Outside { node: path(), start, size, length: bytes.len() })?;
    Ok((data, placement))
}

fn configuration(node: &Node<'_>, images: &Node<'_>) -> Configuration {
    let owned = |texts: Option<Vec<&str>>| -> Vec<String> {
        texts.unwrap_or_default().into_iter().map(str::to_owned).collect()
    };
    let mut references = Vec::new();
    for property in node.properties().iter().filter(|property| !NO_REFERENCES.contains(&property.name())) {
        for image in owned(property.as_texts()) {
            // Any other property names an image only where there is one of that name: U-Boot reads them all alike.
            if REFERENCES.contains(&property.name()) || images.child(&image).is_some() {
                references.push(Reference { property: property.name().to_owned(), image });
            }
        }
    }
    Configuration {
        name: node.name().to_owned(),
        description: node.text("description").map(str::to_owned),
        compatible: owned(node.texts("compatible")),
        references,
        signatures: node
            .children()
            .iter()
            .filter(|node| node.name().starts_with(SIGNATURE))
            .map(|node| SignatureNode {
                name: node.name().to_owned(),
                algorithm: ["algo", "padding"]
                    .into_iter()
                    .filter_map(|name| node.text(name))
                    .collect::<Vec<_>>()
                    .join(" "),
                hint: node.text("key-name-hint").map(str::to_owned),
                signed: node.property("value").is_some(),
            })
            .collect(),
    }
}

impl From<FdtError> for FitError {
    fn from(source: FdtError) -> Self {
        Self::Fdt(source)
    }
}

impl<'a> Node<'a> {
    /// A property's value out of the file itself, as long as nobody set it.
    fn raw(&self, name: &str) -> Option<&'a [u8]> {
        match self.property(name)?.cow() {
            Cow::Borrowed(value) => Some(value),
            Cow::Owned(_) => None,
        }
    }
}

/// Properties of a configuration whose texts U-Boot never takes for images' names.
const NO_REFERENCES: [&str; 3] = ["description", "compatible", "default"];
/// Properties of a configuration whose texts must be images' names.
const REFERENCES: [&str; 9] =
    ["kernel", "fdt", "ramdisk", "loadables", "fpga", "firmware", "script", "setup", "standalone"];
