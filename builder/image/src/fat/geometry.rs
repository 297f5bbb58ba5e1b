//! Where things lie in a FAT file system. The kind follows from the number of clusters and from nothing else.

use super::{Error, SECTOR};

/// FAT16 or FAT32 (and FAT12, which is read only).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Up to 4,084 clusters.
    Fat12,
    /// 4,085 to 65,524 clusters.
    Fat16,
    /// From 65,525 clusters on.
    Fat32,
}

/// Least length of a new FAT32 file system, in bytes: with clusters of 4 KiB it then has enough of them.
const FAT32_FROM: u64 = 260 << 20;
/// Most sectors that the 32-bit field counts.
const MAX_SECTORS: u64 = u32::MAX as u64;
/// Distance that new file systems keep from the limits, since not every reader has them right
/// (specification, section 3.5).
const MARGIN: u64 = 16;
/// What the beginning of the clusters is a multiple of, in sectors.
const DATA_ALIGNMENT: u64 = 8;
pub(super) const FAT16_ROOT_ENTRIES: u64 = 512;
const ENTRIES_PER_SECTOR: u64 = 16;
pub(super) const TABLES: u64 = 2;
/// The clusters are numbered from here.
pub(super) const FIRST_CLUSTER: u32 = 2;

impl Kind {
    /// The kind that a file system of `bytes` is written as: FAT32 from 260 MiB on.
    #[must_use]
    pub fn for_bytes(bytes: u64) -> Self {
        if bytes >= FAT32_FROM { Self::Fat32 } else { Self::Fat16 }
    }

    /// The kind that readers take a file system of so many clusters for.
    #[must_use]
    pub fn of_clusters(clusters: u64) -> Self {
        match clusters {
            ..4085 => Self::Fat12,
            4085..65525 => Self::Fat16,
            _ => Self::Fat32,
        }
    }

    /// Bytes of an allocation table for `entries` entries.
    pub(super) fn table_bytes(self, entries: u64) -> u64 {
        match self {
            Self::Fat12 => entries.saturating_mul(3).div_ceil(2),
            Self::Fat16 => entries.saturating_mul(2),
            Self::Fat32 => entries.saturating_mul(4),
        }
    }
}

/// The areas of a file system. All lengths are in sectors unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Geometry {
    pub kind: Kind,
    pub sectors: u64,
    pub cluster_sectors: u64,
    pub reserved: u64,
    pub tables: u64,
    pub table_sectors: u64,
    /// Length of the root folder; 0 on FAT32.
    pub root_sectors: u64,
    /// How many clusters there are.
    pub clusters: u64,
}

impl Geometry {
    /// For a new file system of so many bytes.
    pub(super) fn for_bytes(bytes: u64) -> Result<Self, Error> {
        let refuse = |problem| Err(Error::Size { bytes, problem });
        if !bytes.is_multiple_of(SECTOR) {
            return refuse("no multiple of 512 bytes");
        }
        let sectors = bytes / SECTOR;
        if sectors > MAX_SECTORS {
            return refuse("more sectors than 32 bits count (2 TiB)");
        }
        let kind = Kind::for_bytes(bytes);
        // The usual sizes first: 2 KiB on FAT16, 4 KiB on FAT32, and more where there would be too many clusters.
        let sizes: &[u64] = match kind {
            Kind::Fat32 => &[8, 16, 32, 64],
            _ => &[4, 8, 16, 2, 1],
        };
        let fits = |geometry: &Self| {
            let limits = match kind {
                Kind::Fat32 => 65525 + MARGIN..0x0fff_fff5 - MARGIN,
                _ => 4085 + MARGIN..65525 - MARGIN,
            };
            limits.contains(&geometry.clusters)
        };
        let geometry = sizes.iter().filter_map(|size| Self::with_clusters(kind, sectors, *size)).find(fits);
        match geometry {
            // A FAT32 of many terabytes of small clusters is legal; its table would be larger than it is worth.
            Some(geometry) => Ok(geometry),
            None => refuse("too few clusters; give it at least 3 MiB"),
        }
    }

    /// `None` where the areas do not fit.
    fn with_clusters(kind: Kind, sectors: u64, cluster_sectors: u64) -> Option<Self> {
        let (least_reserved, root_sectors) = match kind {
            Kind::Fat32 => (32, 0),
            _ => (1, FAT16_ROOT_ENTRIES.checked_div(ENTRIES_PER_SECTOR)?),
        };
        // As if the tables took nothing: a few sectors too many, never too few.
        let most_clusters =
            sectors.checked_sub(least_reserved)?.checked_sub(root_sectors)?.checked_div(cluster_sectors)?;
        let table_bytes = kind.table_bytes(most_clusters.checked_add(FIRST_CLUSTER.into())?);
        let table_sectors = table_bytes.div_ceil(SECTOR);
        let fixed = table_sectors.checked_mul(TABLES)?.checked_add(root_sectors)?;
        // The reserved sectors fill up to the alignment of the clusters.
        let data = fixed.checked_add(least_reserved)?.checked_next_multiple_of(DATA_ALIGNMENT)?;
        let reserved = data.checked_sub(fixed)?;
        let clusters = sectors.checked_sub(data)?.checked_div(cluster_sectors)?;
        Some(Self {
            kind,
            sectors,
            cluster_sectors,
            reserved,
            tables: TABLES,
            table_sectors,
            root_sectors,
            clusters,
        })
    }

    pub(super) fn cluster_bytes(&self) -> u64 {
        self.cluster_sectors.saturating_mul(SECTOR)
    }

    /// First byte of allocation table `copy`, counted from 0.
    pub(super) fn table_offset(&self, copy: u64) -> u64 {
        self.table_sectors.saturating_mul(copy).saturating_add(self.reserved).saturating_mul(SECTOR)
    }

    /// First byte of the root folder of FAT16.
    pub(super) fn root_offset(&self) -> u64 {
        self.table_offset(self.tables)
    }

    /// First byte of a cluster; `None` where there is none of that number.
    pub(super) fn cluster_offset(&self, cluster: u32) -> Option<u64> {
        let index = u64::from(cluster.checked_sub(FIRST_CLUSTER)?);
        if index >= self.clusters {
            return None;
        }
        let data = self.root_offset().checked_add(self.root_sectors.checked_mul(SECTOR)?)?;
        index.checked_mul(self.cluster_bytes())?.checked_add(data)
    }
}
