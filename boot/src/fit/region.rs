//! What a configuration's signature covers (U-Boot, `boot/image-fit-sig.c`, `boot/fdt_region.c`).
//!
//! Signed are nodes: the root, the configuration, and for every image that it names the image's node with its `hash*`,
//! `cipher` and `dm-verity` nodes. Of these every token is hashed but the properties that hold or place data; of a node
//! right in one of them that is not signed itself, the begin and end; then FDT_END, and the strings block as far as it
//! went when the signature was made. Data is bound by the hash nodes.

use std::collections::BTreeSet;

use super::FitError;
use super::read::{Configuration, Fit};
use crate::fdt::{Node, Tree, tokens};

/// The nodes that a signature covers, by path, in U-Boot's order, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignedNodes(Vec<String>);

impl SignedNodes {
    /// The nodes of a configuration as U-Boot finds them itself since 2026.04 (Debian's since 2023.01+dfsg-2+deb12u3).
    pub(super) fn of(fit: &Fit<'_>, configuration: &Configuration) -> Result<Self, FitError> {
        let path = format!("/configurations/{}", configuration.name);
        let refused = |reason: String| FitError::Configuration { name: configuration.name.clone(), reason };
        let mut all = vec!["/".to_owned(), path];
        for reference in &configuration.references {
            let path = format!("/images/{}", reference.image);
            let Some(image) = fit.tree().node(&path) else {
                let reason = format!(
                    "its {} names the image «{}», which is not there",
                    reference.property, reference.image
                );
                return Err(refused(reason));
            };
            let children = image.children().iter().map(Node::name);
            let hashes: Vec<&str> = children.clone().filter(|name| name.starts_with(HASH)).collect();
            if hashes.is_empty() {
                return Err(refused(format!("its image «{}» has no hash node", reference.image)));
            }
            let others = OTHERS.into_iter().filter(|other| image.child(other).is_some());
            all.push(path.clone());
            all.extend(hashes.into_iter().chain(others).map(|name| format!("{path}/{name}")));
        }
        if configuration.references.is_empty() {
            return Err(refused("it names no image".to_owned()));
        }
        let bytes: usize = all.iter().map(|path| path.len().saturating_add(1)).fold(0, usize::saturating_add);
        let longest = all.iter().map(String::len).max().unwrap_or_default();
        if all.len() > MOST_NODES || bytes > MOST_PATH_BYTES || longest > LONGEST_PATH {
            return Err(refused(format!(
                "{} nodes with {bytes} bytes of paths, the longest {longest}, would be signed; \
                 U-Boot takes {MOST_NODES}, {MOST_PATH_BYTES} and {LONGEST_PATH}",
                all.len()
            )));
        }
        let mut seen = BTreeSet::new();
        all.retain(|path| seen.insert(path.clone()));
        Ok(Self(all))
    }

    /// The nodes that a signature node itself lists, which is what U-Boot went by before.
    pub(super) fn listed(signature: &Node<'_>) -> Option<Self> {
        let listed = signature.texts("hashed-nodes")?;
        Some(Self(listed.into_iter().map(str::to_owned).collect()))
    }

    /// The paths.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The paths that only one of the two has: missing in `self`, and only there.
    pub(super) fn differences<'s>(&'s self, other: &'s Self) -> (Vec<&'s str>, Vec<&'s str>) {
        let (own, others): (BTreeSet<_>, BTreeSet<_>) = (self.paths().collect(), other.paths().collect());
        (others.difference(&own).copied().collect(), own.difference(&others).copied().collect())
    }

    /// The bytes that are hashed, with the first `strings` bytes of the strings block.
    pub(super) fn message(&self, tree: &Tree<'_>, strings: usize) -> Result<Vec<u8>, FitError> {
        let signed: BTreeSet<&str> = self.paths().collect();
        let mut message = Vec::new();
        cover(tree.root(), "", Cover::Nothing, &signed, &mut message)?;
        tokens::end(&mut message);
        message.extend_from_slice(tree.strings().get(..strings).unwrap_or_default());
        Ok(message)
    }

    /// The first covered property whose name lies beyond the first `strings` bytes of the strings block: with its node.
    /// Such a name is signed by nobody.
    pub(super) fn name_beyond(&self, tree: &Tree<'_>, strings: usize) -> Option<(&str, String)> {
        self.paths().find_map(|path| {
            let properties = tree.node(path)?.properties().iter();
            let mut covered = properties.filter(|property| !NOT_COVERED.contains(&property.name()));
            let end =
                |offset: u32, name: &str| (offset as usize).saturating_add(name.len()).saturating_add(1);
            let beyond = covered.find(|property| end(property.name_offset(), property.name()) > strings)?;
            Some((path, beyond.name().to_owned()))
        })
    }
}

/// How much of a node is hashed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cover {
    Nothing,
    /// Its begin and end.
    Ends,
    /// These and its properties; of the nodes right in it the ends.
    Whole,
}

fn cover(
    node: &Node<'_>,
    path: &str,
    parent: Cover,
    signed: &BTreeSet<&str>,
    out: &mut Vec<u8>,
) -> Result<(), FitError> {
    let cover_of_node = match parent {
        _ if signed.contains(if path.is_empty() { "/" } else { path }) => Cover::Whole,
        Cover::Whole => Cover::Ends,
        Cover::Ends | Cover::Nothing => Cover::Nothing,
    };
    if cover_of_node != Cover::Nothing {
        tokens::begin_node(node, out);
    }
    if cover_of_node == Cover::Whole {
        let covered = node.properties().iter().filter(|property| !NOT_COVERED.contains(&property.name()));
        covered.into_iter().try_for_each(|property| tokens::property(property, out))?;
    }
    for child in node.children() {
        cover(child, &format!("{path}/{}", child.name()), cover_of_node, signed, out)?;
    }
    if cover_of_node != Cover::Nothing {
        tokens::end_node(out);
    }
    Ok(())
}

/// Hash nodes' names start so (FIT_HASH_NODENAME).
pub(super) const HASH: &str = "hash";
/// Signature nodes' names start so (FIT_SIG_NODENAME).
pub(super) const SIGNATURE: &str = "signature";
/// Further nodes of an image that are signed with it.
const OTHERS: [&str; 2] = ["cipher", "dm-verity"];
/// Properties that no signature covers: they hold or place data, which the hashes bind.
const NOT_COVERED: [&str; 4] = ["data", "data-size", "data-position", "data-offset"];
/// IMAGE_MAX_HASHED_NODES.
const MOST_NODES: usize = 100;
/// FIT_MAX_HASH_PATH_BUF.
const MOST_PATH_BYTES: usize = 4096;
/// The buffer for one path has 200 bytes, which end in a NUL.
const LONGEST_PATH: usize = 190;
