//! A bill of materials: what really is in an image, as CycloneDX 1.6. Nothing is proved by it.
//!
//! Packages by dpkg's notes in the root, each with its files; files of no package, called out; kernel, stage0, stub and
//! initramfs; volumes. It is a function of the image and its manifest: no clock, no randomness.

mod boot;
mod build_id;
mod licences;
mod model;
mod packages;

use std::io;
use std::time::Duration;

use der::DateTime;
use graven_image::tree::Tree;
use sha2::{Digest, Sha256};

use crate::contents::{Boot, Contents, ContentsError};
use crate::dpkg;
use crate::manifest::Manifest;
use model::{Component, Composition, Dependency, Lifecycle, Metadata, Property, Tools};

pub use model::Bom;

/// Name of the file beside a disk.
pub const FILE: &str = "sbom.cdx.json";
/// What all others hang on.
const IMAGE: &str = "image";
/// The property that says how a package's licences are known.
const LICENCES_KNOWN: &str = "graven:licences";

/// SHA-256 of files that are at hand already, by their paths.
pub type Known<'a> = &'a dyn Fn(&[u8]) -> Option<[u8; 32]>;

/// What is described.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The root.
    pub tree: &'a Tree,
    /// The boot artefact.
    pub boot: &'a Boot,
    /// What else is known of the disk.
    pub manifest: Option<&'a Manifest>,
}

/// Why there is no bill.
#[derive(Debug, thiserror::Error)]
pub enum SbomError {
    /// A part of the image cannot be read.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// A file of the root cannot be read.
    #[error("reading {path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The time for "now" is none that can be written.
    #[error("the image's time, {0} seconds after 1970, is none that a bill of materials can state")]
    Date(u64),
}

/// The bill of an image, every file read.
///
/// # Errors
/// Where a part of the image cannot be read.
pub fn of_image(contents: &Contents, manifest: Option<&Manifest>) -> Result<Bom, SbomError> {
    let (boot, tree) = (contents.boot()?, contents.tree()?);
    describe(Subject { tree: &tree, boot: &boot, manifest }, &|_| None)
}

/// The bill of an image.
///
/// # Errors
/// Where a file cannot be read.
pub fn describe(subject: Subject<'_>, known: Known<'_>) -> Result<Bom, SbomError> {
    let Subject { tree, boot, manifest } = subject;
    let root_hash = boot.binding.root_hash.to_string();
    // `NAME VERSION`, and ` (development)`.
    let said = boot.plan.image.split(" (").next().unwrap_or_default();
    let (name, version) = said.rsplit_once(' ').unwrap_or((said, ""));
    let packages = dpkg::installed(tree);

    let mut components = packages::components(tree, &packages, known)?;
    components.extend(boot::components(boot));
    components.extend(manifest.into_iter().flat_map(boot::beside));
    // Firmware is told by the manifest alone, and a volume by its root hash.
    let whole = manifest.is_some() && boot.plan.volumes.is_empty();
    let aggregate = if whole { "complete" } else { "incomplete" };
    let parts = components.iter().filter_map(|component| component.bom_ref.clone()).collect();
    let mut dependencies = vec![Dependency { of: IMAGE.to_owned(), depends_on: parts }];
    dependencies.extend(packages::dependencies(&packages));
    Ok(Bom {
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: serial_number(&root_hash, boot),
        version: 1,
        metadata: Metadata {
            timestamp: timestamp(boot.plan.clock_not_before)?,
            lifecycles: [Lifecycle { phase: "post-build" }],
            tools: Tools {
                components: [Component {
                    kind: "application",
                    name: "graven".to_owned(),
                    version: Some(env!("CARGO_PKG_VERSION").to_owned()),
                    ..Component::default()
                }],
            },
            component: Component {
                kind: "operating-system",
                bom_ref: Some(IMAGE.to_owned()),
                name: name.to_owned(),
                version: Some(version.to_owned()),
                properties: vec![Property::new("graven:root-hash", &root_hash)],
                ..Component::default()
            },
        },
        components,
        dependencies,
        compositions: vec![Composition { aggregate, assemblies: vec![IMAGE.to_owned()] }],
    })
}

impl Bom {
    /// The bill as a file.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Structs of strings: serialising them cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// The Debian packages.
    fn packages(&self) -> impl Iterator<Item = &Component> {
        self.components.iter().filter(|component| component.purl.is_some())
    }
}

/// The same for the same image, another one for every other.
fn serial_number(root_hash: &str, boot: &Boot) -> String {
    let mut hash = Sha256::new();
    for part in [root_hash.as_bytes(), &boot.kernel, &boot.initrd, boot.command_line.as_bytes()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(hash.finalize().get(..16).unwrap_or_default());
    uuid::Builder::from_custom_bytes(bytes).into_uuid().urn().to_string()
}

/// Seconds since 1970 as RFC 3339 has them.
fn timestamp(seconds: u64) -> Result<String, SbomError> {
    let time = DateTime::from_unix_duration(Duration::from_secs(seconds));
    time.map(|time| time.to_string()).map_err(|_| SbomError::Date(seconds))
}
