//! Container images of registries: what the lock says of them, and from there to blobs in the store.

use std::path::PathBuf;

use graven_recipe::lock::{Digest, Lock, LockedBlob, LockedImage};
use graven_recipe::{At, ImageReference, Recipe, SourceKind};
use graven_sources::network::NetworkProblem;
use graven_sources::oci::{self, Blob, Platform, Registry, Scheme, Stored, Version};
use graven_sources::{Limits, Sha256};

use super::Supplies;
use super::fetch::side_by_side;
use super::lock::Locked;
use super::resolve::{Change, Reading};
use crate::error::{Error, Result};

/// An image whose every blob is in the store.
#[derive(Debug, Clone)]
pub struct FetchedImage {
    /// As the recipe names it.
    pub name: String,
    /// Its manifest.
    pub manifest: Blob,
    /// Where its parts lie.
    pub blobs: Stored,
}

/// An image that a recipe takes from a registry.
#[derive(Clone, Copy)]
struct Wanted<'r> {
    image: &'r At<ImageReference>,
    plain_http: Option<bool>,
}

/// The platform that images are taken for.
pub(crate) fn platform(recipe: &Recipe) -> Platform {
    Platform::linux(recipe.target.arch.oci())
}

/// Whether a recipe takes images from registries.
pub(super) fn any(recipe: &Recipe) -> bool {
    wanted(recipe).next().is_some()
}

fn wanted(recipe: &Recipe) -> impl Iterator<Item = Wanted<'_>> {
    recipe.sources.iter().filter_map(|source| match &source.kind {
        SourceKind::Oci { image, plain_http } => Some(Wanted { image, plain_http: *plain_http }),
        _ => None,
    })
}

/// The images of all targets and profiles: those of the old lock that need not move, the others as their registries have
/// them now.
pub(super) fn renewed(
    readings: &[Reading],
    old: Option<&Lock>,
    change: &Change,
    supplies: &Supplies<'_>,
) -> Result<Vec<LockedImage>> {
    let stays = |name: &str| match change {
        Change::Everything => false,
        Change::Packages(moved) => !moved.iter().any(|moved| moved == name),
        Change::Nothing | Change::Demanded => true,
    };
    let mut images: Vec<LockedImage> = Vec::new();
    for Reading { whom, recipe, .. } in readings {
        let platform = platform(recipe);
        let shown = platform.to_string();
        for wanted in wanted(recipe) {
            let name = &wanted.image.text;
            if images.iter().any(|image| image.name == *name && image.platform == shown) {
                continue;
            }
            let kept = old.filter(|_| stays(name)).and_then(|lock| lock.image(name, &shown));
            images.push(match kept {
                Some(kept) => kept.clone(),
                None => resolved(wanted, &platform, supplies).map_err(|error| error.for_target(whom))?,
            });
        }
    }
    images.sort_by(|a, b| (&a.name, &a.platform).cmp(&(&b.name, &b.platform)));
    Ok(images)
}

/// The images of a recipe that a lock has not.
pub(super) fn missing(recipe: &Recipe, lock: &Lock, supplies: &Supplies<'_>) -> Result<Vec<LockedImage>> {
    let platform = platform(recipe);
    let shown = platform.to_string();
    let unknown = wanted(recipe).filter(|wanted| lock.image(&wanted.image.text, &shown).is_none());
    unknown.map(|wanted| resolved(wanted, &platform, supplies)).collect()
}

/// The first image of a recipe that a lock has not, in words.
pub(super) fn unlocked(recipe: &Recipe, lock: &Lock) -> Option<String> {
    let shown = platform(recipe).to_string();
    let unknown = wanted(recipe).find(|wanted| lock.image(&wanted.image.text, &shown).is_none())?;
    Some(format!("it has no image {} for {shown}", unknown.image.text))
}

/// What a registry has under an image's name now.
fn resolved(wanted: Wanted<'_>, platform: &Platform, supplies: &Supplies<'_>) -> Result<LockedImage> {
    let image = &wanted.image.value;
    let registry = registry(wanted, supplies)?;
    let version = match (&image.digest, &image.tag) {
        (Some(digest), _) => Version::Digest(Sha256::from(*digest)),
        (None, tag) => Version::Tag(tag.clone().unwrap_or_default()),
    };
    let (top, media_type) = registry.resolve(&version)?;
    let chain =
        oci::choose(&image.text, &registry, &top, media_type.as_deref(), platform, &Limits::default())?;
    let locked = |blob: &Blob| LockedBlob { size: blob.size, sha256: Digest(*blob.sha256.as_bytes()) };
    (supplies.say)(&format!("{}: sha256:{} for {platform}", image.text, chain.manifest.sha256));
    Ok(LockedImage {
        name: image.text.clone(),
        platform: platform.to_string(),
        indexes: chain.indexes.iter().map(locked).collect(),
        manifest: locked(&chain.manifest),
        config: locked(&chain.config),
        layers: chain.layers.iter().map(locked).collect(),
    })
}

fn registry<'a>(wanted: Wanted<'_>, supplies: &'a Supplies<'_>) -> Result<Registry<'a>> {
    let image = &wanted.image.value;
    let network = supplies.network(&format!("the registry of {} is needed", image.text))?;
    let scheme = match wanted.plain_http {
        Some(true) => Scheme::Http,
        Some(false) => Scheme::Https,
        None => Scheme::usual(&image.registry),
    };
    let place = (image.registry.as_str(), image.repository.as_str());
    Ok(Registry::new(place, scheme, &supplies.credentials, network, &supplies.store, supplies.watch))
}

/// Sees that the store has every blob of a recipe's images, fetching what it lacks.
pub(super) fn provide(
    recipe: &Recipe,
    locked: &Locked,
    supplies: &Supplies<'_>,
) -> Result<Vec<FetchedImage>> {
    let shown = platform(recipe).to_string();
    let fetch = |wanted: Wanted<'_>| {
        let name = &wanted.image.text;
        let image = locked.lock().and_then(|lock| lock.image(name, &shown)).ok_or_else(|| {
            Error::Limit(format!("the lock has no image {name} for {shown}; run `graven lock`"))
        })?;
        let outer = image.indexes.len().saturating_add(1);
        let blobs: Vec<Blob> = image
            .blobs()
            .enumerate()
            .map(|(at, blob)| Blob {
                sha256: Sha256::from(blob.sha256.0),
                size: blob.size,
                is_document: at < outer,
            })
            .collect();
        let there = supplies.network.is_some().then(|| registry(wanted, supplies)).transpose()?;
        let paths = side_by_side(&blobs, |blob| one(name, there.as_ref(), blob, supplies))?;
        Ok(FetchedImage {
            name: name.clone(),
            manifest: Blob {
                sha256: Sha256::from(image.manifest.sha256.0),
                size: image.manifest.size,
                is_document: true,
            },
            blobs: Stored(blobs.iter().map(|blob| blob.sha256).zip(paths).collect()),
        })
    };
    wanted(recipe).map(fetch).collect()
}

fn one(name: &str, registry: Option<&Registry<'_>>, blob: &Blob, supplies: &Supplies<'_>) -> Result<PathBuf> {
    let store = &supplies.store;
    let found = store.find(&blob.sha256).map_err(|error| Error::io(store.path(&blob.sha256), error))?;
    if let Some(path) = found {
        return Ok(path);
    }
    let Some(registry) = registry else {
        return Err(Error::Offline(format!(
            "the store {} has not sha256:{} of {name}: bring it there with `graven fetch RECIPE --to STORE`",
            store.folder().display(),
            blob.sha256
        )));
    };
    registry.fetch(blob).map_err(|error| match error.problem {
        NetworkProblem::Missing => Error::Gone(format!(
            "sha256:{} of {name} is gone from the registry: move the lock on with `graven lock RECIPE --update {name}`, or \
             build from a store that still has it",
            blob.sha256
        )),
        _ => error.into(),
    })
}
