//! An image of one platform: its layers as one, and what it says of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::blobs::{checked, of};
use super::choose::chosen;
use super::unpack::Unpacked;
use super::{Blob, Blobs, Error, Platform};
use crate::{Layer, Limits, Problem, Sha256, Spool, tar};

/// Labels and annotations with this beginning say what an image is.
const SAYS: &str = "org.opencontainers.image.";

/// An image, read.
#[derive(Debug)]
pub struct Image {
    /// All its layers as one; its [`sha256`](Layer::sha256) is the manifest's.
    pub layer: Layer,
    /// What it is.
    pub facts: Facts,
}

/// What an image is, for whoever lists what went into an appliance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Digest of its manifest.
    pub manifest: Sha256,
    /// Digest of its configuration, by which Docker calls it.
    pub config: Sha256,
    /// Digests of its layers, lowest first.
    pub layers: Vec<Sha256>,
    /// What whoever made it says of it: `title`, `version`, `revision`, `licenses`, `source` and others, without the
    /// `org.opencontainers.image.` before them. The manifest's annotations go over the configuration's labels.
    pub says: BTreeMap<String, String>,
}

/// Reads an image whole and checks it. `top` names a manifest or an index, of the media type `said` where anybody has said
/// so; `name` is what errors and [`Inode::origin`](graven_image::tree::Inode::origin) call it, the latter with `oci:`
/// before it.
///
/// Contents of plain layers are referred to in place, so that their blobs must stay as they are; those of compressed ones
/// go to the spool. The limits are for all layers together.
///
/// # Errors
/// [`Error`], which names the image, and the blob or the entry that is at fault.
pub fn read(
    name: &str,
    blobs: &dyn Blobs,
    top: &Blob,
    said: Option<&str>,
    platform: &Platform,
    spool: &Spool,
    limits: &Limits,
) -> Result<Image, Error> {
    let chosen = chosen(name, blobs, top, said, platform, limits)?;
    let origin: Arc<str> = format!("oci:{name}").into();
    let mut unpacked = Unpacked::new();
    let mut left = limits.clone();
    for (descriptor, diff_id) in chosen.manifest.layers.iter().zip(&chosen.config.rootfs.diff_ids) {
        let blob = descriptor.blob();
        let bad = |member: Option<String>, problem| {
            let layer = format!("sha256:{}", blob.sha256);
            let member = member.map_or_else(|| layer.clone(), |member| format!("{layer}: {member}"));
            crate::Error { input: name.to_owned(), member: Some(member), problem }
        };
        let source = checked(blobs, &blob, name)?;
        let changes = tar::parse_changes(source, Some(Arc::clone(&origin)), spool, &left)
            .map_err(|error| bad(error.member, as_of(error.problem, limits)))?;
        let expected = descriptor.compression().map_err(|problem| bad(None, problem))?;
        if changes.compression != expected {
            let words =
                |one: Option<&str>| one.map_or("not compressed".to_owned(), |one| format!("with {one}"));
            let (found, said) = (words(changes.compression), words(expected));
            let message = format!("it is {found}, the manifest says {said}");
            return Err(bad(None, Problem::Damaged(message)).into());
        }
        let found = changes.unpacked_sha256.unwrap_or(blob.sha256);
        if found != *diff_id {
            let problem = Problem::DiffId { expected: *diff_id, found };
            return Err(bad(None, problem).into());
        }
        left.unpacked_bytes = left.unpacked_bytes.saturating_sub(changes.unpacked_bytes);
        left.members = left.members.saturating_sub(changes.members);
        unpacked.apply(changes.entries).map_err(|(path, problem)| bad(Some(path.to_string()), problem))?;
    }
    let manifest = chosen.chain.manifest;
    let entries = unpacked.into_entries().map_err(|(_, problem)| of(name, &manifest, problem))?;
    let mut layer = tar::layer(std::path::Path::new(name), entries, manifest.sha256);
    name.clone_into(&mut layer.input);
    let said = chosen.config.labels().iter().chain(&chosen.manifest.annotations);
    let says = said.filter_map(|(key, value)| Some((key.strip_prefix(SAYS)?.to_owned(), value.clone())));
    let facts = Facts {
        manifest: manifest.sha256,
        config: chosen.chain.config.sha256,
        layers: chosen.chain.layers.iter().map(|layer| layer.sha256).collect(),
        says: says.collect(),
    };
    Ok(Image { layer, facts })
}

/// A limit as its user set it, not as what earlier layers left of it.
fn as_of(problem: Problem, limits: &Limits) -> Problem {
    match problem {
        Problem::Limit { name: name @ "unpacked_bytes", what, .. } => {
            Problem::Limit { name, what, limit: limits.unpacked_bytes }
        }
        Problem::Limit { name: name @ "members", what, .. } => {
            Problem::Limit { name, what, limit: limits.members }
        }
        other => other,
    }
}
