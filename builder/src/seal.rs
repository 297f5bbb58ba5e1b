//! Seal and bind: the root hash gets its signature, and a policy that lets that root execute.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_boot::pkcs7;
use graven_boot::sign::{Answer, Request};
use graven_ipe::Policy;
use graven_verity::io::{Window, WriteAt};
use serde_json::json;

use crate::assemble::Rootfs;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::layout::{self, SIGNATURE_BYTES};
use crate::plan::Plan;
use crate::policy::{Bound, RootHashes};
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

/// A root image whose root hashes are signed, on the disk and off it.
#[derive(Debug)]
pub struct SealedRoot {
    /// The image; its partitions have their final GUIDs.
    pub image: RootImage,
    /// PKCS#7 over the root hash's hexadecimal text, detached, DER.
    pub signature: Vec<u8>,
    /// The same for each volume.
    pub volume_signatures: Vec<Vec<u8>>,
}

/// A signed policy for these root hashes. Only a [`SealedRoot`] leads here.
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

/// Signs root hashes and policy, in one round: none needs another's signature, only the root hashes.
///
/// # Errors
/// What the signers say, a policy that is none to ship, or a disk that cannot be written.
pub fn seal(
    plan: &Plan,
    rootfs: &Rootfs,
    mut image: RootImage,
    signers: &Signers,
) -> Result<Station<(SealedRoot, BoundPolicy)>> {
    let hashes = RootHashes {
        root: image.root.root_hash.to_string(),
        volumes: image.volumes.iter().map(|volume| volume.root_hash.to_string()).collect(),
    };
    let Bound { policy, text, accepted } = plan.policy.bind(&plan.recipe, &rootfs.kernel, &hashes)?;
    let mut answers = Vec::new();
    for root_hash in std::iter::once(&hashes.root).chain(&hashes.volumes) {
        answers.push(pkcs7::sign_root_hash(root_hash, &*signers.root)?);
    }
    answers.push(pkcs7::sign_policy(&text, &*signers.policy)?);
    let (mut signed, mut pending) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Answer::Signed(message) => signed.push(message),
            Answer::Pending(request) => pending.push(request),
        }
    }
    let (true, [signature, volume_signatures @ .., signed_policy]) = (pending.is_empty(), signed.as_slice())
    else {
        return Ok(Station::Pending(pending));
    };

    layout::name_filled(&mut image);
    let fingerprint = signers.root.certificate().fingerprint().to_string();
    let devices = std::iter::once(&image.root).chain(&image.volumes);
    for (device, signature) in devices.zip(std::iter::once(signature).chain(volume_signatures)) {
        write_signature(&image, device, signature, &fingerprint)?;
    }
    let sealed =
        SealedRoot { signature: signature.clone(), volume_signatures: volume_signatures.to_vec(), image };
    Ok(Station::Done((sealed, BoundPolicy { policy, text, signed: signed_policy.clone(), accepted })))
}

/// The verity-sig partition: a JSON object, then NUL bytes (Discoverable Partitions Specification).
fn write_signature(image: &RootImage, device: &Device, signature: &[u8], fingerprint: &str) -> Result<()> {
    let mut bytes = json!({
        "rootHash": device.root_hash.to_string(),
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
    let place = &image.table.partitions[device.parts.signature];
    Window::new(&image.disk, place.start, place.len)
        .write_all_at(&bytes, 0)
        .map_err(|source| Error::io("disk.img", source))
}
