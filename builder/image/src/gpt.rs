//! GUID partition tables (UEFI Specification 2.11, chapter 5): planned to an exact fit, written, and read back
//! by a reader that trusts nothing.
//!
//! Writing is done by the `gpt` crate, always with given GUIDs, on a device in memory that holds only the two ends of
//! the disk. Reading is ours, since that crate panics on entry sizes other than 128, allocates what a
//! header asks for, and takes either header where the other is damaged.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod ends;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;

use graven_verity::io::{ReadAt, WriteAt};
use uuid::Uuid;

use self::ends::Ends;

/// Bytes of a logical block. Disk images are made for, and read with, 512-byte blocks.
pub const SECTOR: u64 = 512;
/// Bytes that the protective MBR, the primary header and its entries take at the disk's beginning.
pub const HEAD_BYTES: u64 = 34 * SECTOR;
/// Bytes that the backup entries and the backup header take at the disk's end.
pub const TAIL_BYTES: u64 = 33 * SECTOR;
/// What every partition starts on where nobody asks for more, in bytes.
pub const ALIGNMENT: u64 = 1024 * 1024;
/// Longest partition name, in UTF-16 code units.
pub const NAME_UNITS: usize = 36;
/// Number of partitions that a table of ours can hold.
pub const ENTRIES: usize = 128;

/// Attribute bits of a partition, by the Discoverable Partitions Specification.
pub mod attributes {
    /// The platform needs this partition; tools leave it alone.
    pub const REQUIRED: u64 = 1;
    /// The file system in it is grown to the partition's size at first mount.
    pub const GROW_FILE_SYSTEM: u64 = 1 << 59;
    /// Mounted read-only; set on root, verity and verity-sig.
    pub const READ_ONLY: u64 = 1 << 60;
    /// Never mounted automatically.
    pub const NO_AUTO: u64 = 1 << 63;
}

/// One partition of a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// What it is for.
    pub type_guid: Uuid,
    /// Which one it is: the PARTUUID.
    pub guid: Uuid,
    /// At most [`NAME_UNITS`] UTF-16 code units.
    pub name: String,
    /// First byte on the disk, a multiple of [`SECTOR`].
    pub start: u64,
    /// Length in bytes, a multiple of [`SECTOR`].
    pub len: u64,
    /// See [`attributes`].
    pub attributes: u64,
}

/// A partition that has no place yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// What it is for.
    pub type_guid: Uuid,
    /// Which one it is: the PARTUUID.
    pub guid: Uuid,
    /// At most [`NAME_UNITS`] UTF-16 code units.
    pub name: String,
    /// Length in bytes, a multiple of [`SECTOR`].
    pub len: u64,
    /// See [`attributes`].
    pub attributes: u64,
}

/// The partition table of a whole disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The disk's own GUID.
    pub disk_guid: Uuid,
    /// Length of the disk in bytes; the backup header is its last block.
    pub disk_bytes: u64,
    /// In the order of their entries.
    pub partitions: Vec<Partition>,
}

/// Which of a disk's two headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one in block 1.
    Primary,
    /// The one in the last block.
    Backup,
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Backup => "backup",
        })
    }
}

/// Why a table cannot be planned, written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk could not be read or written.
    #[error("GPT: {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// A name is too long for its entry.
    #[error(
        "GPT: partition name `{name}` takes {units} UTF-16 units; an entry holds {NAME_UNITS}: shorten it"
    )]
    NameTooLong {
        /// The name.
        name: String,
        /// Its length.
        units: usize,
    },
    /// A length is no multiple of a block.
    #[error("GPT: partition `{name}`: {what} {bytes} is no multiple of {SECTOR} bytes")]
    Unaligned {
        /// The partition.
        name: String,
        /// `start` or `length`.
        what: &'static str,
        /// The value, in bytes.
        bytes: u64,
    },
    /// A partition has no length.
    #[error("GPT: partition `{name}` is empty")]
    Empty {
        /// The partition.
        name: String,
    },
    /// More partitions than entries.
    #[error("GPT: {found} partitions; a table holds {ENTRIES}")]
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// A sum passed 2^64.
    #[error("GPT: the partitions' lengths add up to more than a disk can have")]
    TooLarge,
    /// The alignment is no power of two, or less than a block.
    #[error("GPT: alignment {0} is no power of two of at least {SECTOR} bytes")]
    Alignment(u64),
    /// The disk cannot hold two tables.
    #[error("GPT: a disk of {bytes} bytes is too small, or no multiple of {SECTOR}")]
    DiskSize {
        /// Its length.
        bytes: u64,
    },
    /// The protective MBR is not what it must be.
    #[error("GPT: protective MBR: {what}: expected {expected:#x}, found {found:#x}")]
    Mbr {
        /// Which field.
        what: &'static str,
        /// What must be there.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// A header field is not what it must be.
    #[error("GPT: {which} header: {what}: expected {expected:#x}, found {found:#x}")]
    Header {
        /// Which header.
        which: Which,
        /// Which field.
        what: &'static str,
        /// What must be there.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// Primary and backup describe different tables.
    #[error("GPT: primary and backup table disagree about {what}")]
    Disagree {
        /// About what.
        what: &'static str,
    },
    /// An entry's name is no UTF-16.
    #[error("GPT: the name of entry {entry} is no UTF-16")]
    Name {
        /// The entry, counted from 1.
        entry: usize,
    },
    /// A partition lies where none may.
    #[error(
        "GPT: partition `{name}` takes blocks {first} to {last}, outside the usable {usable_first} to {usable_last}"
    )]
    Range {
        /// The partition.
        name: String,
        /// Its first block.
        first: u64,
        /// Its last block.
        last: u64,
        /// First block that a partition may take.
        usable_first: u64,
        /// Last block that a partition may take.
        usable_last: u64,
    },
    /// Two partitions share blocks.
    #[error("GPT: partitions `{a}` and `{b}` overlap")]
    Overlap {
        /// The one that starts first.
        a: String,
        /// The other.
        b: String,
    },
    /// Two partitions have the same GUID, so nobody can tell which one is meant.
    #[error("GPT: two partitions have the GUID {guid}")]
    DuplicateGuid {
        /// Theirs.
        guid: Uuid,
    },
    /// The `gpt` crate refused.
    #[error("GPT: {doing}: {what}")]
    Writer {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        what: String,
    },
}

/// Where a disk's table says that it ends, in bytes: behind its second header, whether that is there or not. `None` where
/// there is no table. Nothing of it is checked.
///
/// # Errors
/// Whatever reading says.
pub fn end(disk: &dyn ReadAt) -> io::Result<Option<u64>> {
    read::end(disk)
}

impl Table {
    /// Gives each partition of `specs` its place, in their order: the first at or after byte `first_usable` (boards
    /// keep firmware before it), each on a multiple of `alignment` bytes. Those of `fixed` have theirs, and the first
    /// entries. The disk ends, on a multiple of `alignment`, as early as the backup table allows.
    ///
    /// # Errors
    /// A name too long, an empty or uneven length, too many partitions, a sum too large, two that overlap, two equal
    /// GUIDs.
    pub fn plan(
        disk_guid: Uuid,
        fixed: Vec<Partition>,
        specs: &[Spec],
        first_usable: u64,
        alignment: u64,
    ) -> Result<Self, Error> {
        if !alignment.is_power_of_two() || alignment < SECTOR {
            return Err(Error::Alignment(alignment));
        }
        let up = |n: u64| n.checked_next_multiple_of(alignment).ok_or(Error::TooLarge);
        let mut free = first_usable.max(HEAD_BYTES);
        let mut partitions = fixed;
        for spec in specs {
            let start = up(free)?;
            free = start.checked_add(spec.len).ok_or(Error::TooLarge)?;
            partitions.push(Partition {
                type_guid: spec.type_guid,
                guid: spec.guid,
                name: spec.name.clone(),
                start,
                len: spec.len,
                attributes: spec.attributes,
            });
        }
        let disk_bytes = up(free.checked_add(TAIL_BYTES).ok_or(Error::TooLarge)?)?;
        let table = Self { disk_guid, disk_bytes, partitions };
        table.check()?;
        Ok(table)
    }

    /// Writes protective MBR, primary table and backup table, and nothing else, to a disk of
    /// [`disk_bytes`](Self::disk_bytes).
    ///
    /// # Errors
    /// A table that cannot be (built by hand), or what `disk` answers.
    pub fn write(&self, disk: &dyn WriteAt) -> Result<(), Error> {
        self.check()?;
        let writer =
            |doing| move |error: &dyn std::fmt::Display| Error::Writer { doing, what: error.to_string() };
        let mut ends = Ends::new(self.disk_bytes)?;
        let after_mbr = (self.disk_bytes / SECTOR).saturating_sub(1);
        gpt::mbr::ProtectiveMBR::with_lb_size(u32::try_from(after_mbr).unwrap_or(u32::MAX))
            .overwrite_lba0(&mut ends)
            .map_err(|e| writer("writing the protective MBR")(&e))?;
        let mut writing = gpt::GptConfig::new()
            .writable(true)
            .logical_block_size(gpt::disk::LogicalBlockSize::Lb512)
            .create_from_device(ends, Some(self.disk_guid))
            .map_err(|e| writer("making the headers")(&e))?;
        let mut entries = BTreeMap::new();
        for (number, partition) in (1u32..).zip(&self.partitions) {
            entries.insert(number, entry(partition)?);
        }
        writing.update_partitions(entries).map_err(|e| writer("entering the partitions")(&e))?;
        let ends = writing.write().map_err(|e| writer("writing the tables")(&e))?;
        ends.write_to(disk).map_err(|source| Error::Io { doing: "writing the tables", source })
    }

    /// Reads the table of `disk`: both headers with their checksums, both entry arrays, which must agree; the backup
    /// must be the last thing on the disk; every partition in range, none overlapping, no GUID twice.
    ///
    /// # Errors
    /// The first of these that does not hold, with what was expected and what was found.
    pub fn read(disk: &dyn ReadAt) -> Result<Self, Error> {
        let table = read::table(disk)?;
        table.check()?;
        Ok(table)
    }

    /// The first partition of this type.
    #[must_use]
    pub fn by_type(&self, type_guid: Uuid) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.type_guid == type_guid)
    }

    /// The partition of this GUID.
    #[must_use]
    pub fn by_guid(&self, guid: Uuid) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.guid == guid)
    }

    /// What must hold of every table, planned, made by hand or read.
    fn check(&self) -> Result<(), Error> {
        let usable_end = self.disk_bytes.checked_sub(TAIL_BYTES).filter(|end| *end > HEAD_BYTES);
        let (Some(usable_end), true) = (usable_end, self.disk_bytes.is_multiple_of(SECTOR)) else {
            return Err(Error::DiskSize { bytes: self.disk_bytes });
        };
        if self.partitions.len() > ENTRIES {
            return Err(Error::TooMany { found: self.partitions.len() });
        }
        let mut placed = Vec::with_capacity(self.partitions.len());
        for p in &self.partitions {
            let units = p.name.encode_utf16().count();
            if units > NAME_UNITS {
                return Err(Error::NameTooLong { name: p.name.clone(), units });
            }
            for (what, bytes) in [("start", p.start), ("length", p.len)] {
                if !bytes.is_multiple_of(SECTOR) {
                    return Err(Error::Unaligned { name: p.name.clone(), what, bytes });
                }
            }
            if p.len == 0 {
                return Err(Error::Empty { name: p.name.clone() });
            }
            let end = p.start.checked_add(p.len).ok_or(Error::TooLarge)?;
            if p.start < HEAD_BYTES || end > usable_end {
                return Err(Error::Range {
                    name: p.name.clone(),
                    first: p.start / SECTOR,
                    last: (end / SECTOR).saturating_sub(1),
                    usable_first: HEAD_BYTES / SECTOR,
                    usable_last: (usable_end / SECTOR).saturating_sub(1),
                });
            }
            placed.push((p.start, end, p));
        }
        placed.sort_by_key(|(start, ..)| *start);
        for pair in placed.windows(2) {
            if let [(_, end, a), (start, _, b)] = pair
                && start < end
            {
                return Err(Error::Overlap { a: a.name.clone(), b: b.name.clone() });
            }
        }
        let mut guids: Vec<Uuid> = self.partitions.iter().map(|p| p.guid).collect();
        guids.sort_unstable();
        match guids.windows(2).find(|pair| pair.first() == pair.last()) {
            Some([guid, _]) => Err(Error::DuplicateGuid { guid: *guid }),
            _ => Ok(()),
        }
    }
}

/// A checked partition as the `gpt` crate wants it.
fn entry(partition: &Partition) -> Result<gpt::partition::Partition, Error> {
    let end = partition.start.checked_add(partition.len).ok_or(Error::TooLarge)?;
    Ok(gpt::partition::Partition {
        part_type_guid: partition.type_guid.into(),
        part_guid: partition.guid,
        first_lba: partition.start / SECTOR,
        last_lba: (end / SECTOR).saturating_sub(1),
        flags: partition.attributes,
        name: partition.name.clone(),
    })
}
