//! Cluster chains. Each cluster is given out once: that ends loops and finds files that share data.

use graven_verity::io::ReadAt;

use super::super::geometry::{FIRST_CLUSTER, Geometry, Kind};
use super::Error;

/// How much of the allocation table is read at a time; no entry straddles it (a FAT12 table is smaller).
const TABLE_WINDOW: u64 = 64 * 1024;
/// Runs of clusters in a whole file system.
const MAX_EXTENTS: usize = 1 << 18;

/// A run of bytes on the medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extent {
    pub offset: u64,
    pub bytes: u64,
}

pub(super) struct Chains<'a> {
    pub disk: &'a dyn ReadAt,
    pub geometry: &'a Geometry,
    /// One bit a cluster.
    given_out: Vec<u64>,
    extents: usize,
    window: Vec<u8>,
    window_offset: Option<u64>,
}

impl<'a> Chains<'a> {
    pub(super) fn new(disk: &'a dyn ReadAt, geometry: &'a Geometry) -> Self {
        let words = usize::try_from(geometry.clusters.div_ceil(64)).unwrap_or(0).saturating_add(1);
        Self {
            disk,
            geometry,
            given_out: vec![0; words],
            extents: 0,
            window: Vec::new(),
            window_offset: None,
        }
    }

    /// The chain of a file, which must be as long as its size asks.
    pub(super) fn of_file(&mut self, path: &str, cluster: u32, size: u32) -> Result<Vec<Extent>, Error> {
        let problem = |problem| Error::Chain { path: path.into(), problem, cluster };
        if size == 0 {
            return if cluster == 0 {
                Ok(Vec::new())
            } else {
                Err(problem("is there though the file is empty"))
            };
        }
        let wanted = u64::from(size).next_multiple_of(self.geometry.cluster_bytes());
        let extents = self.follow(path, cluster, wanted)?;
        let found: u64 = extents.iter().map(|extent| extent.bytes).sum();
        if found == wanted { Ok(extents) } else { Err(problem("ends before the file does")) }
    }

    /// The chain from `cluster` on, refused where it is longer than `most` bytes.
    pub(super) fn follow(&mut self, path: &str, cluster: u32, most: u64) -> Result<Vec<Extent>, Error> {
        let cluster_bytes = self.geometry.cluster_bytes();
        let mut extents: Vec<Extent> = Vec::new();
        let mut bytes = 0u64;
        let mut next = Some(cluster);
        while let Some(cluster) = next {
            let problem = |problem| Error::Chain { path: path.into(), problem, cluster };
            let offset =
                self.geometry.cluster_offset(cluster).ok_or_else(|| problem("leaves the file system"))?;
            if !self.take(cluster) {
                return Err(problem("comes back to a cluster that is taken"));
            }
            bytes = bytes.saturating_add(cluster_bytes);
            if bytes > most {
                return Err(problem("is too long"));
            }
            match extents.last_mut() {
                Some(last) if last.offset.checked_add(last.bytes) == Some(offset) => {
                    last.bytes = last.bytes.saturating_add(cluster_bytes);
                }
                _ => {
                    self.extents = self.extents.saturating_add(1);
                    if self.extents > MAX_EXTENTS {
                        return Err(problem("is in too many pieces"));
                    }
                    extents.push(Extent { offset, bytes: cluster_bytes });
                }
            }
            next = self.next(cluster)?;
        }
        Ok(extents)
    }

    /// Marks a cluster as given out; false where it was already.
    fn take(&mut self, cluster: u32) -> bool {
        let index = cluster.saturating_sub(FIRST_CLUSTER);
        let bit = 1u64 << (index % 64);
        match self.given_out.get_mut(index as usize / 64) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }

    /// What the allocation table says comes after `cluster`; `None` at the end.
    fn next(&mut self, cluster: u32) -> Result<Option<u32>, Error> {
        let cluster_bytes = u64::from(cluster);
        let offset = match self.geometry.kind {
            Kind::Fat12 => cluster_bytes.saturating_add(cluster_bytes / 2),
            kind => kind.table_bytes(cluster_bytes),
        };
        let start = offset.saturating_sub(offset % TABLE_WINDOW);
        if self.window_offset != Some(start) {
            let table_bytes = self.geometry.table_sectors.saturating_mul(super::SECTOR);
            let left = table_bytes.saturating_sub(start).min(TABLE_WINDOW);
            self.window.resize(usize::try_from(left).unwrap_or(0), 0);
            let at = self.geometry.table_offset(0).saturating_add(start);
            self.disk
                .read_exact_at(&mut self.window, at)
                .map_err(Error::io("reading the allocation table"))?;
            self.window_offset = Some(start);
        }
        let within = usize::try_from(offset % TABLE_WINDOW).unwrap_or(usize::MAX);
        let mut raw = self.window.get(within..).unwrap_or_default().iter().map(|byte| u32::from(*byte));
        let mut byte = || raw.next().unwrap_or(0);
        let pair = byte() | byte() << 8;
        let (entry, end) = match self.geometry.kind {
            Kind::Fat12 if cluster % 2 == 1 => (pair >> 4, 0xff8),
            Kind::Fat12 => (pair & 0xfff, 0xff8),
            Kind::Fat16 => (pair, 0xfff8),
            Kind::Fat32 => ((pair | byte() << 16 | byte() << 24) & 0x0fff_ffff, 0x0fff_fff8),
        };
        Ok((entry < end).then_some(entry))
    }
}
