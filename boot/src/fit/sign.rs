//! Signing the configurations of a FIT, as mkimage does it in place.

use super::algorithm::{Hash, Padding, SignatureAlgorithm};
use super::region::{HASH, SIGNATURE, SignedNodes};
use super::{Fit, FitError, Placement};
use crate::fdt::{Node, Property, Tree};
use crate::sign::{Answer, Purpose, Request, Signer};

/// How to sign.
#[derive(Clone, Debug)]
pub struct SignOptions<'a> {
    /// `key-name-hint`: U-Boot looks for the key first in `/signature/key-HINT` of its control device tree.
    pub hint: &'a str,
    /// Digest, where a configuration has no signature node that names one.
    pub hash: Hash,
    /// Padding, likewise.
    pub padding: Padding,
    /// `timestamp` of the signatures, Unix seconds; for people, nothing is signed with it.
    pub timestamp: u32,
}

impl<'a> SignOptions<'a> {
    /// SHA-256 and PKCS#1 v1.5.
    pub fn new(hint: &'a str, timestamp: u32) -> Self {
        Self { hint, hash: Hash::default(), padding: Padding::default(), timestamp }
    }
}

/// What became of a FIT that was to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signed {
    /// The FIT with a signature in every configuration.
    Whole(Vec<u8>),
    /// These signatures are not there yet, one request a configuration: bring them to the key.
    Pending(Vec<Request>),
}

/// Signs every configuration of a FIT with the signer's key.
///
/// Covered are all images that a configuration names, whatever `sign-images` says: U-Boot goes by the former since
/// 2026.04. A signature node with our `key-name-hint` is filled (its `algo` and `padding` decide), and where a configuration
/// has none at all, `signature-1` is added. Hash nodes without a value get theirs; an image without a hash node gets
/// `hash-1`. External data stays where it is in relation to the tree.
///
/// # Errors
/// Where a hash contradicts its image, a configuration has signature nodes for other keys only (one more would break
/// them), or the key is none that U-Boot checks.
pub fn sign(bytes: &[u8], options: &SignOptions<'_>, signer: &dyn Signer) -> Result<Signed, FitError> {
    let fit = Fit::parse(bytes)?;
    let certificate = signer.certificate();
    let own = SignatureAlgorithm::of(certificate.public_key(), options.hash, options.padding);
    let own = own.ok_or_else(|| FitError::Key {
        subject: certificate.subject(),
        found: certificate.public_key().to_string(),
    })?;
    super::control::check_key_name(options.hint)?;
    if fit.configurations().is_empty() {
        return Err(FitError::Missing { node: "/".to_owned(), what: "configuration in /configurations" });
    }

    // `work` grows into the signed FIT; data stays where `fit` found it.
    let mut work = fit.clone();
    fill_hashes(&fit, &mut work.tree, options.hash)?;
    for configuration in fit.configurations() {
        prepare(&mut work.tree, &configuration.name, options, own)?;
    }
    let mut pending = Vec::new();
    for configuration in fit.configurations() {
        let path = format!("/configurations/{}", configuration.name);
        let nodes = SignedNodes::of(&work, configuration)?;
        for node in signature_nodes(&work.tree, &path, options.hint) {
            let path = format!("{path}/{node}");
            let algorithm = algorithm(&work.tree, &path, own)
                .map_err(|reason| FitError::Configuration { name: configuration.name.clone(), reason })?;
            let strings = work.tree.strings().len();
            let message = nodes.message(&work.tree, strings)?;
            let request = Request::with_algorithm(Purpose::Boot, certificate, algorithm.signing(), &message)?;
            // A signature that is not there yet leaves its room, so that the next message is the final one.
            let value = match signer.sign(&request)? {
                Answer::Signed(signature) => signature,
                Answer::Pending(request) => {
                    pending.push(request);
                    vec![0; algorithm.bits.div_ceil(8)]
                }
            };
            write_signature(&mut work.tree, &path, value, options.timestamp, &nodes, strings)?;
        }
    }
    if !pending.is_empty() {
        return Ok(Signed::Pending(pending));
    }
    Ok(Signed::Whole(assemble(&fit, &work.tree)?))
}

/// Gives every hash node its value and every image a hash node.
fn fill_hashes(fit: &Fit<'_>, tree: &mut Tree<'_>, hash: Hash) -> Result<(), FitError> {
    for image in fit.images() {
        let path = format!("/images/{}", image.name);
        let refused = |reason| FitError::Image { name: image.name.clone(), reason };
        let node = fit.tree().node(&path);
        let children = node.map(Node::children).unwrap_or_default();
        let hashes: Vec<&Node<'_>> = children.iter().filter(|node| node.name().starts_with(HASH)).collect();
        if hashes.is_empty() {
            let digest = Property::bytes("value", hash.digest(image.data));
            tree.add(&path, Node::new("hash-1").with(digest).with(Property::text("algo", hash.name())))?;
        }
        for node in hashes {
            let (name, algo) = (node.name(), node.text("algo").unwrap_or_default());
            let digest = super::verify::digest(algo, image.data).ok_or_else(|| {
                refused(format!("has {name} with the algorithm «{algo}», which is not known here"))
            })?;
            match node.value("value") {
                None => tree.set(&format!("{path}/{name}"), Property::bytes("value", digest))?,
                Some(value) if value == digest => {}
                Some(_) => {
                    let reason =
                        format!("does not have the {algo} that its {name} says; it was damaged or changed");
                    return Err(refused(reason));
                }
            }
        }
        if !super::verify::has_strong_hash(tree, &path) {
            let strong = "sha256, sha384 or sha512";
            return Err(refused(format!(
                "has no hash of {strong}: a signature over weaker ones proves nothing"
            )));
        }
    }
    Ok(())
}

/// Sees that a configuration has a signature node with our hint.
fn prepare(
    tree: &mut Tree<'_>,
    configuration: &str,
    options: &SignOptions<'_>,
    own: SignatureAlgorithm,
) -> Result<(), FitError> {
    let path = format!("/configurations/{configuration}");
    if !signature_nodes(tree, &path, options.hint).is_empty() {
        return Ok(());
    }
    let children = tree.node(&path).map(Node::children).unwrap_or_default();
    let others: Vec<String> = children
        .iter()
        .filter(|node| node.name().starts_with(SIGNATURE))
        .map(|node| {
            format!("{} (key-name-hint {})", node.name(), node.text("key-name-hint").unwrap_or("none"))
        })
        .collect();
    if !others.is_empty() {
        let reason = format!(
            "it has {} and nothing for key-name-hint {}; a node more would break their signatures",
            others.join(", "),
            options.hint
        );
        return Err(FitError::Configuration { name: configuration.to_owned(), reason });
    }
    let mut node = Node::new("signature-1")
        .with(Property::text("algo", &own.name()))
        .with(Property::text("key-name-hint", options.hint));
    if own.padding == Padding::Pss {
        node = node.with(Property::text("padding", own.padding.name()));
    }
    Ok(tree.add(&path, node)?)
}

/// The names of a configuration's signature nodes with this hint.
fn signature_nodes(tree: &Tree<'_>, configuration: &str, hint: &str) -> Vec<String> {
    let children = tree.node(configuration).map(Node::children).unwrap_or_default();
    let ours = children
        .iter()
        .filter(|node| node.name().starts_with(SIGNATURE) && node.text("key-name-hint") == Some(hint));
    ours.map(|node| node.name().to_owned()).collect()
}

/// The algorithm of a signature node, which must be one for our key.
fn algorithm(tree: &Tree<'_>, path: &str, own: SignatureAlgorithm) -> Result<SignatureAlgorithm, String> {
    let node = tree.node(path);
    let text = |name| node.and_then(|node| node.text(name));
    let (algo, padding) = (text("algo").unwrap_or_default(), text("padding"));
    let named = SignatureAlgorithm::named(algo, padding).ok_or_else(|| {
        let padding = padding.map(|padding| format!(" with padding «{padding}»")).unwrap_or_default();
        format!("{path} asks for «{algo}»{padding}; expected sha256, sha384 or sha512 with rsa2048, rsa3072 or rsa4096, pkcs-1.5 or pss (U-Boot checks no ECDSA in software)")
    })?;
    if named.bits != own.bits {
        return Err(format!("{path} asks for {named}, the key is RSA-{}", own.bits));
    }
    Ok(named)
}

/// In mkimage's order, which decides where the names come to stand in the strings block.
fn write_signature(
    tree: &mut Tree<'_>,
    path: &str,
    value: Vec<u8>,
    timestamp: u32,
    nodes: &SignedNodes,
    strings: usize,
) -> Result<(), FitError> {
    let strings = u32::try_from(strings).unwrap_or(u32::MAX);
    let extent = [0_u32.to_be_bytes(), strings.to_be_bytes()].concat();
    tree.set(path, Property::bytes("value", value))?;
    tree.set(path, Property::text("signer-name", "graven"))?;
    tree.set(path, Property::text("signer-version", env!("CARGO_PKG_VERSION")))?;
    tree.set(path, Property::cell("timestamp", timestamp))?;
    tree.set(path, Property::texts("hashed-nodes", nodes.paths()))?;
    tree.set(path, Property::bytes("hashed-strings", extent))?;
    Ok(())
}

/// The file: the signed tree, then the external data of the unsigned one.
fn assemble(fit: &Fit<'_>, tree: &Tree<'_>) -> Result<Vec<u8>, FitError> {
    let mut file = tree.to_bytes()?;
    let has = |placement| fit.images().iter().any(|image| image.placement == placement);
    // Where the data started, and where it starts now.
    let (old, new) = match (has(Placement::Offset), has(Placement::Position)) {
        (false, false) => return Ok(file),
        (false, true) => (first_position(fit), first_position(fit)),
        (true, true) => (fit.external_start(), fit.external_start()),
        // mkimage -B aligns what follows the tree to storage blocks: keep that.
        (true, false) => {
            let old = fit.external_start();
            let alignment = 1_usize.checked_shl(old.trailing_zeros().clamp(2, 12)).unwrap_or(4);
            (old, file.len().next_multiple_of(alignment))
        }
    };
    if file.len() > new {
        return Err(FitError::Room { needed: file.len(), room: new });
    }
    if has(Placement::Offset) {
        // Offsets count from the tree's end.
        let total = u32::try_from(new).unwrap_or(u32::MAX).to_be_bytes();
        if let Some(field) = file.get_mut(TOTAL_SIZE).and_then(|field| field.first_chunk_mut::<4>()) {
            *field = total;
        }
    }
    file.resize(new, 0);
    file.extend_from_slice(fit.bytes().get(old..).unwrap_or_default());
    Ok(file)
}

/// The lowest `data-position`.
fn first_position(fit: &Fit<'_>) -> usize {
    let images = fit.tree().node("/images").map(Node::children).unwrap_or_default();
    let positions = images.iter().filter_map(|image| usize::try_from(image.number("data-position")?).ok());
    positions.min().unwrap_or(fit.bytes().len())
}

/// Of the header's totalsize.
const TOTAL_SIZE: std::ops::RangeFrom<usize> = 4..;
