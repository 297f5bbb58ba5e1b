//! From the root directory to the whole tree.

use std::collections::HashMap;

use graven_verity::io::ReadAt;

use super::contents;
use super::format::{DirectoryEntry, DirectoryHead};
use super::inode::{RawInode, What};
use super::metadata::Cursor;
use super::{ReadError, Reader};
use crate::tree::{Inode, InodeId, Kind, MAX_COMPONENT, MAX_PATH, Metadata, Tree, show};
use crate::unpack::most_contents;

pub(super) fn tree<R: ReadAt + 'static>(reader: &Reader<R>) -> Result<Tree, ReadError> {
    let mut room = Room::of(reader);
    let root = reader.inode(reader.superblock.root_inode.get(), &mut room)?;
    let What::Directory { place, len } = root.what else {
        return Err(ReadError::File { file: "`/`".into(), problem: "the root is no directory" });
    };
    let mut walk = Walk {
        tree: Tree::new(reader.metadata_of(&root, &mut room.xattrs)?),
        reader,
        room,
        seen: HashMap::new(),
        names: Vec::new(),
        waiting: vec![Below { path: Vec::new(), id: Tree::ROOT, place, len }],
    };
    while let Some(directory) = walk.waiting.pop() {
        walk.directory(&directory)?;
    }
    for (id, names) in &walk.names {
        if walk.tree.links(*id) != *names {
            let entry = walk.tree.walk().find(|entry| entry.id == *id);
            let file = entry.map(|entry| shown(&entry.path)).unwrap_or_default();
            return Err(ReadError::File { file, problem: "it has other names than its inode says" });
        }
    }
    Ok(walk.tree)
}

/// Bytes that may still be unpacked, for all inodes together.
pub(super) struct Room {
    /// Of lists of blocks, and of symbolic links' targets.
    pub(super) lists: u64,
    directories: u64,
    xattrs: u64,
    /// Of files, holes among them.
    pub(super) contents: u64,
}

impl Room {
    pub(super) fn of<R: ReadAt + 'static>(reader: &Reader<R>) -> Self {
        let each = reader.source.room();
        let contents = most_contents(reader.source.bytes);
        Self { lists: each, directories: each, xattrs: each, contents }
    }
}

struct Walk<'r, R> {
    reader: &'r Reader<R>,
    tree: Tree,
    room: Room,
    /// By place in the inode table; directories, too, which are in the tree once.
    seen: HashMap<u64, Option<InodeId>>,
    /// How many names each file says it has.
    names: Vec<(InodeId, u32)>,
    waiting: Vec<Below>,
}

/// A directory that is in the tree, and whose entries are to be read.
struct Below {
    path: Vec<u8>,
    id: InodeId,
    place: u64,
    len: u64,
}

impl<R: ReadAt + 'static> Walk<'_, R> {
    fn directory(&mut self, directory: &Below) -> Result<(), ReadError> {
        const WHAT: &str = "directory table";
        let mut left = directory.len;
        if left == 0 {
            return Ok(());
        }
        self.room.directories =
            self.room.directories.checked_sub(left).ok_or_else(|| self.reader.too_much())?;
        let damaged = |problem| ReadError::File { file: shown(&directory.path), problem };
        let mut take = |bytes: usize| {
            left =
                left.checked_sub(bytes as u64).ok_or_else(|| damaged("its entries go beyond its length"))?;
            Ok::<_, ReadError>(left)
        };
        let table = self.reader.superblock.directory_table.get();
        let mut at = Cursor::new(&self.reader.source, WHAT, table, directory.place)?;
        let mut before: Vec<u8> = Vec::new();
        let mut rest = directory.len;
        while rest > 0 {
            rest = take(size_of::<DirectoryHead>())?;
            let head: DirectoryHead = at.get()?;
            if head.count.get() >= 256 {
                return Err(damaged("a header has more than 256 entries"));
            }
            for _ in 0..=head.count.get() {
                let entry: DirectoryEntry = at.get()?;
                let len = usize::from(entry.name.get()).saturating_add(1);
                rest = take(size_of::<DirectoryEntry>().saturating_add(len))?;
                let name = at.bytes(len)?;
                if name <= before {
                    return Err(damaged("its names are not in order; the kernel would not find them"));
                }
                let place = u64::from(head.start.get()).wrapping_shl(16) | u64::from(entry.offset.get());
                self.entry(directory, &name, place, entry.kind.get())?;
                before = name;
            }
        }
        Ok(())
    }

    fn entry(&mut self, directory: &Below, name: &[u8], place: u64, kind: u16) -> Result<(), ReadError> {
        let path = [&directory.path[..], b"/", name].concat();
        let bad = |problem| ReadError::File { file: shown(&path), problem };
        if name.len() > MAX_COMPONENT
            || name.contains(&b'/')
            || name.contains(&0)
            || matches!(name, b"." | b"..")
        {
            return Err(bad("it is not a possible name"));
        }
        if path.len() > MAX_PATH {
            return Err(bad("its path is longer than 4096 bytes"));
        }
        if let Some(known) = self.seen.get(&place) {
            let known =
                known.ok_or_else(|| bad("this directory has a name elsewhere too, or holds itself"))?;
            return self
                .tree
                .link_child(directory.id, name, known)
                .map_err(|_| bad("it is not a possible name"));
        }
        let raw = self.reader.inode(place, &mut self.room)?;
        let own = raw.head.kind.get();
        if kind != if own > 7 { own.saturating_sub(7) } else { own } {
            return Err(bad("its entry says another kind than its inode"));
        }
        let metadata = self.reader.metadata_of(&raw, &mut self.room.xattrs)?;
        let names = raw.names;
        let mut below = None;
        let kind = match raw.what {
            What::Directory { place, len } => {
                // It waits with its path.
                let cost = path.len() as u64;
                self.room.directories =
                    self.room.directories.checked_sub(cost).ok_or_else(|| self.reader.too_much())?;
                below = Some((place, len));
                Kind::directory()
            }
            What::File(blocks) => Kind::File(contents::content(self.reader, blocks).map_err(bad)?),
            What::Symlink(target) if target.contains(&0) => return Err(bad("its target has a NUL byte")),
            What::Symlink(target) => Kind::Symlink(target.into()),
            What::BlockDevice(number) => Kind::BlockDevice(number),
            What::CharDevice(number) => Kind::CharDevice(number),
            What::Fifo => Kind::Fifo,
            What::Socket => Kind::Socket,
        };
        let inode = Inode::new(metadata, kind);
        let id = self
            .tree
            .insert_child(directory.id, name, inode)
            .map_err(|_| bad("it is not a possible name"))?;
        match below {
            Some((below, len)) => {
                self.seen.insert(place, None);
                self.waiting.push(Below { path, id, place: below, len });
            }
            None => {
                self.seen.insert(place, Some(id));
                self.names.push((id, names));
            }
        }
        Ok(())
    }
}

impl<R: ReadAt + 'static> Reader<R> {
    fn metadata_of(&self, raw: &RawInode, room: &mut u64) -> Result<Metadata, ReadError> {
        let damaged = |problem| ReadError::Table { what: "inode table", problem };
        let owner = |number: u16| {
            let known = self.tables.ids.get(usize::from(number)).copied();
            known.ok_or_else(|| damaged("an owner is not in the table of owners"))
        };
        let mode = raw.head.mode.get();
        if mode > 0o7777 {
            return Err(damaged("a mode has bits beyond 7777"));
        }
        Ok(Metadata {
            mode,
            uid: owner(raw.head.uid.get())?,
            gid: owner(raw.head.gid.get())?,
            mtime: raw.head.mtime.get().into(),
            xattrs: self.xattrs(raw.xattrs, room)?,
        })
    }
}

fn shown(path: &[u8]) -> String {
    if path.is_empty() { "`/`".into() } else { format!("`{}`", show(path)) }
}
