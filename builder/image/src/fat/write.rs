//! The formatter: every file and folder gets one run of clusters, in the order of their names, and everything is
//! written once. What is zero is not written.

use std::collections::{BTreeMap, BTreeSet};

use graven_verity::io::{ReadAt, WriteAt};
use zerocopy::IntoBytes;

use super::geometry::{FAT16_ROOT_ENTRIES, FIRST_CLUSTER, Geometry, Kind};
use super::name::{self, Stamp};
use super::ondisk::{
    BiosParameters, DirEntry, ENTRY_BYTES, ExtendedParameters, Fat32Parameters, FsInfo, INFO_SIGNATURE,
    LEAD_SIGNATURE, TRAIL_SIGNATURE, attribute,
};
use super::{Error, File, Format, MAX_FILE_BYTES, SECTOR};

/// Entries that a folder may have on any reader (2 MiB; specification, section 6.1).
const MAX_FOLDER_ENTRIES: u64 = 65_536;
/// How much of a file is read at a time.
const WINDOW: usize = 256 * 1024;

/// Writes a file system with `files` to the first [`Format::bytes`] bytes of `out`, which must read as zeros
/// there: a fresh file, or a partition of one.
///
/// # Errors
/// A name, label or size that cannot be, files that do not fit, or what reading and writing answers.
pub fn write(format: &Format, files: &[File<'_>], out: &dyn WriteAt) -> Result<(), Error> {
    let layout = Layout::plan(format, files)?;
    for (offset, area) in &layout.areas {
        match area {
            Area::Bytes(bytes) => put(out, bytes, *offset)?,
            Area::File { path, contents, bytes } => copy(out, path, *contents, *bytes, *offset)?,
        }
    }
    Ok(())
}

/// The least length, in whole MiB as bytes, of a file system that holds `files`.
///
/// # Errors
/// As [`write()`]'s, but for lack of space.
pub fn needed_bytes(files: &[File<'_>]) -> Result<u64, Error> {
    const MIB: u64 = 1 << 20;
    let mut bytes = 3 * MIB;
    loop {
        let format = Format { bytes, volume_id: 0, label: "ESP".into(), timestamp: 0 };
        match Layout::plan(&format, files) {
            Ok(_) => return Ok(bytes),
            Err(Error::NoSpace { needed, available, cluster_bytes }) => {
                let more = needed.saturating_sub(available).saturating_mul(cluster_bytes);
                bytes = bytes.saturating_add(more.next_multiple_of(MIB).max(MIB));
            }
            Err(error) => return Err(error),
        }
    }
}

enum Node<'a> {
    Folder(Folder<'a>),
    File { contents: &'a dyn ReadAt, bytes: u64 },
}

/// By folded name, so that no two differ in case only; each with its name as written and its 8.3 name.
#[derive(Default)]
struct Folder<'a>(BTreeMap<String, Child<'a>>);

struct Child<'a> {
    name: &'a str,
    node: Node<'a>,
}

impl<'a> Folder<'a> {
    fn of(files: &[File<'a>]) -> Result<Self, Error> {
        let mut root = Self::default();
        for file in files {
            let path = file.path;
            let duplicate = || Error::Duplicate { path: path.into() };
            let size = file.contents.size();
            let bytes = size.map_err(Error::io(format!("asking the size of the contents of `{path}`")))?;
            if bytes > MAX_FILE_BYTES {
                return Err(Error::FileTooLarge { path: path.into(), bytes });
            }
            let (folders, last) = path.rsplit_once('/').map_or((None, path), |(f, last)| (Some(f), last));
            let mut folder = &mut root;
            for part in folders.into_iter().flat_map(|folders| folders.split('/')) {
                name::check(path, part)?;
                let child = Child { name: part, node: Node::Folder(Self::default()) };
                folder = match &mut folder.0.entry(name::folded(part)).or_insert(child).node {
                    Node::Folder(folder) => folder,
                    Node::File { .. } => return Err(duplicate()),
                };
            }
            name::check(path, last)?;
            let child = Child { name: last, node: Node::File { contents: file.contents, bytes } };
            if folder.0.insert(name::folded(last), child).is_some() {
                return Err(duplicate());
            }
        }
        Ok(root)
    }

    /// The 8.3 name of each child, in their order, and whether a long one goes with it. Names that are 8.3 as they
    /// stand keep theirs, whatever the others are called.
    fn short_names(&self, path: &str) -> Result<Vec<([u8; 11], bool)>, Error> {
        let mut taken = BTreeSet::new();
        for child in self.0.values() {
            if let Some((exact, false)) = name::short(child.name, &BTreeSet::new()) {
                taken.insert(exact);
            }
        }
        let none = BTreeSet::new();
        self.0
            .values()
            .map(|child| match name::short(child.name, &none) {
                Some((exact, false)) => Ok((exact, false)),
                _ => {
                    let full = || Error::FolderFull {
                        path: path.into(),
                        entries: self.0.len() as u64,
                        limit: MAX_FOLDER_ENTRIES,
                    };
                    let (short, long) = name::short(child.name, &taken).ok_or_else(full)?;
                    taken.insert(short);
                    Ok((short, long))
                }
            })
            .collect()
    }

    /// How many entries it takes: those of its children, and `.` and `..` or the label.
    fn entries(&self, path: &str, own: u64) -> Result<u64, Error> {
        let names = self.short_names(path)?;
        let of_child =
            |(child, (_, long)): (&Child<'_>, &(_, bool))| if *long { name::pieces(child.name) } else { 0 };
        let pieces: usize = self.0.values().zip(&names).map(of_child).sum();
        Ok((self.0.len() as u64).saturating_add(pieces as u64).saturating_add(own))
    }
}

enum Area<'a> {
    Bytes(Vec<u8>),
    File { path: String, contents: &'a dyn ReadAt, bytes: u64 },
}

/// Everything to be written, by its offset in bytes.
struct Layout<'a> {
    geometry: Geometry,
    stamp: Stamp,
    /// Runs of clusters given out so far: first and number.
    runs: Vec<(u32, u32)>,
    next: u32,
    /// Clusters asked for, those that are not there included.
    needed: u64,
    areas: Vec<(u64, Area<'a>)>,
}

impl<'a> Layout<'a> {
    fn plan(format: &Format, files: &[File<'a>]) -> Result<Self, Error> {
        let label = name::label(&format.label)?;
        let geometry = Geometry::for_bytes(format.bytes)?;
        let stamp = Stamp::from_unix(format.timestamp);
        let root = Folder::of(files)?;
        let mut layout =
            Self { geometry, stamp, runs: Vec::new(), next: FIRST_CLUSTER, needed: 0, areas: Vec::new() };
        let label_entry = layout.entry(label, attribute::VOLUME_LABEL, 0, 0);
        let entries = root.entries("/", 1)?;
        let (cluster, offset) = match layout.geometry.kind {
            Kind::Fat32 => layout.folder_clusters("/", entries)?,
            _ if entries > FAT16_ROOT_ENTRIES => {
                return Err(Error::FolderFull { path: "/".into(), entries, limit: FAT16_ROOT_ENTRIES });
            }
            _ => (0, layout.geometry.root_offset()),
        };
        layout.folder(root, "", 0, offset, label_entry.as_bytes().to_vec())?;
        let available = layout.geometry.clusters;
        if layout.needed > available {
            let cluster_bytes = layout.geometry.cluster_bytes();
            return Err(Error::NoSpace { needed: layout.needed, available, cluster_bytes });
        }
        layout.tables();
        layout.boot_sectors(format, label, cluster);
        Ok(layout)
    }

    /// Takes a run of clusters for so many bytes: its first one and where that lies. Past the end it only
    /// counts, so that the error can say how much is missing.
    fn clusters(&mut self, bytes: u64) -> (u32, u64) {
        let count = bytes.div_ceil(self.geometry.cluster_bytes());
        self.needed = self.needed.saturating_add(count);
        let first = self.next;
        match (u32::try_from(count), self.geometry.cluster_offset(first)) {
            (Ok(count), Some(offset)) if self.needed <= self.geometry.clusters => {
                self.runs.push((first, count));
                self.next = first.saturating_add(count);
                (first, offset)
            }
            _ => (first, 0),
        }
    }

    fn folder_clusters(&mut self, path: &str, entries: u64) -> Result<(u32, u64), Error> {
        if entries > MAX_FOLDER_ENTRIES {
            return Err(Error::FolderFull { path: path.into(), entries, limit: MAX_FOLDER_ENTRIES });
        }
        Ok(self.clusters(entries.saturating_mul(ENTRY_BYTES as u64)))
    }

    /// Gives the children of a folder their places and puts its own entries at `offset`. `own` is what they begin
    /// with; `cluster` is what its folders call `..`: 0 for the root.
    fn folder(
        &mut self,
        folder: Folder<'a>,
        path: &str,
        cluster: u32,
        offset: u64,
        own: Vec<u8>,
    ) -> Result<(), Error> {
        let names = folder.short_names(path)?;
        let mut bytes = own;
        for (Child { name, node }, (short, long)) in folder.0.into_values().zip(names) {
            let path = format!("{path}/{name}");
            let entry = match node {
                Node::File { contents, bytes } => {
                    let (first, offset) = if bytes == 0 { (0, 0) } else { self.clusters(bytes) };
                    self.areas.push((offset, Area::File { path, contents, bytes }));
                    self.entry(short, attribute::ARCHIVE, first, bytes)
                }
                Node::Folder(child) => {
                    let (first, offset) = self.folder_clusters(&path, child.entries(&path, 2)?)?;
                    let own = [(*b".          ", first), (*b"..         ", cluster)];
                    let own = own.map(|(name, cluster)| self.entry(name, attribute::DIRECTORY, cluster, 0));
                    self.folder(child, &path, first, offset, own.as_bytes().to_vec())?;
                    self.entry(short, attribute::DIRECTORY, first, 0)
                }
            };
            if long {
                bytes.extend(
                    name::long(name, &short).iter().flat_map(|piece| piece.as_bytes().iter().copied()),
                );
            }
            bytes.extend(entry.as_bytes());
        }
        self.areas.push((offset, Area::Bytes(bytes)));
        Ok(())
    }

    fn entry(&self, name: [u8; 11], attributes: u8, cluster: u32, bytes: u64) -> DirEntry {
        let Stamp { date, time, fine } = self.stamp;
        DirEntry {
            name,
            attributes,
            case: 0,
            created_fine: fine,
            created_time: time.into(),
            created_date: date.into(),
            accessed_date: date.into(),
            cluster_high: ((cluster >> 16) as u16).into(),
            written_time: time.into(),
            written_date: date.into(),
            cluster_low: (cluster as u16).into(),
            size: u32::try_from(bytes).unwrap_or(u32::MAX).into(),
        }
    }

    /// The used part of each allocation table.
    fn tables(&mut self) {
        // Entry 0 repeats the medium, entry 1 says: unmounted cleanly, no read errors.
        let mut entries = vec![0x0fff_fff8_u32, 0x0fff_ffff];
        for (first, count) in &self.runs {
            let last = first.saturating_add(*count).saturating_sub(1);
            entries.extend((*first..last).map(|cluster| cluster.saturating_add(1)));
            entries.push(0x0fff_ffff);
        }
        let table: Vec<u8> = match self.geometry.kind {
            Kind::Fat32 => entries.iter().flat_map(|entry| entry.to_le_bytes()).collect(),
            _ => entries.iter().flat_map(|entry| (*entry as u16).to_le_bytes()).collect(),
        };
        for copy in 0..self.geometry.tables {
            self.areas.push((self.geometry.table_offset(copy), Area::Bytes(table.clone())));
        }
    }

    fn boot_sectors(&mut self, format: &Format, label: [u8; 11], root_cluster: u32) {
        let geometry = &self.geometry;
        let fat32 = geometry.kind == Kind::Fat32;
        let sectors_16 = u16::try_from(geometry.sectors).ok().filter(|_| !fat32);
        // All of these fit: the geometry is of our making.
        let narrow = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
        let wide = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let common = BiosParameters {
            // Over the parameters, to an endless loop: this disk starts on UEFI only.
            jump: if fat32 { [0xeb, 0x58, 0x90] } else { [0xeb, 0x3c, 0x90] },
            oem_name: *b"GRAVEN  ",
            bytes_per_sector: narrow(SECTOR).into(),
            sectors_per_cluster: u8::try_from(geometry.cluster_sectors).unwrap_or(u8::MAX),
            reserved_sectors: narrow(geometry.reserved).into(),
            tables: u8::try_from(geometry.tables).unwrap_or(u8::MAX),
            root_entries: if fat32 { 0.into() } else { narrow(FAT16_ROOT_ENTRIES).into() },
            sectors_16: sectors_16.unwrap_or(0).into(),
            media: 0xf8,
            table_sectors_16: if fat32 { 0.into() } else { narrow(geometry.table_sectors).into() },
            sectors_per_track: 63.into(),
            heads: 255.into(),
            hidden_sectors: 0.into(),
            sectors_32: if sectors_16.is_some() { 0.into() } else { wide(geometry.sectors).into() },
        };
        let extended = ExtendedParameters {
            drive: 0x80,
            reserved: 0,
            boot_signature: 0x29,
            volume_id: format.volume_id.into(),
            label,
            kind: if fat32 { *b"FAT32   " } else { *b"FAT16   " },
        };
        let fat32_parameters = Fat32Parameters {
            table_sectors: wide(geometry.table_sectors).into(),
            flags: 0.into(),
            version: 0.into(),
            root_cluster: root_cluster.into(),
            fs_info_sector: 1.into(),
            backup_boot_sector: narrow(BACKUP_SECTOR).into(),
            reserved: [0; 12],
        };
        let mut boot = common.as_bytes().to_vec();
        if fat32 {
            boot.extend(fat32_parameters.as_bytes());
        }
        boot.extend(extended.as_bytes());
        boot.extend([0xeb, 0xfe]);
        boot.resize(SIGNATURE_OFFSET, 0);
        boot.extend([0x55, 0xaa]);
        if fat32 {
            let info = FsInfo {
                lead_signature: LEAD_SIGNATURE.into(),
                reserved: [0; 480],
                signature: INFO_SIGNATURE.into(),
                free_clusters: wide(geometry.clusters.saturating_sub(self.needed)).into(),
                next_free: self.next.into(),
                reserved_2: [0; 12],
                trail_signature: TRAIL_SIGNATURE.into(),
            };
            boot.extend(info.as_bytes());
            // The third boot sector: nothing but its signature.
            boot.resize(THIRD_SIGNATURE_OFFSET, 0);
            boot.extend([0x55, 0xaa]);
            self.areas.push((BACKUP_SECTOR * SECTOR, Area::Bytes(boot.clone())));
        }
        self.areas.push((0, Area::Bytes(boot)));
    }
}

const BACKUP_SECTOR: u64 = 6;
/// Where 0x55 0xaa lies, in the first and in the third boot sector.
const SIGNATURE_OFFSET: usize = SECTOR as usize - 2;
const THIRD_SIGNATURE_OFFSET: usize = 3 * SECTOR as usize - 2;

fn copy(out: &dyn WriteAt, path: &str, contents: &dyn ReadAt, bytes: u64, offset: u64) -> Result<(), Error> {
    let mut window = vec![0; usize::try_from(bytes).unwrap_or(WINDOW).min(WINDOW)];
    let mut done = 0;
    while done < bytes {
        let count = usize::try_from(bytes.saturating_sub(done)).unwrap_or(WINDOW).min(WINDOW);
        let Some(part) = window.get_mut(..count) else { break };
        contents.read_exact_at(part, done).map_err(Error::io(format!("reading the contents of `{path}`")))?;
        put(out, part, offset.saturating_add(done))?;
        done = done.saturating_add(count as u64);
    }
    Ok(())
}

/// Writes `bytes`, unless they are zero.
fn put(out: &dyn WriteAt, bytes: &[u8], offset: u64) -> Result<(), Error> {
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    out.write_all_at(bytes, offset)
        .map_err(Error::io(format!("writing {} bytes at byte {offset}", bytes.len())))
}
