//! From an index to the image of one platform.

use super::blobs::{document, of};
use super::document::{Config, Descriptor, Document, Manifest};
use super::{Blob, Blobs, Error, Platform};
use crate::{Limits, Problem};

/// Indexes one within the other.
const MAX_DEPTH: usize = 4;
/// Layers of one image; Docker makes 127 at most.
const MAX_LAYERS: usize = 512;

/// What an image consists of, outermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The indexes that were walked through; none where a manifest was named.
    pub indexes: Vec<Blob>,
    /// The manifest.
    pub manifest: Blob,
    /// The configuration.
    pub config: Blob,
    /// The layers, lowest first.
    pub layers: Vec<Blob>,
}

/// A manifest that was read, and the way to it.
pub(crate) struct Chosen {
    pub(crate) chain: Chain,
    pub(crate) manifest: Manifest,
    pub(crate) config: Config,
}

/// Finds what belongs to a platform, below an index or a manifest whose media type is `said` where anybody has said so.
/// Of several that fit, the first. Its layers have no more bytes than they may unpack to: what a registry says of their
/// sizes is what would be fetched.
///
/// # Errors
/// [`Error`]: blobs that are missing or damaged, documents that are not understood, no image for the platform, layers that
/// pass [`Limits::unpacked_bytes`] as they are.
pub fn choose(
    image: &str,
    blobs: &dyn Blobs,
    top: &Blob,
    said: Option<&str>,
    platform: &Platform,
    limits: &Limits,
) -> Result<Chain, Error> {
    chosen(image, blobs, top, said, platform, limits).map(|chosen| chosen.chain)
}

pub(crate) fn chosen(
    image: &str,
    blobs: &dyn Blobs,
    top: &Blob,
    said: Option<&str>,
    platform: &Platform,
    limits: &Limits,
) -> Result<Chosen, Error> {
    let mut indexes = Vec::new();
    let mut at = *top;
    let mut said = said.map(str::to_owned);
    let manifest = loop {
        let bytes = document(blobs, &at, image)?;
        let bad = |problem| of(image, &at, problem);
        let index = match Document::parse(&bytes, said.as_deref()).map_err(bad)? {
            Document::Manifest(manifest) => break manifest,
            Document::Index(index) => index,
        };
        if indexes.len() >= MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} indexes one within the other");
            return Err(bad(Problem::Damaged(message)).into());
        }
        let next = best(&index.manifests, platform).ok_or_else(|| Error::NoPlatform {
            image: image.to_owned(),
            wanted: platform.clone(),
            has: index.manifests.iter().map(offered).collect(),
        })?;
        indexes.push(at);
        (at, said) = (next.blob(), Some(next.media_type.clone()));
    };
    let bad = |problem| of(image, &at, problem);
    let config_blob = manifest.config().map_err(bad)?;
    if manifest.layers.len() > MAX_LAYERS {
        let message = format!("{} layers; at most {MAX_LAYERS} are sensible", manifest.layers.len());
        return Err(bad(Problem::Damaged(message)).into());
    }
    let bytes = manifest.layers.iter().fold(0u64, |sum, layer| sum.saturating_add(layer.size));
    let limit = limits.unpacked_bytes;
    if bytes > limit {
        return Err(bad(Problem::Limit { name: "unpacked_bytes", what: "bytes of its layers", limit }).into());
    }
    // All are looked at before any of them is fetched.
    for layer in &manifest.layers {
        layer.compression().map_err(|problem| of(image, &layer.blob(), problem))?;
    }
    let bytes = document(blobs, &config_blob, image)?;
    let config = Config::parse(&bytes).map_err(|problem| of(image, &config_blob, problem))?;
    if config.rootfs.diff_ids.len() != manifest.layers.len() {
        let (has, says) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        let message = format!("it is of {says} layers, the manifest has {has}");
        return Err(of(image, &config_blob, Problem::Damaged(message)).into());
    }
    if !platform.takes(&config.platform) {
        let (image, wanted) = (image.to_owned(), platform.clone());
        return Err(Error::NoPlatform { image, wanted, has: vec![config.platform.to_string()] });
    }
    let layers = manifest.layers.iter().map(Descriptor::blob).collect();
    Ok(Chosen { chain: Chain { indexes, manifest: at, config: config_blob, layers }, manifest, config })
}

/// The entry for the platform; else the one that says nothing of platforms, where there is one alone: it is looked into.
fn best<'d>(entries: &'d [Descriptor], platform: &Platform) -> Option<&'d Descriptor> {
    let mut best: Option<&Descriptor> = None;
    for entry in entries {
        let Some(offered) = &entry.platform else { continue };
        let rank = |of: &Descriptor| of.platform.as_ref().map_or_else(String::new, |of| of.rank().to_owned());
        if platform.takes(offered) && best.is_none_or(|best| rank(entry) > rank(best)) {
            best = Some(entry);
        }
    }
    let mut silent = entries.iter().filter(|entry| entry.platform.is_none());
    best.or_else(|| silent.next().filter(|_| silent.next().is_none()))
}

fn offered(entry: &Descriptor) -> String {
    entry.platform.as_ref().map_or_else(|| "one that names no platform".to_owned(), ToString::to_string)
}
