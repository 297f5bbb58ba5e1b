//! Proving a FIT by U-Boot's rules.

use super::algorithm::{Hash, SignatureAlgorithm};
use super::region::{HASH, SignedNodes};
use super::report::{ConfigurationReport, ImageReport, Report, SignatureReport};
use super::{Configuration, Fit, FitError, Image};
use crate::fdt::{Node, Tree};
use crate::sign::verify_with;
use crate::x509::{Certificate, PublicKey};

/// A key that may vouch for configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// For people: a certificate's subject, or a key node's name.
    pub name: String,
    /// The key; one that is not RSA verifies nothing.
    pub key: PublicKey,
}

impl TrustedKey {
    /// A certificate's key.
    pub fn of(certificate: &Certificate) -> Self {
        Self { name: certificate.subject(), key: certificate.public_key().clone() }
    }
}

/// Checks every image's hashes and every configuration's signature.
///
/// A configuration holds if one of its signatures was made by one of `trusted` over exactly what U-Boot hashes, both for
/// versions that go by `hashed-nodes` and for those that find the nodes themselves, and each image that it names has a
/// hash of SHA-256 or stronger that holds. An image that no configuration names is signed by nobody, and a problem.
///
/// # Errors
/// Where the bytes are no FIT; everything else is in the report.
pub fn verify(bytes: &[u8], trusted: &[TrustedKey]) -> Result<Report, FitError> {
    let fit = Fit::parse(bytes)?;
    let images: Vec<ImageReport> = fit.images().iter().map(|image| check_image(&fit, image)).collect();
    let configurations: Vec<ConfigurationReport> =
        fit.configurations().iter().map(|one| check_configuration(&fit, one, &images, trusted)).collect();
    let mut problems = Vec::new();
    if configurations.is_empty() {
        problems.push("there is no configuration, so nothing is signed".to_owned());
    }
    if let Some(default) = fit.default().filter(|name| fit.configuration(name).is_none()) {
        problems.push(format!("the default configuration «{default}» is not there"));
    }
    Ok(Report { default: fit.default().map(str::to_owned), images, configurations, problems })
}

fn check_image(fit: &Fit<'_>, image: &Image<'_>) -> ImageReport {
    let path = format!("/images/{}", image.name);
    let mut report = ImageReport { name: image.name.clone(), ..ImageReport::default() };
    for node in hash_nodes(fit.tree(), &path) {
        let (name, algo) = (node.name(), node.text("algo").unwrap_or_default());
        match (digest(algo, image.data), node.value("value")) {
            (None, _) => {
                report.problems.push(format!("{name} has the algorithm «{algo}», which is not checked here"));
            }
            (_, None) => report.problems.push(format!("{name} has no value")),
            (Some(found), Some(expected)) if found == expected => report.hashes.push(algo.to_owned()),
            (Some(found), Some(expected)) => report.problems.push(format!(
                "{name} says {algo} {}, its data has {}",
                graven_handoff::hex::encode(expected),
                graven_handoff::hex::encode(&found)
            )),
        }
    }
    if report.problems.is_empty() && !has_strong_hash(fit.tree(), &path) {
        let found = if report.hashes.is_empty() { "none".to_owned() } else { report.hashes.join(", ") };
        report.problems.push(format!("expected a hash of sha256, sha384 or sha512, found {found}"));
    }
    let references = fit.configurations().iter().flat_map(|configuration| &configuration.references);
    if !references.into_iter().any(|reference| reference.image == image.name) {
        report.problems.push("no configuration names it, so nobody signed it".to_owned());
    }
    report
}

fn check_configuration(
    fit: &Fit<'_>,
    configuration: &Configuration,
    images: &[ImageReport],
    trusted: &[TrustedKey],
) -> ConfigurationReport {
    let mut report =
        ConfigurationReport { name: configuration.name.clone(), ..ConfigurationReport::default() };
    for reference in &configuration.references {
        let image = images.iter().find(|image| image.name == reference.image);
        if image.is_some_and(|image| !image.problems.is_empty()) {
            report.problems.push(format!("its {} «{}» is bad", reference.property, reference.image));
        }
    }
    if !configuration.references.iter().any(|reference| reference.property == "kernel") {
        report.problems.push("it names no kernel".to_owned());
    }
    let path = format!("/configurations/{}", configuration.name);
    let children = fit.tree().node(&path).map(Node::children).unwrap_or_default();
    let nodes = match SignedNodes::of(fit, configuration) {
        Ok(nodes) => nodes,
        Err(FitError::Configuration { reason, .. }) => {
            report.problems.push(reason);
            return report;
        }
        Err(error) => {
            report.problems.push(error.to_string());
            return report;
        }
    };
    for node in &configuration.signatures {
        let Some(signature) = children.iter().find(|child| child.name() == node.name) else { continue };
        report.signatures.push(SignatureReport {
            node: node.name.clone(),
            algorithm: node.algorithm.clone(),
            hint: node.hint.clone(),
            result: check_signature(fit.tree(), signature, &nodes, trusted),
        });
    }
    if report.signer().is_none() {
        let reasons = report.signatures.iter().filter_map(|signature| {
            let reason = signature.result.as_ref().err()?;
            Some(format!("{}: {reason}", signature.node))
        });
        let reasons: Vec<String> = reasons.collect();
        match reasons.is_empty() {
            true => report.problems.push("it is not signed".to_owned()),
            false => report.problems.extend(reasons),
        }
    }
    report
}

/// The name of the trusted key that made this signature over the nodes.
fn check_signature(
    tree: &Tree<'_>,
    node: &Node<'_>,
    nodes: &SignedNodes,
    trusted: &[TrustedKey],
) -> Result<String, String> {
    let (algo, padding) = (node.text("algo").unwrap_or_default(), node.text("padding"));
    let algorithm = SignatureAlgorithm::named(algo, padding)
        .ok_or_else(|| format!("«{algo}» is no algorithm that is trusted here"))?;
    let value = node.value("value").ok_or("it has no value: this FIT was not signed")?;
    let strings = hashed_strings(tree, node)?;
    if let Some((path, name)) = nodes.name_beyond(tree, strings) {
        return Err(format!(
            "the name of the property {name} of {path} lies beyond hashed-strings: nobody signed it"
        ));
    }
    let listed =
        SignedNodes::listed(node).ok_or("it has no hashed-nodes, which U-Boot before 2026.04 goes by")?;
    let signer = |nodes: &SignedNodes| {
        let message = nodes.message(tree, strings).map_err(|error| error.to_string())?;
        signer_of(&message, value, algorithm, trusted)
    };
    let (left_out, beyond) = listed.differences(nodes);
    if left_out.is_empty() && beyond.is_empty() {
        return signer(nodes);
    }
    let differ = format!(
        "hashed-nodes leaves out [{}] and has [{}] beyond what the configuration names",
        left_out.join(" "),
        beyond.join(" ")
    );
    match (signer(nodes), signer(&listed)) {
        (Ok(_), Ok(by)) => Ok(by),
        (Ok(_), Err(_)) => Err(format!("{differ}: U-Boot before 2026.04 refuses it")),
        (Err(_), Ok(_)) => Err(format!("{differ}: they are not signed, and U-Boot refuses it since 2026.04")),
        (Err(reason), Err(_)) => Err(reason),
    }
}

/// How far the strings block is signed, in bytes from its start.
fn hashed_strings(tree: &Tree<'_>, node: &Node<'_>) -> Result<usize, String> {
    let value = node
        .value("hashed-strings")
        .ok_or("it has no hashed-strings: the names of properties are not signed")?;
    let size = match *value {
        [0, 0, 0, 0, a, b, c, d] => u32::from_be_bytes([a, b, c, d]) as usize,
        _ => return Err("its hashed-strings is not <0 SIZE>".to_owned()),
    };
    match tree.strings().len() {
        length if size > length => Err(format!("its hashed-strings covers {size} bytes of {length}")),
        _ => Ok(size),
    }
}

fn signer_of(
    message: &[u8],
    value: &[u8],
    algorithm: SignatureAlgorithm,
    trusted: &[TrustedKey],
) -> Result<String, String> {
    let fitting: Vec<&TrustedKey> = trusted
        .iter()
        .filter(|trusted| {
            SignatureAlgorithm::of(&trusted.key, algorithm.hash, algorithm.padding) == Some(algorithm)
        })
        .collect();
    if fitting.is_empty() {
        return Err(format!("no trusted key is RSA-{}", algorithm.bits));
    }
    let signed = |key: &&&TrustedKey| verify_with(&key.key, algorithm.signing(), message, value).is_ok();
    let by = fitting.iter().find(signed).ok_or("it is no trusted key's signature over this configuration")?;
    Ok(by.name.clone())
}

fn hash_nodes<'t, 'a>(tree: &'t Tree<'a>, image: &str) -> impl Iterator<Item = &'t Node<'a>> {
    let children = tree.node(image).map(Node::children).unwrap_or_default();
    children.iter().filter(|node| node.name().starts_with(HASH))
}

/// Whether an image has a hash on which a signature can rest.
pub(super) fn has_strong_hash(tree: &Tree<'_>, image: &str) -> bool {
    hash_nodes(tree, image).any(|node| node.text("algo").and_then(Hash::named).is_some())
}

/// The digest of `data` by a hash node's algorithm; weak ones are known too, to find damage.
pub(super) fn digest(algo: &str, data: &[u8]) -> Option<Vec<u8>> {
    match algo {
        "sha1" => Some(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, data).as_ref().to_vec()),
        "crc32" => {
            let mut crc = flate2::Crc::new();
            crc.update(data);
            Some(crc.sum().to_be_bytes().to_vec())
        }
        algo => Hash::named(algo).map(|hash| hash.digest(data)),
    }
}
