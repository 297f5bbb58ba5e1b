//! qcow2, version 3 (QEMU's `docs/interop/qcow2.rst`), all numbers big-endian.
//!
//! All tables stand before the data, as large as the disk could ever need: so each cluster is written once, in order.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::{Disk, pieces, too_large};

const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// Entries of an L2 table, which is one cluster: 8 bytes each.
const L2_ENTRIES: u64 = CLUSTER / 8;
/// Counts of 16 bits (`refcount_order` 4) in a cluster.
const COUNTS: u64 = CLUSTER / 2;
const REFCOUNT_ORDER: u32 = 4;
const HEADER_BYTES: u32 = 104;
/// In an entry of an L1 or L2 table: the cluster belongs to nobody else.
const SOLE: u64 = 1 << 63;
/// Beyond it the L1 table would be longer than what QEMU takes (32 MiB).
const MOST_BYTES: u64 = 1 << 50;

/// Where the tables lie, in clusters from the start.
#[derive(Debug, Clone, Copy)]
struct Places {
    l1: u64,
    l1_entries: u64,
    l2: u64,
    count_table: u64,
    count_table_clusters: u64,
    counts: u64,
    count_blocks: u64,
    data: u64,
}

impl Places {
    fn of(len: u64) -> Self {
        let data_clusters = len.div_ceil(CLUSTER);
        let l1_entries = data_clusters.div_ceil(L2_ENTRIES);
        let l1_clusters = (l1_entries * 8).div_ceil(CLUSTER);
        let fixed = 1 + l1_clusters + l1_entries + data_clusters;
        // The counts count themselves and their table.
        let mut count_blocks = fixed.div_ceil(COUNTS);
        let count_table_clusters = loop {
            let table = (count_blocks * 8).div_ceil(CLUSTER);
            let needed = (fixed + count_blocks + table).div_ceil(COUNTS);
            if needed == count_blocks {
                break table;
            }
            count_blocks = needed;
        };
        let l1 = 1;
        let l2 = l1 + l1_clusters;
        let count_table = l2 + l1_entries;
        let counts = count_table + count_table_clusters;
        let data = counts + count_blocks;
        Self { l1, l1_entries, l2, count_table, count_table_clusters, counts, count_blocks, data }
    }

    fn header(&self, len: u64) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_BYTES as usize + 8);
        header.extend_from_slice(b"QFI\xfb");
        header.extend_from_slice(&3u32.to_be_bytes());
        header.extend_from_slice(&[0; 12]); //                             no backing file
        header.extend_from_slice(&CLUSTER_BITS.to_be_bytes());
        header.extend_from_slice(&len.to_be_bytes());
        header.extend_from_slice(&0u32.to_be_bytes()); //                  no encryption
        header.extend_from_slice(&(self.l1_entries as u32).to_be_bytes());
        header.extend_from_slice(&(self.l1 * CLUSTER).to_be_bytes());
        header.extend_from_slice(&(self.count_table * CLUSTER).to_be_bytes());
        header.extend_from_slice(&(self.count_table_clusters as u32).to_be_bytes());
        header.extend_from_slice(&[0; 12]); //                             no snapshots
        header.extend_from_slice(&[0; 24]); //                             no features
        header.extend_from_slice(&REFCOUNT_ORDER.to_be_bytes());
        header.extend_from_slice(&HEADER_BYTES.to_be_bytes());
        header.extend_from_slice(&[0; 8]); //                              end of header extensions
        header
    }
}

pub(super) fn write(disk: &Disk<'_>, out: &File) -> io::Result<()> {
    if disk.len > MOST_BYTES {
        return Err(too_large("qcow2", "1 PiB"));
    }
    let places = Places::of(disk.len);
    let mut l2 = vec![0; usize::try_from(places.l1_entries * CLUSTER).map_err(io::Error::other)?];
    let mut next = places.data;
    pieces(disk, CLUSTER as usize, &mut |cluster, bytes| {
        out.write_all_at(bytes, next * CLUSTER)?;
        put(&mut l2, cluster, (next * CLUSTER) | SOLE);
        next += 1;
        Ok(())
    })?;

    let mut l1 = vec![0; (places.l1_entries * 8) as usize];
    for table in 0..places.l1_entries {
        put(&mut l1, table, ((places.l2 + table) * CLUSTER) | SOLE);
    }
    let mut count_table = vec![0; (places.count_blocks * 8) as usize];
    for block in 0..places.count_blocks {
        put(&mut count_table, block, (places.counts + block) * CLUSTER);
    }
    // Each cluster up to the last that was written has one owner.
    let counts = 1u16.to_be_bytes().repeat(usize::try_from(next).map_err(io::Error::other)?);
    for (bytes, cluster) in [
        (&places.header(disk.len), 0),
        (&l1, places.l1),
        (&l2, places.l2),
        (&count_table, places.count_table),
        (&counts, places.counts),
    ] {
        out.write_all_at(bytes, cluster * CLUSTER)?;
    }
    // The last table may end in a hole.
    out.set_len(next * CLUSTER)
}

fn put(table: &mut [u8], index: u64, entry: u64) {
    let at = index as usize * 8;
    table[at..at + 8].copy_from_slice(&entry.to_be_bytes());
}
