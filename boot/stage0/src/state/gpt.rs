//! A GUID partition table (UEFI Specification 2.11, chapter 5) whose last partition is given the rest of the disk.
//!
//! The tables are written in an order in which a power cut leaves one that is whole, at a place where firmware and kernel
//! look: the backup at the disk's new end first, while the primary still names the old one; then the primary. Where that
//! is torn, the backup counts: for UEFI and U-Boot always, for Linux because the signed command line says `gpt`.

use graven_handoff::PartUuid;

use super::crc;

/// Bytes of a logical block; the images' tables are made for these.
pub(super) const SECTOR: u64 = 512;
/// Sectors at the disk's start: protective MBR, header, entries.
pub(super) const HEAD_SECTORS: u64 = 34;
/// Sectors at the disk's end: entries, header.
pub(super) const TAIL_SECTORS: u64 = 33;
/// What partitions end on, in sectors.
const ALIGNMENT: u64 = 2048;

const SECTOR_BYTES: usize = 512;
const ENTRY_BYTES: usize = 128;
const ENTRIES: usize = 128;

/// Offsets in a header and in an entry, in bytes.
mod at {
    pub(super) const HEADER_CHECKSUM: usize = 16;
    pub(super) const OWN_PLACE: usize = 24;
    pub(super) const OTHER_PLACE: usize = 32;
    pub(super) const LAST_USABLE: usize = 48;
    pub(super) const ENTRIES_PLACE: usize = 72;
    pub(super) const ENTRIES_COUNT: usize = 80;
    pub(super) const ENTRY_SIZE: usize = 84;
    pub(super) const ENTRIES_CHECKSUM: usize = 88;
    pub(super) const HEADER_END: usize = 92;
    pub(super) const GUID: usize = 16;
    pub(super) const FIRST: usize = 32;
    pub(super) const LAST: usize = 40;
    /// The protective MBR's only entry: its length in sectors.
    pub(super) const MBR_LENGTH: usize = 446 + 12;
}

/// What is to be written, and what the last partition then is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Growth {
    /// Offset in bytes and contents, in the order in which they are written, each on the disk before the next.
    pub(super) writes: Vec<(u64, Vec<u8>)>,
    /// The partition's number, counted from 1.
    pub(super) number: u32,
    /// Its first sector.
    pub(super) first: u64,
    /// Its length in sectors.
    pub(super) length: u64,
}

/// What a disk of `sectors` needs so that the partition `last` ends where it does.
///
/// `head` and `tail` are the disk's two ends. `own` are the partitions that must be in the table: no other disk is
/// touched. `None` where everything is as it should be.
pub(super) fn grow(
    head: &[u8],
    tail: &[u8],
    sectors: u64,
    last: PartUuid,
    own: &[PartUuid],
) -> Result<Option<Growth>, String> {
    let tail_start = sectors.checked_sub(TAIL_SECTORS).ok_or("the disk is too small")?;
    let primary = Table::read(head, SECTOR_BYTES, SECTOR_BYTES * 2, 1);
    let backup_header = tail.len().saturating_sub(SECTOR_BYTES);
    let backup = Table::read(tail, backup_header, 0, sectors.saturating_sub(1));
    let was_good = primary.is_some();
    let mut table = primary.or(backup).ok_or("neither of its two partition tables is good")?;

    for uuid in own.iter().chain([&last]) {
        table.find(*uuid).ok_or_else(|| format!("its table does not have the partition {uuid}"))?;
    }
    let number = table.find(last).ok_or("no such partition")?;
    let (first, end) = table.place(number).ok_or("no such partition")?;
    if (0..ENTRIES).any(|other| other != number && table.place(other).is_some_and(|(_, last)| last > end)) {
        return Err("the state's partition is not the last one".to_owned());
    }
    // The first sector behind the partition.
    let new_end = (tail_start / ALIGNMENT).saturating_mul(ALIGNMENT);
    let grown = new_end > end.saturating_add(1);
    if grown {
        table.set_last(number, new_end.saturating_sub(1)).ok_or("no such partition")?;
    }
    let whole = table.other_place() == Some(sectors.saturating_sub(1));
    if !grown && was_good && whole {
        return Ok(None);
    }

    let (_, end) = table.place(number).ok_or("no such partition")?;
    let length = end.saturating_add(1).saturating_sub(first);
    let new_tail = [&table.entries[..], &table.header(sectors, tail_start, Which::Backup)?].concat();
    let mut new_head = head.to_vec();
    let new_primary = [&table.header(sectors, 2, Which::Primary)?[..], &table.entries].concat();
    put(&mut new_head, SECTOR_BYTES, &new_primary).ok_or("the disk is too small")?;
    let mbr_length = u32::try_from(sectors.saturating_sub(1)).unwrap_or(u32::MAX);
    put(&mut new_head, at::MBR_LENGTH, &mbr_length.to_le_bytes()).ok_or("the disk is too small")?;
    let (mbr, tables) = new_head.split_at(SECTOR_BYTES);

    let behind = end.saturating_add(1);
    let gap = usize::try_from(tail_start.saturating_sub(behind).saturating_mul(SECTOR));
    let gap = gap.ok().filter(|gap| *gap <= 1 << 20).unwrap_or_default();
    let writes = vec![
        // What was there before the image is nobody's; an examiner finds zeros.
        (behind.saturating_mul(SECTOR), vec![0; gap]),
        (tail_start.saturating_mul(SECTOR), new_tail),
        (SECTOR, tables.to_vec()),
        (0, mbr.to_vec()),
    ];
    let number = u32::try_from(number).map_err(|error| error.to_string())?.saturating_add(1);
    Ok(Some(Growth { writes, number, first, length }))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Primary,
    Backup,
}

/// A header and its entries, the checksums of which were right.
struct Table {
    header: [u8; SECTOR_BYTES],
    entries: Vec<u8>,
}

impl Table {
    /// The table in `bytes` whose header says that it lies in sector `place`.
    fn read(bytes: &[u8], header: usize, entries: usize, place: u64) -> Option<Table> {
        let mut header = *bytes.get(header..)?.first_chunk::<SECTOR_BYTES>()?;
        let entries = bytes.get(entries..)?.get(..ENTRY_BYTES * ENTRIES)?.to_vec();
        let stated = u32_at(&header, at::HEADER_CHECKSUM)?;
        put(&mut header, at::HEADER_CHECKSUM, &[0; 4])?;
        let good = header.starts_with(b"EFI PART\0\0\x01\0\x5c\0\0\0")
            && crc::of_table(header.get(..at::HEADER_END)?) == stated
            && u64_at(&header, at::OWN_PLACE)? == place
            && u32_at(&header, at::ENTRIES_COUNT)? == ENTRIES as u32
            && u32_at(&header, at::ENTRY_SIZE)? == ENTRY_BYTES as u32
            && crc::of_table(&entries) == u32_at(&header, at::ENTRIES_CHECKSUM)?;
        good.then_some(Table { header, entries })
    }

    fn other_place(&self) -> Option<u64> {
        u64_at(&self.header, at::OTHER_PLACE)
    }

    fn entry(&self, number: usize) -> Option<&[u8]> {
        self.entries.chunks_exact(ENTRY_BYTES).nth(number)
    }

    /// The number, from 0, of the partition with this UUID.
    fn find(&self, uuid: PartUuid) -> Option<usize> {
        let guid = mixed(uuid);
        (0..ENTRIES).find(|number| {
            let stated = self.entry(*number).and_then(|entry| entry.get(at::GUID..));
            stated.is_some_and(|stated| stated.starts_with(&guid))
        })
    }

    /// First and last sector of a partition; `None` for an entry that is free.
    fn place(&self, number: usize) -> Option<(u64, u64)> {
        let entry = self.entry(number).filter(|entry| entry.iter().any(|byte| *byte != 0))?;
        Some((u64_at(entry, at::FIRST)?, u64_at(entry, at::LAST)?))
    }

    fn set_last(&mut self, number: usize, last: u64) -> Option<()> {
        put(self.entries.chunks_exact_mut(ENTRY_BYTES).nth(number)?, at::LAST, &last.to_le_bytes())
    }

    /// The header of one of the two tables of a disk of this length.
    fn header(
        &self,
        sectors: u64,
        entries_place: u64,
        which: Which,
    ) -> Result<[u8; SECTOR_BYTES], &'static str> {
        let end = sectors.saturating_sub(1);
        let (own, other) = if which == Which::Primary { (1, end) } else { (end, 1) };
        let mut header = self.header;
        let mut fill = || {
            put(&mut header, at::OWN_PLACE, &own.to_le_bytes())?;
            put(&mut header, at::OTHER_PLACE, &other.to_le_bytes())?;
            let last_usable = sectors.checked_sub(TAIL_SECTORS)?.checked_sub(1)?;
            put(&mut header, at::LAST_USABLE, &last_usable.to_le_bytes())?;
            put(&mut header, at::ENTRIES_PLACE, &entries_place.to_le_bytes())?;
            put(&mut header, at::ENTRIES_CHECKSUM, &crc::of_table(&self.entries).to_le_bytes())?;
            put(&mut header, at::HEADER_CHECKSUM, &[0; 4])?;
            let checksum = crc::of_table(header.get(..at::HEADER_END)?);
            put(&mut header, at::HEADER_CHECKSUM, &checksum.to_le_bytes())
        };
        fill().map(|()| header).ok_or("the disk is too small")
    }
}

/// A UUID as GPT has it: the first three groups little-endian.
fn mixed(uuid: PartUuid) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = uuid.0;
    let [i, j, k, l, m, n, o, p] = rest;
    [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) -> Option<()> {
    bytes.get_mut(offset..)?.get_mut(..value.len())?.copy_from_slice(value);
    Some(())
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|field| u32::from_le_bytes(*field))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..)?.first_chunk().map(|field| u64::from_le_bytes(*field))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Both ends of a disk of 131072 sectors that `sgdisk` partitioned: root at 2048, state from 65536 to 129023.
    const SECTORS: u64 = 131_072;
    const HEAD: &[u8] = include_bytes!("../../tests/gpt-head");
    const TAIL: &[u8] = include_bytes!("../../tests/gpt-tail");

    fn uuid(text: &str) -> PartUuid {
        text.parse().unwrap()
    }

    fn root() -> PartUuid {
        uuid("aaaaaaaa-0102-0304-0506-0708090a0b0c")
    }

    fn state() -> PartUuid {
        uuid("bbbbbbbb-0102-0304-0506-0708090a0b0c")
    }

    /// A disk of which only the sectors at its ends were written.
    #[derive(Clone)]
    struct Disk {
        sectors: u64,
        written: BTreeMap<u64, Vec<u8>>,
    }

    impl Disk {
        fn image() -> Disk {
            let mut disk = Disk { sectors: SECTORS, written: BTreeMap::new() };
            disk.write(0, HEAD);
            disk.write((SECTORS - TAIL_SECTORS) * SECTOR, TAIL);
            disk
        }

        fn enlarged(self, sectors: u64) -> Disk {
            Disk { sectors, ..self }
        }

        /// What was on a larger disk before is not zero.
        fn read(&self, start: u64, sectors: u64) -> Vec<u8> {
            let sector = |at| self.written.get(&at).cloned().unwrap_or_else(|| vec![0x5a; SECTOR_BYTES]);
            (start..start + sectors).flat_map(sector).collect()
        }

        fn head(&self) -> Vec<u8> {
            self.read(0, HEAD_SECTORS)
        }

        fn tail(&self) -> Vec<u8> {
            self.read(self.sectors - TAIL_SECTORS, TAIL_SECTORS)
        }

        fn grow(&self) -> Result<Option<Growth>, String> {
            grow(&self.head(), &self.tail(), self.sectors, state(), &[root()])
        }

        fn write(&mut self, offset: u64, bytes: &[u8]) {
            for (sector, bytes) in (offset / SECTOR..).zip(bytes.chunks(SECTOR_BYTES)) {
                self.written.insert(sector, bytes.to_vec());
            }
        }

        fn write_all(&mut self, writes: &[(u64, Vec<u8>)]) {
            for (offset, bytes) in writes {
                self.write(*offset, bytes);
            }
        }

        /// Where the state ends for who looks as UEFI, U-Boot and Linux with `gpt` do: the primary, else the backup in the
        /// last sector.
        fn state_end(&self) -> Option<u64> {
            let (head, tail) = (self.head(), self.tail());
            let table = Table::read(&head, 512, 1024, 1);
            let table = table.or_else(|| Table::read(&tail, TAIL.len() - 512, 0, self.sectors - 1))?;
            Some(table.place(table.find(state())?)?.1)
        }
    }

    #[test]
    fn what_sgdisk_made_is_read_and_a_disk_that_is_full_left_alone() {
        let image = Disk::image();
        assert_eq!(image.state_end(), Some(129_023));
        // 131072 - 33 = 131039, down to 2048: 129024.
        assert_eq!(image.grow(), Ok(None));
    }

    #[test]
    fn the_state_takes_the_rest_of_a_larger_disk_and_only_once() {
        let mut disk = Disk::image().enlarged(400_001);
        let growth = disk.grow().unwrap().unwrap();
        assert_eq!((growth.number, growth.first, growth.first + growth.length), (2, 65_536, 399_360));
        disk.write_all(&growth.writes);
        assert_eq!(disk.state_end(), Some(399_359));
        assert_eq!(disk.grow(), Ok(None));
        let gap = disk.read(399_360, 400_001 - TAIL_SECTORS - 399_360);
        assert!(gap.iter().all(|byte| *byte == 0));
        assert_eq!(disk.head()[446 + 12..][..4], 400_000u32.to_le_bytes());
    }

    #[test]
    fn a_power_cut_at_any_sector_leaves_a_table_and_the_next_boot_finishes() {
        let before = Disk::image().enlarged(400_000);
        let growth = before.grow().unwrap().unwrap();
        let after = growth.first + growth.length - 1;
        let (mut cuts, mut earlier) = (0, before.clone());
        for (offset, bytes) in &growth.writes {
            // The sectors of a write may come in any order: each alone, and all up to each.
            let mut so_far = earlier.clone();
            for (at, sector) in (*offset..).step_by(SECTOR_BYTES).zip(bytes.chunks(SECTOR_BYTES)) {
                let mut alone = earlier.clone();
                alone.write(at, sector);
                so_far.write(at, sector);
                for mut cut in [alone, so_far.clone()] {
                    let end = cut.state_end().unwrap();
                    assert!(end == 129_023 || end == after, "{end}");
                    if let Some(rest) = cut.grow().unwrap() {
                        cut.write_all(&rest.writes);
                    }
                    assert_eq!(cut.state_end(), Some(after));
                    cuts += 1;
                }
            }
            earlier = so_far;
        }
        assert!(cuts > 100, "{cuts}");
    }

    #[test]
    fn no_other_disk_is_touched() {
        let disk = Disk::image().enlarged(400_000);
        let (head, tail) = (&disk.head()[..], &disk.tail()[..]);
        let stranger = uuid("cccccccc-0102-0304-0506-0708090a0b0c");
        assert!(grow(head, tail, 400_000, state(), &[stranger]).is_err());
        assert!(grow(head, tail, 400_000, stranger, &[root()]).is_err());
        // Not the last one.
        assert!(grow(head, tail, 400_000, root(), &[state()]).is_err());
        assert!(grow(&[0; 17_408], &[0; 16_896], 400_000, state(), &[]).is_err());
        assert!(grow(&[], &[], 400_000, state(), &[]).is_err());
        assert!(grow(head, tail, 3, state(), &[]).is_err());
    }
}
