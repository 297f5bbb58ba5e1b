//! VHDX (Microsoft, MS-VHDX 8.0), little-endian: regions of whole mebibytes, blocks where they are not zero.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use uuid::{Uuid, uuid};

use super::{Disk, Identity, pieces, too_large};
use crate::checksum::crc32c;

const MIB: u64 = 1 << 20;
const KIB_64: usize = 64 << 10;
const HEADER: usize = 4 << 10;
/// The smallest there is.
const BLOCK: u64 = MIB;
const SECTOR: u32 = 512;
/// Blocks whose sectors one bitmap tells: after as many entries the table has one for it.
const CHUNK: u64 = (1 << 23) * SECTOR as u64 / BLOCK;
const LOG: u64 = MIB;
const METADATA: u64 = 2 * MIB;
const TABLE: u64 = 3 * MIB;
const MOST_BYTES: u64 = 64 << 40;
/// `PAYLOAD_BLOCK_FULLY_PRESENT`
const PRESENT: u64 = 6;

const TABLE_REGION: Uuid = uuid!("2dc27766-f623-4200-9d64-115e9bfd4a08");
const METADATA_REGION: Uuid = uuid!("8b7ca206-4790-4b9a-b8fe-575f050f886e");
const FILE_PARAMETERS: Uuid = uuid!("caa16737-fa36-4d43-b3b6-33f0aa44e76b");
const DISK_SIZE: Uuid = uuid!("2fa54224-cd1b-4876-b211-5dbed83bf4b8");
const PAGE_83: Uuid = uuid!("beca12ab-b2e6-4523-93ef-c309e000c746");
const LOGICAL_SECTOR: Uuid = uuid!("8141bf1d-a96f-4709-ba47-f233a8faab5f");
const PHYSICAL_SECTOR: Uuid = uuid!("cda348c7-445d-4471-9cc9-e9885251c556");

/// Flags of a metadata item: a reader must know it; and it is of the disk, not of the file.
const REQUIRED: u32 = 4;
const OF_DISK: u32 = 2;

pub(super) fn write(disk: &Disk<'_>, identity: &Identity, out: &File) -> io::Result<()> {
    if disk.len > MOST_BYTES {
        return Err(too_large("VHDX", "64 TiB"));
    }
    let blocks = disk.len.div_ceil(BLOCK);
    let entries = blocks + blocks.saturating_sub(1) / CHUNK;
    let table_bytes = (entries * 8).next_multiple_of(MIB);
    let mut table = vec![0; usize::try_from(entries * 8).map_err(io::Error::other)?];
    let mut next = TABLE + table_bytes;
    pieces(disk, BLOCK as usize, &mut |block, bytes| {
        out.write_all_at(bytes, next)?;
        let at = (block + block / CHUNK) as usize * 8;
        table[at..at + 8].copy_from_slice(&(next | PRESENT).to_le_bytes());
        next += BLOCK;
        Ok(())
    })?;
    out.set_len(next)?;

    let regions = regions(table_bytes);
    for (bytes, offset) in [
        (&identifier(), 0),
        (&header(identity, 1), 64 << 10),
        (&header(identity, 2), 128 << 10),
        (&regions, 192 << 10),
        (&regions, 256 << 10),
        (&metadata(disk.len, identity), METADATA),
        (&table, TABLE),
    ] {
        out.write_all_at(bytes, offset)?;
    }
    Ok(())
}

/// What the file is, and who made it, in UTF-16.
fn identifier() -> Vec<u8> {
    let mut bytes = b"vhdxfile".to_vec();
    bytes.extend("Graven".encode_utf16().flat_map(u16::to_le_bytes));
    bytes
}

/// One of the two headers; the one with the higher number counts.
fn header(identity: &Identity, number: u64) -> Vec<u8> {
    let mut bytes = b"head\0\0\0\0".to_vec();
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&identity.id.to_bytes_le()); //                when the file was last written to
    bytes.extend_from_slice(&identity.id.to_bytes_le()); //                when the disk was
    bytes.extend_from_slice(&[0; 16]); //                                  the log is empty
    bytes.extend_from_slice(&0u16.to_le_bytes()); //                       version of the log
    bytes.extend_from_slice(&1u16.to_le_bytes()); //                       version
    bytes.extend_from_slice(&(MIB as u32).to_le_bytes()); //               length of the log
    bytes.extend_from_slice(&LOG.to_le_bytes());
    summed(bytes, HEADER)
}

fn regions(table_bytes: u64) -> Vec<u8> {
    let mut bytes = b"regi\0\0\0\0".to_vec();
    bytes.extend_from_slice(&2u32.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    for (id, offset, len) in [(TABLE_REGION, TABLE, table_bytes), (METADATA_REGION, METADATA, MIB)] {
        bytes.extend_from_slice(&id.to_bytes_le());
        bytes.extend_from_slice(&offset.to_le_bytes());
        bytes.extend_from_slice(&(len as u32).to_le_bytes());
        bytes.extend_from_slice(&1u32.to_le_bytes()); //                   required
    }
    summed(bytes, KIB_64)
}

/// Fills up to `len` and puts the checksum behind the signature.
fn summed(mut bytes: Vec<u8>, len: usize) -> Vec<u8> {
    bytes.resize(len, 0);
    let checksum = crc32c(&bytes);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The table of items in the first 64 KiB, then the items.
fn metadata(len: u64, identity: &Identity) -> Vec<u8> {
    let items: [(Uuid, u32, Vec<u8>); 5] = [
        (FILE_PARAMETERS, REQUIRED, [(BLOCK as u32).to_le_bytes(), [0; 4]].concat()),
        (DISK_SIZE, REQUIRED | OF_DISK, len.to_le_bytes().to_vec()),
        (PAGE_83, REQUIRED | OF_DISK, identity.id.to_bytes_le().to_vec()),
        (LOGICAL_SECTOR, REQUIRED | OF_DISK, SECTOR.to_le_bytes().to_vec()),
        (PHYSICAL_SECTOR, REQUIRED | OF_DISK, 4096u32.to_le_bytes().to_vec()),
    ];
    let mut table = b"metadata".to_vec();
    table.extend_from_slice(&[0; 2]);
    table.extend_from_slice(&(items.len() as u16).to_le_bytes());
    table.extend_from_slice(&[0; 20]);
    let mut values = Vec::new();
    for (id, flags, value) in &items {
        table.extend_from_slice(&id.to_bytes_le());
        table.extend_from_slice(&((KIB_64 + values.len()) as u32).to_le_bytes());
        table.extend_from_slice(&(value.len() as u32).to_le_bytes());
        table.extend_from_slice(&flags.to_le_bytes());
        table.extend_from_slice(&[0; 4]);
        values.extend_from_slice(value);
    }
    table.resize(KIB_64, 0);
    table.extend_from_slice(&values);
    table
}
