//! Seal and bind: the root hash gets its signature, and a policy that lets that root execute.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_boot::pkcs7;
use graven_boot::sign::{Answer, Request};
use graven_image::gpt::Table;
use graven_ipe::Policy;
use graven_verity::io::{Window, WriteAt};
use serde_json::json;

use crate::assemble::Rootfs;
use crate::error::{Error, Result};
use crate::layout::{self, SIGNATURE_BYTES};
use crate::plan::Plan;
use crate::policy::Bound;
use crate::root::RootImage;
use crate::signers::Signers;

/// What a station answers: the next value, or what must be signed before there is one.
#[derive(Debug)]
pub enum Station<T> {
    /// Go on.
    Done(T),
    /// Stop: these signatures are missing.
    Pending(Vec<Request>),
}

/// A root image whose root hash is signed, on the disk and off it.
#[derive(Debug)]
pub struct SealedRoot {
    /// The image; its partitions have their final GUIDs.
    pub image: RootImage,
    /// PKCS#7 over the root hash's hexadecimal text, detached, DER.
    pub signature: Vec<u8>,
}

/// A signed policy for one root hash. Only a [`SealedRoot`] leads here.
#[derive(Debug)]
pub struct BoundPolicy {
    /// The policy.
    pub policy: Policy,
    /// Its text, as it was signed.
    pub text: Vec<u8>,
    /// PKCS#7 with the text inside, DER: what the kernel is given.
    pub signed: Vec<u8>,
    /// What the check finds in it and the recipe accepts, with its reasons.
    pub accepted: BTreeMap<String, String>,
}

/// Signs root hash and policy, in one round: neither needs the other's signature, only the root hash.
///
/// # Errors
/// What the signers say, a policy that is none to ship, or a disk that cannot be written.
pub fn seal(
    plan: &Plan,
    rootfs: &Rootfs,
    mut image: RootImage,
    signers: &Signers,
) -> Result<Station<(SealedRoot, BoundPolicy)>> {
    let root_hash = image.root_hash.to_string();
    let Bound { policy, text, accepted } = plan.policy.bind(&plan.recipe, &rootfs.kernel, &root_hash)?;
    let root = pkcs7::sign_root_hash(&root_hash, &*signers.root)?;
    let bound = pkcs7::sign_policy(&text, &*signers.policy)?;
    let (signature, signed) = match (root, bound) {
        (Answer::Signed(signature), Answer::Signed(signed)) => (signature, signed),
        (root, bound) => {
            let pending = [root, bound].into_iter().filter_map(|answer| match answer {
                Answer::Pending(request) => Some(request),
                Answer::Signed(_) => None,
            });
            return Ok(Station::Pending(pending.collect()));
        }
    };

    let slot = image.places.slots[0];
    layout::name_slot(&mut image.table, slot, &image.root_hash);
    let fingerprint = signers.root.certificate().fingerprint().to_string();
    write_signature(&image.table, slot.signature, &image, &root_hash, &signature, &fingerprint)?;
    Ok(Station::Done((SealedRoot { image, signature }, BoundPolicy { policy, text, signed, accepted })))
}

/// The verity-sig partition: a JSON object, then NUL bytes (Discoverable Partitions Specification).
fn write_signature(
    table: &Table,
    partition: usize,
    image: &RootImage,
    root_hash: &str,
    signature: &[u8],
    fingerprint: &str,
) -> Result<()> {
    let mut bytes = json!({
        "rootHash": root_hash,
        "signature": STANDARD.encode(signature),
        "certificateFingerprint": fingerprint,
    })
    .to_string()
    .into_bytes();
    if bytes.len() as u64 > SIGNATURE_BYTES {
        return Err(Error::Limit(format!(
            "the root hash signature is {} bytes as text, its partition has {SIGNATURE_BYTES}",
            bytes.len()
        )));
    }
    bytes.resize(SIGNATURE_BYTES as usize, 0);
    let place = &table.partitions[partition];
    Window::new(&image.disk, place.start, place.len)
        .write_all_at(&bytes, 0)
        .map_err(|source| Error::io("disk.img", source))
}
