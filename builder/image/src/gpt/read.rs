//! The reader: two headers, two entry arrays, one protective MBR, all of which must tell the same story.

use std::io;

use graven_verity::io::ReadAt;
use uuid::Uuid;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{ENTRIES, Error, HEAD_BYTES, NAME_UNITS, Partition, SECTOR, TAIL_BYTES, Table, Which};

/// GPT header (UEFI 2.11, table 5.5): the first 92 bytes of its block.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone)]
#[repr(C)]
struct Header {
    /// `EFI PART`.
    signature: [u8; 8],
    /// 1.0 as 0x0001_0000.
    revision: U32,
    /// Bytes that the checksum covers: 92.
    header_size: U32,
    /// CRC-32 of the header with this field zero.
    header_crc32: U32,
    reserved: U32,
    /// Block that this header lies in.
    my_lba: U64,
    /// Block of the other header.
    alternate_lba: U64,
    first_usable_lba: U64,
    last_usable_lba: U64,
    disk_guid: [u8; 16],
    /// First block of the entries.
    entries_lba: U64,
    entry_count: U32,
    /// Bytes of an entry.
    entry_size: U32,
    entries_crc32: U32,
}

/// GPT partition entry (UEFI 2.11, table 5.6).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone)]
#[repr(C)]
struct Entry {
    /// All zero: not used.
    type_guid: [u8; 16],
    guid: [u8; 16],
    first_lba: U64,
    /// Inclusive.
    last_lba: U64,
    attributes: U64,
    /// UTF-16, ended by a zero unit where it is shorter.
    name: [U16; NAME_UNITS],
}

/// MBR partition record (UEFI 2.11, table 5.2).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct MbrRecord {
    boot_indicator: u8,
    start_chs: [u8; 3],
    os_type: u8,
    end_chs: [u8; 3],
    start_lba: U32,
    size_lba: U32,
}

/// Legacy MBR (UEFI 2.11, table 5.1).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Mbr {
    boot_code: [u8; 440],
    disk_signature: U32,
    unknown: U16,
    records: [MbrRecord; 4],
    /// 0xaa55.
    signature: U16,
}

const SIGNATURE: &[u8; 8] = b"EFI PART";
const REVISION: u32 = 0x0001_0000;
const HEADER_SIZE: u32 = size_of::<Header>() as u32;
const ENTRY_SIZE: u32 = size_of::<Entry>() as u32;
const PROTECTIVE: u8 = 0xee;

pub(super) fn end(disk: &dyn ReadAt) -> io::Result<Option<u64>> {
    let mut bytes = [0; size_of::<Header>()];
    match disk.read_exact_at(&mut bytes, SECTOR) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let header = Header::read_from_bytes(&bytes).ok().filter(|header| header.signature == *SIGNATURE);
    let last = header.map(|header| header.alternate_lba.get());
    Ok(last.and_then(|last| last.checked_add(1)?.checked_mul(SECTOR)))
}

pub(super) fn table(disk: &dyn ReadAt) -> Result<Table, Error> {
    let disk_bytes = disk.size().map_err(|source| Error::Io { doing: "asking the disk's size", source })?;
    if !disk_bytes.is_multiple_of(SECTOR) || disk_bytes < HEAD_BYTES.saturating_add(TAIL_BYTES) {
        return Err(Error::DiskSize { bytes: disk_bytes });
    }
    let last = (disk_bytes / SECTOR).saturating_sub(1);
    check_mbr(disk, last)?;
    let primary = header(disk, Which::Primary, 1, last)?;
    let backup = header(disk, Which::Backup, last, 1)?;
    let entries = entries(disk, Which::Primary, &primary)?;
    let backup_entries = self::entries(disk, Which::Backup, &backup)?;
    for (what, same) in [
        ("the disk's GUID", primary.disk_guid == backup.disk_guid),
        ("the first usable block", primary.first_usable_lba == backup.first_usable_lba),
        ("the last usable block", primary.last_usable_lba == backup.last_usable_lba),
        ("the entries", entries.as_bytes() == backup_entries.as_bytes()),
    ] {
        if !same {
            return Err(Error::Disagree { what });
        }
    }
    let partitions = (1..).zip(&entries).filter(|(_, entry)| entry.type_guid != [0; 16]);
    let partitions =
        partitions.map(|(number, entry)| partition(number, entry, &primary)).collect::<Result<_, _>>()?;
    Ok(Table { disk_guid: Uuid::from_bytes_le(primary.disk_guid), disk_bytes, partitions })
}

/// One record over the whole disk, and nothing for a BIOS to start.
fn check_mbr(disk: &dyn ReadAt, last: u64) -> Result<(), Error> {
    let mbr: Mbr = structure(disk, 0, "reading the protective MBR")?;
    let [record, others @ ..] = &mbr.records;
    let size = u32::try_from(last).unwrap_or(u32::MAX);
    for (what, expected, found) in [
        ("signature", 0xaa55, u64::from(mbr.signature.get())),
        ("type of record 1", PROTECTIVE.into(), record.os_type.into()),
        ("first block of record 1", 1, record.start_lba.get().into()),
        ("length of record 1 in blocks", size.into(), record.size_lba.get().into()),
        ("used records after the first", 0, others.iter().filter(|r| r.as_bytes() != [0; 16]).count() as u64),
        ("bytes of boot code", 0, mbr.boot_code.iter().filter(|b| **b != 0).count() as u64),
    ] {
        if expected != found {
            return Err(Error::Mbr { what, expected, found });
        }
    }
    Ok(())
}

fn header(disk: &dyn ReadAt, which: Which, lba: u64, alternate: u64) -> Result<Header, Error> {
    let doing = match which {
        Which::Primary => "reading the primary header",
        Which::Backup => "reading the backup header",
    };
    let mut header: Header = structure(disk, lba.saturating_mul(SECTOR), doing)?;
    let recorded = std::mem::take(&mut header.header_crc32);
    let crc32 = crc32fast::hash(header.as_bytes());
    header.header_crc32 = recorded;
    // The entries lie right behind the primary and right before the backup header, as every tool writes them.
    let array_blocks = u64::from(ENTRY_SIZE).saturating_mul(ENTRIES as u64) / SECTOR;
    let entries_lba = match which {
        Which::Primary => lba.saturating_add(1),
        Which::Backup => lba.saturating_sub(array_blocks),
    };
    for (what, expected, found) in [
        ("signature", u64::from_le_bytes(*SIGNATURE), u64::from_le_bytes(header.signature)),
        ("revision", REVISION.into(), header.revision.get().into()),
        ("header size", HEADER_SIZE.into(), header.header_size.get().into()),
        ("checksum", crc32.into(), header.header_crc32.get().into()),
        ("reserved field", 0, header.reserved.get().into()),
        ("its own block", lba, header.my_lba.get()),
        ("block of the other header", alternate, header.alternate_lba.get()),
        ("first block of the entries", entries_lba, header.entries_lba.get()),
        ("number of entries", ENTRIES as u64, header.entry_count.get().into()),
        ("size of an entry", ENTRY_SIZE.into(), header.entry_size.get().into()),
    ] {
        if expected != found {
            return Err(Error::Header { which, what, expected, found });
        }
    }
    Ok(header)
}

fn entries(disk: &dyn ReadAt, which: Which, header: &Header) -> Result<Vec<Entry>, Error> {
    let mut entries: Vec<Entry> = vec![zerocopy::FromZeros::new_zeroed(); ENTRIES];
    disk.read_exact_at(entries.as_mut_bytes(), header.entries_lba.get().saturating_mul(SECTOR))
        .map_err(|source| Error::Io { doing: "reading the entries", source })?;
    let (expected, found) = (crc32fast::hash(entries.as_bytes()), header.entries_crc32.get());
    if expected != found {
        let what = "checksum of the entries";
        return Err(Error::Header { which, what, expected: expected.into(), found: found.into() });
    }
    Ok(entries)
}

fn partition(number: usize, entry: &Entry, header: &Header) -> Result<Partition, Error> {
    let units = entry.name.iter().map(|unit| unit.get()).take_while(|unit| *unit != 0);
    let name: String =
        char::decode_utf16(units).collect::<Result<_, _>>().map_err(|_| Error::Name { entry: number })?;
    let (first, last) = (entry.first_lba.get(), entry.last_lba.get());
    let (usable_first, usable_last) = (header.first_usable_lba.get(), header.last_usable_lba.get());
    let blocks = last.checked_sub(first).and_then(|n| n.checked_add(1));
    let bytes = blocks.and_then(|n| n.checked_mul(SECTOR)).zip(first.checked_mul(SECTOR));
    match bytes {
        Some((len, start)) if first >= usable_first && last <= usable_last => Ok(Partition {
            type_guid: Uuid::from_bytes_le(entry.type_guid),
            guid: Uuid::from_bytes_le(entry.guid),
            name,
            start,
            len,
            attributes: entry.attributes.get(),
        }),
        _ => Err(Error::Range { name, first, last, usable_first, usable_last }),
    }
}

/// Reads a structure from byte `offset` on.
fn structure<T: FromBytes + IntoBytes>(
    disk: &dyn ReadAt,
    offset: u64,
    doing: &'static str,
) -> Result<T, Error> {
    let mut value = T::new_zeroed();
    disk.read_exact_at(value.as_mut_bytes(), offset).map_err(|source| Error::Io { doing, source })?;
    Ok(value)
}
