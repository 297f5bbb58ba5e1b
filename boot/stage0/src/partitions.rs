//! Step 4: partitions by their UUID.

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{io, iter};

use graven_handoff::{Binding, Code, IfDamaged, MountSource, OnDamage, PartUuid, Plan};

use crate::failure::{Failure, OrFail};

const BLOCK_DEVICES: &str = "/sys/class/block";
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// A partition that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// The kernel's name, e.g. `vda2`.
    pub(crate) name: String,
    /// `MAJOR:MINOR`.
    pub(crate) number: String,
    /// Bytes.
    pub(crate) bytes: u64,
    uuid: PartUuid,
}

impl Partition {
    /// Its device node.
    pub(crate) fn node(&self) -> String {
        format!("/dev/{}", self.name)
    }

    /// Its PARTUUID.
    pub(crate) fn uuid(&self) -> PartUuid {
        self.uuid
    }

    /// The first `length` bytes.
    pub(crate) fn head(&self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        File::open(self.node())?.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// The partitions that the image is made of.
#[derive(Debug)]
pub(crate) struct Found {
    partitions: Vec<Partition>,
}

impl Found {
    /// `role` is for the message.
    pub(crate) fn get(&self, uuid: PartUuid, role: &str) -> Result<&Partition, Failure> {
        self.partitions
            .iter()
            .find(|partition| partition.uuid == uuid)
            .ok_or_else(|| Failure::new(Code::PartitionMissing, format!("{role}, PARTUUID {uuid}")))
    }
}

/// Waits until all partitions are there, or those that a mount can do without are late.
pub(crate) fn wait_for(plan: &Plan, binding: &Binding) -> Result<Found, Failure> {
    let deadline = Instant::now().checked_add(Duration::from_secs(plan.wait_seconds.into()));
    let wanted = wanted(plan, binding);
    loop {
        let found = Found { partitions: single(&wanted)? };
        let missing = wanted.iter().filter(|wanted| found.get(wanted.uuid, &wanted.role).is_err());
        let missing: Vec<&Wanted<'_>> = missing.collect();
        if missing.is_empty() {
            return Ok(found);
        }
        if deadline.is_none_or(|deadline| Instant::now() >= deadline) {
            return match missing.iter().find(|wanted| wanted.needed) {
                Some(wanted) => {
                    let detail =
                        format!("{}, PARTUUID {}, after {} s", wanted.role, wanted.uuid, plan.wait_seconds);
                    Err(Failure::new(Code::PartitionMissing, detail))
                }
                None => Ok(found),
            };
        }
        std::thread::sleep(PAUSE);
    }
}

/// The kernel's names of the partitions that are called `name` in their tables.
pub(crate) fn named(name: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(BLOCK_DEVICES)? {
        // A device may go away while it is looked at.
        let Ok(uevent) = std::fs::read_to_string(entry?.path().join("uevent")) else { continue };
        let value = |key: &str| uevent.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        if value("PARTNAME") == Some(name) {
            found.extend(value("DEVNAME").map(str::to_owned));
        }
    }
    Ok(found)
}

/// Looks once more for second copies, on disks that came later.
pub(crate) fn still_single(plan: &Plan, binding: &Binding) -> Result<(), Failure> {
    single(&wanted(plan, binding)).map(drop)
}

struct Wanted<'a> {
    role: Cow<'a, str>,
    uuid: PartUuid,
    needed: bool,
}

fn wanted<'a>(plan: &'a Plan, binding: &Binding) -> Vec<Wanted<'a>> {
    let mut wanted = Vec::new();
    let volumes = plan
        .volumes
        .iter()
        .map(|volume| (Cow::from(format!("volume {}", volume.name)), &volume.root_hash, &volume.image));
    for (what, root_hash, image) in
        iter::once((Cow::from("root"), &binding.root_hash, &plan.root)).chain(volumes)
    {
        let fec = image.verity.fec.as_ref().and_then(|fec| fec.partition);
        let parts = [
            ("hash tree", Some(root_hash.hash_partition())),
            ("root hash signature", Some(image.signature_partition)),
            ("error correction", fec),
        ];
        for (part, uuid) in parts.into_iter().filter_map(|(part, uuid)| Some((part, uuid?))) {
            wanted.push(Wanted { role: format!("{what}, {part}").into(), uuid, needed: true });
        }
        wanted.push(Wanted { role: what, uuid: root_hash.data_partition(), needed: true });
    }
    for mount in &plan.mounts {
        if let MountSource::Partition(uuid) = mount.source {
            wanted.push(Wanted {
                role: mount.target.as_str().into(),
                uuid,
                needed: mount.on_damage == OnDamage::Fail,
            });
        }
    }
    if let Some(state) = &plan.state {
        let needed = state.if_damaged == IfDamaged::Fail;
        wanted.push(Wanted { role: "state".into(), uuid: state.partition, needed });
    }
    wanted
}

/// Those of the wanted partitions that are there now; two with one UUID are refused.
fn single(wanted: &[Wanted<'_>]) -> Result<Vec<Partition>, Failure> {
    let mut found: Vec<Partition> = Vec::new();
    let devices = std::fs::read_dir(BLOCK_DEVICES).or_fail(Code::PartitionMissing, BLOCK_DEVICES)?;
    let devices: Result<Vec<PathBuf>, io::Error> = devices.map(|entry| Ok(entry?.path())).collect();
    let mut devices = devices.or_fail(Code::PartitionMissing, BLOCK_DEVICES)?;
    devices.sort_unstable();
    for device in devices {
        // A device may go away while it is looked at, or not be ready yet.
        let Some(partition) = read(&device) else { continue };
        let Some(wanted) = wanted.iter().find(|wanted| wanted.uuid == partition.uuid) else { continue };
        if let Some(other) = found.iter().find(|other| other.uuid == partition.uuid) {
            let (role, uuid) = (&wanted.role, wanted.uuid);
            let detail = format!("{role}, PARTUUID {uuid}: {} and {}", other.name, partition.name);
            return Err(Failure::new(Code::PartitionTwice, detail));
        }
        found.push(partition);
    }
    Ok(found)
}

fn read(device: &Path) -> Option<Partition> {
    let (name, number, uuid) = parse_uevent(&std::fs::read_to_string(device.join("uevent")).ok()?)?;
    let sectors: u64 = std::fs::read_to_string(device.join("size")).ok()?.trim().parse().ok()?;
    let bytes = sectors.checked_mul(512)?;
    let partition = Partition { name, number, bytes, uuid };
    Path::new(&partition.node()).exists().then_some(partition)
}

/// Name, number and UUID of a partition from its `uevent` file; the kernel puts `PARTUUID` there since 6.13.
fn parse_uevent(uevent: &str) -> Option<(String, String, PartUuid)> {
    let value = |key: &str| uevent.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let uuid = value("PARTUUID")?.to_ascii_lowercase().parse().ok()?;
    let name = value("DEVNAME")?.to_owned();
    Some((name, format!("{}:{}", value("MAJOR")?, value("MINOR")?), uuid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_read_from_its_uevent() {
        let uevent = "MAJOR=254\nMINOR=2\nDEVNAME=vda2\nDEVTYPE=partition\nDISKSEQ=9\nPARTN=2\n\
                      PARTUUID=A656ad29-a03c-42bf-4af9-a0988c55ba4f\nPARTNAME=root\n";
        let (name, number, uuid) = parse_uevent(uevent).unwrap();
        assert_eq!((name.as_str(), number.as_str()), ("vda2", "254:2"));
        assert_eq!(uuid.to_string(), "a656ad29-a03c-42bf-4af9-a0988c55ba4f");
        assert_eq!(parse_uevent("MAJOR=254\nMINOR=0\nDEVNAME=vda\nDEVTYPE=disk\n"), None);
    }
}
