//! A root hash: signed; and the superblock that stage0 compares.

use graven_boot::pkcs7::{SignedData, verify_root_hash};
use graven_boot::x509::Certificate;
use graven_handoff::hex;
use graven_image::gpt::Partition;
use graven_verity::dm::{Params, Superblock};
use graven_verity::io::ReadAt;

use super::{explain, named};
use crate::device::Device;
use crate::layout::window;
use crate::prove::Disk;
use crate::report::Report;
use crate::signature_partition::RootHashSignature;
use crate::trust::{Role, Trust};

/// Reads the verity-sig partition.
pub(crate) fn read_signature(disk: &Disk, partition: &Partition) -> Result<RootHashSignature, String> {
    let length = partition.len.min(RootHashSignature::MOST_BYTES);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    window(disk, partition).read_exact_at(&mut bytes, 0).map_err(|error| error.to_string())?;
    RootHashSignature::parse(&bytes).map_err(|error| explain(&error))
}

/// The partition is for the root hash that the device is bound to, and signed by a trusted certificate.
pub(crate) fn root_signature(
    disk: &Disk,
    device: &Device<'_>,
    trust: &Trust,
    report: &mut Report,
) -> Option<Certificate> {
    let link = device.link("root-signature");
    let signature = match read_signature(disk, device.signature) {
        Ok(signature) => signature,
        Err(problem) => {
            report.bad(link, format!("verity-sig partition: {problem}"));
            return None;
        }
    };
    let mut problems = Vec::new();
    let hash = match device.root_hash.map(ToString::to_string) {
        Some(hash) => {
            if hash != signature.root_hash {
                let (found, by) = (&signature.root_hash, device.bound_by());
                problems.push(format!("it is for the root hash {found}, expected {hash} by {by}"));
            }
            hash
        }
        None => signature.root_hash.clone(),
    };
    let trusted = trust.certificates(Role::Root);
    let signer = match verify_root_hash(&signature.message, &hash, &trusted) {
        Ok(certificate) => {
            let message = SignedData::parse(&signature.message).ok();
            let signer = message.as_ref().and_then(|message| message.signer_among(&trusted));
            let own = signer.unwrap_or(certificate).fingerprint();
            if signature.fingerprint.is_some_and(|fingerprint| fingerprint != own.0) {
                let named = hex::encode(&signature.fingerprint.unwrap_or_default());
                problems.push(format!("certificateFingerprint is {named}, the signer's is {own}"));
            }
            Some(certificate.clone())
        }
        Err(error) => {
            problems.push(explain(&error));
            None
        }
    };
    if let Some(signer) = signer.as_ref().filter(|_| problems.is_empty()) {
        report.vouch(link.clone(), signer);
    }
    let by = signer.as_ref().map(named).unwrap_or_default();
    if problems.is_empty() && device.root_hash.is_none() {
        report.unproved(
            link,
            format!("signed by {by}, but there is no command line whose root hash it could be"),
        );
    } else {
        report.judge(link, &problems, format!("root hash {hash} signed by {by}"));
    }
    signer
}

/// The superblock is the one that the plan's parameters make; zeros follow up to the tree. Hands on the parameters.
pub(crate) fn superblock(disk: &Disk, device: &Device<'_>, report: &mut Report) -> Option<Params> {
    let link = device.link("superblock");
    let place = window(disk, device.verity);
    let mut found = [0; Superblock::SIZE];
    if let Err(error) = place.read_exact_at(&mut found, 0) {
        report.bad(link, format!("the verity partition: {error}"));
        return None;
    }
    let planned = device.planned.map(|planned| planned.verity.superblock());
    let mut problems = Vec::new();
    if let Some(planned) = planned
        && let Some(offset) = planned.iter().zip(&found).position(|(a, b)| a != b)
    {
        problems.push(format!(
            "it differs from the one of stage0's plan at byte {offset}: expected {:#04x}, found {:#04x}",
            planned.get(offset).copied().unwrap_or_default(),
            found.get(offset).copied().unwrap_or_default()
        ));
    }
    // The plan is signed, the superblock is not: go on with the plan's where there is one.
    let parsed = match Superblock::from_bytes(planned.as_ref().unwrap_or(&found)) {
        Ok(superblock) => superblock,
        Err(error) => {
            problems.push(error.to_string());
            report.bad(link, problems.join("; "));
            return None;
        }
    };
    let params = parsed.params;
    let block = u64::from(params.hash_block_size());
    let start = device.planned.map_or(1, |planned| planned.verity.hash_start).saturating_mul(block);
    // The plan decides where the tree starts; a gap of more than a few blocks would be no superblock any more.
    let gap = start.saturating_sub(Superblock::SIZE as u64).min(1 << 20);
    let mut rest = vec![0; usize::try_from(gap).unwrap_or(0)];
    match place.read_exact_at(&mut rest, Superblock::SIZE as u64) {
        Ok(()) if rest.iter().all(|byte| *byte == 0) => {}
        Ok(()) => problems.push("what lies between it and the tree is not zero".to_owned()),
        Err(error) => problems.push(format!("the verity partition: {error}")),
    }
    let (algorithm, blocks, size) = (params.algorithm(), params.data_blocks(), params.data_block_size());
    let detail = format!("{algorithm}, {blocks} data blocks of {size} bytes, UUID {}", parsed.uuid);
    if problems.is_empty() && planned.is_none() {
        report.unproved(link, format!("{detail}; there is no plan to compare it with"));
    } else {
        report.judge(link, &problems, detail);
    }
    Some(params)
}
