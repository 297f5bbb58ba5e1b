//! Which partition is what.

use graven_image::fat;
use graven_image::gpt::{Partition, Table};
use graven_targets::{Arch, BootChain};
use graven_verity::io::{ReadAt, Window};
use uuid::{Uuid, uuid};

use crate::manifest::Manifest;
use crate::prove::Disk;

/// GPT type of the EFI system partition.
pub const ESP_TYPE: Uuid = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
/// Folder of the boot artefact on it.
pub const BOOT_FOLDER: &str = "EFI/BOOT";
/// A FIT there: by one name for every version, since U-Boot's boot command names it.
pub const FIT_FILE: &str = "boot.itb";
/// Name of a partition that waits for another version.
const EMPTY: &str = "_empty";

/// The partitions of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What the image is for, by the types of its partitions.
    pub arch: Arch,
    /// The table as it was read.
    pub table: Table,
    /// EFI system partition.
    pub esp: Partition,
    /// Root file system.
    pub root: Partition,
    /// Superblock, tree and parity.
    pub verity: Partition,
    /// Root hash signature.
    pub signature: Partition,
    /// Partitions that wait for another version, of the root or of a volume.
    pub empty: Vec<Partition>,
    /// All the others.
    pub others: Vec<Partition>,
}

/// Why a table is none of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// No root of a known architecture.
    #[error("no partition has the type of a root file system of x86_64, aarch64 or arm")]
    NoRoot,
    /// Roots of two architectures.
    #[error("there are root partitions of {first} and of {second}: expected one architecture")]
    TwoArchitectures {
        /// One.
        first: Arch,
        /// The other.
        second: Arch,
    },
    /// Not exactly one partition of a kind.
    #[error("expected one {what} partition that is not named {EMPTY} (type {type_guid}), found {found}")]
    Count {
        /// What it is for.
        what: &'static str,
        /// Its type.
        type_guid: Uuid,
        /// How many there are.
        found: usize,
    },
}

impl Layout {
    /// Finds the partitions of an image in its table.
    ///
    /// # Errors
    /// Where a part is missing or there is more than one.
    pub fn of(table: &Table) -> Result<Self, LayoutError> {
        let mut archs = Arch::ALL
            .into_iter()
            .filter(|arch| table.partitions.iter().any(|p| p.type_guid == arch.partition_types().root));
        let arch = match (archs.next(), archs.next()) {
            (Some(arch), None) => arch,
            (Some(first), Some(second)) => return Err(LayoutError::TwoArchitectures { first, second }),
            (None, _) => return Err(LayoutError::NoRoot),
        };
        let types = arch.partition_types();
        let one = |what, type_guid| {
            let found: Vec<&Partition> =
                table.partitions.iter().filter(|p| p.type_guid == type_guid && !is_empty(p)).collect();
            match found.as_slice() {
                [partition] => Ok((*partition).clone()),
                _ => Err(LayoutError::Count { what, type_guid, found: found.len() }),
            }
        };
        let (esp, root) = (one("EFI system", ESP_TYPE)?, one("root", types.root)?);
        let verity = one("root-verity", types.root_verity)?;
        let signature = one("root-verity-sig", types.root_verity_sig)?;
        let (mut empty, mut others) = (Vec::new(), Vec::new());
        for partition in &table.partitions {
            if [&esp, &root, &verity, &signature].contains(&partition) {
                continue;
            }
            match is_empty(partition) {
                true => empty.push(partition.clone()),
                false => others.push(partition.clone()),
            }
        }
        Ok(Self { arch, table: table.clone(), esp, root, verity, signature, empty, others })
    }

    /// The layout that a manifest tells, to go on with where the table itself cannot be read.
    pub(crate) fn from_manifest(manifest: &Manifest) -> Option<Self> {
        let partitions = manifest.partitions.iter().map(|partition| {
            Some(Partition {
                type_guid: partition.type_uuid.parse().ok()?,
                guid: partition.uuid.parse().ok()?,
                name: if partition.role.is_empty() { EMPTY.into() } else { partition.name.clone() },
                start: partition.offset,
                len: partition.size,
                attributes: 0,
            })
        });
        let table = Table {
            disk_guid: manifest.disk.guid.parse().ok()?,
            disk_bytes: manifest.disk.size,
            partitions: partitions.collect::<Option<_>>()?,
        };
        Self::of(&table).ok()
    }

    /// Where a boot chain's artefact lies on the EFI system partition.
    #[must_use]
    pub fn boot_path(&self, chain: BootChain) -> String {
        match chain {
            BootChain::Uki => format!("{BOOT_FOLDER}/{}", self.arch.efi_boot_file()),
            BootChain::Fit => FIT_FILE.to_owned(),
        }
    }

    /// What starts the image: a UEFI what is there for it, a U-Boot the FIT where that alone is there.
    #[must_use]
    pub fn boot_chain<R: ReadAt>(&self, esp: &fat::Reader<R>) -> BootChain {
        let there = |chain| esp.find(&self.boot_path(chain)).is_some();
        if there(BootChain::Fit) && !there(BootChain::Uki) { BootChain::Fit } else { BootChain::Uki }
    }
}

fn is_empty(partition: &Partition) -> bool {
    partition.name == EMPTY
}

/// The bytes of a partition.
pub(crate) fn window(disk: &Disk, partition: &Partition) -> Window<Disk> {
    Window::new(disk.clone(), partition.start, partition.len)
}
