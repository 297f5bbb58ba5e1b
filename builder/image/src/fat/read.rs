//! The reader: strict, since it is a verifier's eye. Firmware, kernel and tools differ in what they forgive; what is not
//! beyond doubt is an error. It ends on any input: every cluster belongs to at most one chain.

mod chain;

use std::collections::BTreeSet;
use std::io;

use graven_verity::io::ReadAt;
use zerocopy::FromBytes;

use self::chain::{Chains, Extent};
use super::geometry::{Geometry, Kind};
use super::name;
use super::ondisk::{
    BiosParameters, DirEntry, ENTRY_BYTES, ExtendedParameters, Fat32Parameters, LAST_PIECE, LongNameEntry,
    PIECE_UNITS, attribute,
};
use super::{Error, SECTOR};

/// Limits that keep a hostile file system from taking all memory; far above what firmware needs.
const MAX_ENTRIES: usize = 16_384;
const MAX_PATH_BYTES: usize = 4096;
const MAX_FOLDER_BYTES: u64 = 2 << 20;
const COMPARED_AT_A_TIME: usize = 64 * 1024;

/// File or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// A file or folder of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path from the root, parts separated by `/`: long names where there are, else the short ones.
    pub path: String,
    /// The same with the last part's 8.3 name, by which it can be opened as well.
    pub short_path: String,
    /// Which of the two.
    pub kind: EntryKind,
    /// In bytes; 0 for a folder.
    pub size: u32,
    /// Whether listings leave it out.
    pub hidden: bool,
    extents: Vec<Extent>,
}

/// An open file system. It holds the places of everything in it; contents are read when asked for.
#[derive(Debug)]
pub struct Reader<R> {
    disk: R,
    kind: Kind,
    volume_id: u32,
    label: Option<String>,
    entries: Vec<Entry>,
}

impl<R: ReadAt> Reader<R> {
    /// Reads boot sector, allocation tables and all folders of the file system that fills `disk` from its
    /// first byte on.
    ///
    /// # Errors
    /// Anything that two readers could take differently, and what reading answers.
    pub fn open(disk: R) -> Result<Self, Error> {
        let (geometry, root_cluster, volume_id) = boot_sector(&disk)?;
        compare_tables(&disk, &geometry)?;
        let mut walk = Walk { chains: Chains::new(&disk, &geometry), entries: Vec::new(), label: None };
        walk.root(root_cluster)?;
        let Walk { entries, label, .. } = walk;
        Ok(Self { kind: geometry.kind, volume_id, label, entries, disk })
    }

    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Volume serial number.
    pub fn volume_id(&self) -> u32 {
        self.volume_id
    }

    /// Volume label in the root folder.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// All files and folders, hidden ones included; a folder comes before what is in it.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry that `path` opens, as firmware would: upper and lower case are the same, and `\` separates too.
    pub fn find(&self, path: &str) -> Option<&Entry> {
        let wanted = name::folded(&path.replace('\\', "/"));
        let wanted = wanted.trim_matches('/');
        let is = |candidate: &str| name::folded(candidate) == wanted;
        self.entries.iter().find(|entry| is(&entry.path) || is(&entry.short_path))
    }

    /// A file's contents, to be read at any offset.
    pub fn contents<'a>(&'a self, entry: &'a Entry) -> Contents<'a, R> {
        Contents { disk: &self.disk, entry }
    }

    /// A file's contents in memory: at most [`super::MAX_FILE_BYTES`], so ask [`Entry::size`] first.
    ///
    /// # Errors
    /// What reading answers.
    pub fn read(&self, entry: &Entry) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; entry.size as usize];
        let contents = self.contents(entry);
        contents.read_exact_at(&mut bytes, 0).map_err(Error::io(format!("reading `{}`", entry.path)))?;
        Ok(bytes)
    }
}

/// See [`Reader::contents`].
#[derive(Debug)]
pub struct Contents<'a, R> {
    disk: &'a R,
    entry: &'a Entry,
}

impl<R: ReadAt> ReadAt for Contents<'_, R> {
    fn read_exact_at(&self, buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.entry.size.into()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0usize;
        for extent in &self.entry.extents {
            if offset >= extent.bytes {
                offset = offset.saturating_sub(extent.bytes);
                continue;
            }
            let here = usize::try_from(extent.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
            let end = done.saturating_add(here).min(buf.len());
            let part = buf.get_mut(done..end).unwrap_or_default();
            self.disk.read_exact_at(part, extent.offset.saturating_add(offset))?;
            (done, offset) = (end, 0);
        }
        if done == buf.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.entry.size.into())
    }
}

/// The areas, the root folder's first cluster (0 before FAT32) and the volume id.
fn boot_sector(disk: &dyn ReadAt) -> Result<(Geometry, u32, u32), Error> {
    let disk_bytes = disk.size().map_err(Error::io("asking the medium's size"))?;
    let mut sector = [0; SECTOR as usize];
    disk.read_exact_at(&mut sector, 0).map_err(Error::io("reading the boot sector"))?;
    let wrong =
        |field, expected: &str, found: u64| Error::BootSector { field, expected: expected.into(), found };
    let short = || wrong("length", "512 bytes", 0);
    let (bpb, rest) = BiosParameters::read_from_prefix(&sector).map_err(|_| short())?;
    let require = |field, ok: bool, expected: &str, found: u64| {
        if ok { Ok(()) } else { Err(wrong(field, expected, found)) }
    };
    let signature = sector.last_chunk().copied().map_or(0, u16::from_le_bytes);
    require("signature", signature == 0xaa55, "0xaa55", signature.into())?;
    let sector_bytes = u64::from(bpb.bytes_per_sector.get());
    require("bytes per sector", sector_bytes == SECTOR, "512", sector_bytes)?;
    let cluster_sectors = u64::from(bpb.sectors_per_cluster);
    require("sectors per cluster", cluster_sectors.is_power_of_two(), "a power of two", cluster_sectors)?;
    let reserved = u64::from(bpb.reserved_sectors.get());
    require("reserved sectors", reserved > 0, "at least 1", reserved)?;
    require("allocation tables", matches!(bpb.tables, 1 | 2), "1 or 2", bpb.tables.into())?;
    let root_entries = u64::from(bpb.root_entries.get());
    require("root entries", root_entries.is_multiple_of(16), "a multiple of 16", root_entries)?;
    let sectors = match (bpb.sectors_16.get(), bpb.sectors_32.get()) {
        (0, sectors) => u64::from(sectors),
        (sectors, _) => u64::from(sectors),
    };
    let disk_sectors = disk_bytes / SECTOR;
    require("sectors", sectors <= disk_sectors, &format!("at most the medium's {disk_sectors}"), sectors)?;

    let fat32 = bpb.table_sectors_16.get() == 0;
    let (fat32_parameters, after) = Fat32Parameters::read_from_prefix(rest).map_err(|_| short())?;
    let (extended, _) =
        ExtendedParameters::read_from_prefix(if fat32 { after } else { rest }).map_err(|_| short())?;
    let table_sectors = if fat32 {
        u64::from(fat32_parameters.table_sectors.get())
    } else {
        bpb.table_sectors_16.get().into()
    };
    let tables = u64::from(bpb.tables);
    let root_sectors = root_entries / 16;
    let fixed = table_sectors.saturating_mul(tables).saturating_add(reserved).saturating_add(root_sectors);
    let data =
        sectors.checked_sub(fixed).ok_or_else(|| wrong("sectors", &format!("over {fixed}"), sectors))?;
    let clusters = data.checked_div(cluster_sectors).unwrap_or(0);
    // Kernel and firmware tell FAT32 by different fields: only where both agree do they see the same files.
    let kind = Kind::of_clusters(clusters);
    require("clusters", (kind == Kind::Fat32) == fat32, "65525 or more on FAT32 alone", clusters)?;
    require("clusters", clusters <= 0x0fff_fff5, "at most 268435445", clusters)?;
    let least = kind.table_bytes(clusters.saturating_add(2)).div_ceil(SECTOR);
    require("sectors of a table", table_sectors >= least, &format!("at least {least}"), table_sectors)?;
    if fat32 {
        require("root entries", root_entries == 0, "0 on FAT32", root_entries)?;
        let flags = u64::from(fat32_parameters.flags.get());
        require("flags", flags == 0, "0: both tables kept alike", flags)?;
        let version = u64::from(fat32_parameters.version.get());
        require("version", version == 0, "0.0", version)?;
        let backup = u64::from(fat32_parameters.backup_boot_sector.get());
        require("backup boot sector", backup > 0 && backup < reserved, "among the reserved", backup)?;
        let mut copy = [0; SECTOR as usize];
        let doing = "reading the backup boot sector";
        disk.read_exact_at(&mut copy, backup.saturating_mul(SECTOR)).map_err(Error::io(doing))?;
        require("backup boot sector", copy == sector, "the same bytes as the first", backup)?;
    } else {
        require("root entries", root_entries > 0, "at least 16", root_entries)?;
    }
    let root_cluster = if fat32 { fat32_parameters.root_cluster.get() } else { 0 };
    let geometry =
        Geometry { kind, sectors, cluster_sectors, reserved, tables, table_sectors, root_sectors, clusters };
    Ok((geometry, root_cluster, extended.volume_id.get()))
}

/// All copies of the allocation table must be alike.
fn compare_tables(disk: &dyn ReadAt, geometry: &Geometry) -> Result<(), Error> {
    let bytes = geometry.table_sectors.saturating_mul(SECTOR);
    let (mut first, mut other) = (vec![0; COMPARED_AT_A_TIME], vec![0; COMPARED_AT_A_TIME]);
    for copy in (1..geometry.tables).filter_map(|copy| u8::try_from(copy).ok()) {
        let mut offset = 0;
        while offset < bytes {
            let left = bytes.saturating_sub(offset).min(COMPARED_AT_A_TIME as u64);
            let count = usize::try_from(left).unwrap_or(COMPARED_AT_A_TIME);
            for (buf, copy) in [(&mut first, 0), (&mut other, copy)] {
                buf.truncate(count);
                let at = geometry.table_offset(copy.into()).saturating_add(offset);
                disk.read_exact_at(buf, at).map_err(Error::io("reading the allocation tables"))?;
            }
            if first != other {
                return Err(Error::TablesDiffer { copy: copy.saturating_add(1), offset });
            }
            offset = offset.saturating_add(left);
        }
    }
    Ok(())
}

/// The way through all folders.
struct Walk<'a> {
    chains: Chains<'a>,
    entries: Vec<Entry>,
    label: Option<String>,
}

/// A folder still to be read.
struct Pending {
    path: String,
    cluster: u32,
    parent: u32,
    extents: Vec<Extent>,
}

impl Walk<'_> {
    fn root(&mut self, cluster: u32) -> Result<(), Error> {
        let extents = match self.chains.geometry.kind {
            Kind::Fat32 => self.chains.follow("/", cluster, MAX_FOLDER_BYTES)?,
            _ => vec![Extent {
                offset: self.chains.geometry.root_offset(),
                bytes: self.chains.geometry.root_sectors.saturating_mul(SECTOR),
            }],
        };
        let mut pending = vec![Pending { path: String::new(), cluster: 0, parent: 0, extents }];
        while let Some(folder) = pending.pop() {
            let first_new = self.entries.len();
            let mut found = self.folder(&folder)?;
            // Folders come off the stack in the order they lie on disk.
            found.reverse();
            pending.append(&mut found);
            if self.entries.len() > MAX_ENTRIES {
                return Err(directory(&folder.path, first_new, "over 16384 files and folders in all"));
            }
        }
        Ok(())
    }

    /// Adds what is in a folder to the entries and answers the folders among them.
    fn folder(&mut self, folder: &Pending) -> Result<Vec<Pending>, Error> {
        let path = if folder.path.is_empty() { "/" } else { &folder.path };
        let mut bytes = Vec::new();
        for extent in &folder.extents {
            let start = bytes.len();
            bytes.resize(start.saturating_add(usize::try_from(extent.bytes).unwrap_or(0)), 0);
            let part = bytes.get_mut(start..).unwrap_or_default();
            let read = self.chains.disk.read_exact_at(part, extent.offset);
            read.map_err(Error::io(format!("reading the folder `{path}`")))?;
        }
        let is_root = folder.path.is_empty();
        let mut folders = Vec::new();
        let mut names = BTreeSet::new();
        let mut long = LongName::default();
        for (number, raw) in bytes.chunks_exact(ENTRY_BYTES).enumerate() {
            let wrong = |problem| directory(path, number, problem);
            let Ok(entry) = DirEntry::read_from_bytes(raw) else { break };
            match entry.name.first() {
                Some(0) | None => break,
                Some(0xe5) => {
                    long.nothing_pending().map_err(wrong)?;
                    continue;
                }
                Some(_) => {}
            }
            if entry.attributes & 0x3f == attribute::LONG_NAME {
                if let Ok(piece) = LongNameEntry::read_from_bytes(raw) {
                    long.add(&piece).map_err(wrong)?;
                }
                continue;
            }
            if entry.attributes & attribute::VOLUME_LABEL != 0 {
                long.nothing_pending().map_err(wrong)?;
                if !is_root || self.label.is_some() {
                    return Err(wrong("a second volume label"));
                }
                self.label = Some(characters(&entry.name).trim_end().to_owned());
                continue;
            }
            let dots = match (number, &entry.name) {
                (0, b".          ") => Some(folder.cluster),
                (1, b"..         ") => Some(folder.parent),
                _ => None,
            };
            let is_folder = entry.attributes & attribute::DIRECTORY != 0;
            if let Some(expected) = dots.filter(|_| !is_root) {
                if !is_folder || entry.cluster() != expected {
                    return Err(wrong("`.` or `..` leads elsewhere"));
                }
                continue;
            }
            if !is_root && number < 2 {
                return Err(wrong("`.` and `..` are missing"));
            }
            let short = short_name(&entry);
            let long = long.take(&entry.name).map_err(wrong)?;
            let shown = long.unwrap_or_else(|| short_name_as_shown(&entry));
            for name in [&shown, &short] {
                name::check(name, name)
                    .map_err(|_| wrong("a name that firmware reads otherwise, or not at all"))?;
            }
            let child =
                |name: &str| if is_root { name.to_owned() } else { format!("{}/{name}", folder.path) };
            let (path, short_path) = (child(&shown), child(&short));
            if path.len() > MAX_PATH_BYTES {
                return Err(wrong("a path of over 4096 bytes"));
            }
            let both = BTreeSet::from([name::folded(&shown), name::folded(&short)]);
            if !both.into_iter().all(|name| names.insert(name)) {
                return Err(Error::Duplicate { path });
            }
            let (kind, size) =
                if is_folder { (EntryKind::Folder, 0) } else { (EntryKind::File, entry.size.get()) };
            let extents = match kind {
                EntryKind::Folder => self.chains.follow(&path, entry.cluster(), MAX_FOLDER_BYTES)?,
                EntryKind::File => self.chains.of_file(&path, entry.cluster(), size)?,
            };
            if is_folder {
                let extents = extents.clone();
                let (cluster, parent) = (entry.cluster(), folder.cluster);
                folders.push(Pending { path: path.clone(), cluster, parent, extents });
            }
            let hidden = entry.attributes & attribute::HIDDEN != 0;
            self.entries.push(Entry { path, short_path, kind, size, hidden, extents });
        }
        long.nothing_pending().map_err(|problem| directory(path, bytes.len() / ENTRY_BYTES, problem))?;
        Ok(folders)
    }
}

fn directory(path: &str, entry: usize, problem: &'static str) -> Error {
    Error::Directory { path: path.into(), entry, problem }
}

/// One character a byte, so that no two names become the same: what a code page would have to tell is shown as
/// U+E080 to U+E0FF, of which nobody can say what they mean.
fn characters(bytes: &[u8]) -> String {
    let character = |byte: &u8| match byte {
        0..=0x7f => char::from(*byte),
        _ => char::from_u32(0xe000 | u32::from(*byte)).unwrap_or(char::REPLACEMENT_CHARACTER),
    };
    bytes.iter().map(character).collect()
}

fn base_and_extension(entry: &DirEntry) -> (String, String) {
    let mut name = entry.name;
    if let Some(first @ 0x05) = name.first_mut() {
        *first = 0xe5;
    }
    let (base, extension) = name.split_at_checked(8).unwrap_or_default();
    (
        characters(base).trim_end_matches(' ').to_owned(),
        characters(extension).trim_end_matches(' ').to_owned(),
    )
}

fn joined(base: &str, extension: &str) -> String {
    if extension.is_empty() { base.to_owned() } else { format!("{base}.{extension}") }
}

fn short_name(entry: &DirEntry) -> String {
    let (base, extension) = base_and_extension(entry);
    joined(&base, &extension)
}

/// With the lower case that Windows NT notes in a spare byte.
fn short_name_as_shown(entry: &DirEntry) -> String {
    let lower = |text: String, bit: u8| if entry.case & bit != 0 { text.to_ascii_lowercase() } else { text };
    let (base, extension) = base_and_extension(entry);
    joined(&lower(base, 0x08), &lower(extension, 0x10))
}

/// A long name while its pieces come in.
#[derive(Default)]
struct LongName {
    /// In the order they came: the end first.
    pieces: Vec<[u16; PIECE_UNITS]>,
    /// Number that the next piece must have; 0 when the name is complete.
    next: u8,
    checksum: u8,
}

const BROKEN: &str = "a long name whose pieces do not belong together";

impl LongName {
    fn add(&mut self, piece: &LongNameEntry) -> Result<(), &'static str> {
        let number = piece.order & !LAST_PIECE;
        if piece.order & LAST_PIECE != 0 {
            self.nothing_pending()?;
            (self.next, self.checksum) = (number, piece.checksum);
        }
        let in_order = number != 0 && number <= 20 && number == self.next && piece.checksum == self.checksum;
        if !in_order || piece.kind != 0 || piece.cluster.get() != 0 {
            return Err(BROKEN);
        }
        self.next = number.saturating_sub(1);
        let units = piece.name_1.iter().chain(&piece.name_2).chain(&piece.name_3);
        let mut units = units.map(|unit| unit.get());
        self.pieces.push(std::array::from_fn(|_| units.next().unwrap_or_default()));
        Ok(())
    }

    fn nothing_pending(&self) -> Result<(), &'static str> {
        if self.pieces.is_empty() && self.next == 0 { Ok(()) } else { Err(BROKEN) }
    }

    /// The name for the entry that follows its pieces, if there were any.
    fn take(&mut self, short: &[u8; 11]) -> Result<Option<String>, &'static str> {
        let Self { pieces, next, checksum } = std::mem::take(self);
        if pieces.is_empty() {
            return if next == 0 { Ok(None) } else { Err(BROKEN) };
        }
        if next != 0 || checksum != name::checksum(short) {
            return Err(BROKEN);
        }
        let units: Vec<u16> = pieces.into_iter().rev().flatten().collect();
        let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
        let (name, padding) = units.split_at_checked(end).ok_or(BROKEN)?;
        if padding.iter().skip(1).any(|unit| *unit != 0xffff) {
            return Err(BROKEN);
        }
        String::from_utf16(name).map(Some).map_err(|_| "a long name that is no UTF-16")
    }
}
