//! Step 4: the dm-verity devices over root and volumes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use graven_handoff::{Code, Plan, RootHash, Verified, VerityDevices, Volume};
use rustix::io::Errno;

use crate::dm;
use crate::failure::{Failure, OrFail};
use crate::keyring::Keyring;
use crate::partitions::{Found, Partition};
use crate::signature;

/// The root's name among the devices; no volume has it.
const ROOT: &str = "root";
/// A verity-sig partition holds some hundred bytes of JSON, in 16 KiB as systemd-repart makes them.
const MOST_SIGNATURE_BYTES: u64 = 1 << 20;

/// The verified device.
#[derive(Debug)]
pub(crate) struct Device {
    /// Its node.
    pub(crate) path: String,
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// Opens the root's device.
pub(crate) fn open_root(
    plan: &Plan,
    root_hash: &RootHash,
    found: &Found,
    keyring: &Keyring,
) -> Result<Device, Failure> {
    open(ROOT, &plan.root, root_hash, found, keyring)
}

/// Opens the volumes' devices, in the plan's order.
pub(crate) fn open_volumes(plan: &Plan, found: &Found, keyring: &Keyring) -> Result<Vec<Device>, Failure> {
    let open = |volume: &Volume| {
        open(&volume.name, &volume.image, &volume.root_hash, found, keyring)
            .map_err(|failure| failure.of(format_args!("volume {}", volume.name)))
    };
    plan.volumes.iter().map(open).collect()
}

/// Opens a device with its root hash signature.
fn open(
    name: &str,
    image: &Verified,
    root_hash: &RootHash,
    found: &Found,
    keyring: &Keyring,
) -> Result<Device, Failure> {
    let verity = &image.verity;
    let data = found.get(root_hash.data_partition(), "data")?;
    let hash = found.get(root_hash.hash_partition(), "hash tree")?;
    let signature = found.get(image.signature_partition, "root hash signature")?;
    let fec = match verity.fec.as_ref().and_then(|fec| fec.partition) {
        Some(uuid) => found.get(uuid, "error correction")?,
        None => hash,
    };
    large_enough(data, verity.data_bytes())?;
    large_enough(hash, verity.hash_bytes())?;

    let superblock = hash.head(512).or_fail(Code::Superblock, hash.node())?;
    if let Some(offset) =
        superblock.iter().zip(verity.superblock()).position(|(found, planned)| *found != planned)
    {
        return Err(Failure::new(Code::Superblock, format!("{}, byte {offset}", hash.node())));
    }

    let length = usize::try_from(signature.bytes.min(MOST_SIGNATURE_BYTES)).unwrap_or(0);
    let content = signature.head(length).or_fail(Code::RootSignature, signature.node())?;
    let message =
        signature::parse(&content, root_hash).or_fail(Code::RootSignature, signature.node())?.message;
    let description = format!("graven:{name}");
    let key = keyring.add(&description, &message).or_fail(Code::Keyring, &description)?;

    let uuid = format!("CRYPT-VERITY-{}-{name}", verity.superblock_uuid.to_string().replace('-', ""));
    let device = dm::Device::create(name, &uuid).or_fail(Code::VerityTable, "create")?;
    let numbers = VerityDevices { data: &data.number, hash: &hash.number, fec: &fec.number };
    let arguments = verity.table(root_hash, numbers, &description);
    let sectors = verity.data_sectors().unwrap_or(0);
    let block = vec![0; usize::try_from(verity.data_block_size).unwrap_or(512)];
    let checked = activate(&device, sectors, &arguments, block);
    if checked.is_err() {
        device.remove();
    }
    checked?;
    key.revoke().or_fail(Code::Keyrings, &description)?;
    Ok(Device { path: format!("/dev/dm-{}", device.minor), major: device.major, minor: device.minor })
}

fn large_enough(partition: &Partition, needed: Option<u64>) -> Result<(), Failure> {
    match needed {
        Some(needed) if partition.bytes >= needed => Ok(()),
        _ => {
            let needed = needed.map_or("more".to_owned(), |bytes| bytes.to_string());
            let detail = format!("{}: expected {needed} bytes, found {}", partition.node(), partition.bytes);
            Err(Failure::new(Code::PartitionSize, detail))
        }
    }
}

fn activate(device: &dm::Device, sectors: u64, arguments: &str, mut block: Vec<u8>) -> Result<(), Failure> {
    device.load("verity", sectors, arguments).map_err(refusal)?;
    device.resume().or_fail(Code::VerityTable, "resume")?;
    // What the kernel says it does: the same devices, root hash and signature, nothing added.
    let table = device.table().or_fail(Code::VerityState, "table")?;
    if table != arguments {
        return Err(Failure::new(Code::VerityState, format!("expected `{arguments}`, found `{table}`")));
    }
    // The first read goes through every level of the tree.
    let path = format!("/dev/dm-{}", device.minor);
    let read = File::open(&path).and_then(|file| file.read_exact_at(&mut block, 0));
    read.or_fail(Code::VerityState, format_args!("{path}, first block"))?;
    match device.status().or_fail(Code::VerityState, "status")? {
        // `V`, and with error correction a count of corrected blocks behind it.
        status if status.split(' ').next() == Some("V") => Ok(()),
        status => Err(Failure::new(Code::VerityState, format!("expected V, found {status}"))),
    }
}

/// The kernel's reasons for not taking the table.
fn refusal(error: io::Error) -> Failure {
    let code = match Errno::from_io_error(&error) {
        Some(Errno::NOKEY | Errno::KEYREJECTED | Errno::BADMSG | Errno::NOPKG | Errno::KEYREVOKED) => {
            Code::RootSignatureRefused
        }
        _ => Code::VerityTable,
    };
    Failure::new(code, crate::policy::explain(&error))
}
