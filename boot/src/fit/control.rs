//! The public key in U-Boot's control device tree: `/signature/key-NAME` (U-Boot, `doc/usage/fit/signature.rst`).

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use der::{Decode as _, Encode as _, Reader as _};

use super::{FitError, SignatureAlgorithm, TrustedKey};
use crate::fdt::{Node, Property, Tree};
use crate::x509::{Certificate, PublicKey};

/// What U-Boot asks of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Required {
    /// Every configuration must be signed with it (`required = "conf"`): what a secured board has.
    #[default]
    Configuration,
    /// Every image must be (`required = "image"`), which leaves configurations open to mixing.
    Image,
    /// Nothing: the key is there to be tried.
    No,
}

/// A device tree with nothing but the key's node, to be merged into a control device tree or included by its build.
///
/// # Errors
/// Where the certificate's key is none that U-Boot checks, or the name cannot be a node's.
pub fn fragment(
    certificate: &Certificate,
    name: &str,
    algorithm: SignatureAlgorithm,
    required: Required,
) -> Result<Vec<u8>, FitError> {
    Ok(key_tree(certificate, name, algorithm, required)?.to_bytes()?)
}

/// `dtb`, a control device tree, with the key's node in it.
///
/// # Errors
/// As [`fragment`]; also where `dtb` is no device tree, or has another key of this name.
pub fn add_key(
    dtb: &[u8],
    certificate: &Certificate,
    name: &str,
    algorithm: SignatureAlgorithm,
    required: Required,
) -> Result<Vec<u8>, FitError> {
    let fragment = key_tree(certificate, name, algorithm, required)?;
    let mut tree = Tree::parse(dtb)?;
    let path = format!("/signature/key-{name}");
    let modulus =
        |tree: &Tree<'_>| tree.node(&path).and_then(|node| node.value("rsa,modulus").map(<[u8]>::to_vec));
    if tree.node(&path).is_some() && modulus(&tree) != modulus(&fragment) {
        return Err(FitError::OtherKey { name: name.to_owned() });
    }
    tree.merge(&fragment)?;
    Ok(tree.to_bytes()?)
}

/// The keys that a control device tree requires for configurations, any of which is enough; none where it requires none.
///
/// # Errors
/// Where a key node is not one that U-Boot can use, or several are required at once (`required-mode` other than `any`).
pub fn required_keys(dtb: &[u8]) -> Result<Vec<TrustedKey>, FitError> {
    let tree = Tree::parse(dtb)?;
    let nodes = tree.node("/signature").map(Node::children).unwrap_or_default();
    let required = nodes.iter().filter(|node| node.text("required") == Some("conf"));
    let keys: Vec<TrustedKey> = required.map(read_key).collect::<Result<_, _>>()?;
    let any = tree.node("/signature").and_then(|node| node.text("required-mode")) == Some("any");
    if keys.len() > 1 && !any {
        let reason = format!("{} keys are required at once, which is not checked here", keys.len());
        return Err(FitError::KeyNode { node: "required-mode".to_owned(), reason });
    }
    Ok(keys)
}

fn key_tree(
    certificate: &Certificate,
    name: &str,
    algorithm: SignatureAlgorithm,
    required: Required,
) -> Result<Tree<'static>, FitError> {
    check_key_name(name)?;
    let unusable =
        || FitError::Key { subject: certificate.subject(), found: certificate.public_key().to_string() };
    let PublicKey::Rsa { pkcs1, .. } = certificate.public_key() else { return Err(unusable()) };
    if SignatureAlgorithm::of(certificate.public_key(), algorithm.hash, algorithm.padding) != Some(algorithm)
    {
        return Err(unusable());
    }
    let numbers = Numbers::of(pkcs1).ok_or_else(unusable)?;
    let mut node = Node::new(format!("key-{name}"));
    node = match required {
        Required::Configuration => node.with(Property::text("required", "conf")),
        Required::Image => node.with(Property::text("required", "image")),
        Required::No => node,
    };
    let bits = u32::try_from(algorithm.bits).map_err(|_| unusable())?;
    let node = node
        .with(Property::text("algo", &algorithm.name()))
        .with(Property::bytes("rsa,r-squared", numbers.r_squared))
        .with(Property::bytes("rsa,modulus", numbers.modulus))
        .with(Property::bytes("rsa,exponent", numbers.exponent.to_be_bytes().to_vec()))
        .with(Property::cell("rsa,n0-inverse", numbers.n0_inverse))
        .with(Property::cell("rsa,num-bits", bits))
        .with(Property::text("key-name-hint", name));
    Ok(Tree::new(Node::new("").with_child(Node::new("signature").with_child(node)))?)
}

/// The numbers of an RSA public key as U-Boot's Montgomery multiplication wants them, big-endian.
struct Numbers {
    modulus: Vec<u8>,
    exponent: u64,
    /// 2^(2·bits) mod modulus.
    r_squared: Vec<u8>,
    /// −modulus⁻¹ mod 2³².
    n0_inverse: u32,
}

impl Numbers {
    fn of(pkcs1: &[u8]) -> Option<Self> {
        let (modulus, exponent) = read_pkcs1(pkcs1).ok()?;
        let low = modulus.last_chunk::<4>().copied().map(u32::from_be_bytes)?;
        let number = Odd::new(BoxedUint::from_be_slice_vartime(&modulus)).into_option()?;
        let montgomery = BoxedMontyParams::new_vartime(number);
        // The Montgomery form of x is x·2^bits: that of 1, taken again, is 2^(2·bits).
        let r = BoxedMontyForm::one(&montgomery).to_montgomery();
        let r_squared = BoxedMontyForm::new(r, &montgomery).to_montgomery().to_be_bytes().to_vec();
        Some(Self { r_squared, n0_inverse: inverse(low).wrapping_neg(), modulus, exponent })
    }
}

/// The inverse of an odd number modulo 2³²: each of Newton's steps doubles the bits that are right.
fn inverse(odd: u32) -> u32 {
    (0..5).fold(1_u32, |x, _| x.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(x))))
}

/// Modulus (no leading zeros) and exponent of a DER `RSAPublicKey` (RFC 8017 A.1.1).
fn read_pkcs1(pkcs1: &[u8]) -> Result<(Vec<u8>, u64), der::Error> {
    der::SliceReader::new(pkcs1)?.sequence(|key| {
        let modulus = der::asn1::UintRef::decode(key)?.as_bytes().to_vec();
        Ok::<_, der::Error>((modulus, u64::decode(key)?))
    })
}

/// The key of a node of `/signature`.
pub(crate) fn read_key(node: &Node<'_>) -> Result<TrustedKey, FitError> {
    let refused =
        |reason: &str| FitError::KeyNode { node: node.name().to_owned(), reason: reason.to_owned() };
    let modulus =
        node.value("rsa,modulus").ok_or_else(|| refused("no rsa,modulus: U-Boot checks RSA only"))?;
    let exponent = node.number("rsa,exponent").ok_or_else(|| refused("no rsa,exponent"))?;
    let bits = node.number("rsa,num-bits").and_then(|bits| usize::try_from(bits).ok());
    let bits = bits.filter(|bits| modulus.len().checked_mul(8) == Some(*bits));
    let bits = bits.ok_or_else(|| refused("rsa,num-bits is not the length of rsa,modulus"))?;
    let broken = |_| refused("no RSA key");
    let mut numbers = der::asn1::UintRef::new(modulus).and_then(|n| n.to_der()).map_err(broken)?;
    numbers.extend(exponent.to_der().map_err(broken)?);
    let pkcs1 =
        der::asn1::AnyRef::new(der::Tag::Sequence, &numbers).and_then(|key| key.to_der()).map_err(broken)?;
    let ours = Numbers::of(&pkcs1).ok_or_else(|| refused("rsa,modulus is even"))?;
    if node.value("rsa,r-squared") != Some(ours.r_squared.as_slice())
        || node.number("rsa,n0-inverse") != Some(ours.n0_inverse.into())
    {
        return Err(refused("rsa,r-squared or rsa,n0-inverse does not belong to rsa,modulus"));
    }
    Ok(TrustedKey { name: node.name().to_owned(), key: PublicKey::Rsa { pkcs1, bits } })
}

/// A name that fits `key-NAME` in U-Boot's buffer of 100 bytes and is no path.
pub(super) fn check_key_name(name: &str) -> Result<(), FitError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=90).contains(&name.len()) && name.chars().all(plain) {
        return Ok(());
    }
    Err(FitError::KeyName { found: name.to_owned() })
}
