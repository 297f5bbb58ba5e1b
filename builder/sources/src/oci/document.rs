//! The JSON documents of an image: index, manifest, configuration.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};

use super::{Blob, Platform};
use crate::{Problem, Sha256};

/// Longest document that is read, in bytes: registries need not take longer ones (distribution specification 1.1,
/// "Pushing Manifests").
pub(crate) const MAX_DOCUMENT: u64 = 4 << 20;

/// What a registry is asked for: every kind of document that is understood.
pub(crate) const DOCUMENTS: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// Layers, and how each is compressed.
const LAYERS: [(&str, Option<&str>); 5] = [
    ("application/vnd.oci.image.layer.v1.tar", None),
    ("application/vnd.oci.image.layer.v1.tar+gzip", Some("gzip")),
    ("application/vnd.oci.image.layer.v1.tar+zstd", Some("zstd")),
    ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some("gzip")),
    ("application/vnd.docker.image.rootfs.diff.tar.zstd", Some("zstd")),
];

/// One part of an image, as another names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// What it hashes to.
    #[serde(deserialize_with = "sha256")]
    pub digest: Sha256,
    /// Its size in bytes.
    pub size: u64,
    /// For which machines it is, in an index.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// What whoever made the image says of it.
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
}

/// Names an image for each platform, or further indexes.
#[derive(Debug, Deserialize)]
pub(crate) struct Index {
    pub(crate) manifests: Vec<Descriptor>,
}

/// Names the parts of one image.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What an image says of itself, as far as it is used.
#[derive(Debug, Deserialize)]
pub(crate) struct Config {
    #[serde(flatten)]
    pub(crate) platform: Platform,
    pub(crate) rootfs: RootFs,
    #[serde(default, deserialize_with = "or_default")]
    config: Execution,
}

/// What the layers are, unpacked.
#[derive(Debug, Deserialize)]
pub(crate) struct RootFs {
    r#type: String,
    #[serde(deserialize_with = "all_sha256")]
    pub(crate) diff_ids: Vec<Sha256>,
}

#[derive(Debug, Default, Deserialize)]
struct Execution {
    #[serde(default, rename = "Labels", deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
}

/// An index or a manifest.
#[derive(Debug)]
pub(crate) enum Document {
    Index(Index),
    Manifest(Manifest),
}

/// What tells one document from the other.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: u64,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<IgnoredAny>,
    #[serde(default)]
    config: Option<IgnoredAny>,
    #[serde(default)]
    layers: Option<IgnoredAny>,
}

impl Document {
    /// Reads an index or a manifest; `said` is the media type that whoever named it gave it.
    pub(crate) fn parse(bytes: &[u8], said: Option<&str>) -> Result<Self, Problem> {
        let shape: Shape = json(bytes, "an index or a manifest")?;
        if let (Some(said), Some(own)) = (said, &shape.media_type)
            && said != own
        {
            let message = format!("it calls itself `{own}`, but was named as `{said}`");
            return Err(Problem::Damaged(message));
        }
        let is_index = shape.manifests.is_some();
        // What one reader takes for an index and another for a manifest is how one image is smuggled in as another.
        if is_index && (shape.config.is_some() || shape.layers.is_some()) {
            return Err(Problem::Damaged("it is an index and a manifest at once".to_owned()));
        }
        let kind = said.map(str::to_owned).or(shape.media_type);
        match kind.as_deref() {
            Some(kind) if !DOCUMENTS.contains(&kind) => return Err(unknown_document(kind)),
            Some(kind) if is_index != is_index_type(kind) => {
                return Err(Problem::Damaged(format!("it is named as `{kind}`, which it is not")));
            }
            _ => {}
        }
        if shape.schema_version != 2 {
            let what = format!("schema version {}", shape.schema_version);
            return Err(Problem::Unsupported { what, instead: PUSH_AGAIN });
        }
        match is_index {
            true => json(bytes, "an index").map(Self::Index),
            false => json(bytes, "a manifest").map(Self::Manifest),
        }
    }
}

const PUSH_AGAIN: &str = "push the image again with a tool of today, as an OCI image";

pub(crate) fn is_index_type(media_type: &str) -> bool {
    DOCUMENTS.iter().take(2).any(|known| *known == media_type)
}

/// Whether a registry has it among its manifests rather than among its blobs.
pub(crate) fn is_document_type(media_type: &str) -> bool {
    DOCUMENTS.contains(&media_type)
}

fn unknown_document(kind: &str) -> Problem {
    let what = format!("a document of type `{}`", kind.escape_debug());
    Problem::Unsupported { what, instead: PUSH_AGAIN }
}

impl Manifest {
    /// The configuration, where it is one of an image of files.
    pub(crate) fn config(&self) -> Result<Blob, Problem> {
        let kind = self.config.media_type.as_str();
        match CONFIGS.contains(&kind) {
            true => Ok(self.config.blob()),
            false => {
                let what = format!("an artefact whose configuration is of type `{}`", kind.escape_debug());
                Err(Problem::Unsupported { what, instead: "name an image of a root file system" })
            }
        }
    }
}

impl Descriptor {
    /// What it names.
    #[must_use]
    pub fn blob(&self) -> Blob {
        Blob { sha256: self.digest, size: self.size, is_document: is_document_type(&self.media_type) }
    }

    /// How a layer is compressed.
    pub(crate) fn compression(&self) -> Result<Option<&'static str>, Problem> {
        let kind = self.media_type.as_str();
        if let Some((_, compression)) = LAYERS.iter().find(|(known, _)| *known == kind) {
            return Ok(*compression);
        }
        let what = format!("a layer of type `{}`", kind.escape_debug());
        if kind.contains("nondistributable") || kind.contains(".foreign.") {
            let instead = "its files are not in the image, but at an address that nobody vouches for: take another image";
            return Err(Problem::Unsupported { what, instead });
        }
        Err(Problem::Unsupported { what, instead: "push the image with plain tar, gzip or zstd layers" })
    }
}

impl Config {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let config: Self = json(bytes, "a configuration")?;
        if config.rootfs.r#type != "layers" {
            let what = format!("a root file system of type `{}`", config.rootfs.r#type.escape_debug());
            return Err(Problem::Unsupported { what, instead: PUSH_AGAIN });
        }
        Ok(config)
    }

    pub(crate) fn labels(&self) -> &BTreeMap<String, String> {
        &self.config.labels
    }
}

fn json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::Damaged(format!("it is no {}: {error}", bare(what))))
}

fn bare(what: &str) -> &str {
    what.strip_prefix("an ").or_else(|| what.strip_prefix("a ")).unwrap_or(what)
}

/// `sha256:` and 64 lower-case hexadecimal digits.
pub(crate) fn digest(text: &str) -> Result<Sha256, String> {
    let digits =
        text.strip_prefix("sha256:").filter(|digits| !digits.bytes().any(|b| b.is_ascii_uppercase()));
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        format!("`{}` is no digest that is taken: sha256: and 64 hexadecimal digits", shown.escape_debug())
    })
}

fn sha256<'de, D: Deserializer<'de>>(from: D) -> Result<Sha256, D::Error> {
    digest(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}

fn all_sha256<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Sha256>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| digest(text).map_err(serde::de::Error::custom)).collect()
}

/// `null` is what Go writes for nothing.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}
