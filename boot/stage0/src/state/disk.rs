//! The disk that carries the state: its table, and what the kernel knows of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use graven_handoff::PartUuid;

use super::gpt::{self, HEAD_SECTORS, SECTOR, TAIL_SECTORS};
use crate::partitions::Partition;
use crate::sys;

/// Gives the state's partition the rest of its disk, which must carry the partitions `own` as well; answers its new length
/// in bytes, `None` where it has all there is.
pub(super) fn grow(partition: &Partition, own: &[PartUuid]) -> Result<Option<u64>, String> {
    let disk = Disk::of(partition).map_err(|error| format!("{}: {error}", partition.name))?;
    let failed = |error: io::Error| format!("{}: {error}", disk.name);
    let file = File::options().read(true).write(true).open(format!("/dev/{}", disk.name)).map_err(failed)?;
    let ends = |start: u64, sectors: u64| -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(sectors.saturating_mul(SECTOR)).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, start.saturating_mul(SECTOR))?;
        Ok(bytes)
    };
    let head = ends(0, HEAD_SECTORS).map_err(failed)?;
    let tail = ends(disk.sectors.saturating_sub(TAIL_SECTORS), TAIL_SECTORS).map_err(failed)?;
    let growth = gpt::grow(&head, &tail, disk.sectors, partition.uuid(), own)
        .map_err(|problem| format!("{}: {problem}", disk.name))?;
    let Some(growth) = growth else { return Ok(None) };
    if (growth.number, growth.first) != (disk.number, disk.start) {
        return Err(format!("{}: the kernel knows the partition by another number or place", disk.name));
    }
    for (offset, bytes) in &growth.writes {
        file.write_all_at(bytes, *offset).map_err(failed)?;
        file.sync_data().map_err(failed)?;
    }
    let bytes = growth.length.saturating_mul(SECTOR);
    if bytes > partition.bytes {
        sys::resize_partition(&file, growth.number, growth.first.saturating_mul(SECTOR), bytes)
            .map_err(failed)?;
    }
    Ok(Some(bytes))
}

struct Disk {
    name: String,
    sectors: u64,
    /// The partition's number and first sector as the kernel has them.
    number: u32,
    start: u64,
}

impl Disk {
    fn of(partition: &Partition) -> io::Result<Disk> {
        let own: PathBuf = Path::new("/sys/class/block").join(&partition.name).canonicalize()?;
        let parent = own.parent().ok_or(io::ErrorKind::NotFound)?;
        let name = parent.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::NotFound)?;
        if number(&parent.join("queue/logical_block_size"))? != SECTOR {
            return Err(io::Error::other("its disk's blocks are not of 512 bytes"));
        }
        Ok(Disk {
            name: name.to_owned(),
            sectors: number(&parent.join("size"))?,
            number: u32::try_from(number(&own.join("partition"))?).map_err(io::Error::other)?,
            start: number(&own.join("start"))?,
        })
    }
}

fn number(path: &Path) -> io::Result<u64> {
    std::fs::read_to_string(path)?.trim().parse().map_err(io::Error::other)
}
