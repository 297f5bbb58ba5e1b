//! A tree as a pax archive: with owners, devices, extended attributes and every bit of the mode.

use std::collections::HashMap;
use std::io::{self, Write};

use tar::{Builder, EntryType, Header};

use crate::tree::{Content, DeviceNumber, InodeId, Kind, Tree, show};

/// Why a tree did not become an archive.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// Something that a tar archive cannot hold.
    #[error("{path}: {problem}")]
    Unfit {
        /// Which file.
        path: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A source of contents failed, or what takes the archive.
    #[error("{path}")]
    Io {
        /// Which file.
        path: String,
        /// What was said.
        source: io::Error,
    },
}

/// Largest number that a ustar header's seven octal digits hold.
const MOST_ID: u32 = 0o7_777_777;
/// Largest size and time that eleven octal digits hold.
const MOST_SIZE: u64 = 0o77_777_777_777;

/// Writes a file or folder of a tree as a pax archive: the same bytes for the same tree. Names are relative (`./`,
/// `./usr/bin/sh`); hard links point to their first name; a socket, which tar does not know, is an error.
///
/// # Errors
/// What tar cannot hold, and what reading and writing say.
pub fn write(tree: &Tree, start: InodeId, out: impl Write) -> Result<(), TarError> {
    let mut archive = Builder::new(out);
    let mut first_names: HashMap<InodeId, Vec<u8>> = HashMap::new();
    for entry in tree.below(start) {
        let failed = |source: io::Error| TarError::Io { path: show(&entry.path), source };
        let metadata = &entry.inode.metadata;
        let mut path = b"./".to_vec();
        path.extend_from_slice(&entry.path);
        if matches!(entry.inode.kind, Kind::Directory(_)) && !path.ends_with(b"/") {
            path.push(b'/');
        }
        let mut header = Header::new_ustar();
        let mut extended = Extended::default();
        header.set_mode(u32::from(metadata.mode));
        header.set_uid(u64::from(metadata.uid.min(MOST_ID)));
        header.set_gid(u64::from(metadata.gid.min(MOST_ID)));
        extended.number_past("uid", metadata.uid, MOST_ID);
        extended.number_past("gid", metadata.gid, MOST_ID);
        let time = u64::try_from(metadata.mtime).ok().filter(|time| *time <= MOST_SIZE);
        header.set_mtime(time.unwrap_or(0));
        if time.is_none() {
            extended.add("mtime", metadata.mtime.to_string());
        }
        header.set_size(0);
        let mut content = None;
        match &entry.inode.kind {
            Kind::Directory(_) => header.set_entry_type(EntryType::Directory),
            Kind::Symlink(target) => {
                header.set_entry_type(EntryType::Symlink);
                extended.link(&mut header, target);
            }
            Kind::File(_) if first_names.contains_key(&entry.id) => {
                header.set_entry_type(EntryType::Link);
                extended.link(&mut header, first_names.get(&entry.id).map_or(&[], Vec::as_slice));
            }
            Kind::File(file) => {
                header.set_entry_type(EntryType::Regular);
                header.set_size(file.len.min(MOST_SIZE));
                if file.len > MOST_SIZE {
                    extended.add("size", file.len.to_string());
                }
                first_names.insert(entry.id, path.clone());
                content = Some(file);
            }
            Kind::CharDevice(number) => device(&mut header, EntryType::Char, *number).map_err(failed)?,
            Kind::BlockDevice(number) => device(&mut header, EntryType::Block, *number).map_err(failed)?,
            Kind::Fifo => header.set_entry_type(EntryType::Fifo),
            Kind::Socket => {
                return Err(TarError::Unfit {
                    path: show(&entry.path),
                    problem: "a socket, which tar does not know",
                });
            }
        }
        for (name, value) in &metadata.xattrs {
            let name = std::str::from_utf8(name).map_err(|_| TarError::Unfit {
                path: show(&entry.path),
                problem: "the name of an extended attribute is no UTF-8",
            })?;
            extended.add(format!("SCHILY.xattr.{name}"), value.to_vec());
        }
        extended.path(&mut header, &path);
        header.set_cksum();
        extended.write(&mut archive).map_err(failed)?;
        match content {
            Some(file) => {
                let bytes = Bytes { content: file, offset: 0 };
                archive.append(&header, bytes).map_err(failed)?;
            }
            None => archive.append(&header, io::empty()).map_err(failed)?,
        }
    }
    let failed = |source| TarError::Io { path: "the end of the archive".to_owned(), source };
    archive.into_inner().and_then(|mut out| out.flush()).map_err(failed)
}

fn device(header: &mut Header, kind: EntryType, number: DeviceNumber) -> io::Result<()> {
    header.set_entry_type(kind);
    header.set_device_major(number.major)?;
    header.set_device_minor(number.minor)
}

/// Records for what a ustar header has no room for.
#[derive(Default)]
struct Extended(Vec<(String, Vec<u8>)>);

impl Extended {
    fn add(&mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) {
        self.0.push((key.into(), value.into()));
    }

    fn number_past(&mut self, key: &str, number: u32, most: u32) {
        if number > most {
            self.add(key, number.to_string());
        }
    }

    fn path(&mut self, header: &mut Header, path: &[u8]) {
        if let Some(ustar) = header.as_ustar_mut()
            && !put(&mut ustar.name, path)
        {
            self.add("path", path);
        }
    }

    fn link(&mut self, header: &mut Header, target: &[u8]) {
        if let Some(ustar) = header.as_ustar_mut()
            && !put(&mut ustar.linkname, target)
        {
            self.add("linkpath", target);
        }
    }

    fn write<W: Write>(&self, archive: &mut Builder<W>) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        archive.append_pax_extensions(self.0.iter().map(|(key, value)| (key.as_str(), value.as_slice())))
    }
}

/// Puts as much as fits; whether that was all of it.
fn put(field: &mut [u8], bytes: &[u8]) -> bool {
    field.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    bytes.len() <= field.len()
}

/// A file's contents in order.
struct Bytes<'a> {
    content: &'a Content,
    offset: u64,
}

impl io::Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.content.len.saturating_sub(self.offset);
        let step = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let (now, _) = buffer.split_at_mut(step);
        self.content.read_exact_at(now, self.offset)?;
        self.offset = self.offset.saturating_add(step as u64);
        Ok(step)
    }
}
