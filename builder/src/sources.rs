//! The recipe's sources, read: archives, container images, folders.

use std::path::Path;
use std::sync::Arc;

use graven_recipe::{At, ImageChoice, Metadata, Recipe, Source, SourceKind};
use graven_sources::{Layer, Limits, Sha256, Spool, dir, oci, tar};
use graven_verify::manifest::Input;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::inputs::file_name;
use crate::supply::fetch::Provided;
use crate::supply::images::platform;

/// A source, read.
pub(crate) struct Read {
    pub(crate) layer: Layer,
    pub(crate) input: Input,
    /// What it says of itself, where it is a container image.
    pub(crate) facts: Option<oci::Facts>,
}

/// Archives and images side by side; `None` stands for a folder, which is read once `source-date` is known.
pub(crate) fn read(recipe: &Recipe, provided: &Provided, spool: &Spool) -> Result<Vec<Option<Read>>> {
    recipe.sources.par_iter().map(|source| one(recipe, source, provided, spool)).collect()
}

fn one(recipe: &Recipe, source: &Source, provided: &Provided, spool: &Spool) -> Result<Option<Read>> {
    let limits = Limits::default();
    let digest = |bytes: &Option<At<[u8; 32]>>| bytes.as_ref().map(|digest| Sha256::from(digest.value));
    match &source.kind {
        SourceKind::Dir { .. } => Ok(None),
        SourceKind::Tar { path, sha256 } => {
            let name = file_name(&path.path);
            let origin = Some(Arc::from(name.as_str()));
            let layer = tar::read(&path.path, origin, digest(sha256).as_ref(), spool, &limits)?;
            let sha256 = layer.sha256.map(|digest| digest.to_string());
            Ok(Some(Read { layer, input: Input { kind: "tar".into(), name, sha256 }, facts: None }))
        }
        SourceKind::Oci { image, .. } => {
            let fetched = provided.images.iter().find(|fetched| fetched.name == image.text);
            let fetched = fetched.ok_or_else(|| {
                Error::Limit(format!("{}: it was not fetched; run `graven lock`", image.text))
            })?;
            let (name, blobs) = (&fetched.name, &fetched.blobs);
            let platform = platform(recipe);
            let read = oci::read(name, blobs, &fetched.manifest, None, &platform, spool, &limits)?;
            Ok(Some(image_of(name.clone(), read)))
        }
        SourceKind::OciLayout { path, image } => {
            of_layout(recipe, &oci::Layout::folder(&path.path)?, &path.path, image, spool).map(Some)
        }
        SourceKind::OciArchive { path, sha256, image } => {
            let layout = oci::Layout::archive(&path.path, digest(sha256).as_ref(), spool, &limits)?;
            of_layout(recipe, &layout, &path.path, image, spool).map(Some)
        }
    }
}

fn of_layout(
    recipe: &Recipe,
    layout: &oci::Layout,
    path: &Path,
    image: &ImageChoice,
    spool: &Spool,
) -> Result<Read> {
    let (name, which) = match image {
        ImageChoice::Only => (file_name(path), oci::Which::Only),
        ImageChoice::Named(name) => (format!("{}:{name}", file_name(path)), oci::Which::Named(name.clone())),
        ImageChoice::Digest(digest) => {
            let digest = Sha256::from(*digest);
            (format!("{}@sha256:{digest}", file_name(path)), oci::Which::Digest(digest))
        }
    };
    let (top, said) = layout.find(&which)?;
    let limits = Limits::default();
    let read = oci::read(&name, layout, &top, said.as_deref(), &platform(recipe), spool, &limits)?;
    Ok(image_of(name, read))
}

fn image_of(name: String, read: oci::Image) -> Read {
    let sha256 = Some(read.facts.manifest.to_string());
    let input = Input { kind: "oci".into(), name, sha256 };
    Read { layer: read.layer, input, facts: Some(read.facts) }
}

/// A folder, whose normalised times are `source-date`.
pub(crate) fn folder(source: &Source, source_date: i64) -> Result<Read> {
    let SourceKind::Dir { path } = &source.kind else { unreachable!("all others have been read") };
    let name = file_name(&path.path);
    let metadata = match source.metadata {
        Metadata::Normalised => dir::Attributes::Normalised { mtime: source_date },
        Metadata::Keep => dir::Attributes::Kept,
    };
    let layer = dir::scan(&path.path, metadata, Some(Arc::from(name.as_str())))?;
    Ok(Read { layer, input: Input { kind: "dir".into(), name, sha256: None }, facts: None })
}
