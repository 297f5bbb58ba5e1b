//! From the root directory to the whole tree.

use std::collections::HashMap;

use graven_verity::io::ReadAt;

use super::contents::content;
use super::directory::entries;
use super::inode::RawInode;
use super::{BLOCK, Bytes, ReadError, Reader, Refusal};
use crate::tree::{DeviceNumber, Inode, InodeId, Kind, MAX_COMPONENT, MAX_PATH, Metadata, Tree, show};
use crate::unpack::most_contents;

/// Number of the root's inode.
const ROOT: u32 = 2;
/// Kinds, as the upper four bits of a mode.
const DIRECTORY: u16 = 0o040_000;
const REGULAR: u16 = 0o100_000;
const SYMLINK: u16 = 0o120_000;
/// A symbolic link's target of fewer bytes lies in the inode.
const SHORT: u64 = 60;

pub(super) fn tree<R: ReadAt + 'static>(reader: &Reader<R>) -> Result<Tree, ReadError> {
    let at_root = |refusal: Refusal| refusal.at("/", ROOT);
    let root = reader.inode(ROOT).map_err(at_root)?;
    let mut room = Room::of(reader);
    if !matches!(reader.kind(&root, &mut room).map_err(at_root)?, Kind::Directory(_)) {
        return Err(at_root(Refusal::Bad("the root is no directory")));
    }
    let metadata = reader.metadata(&root, &mut room.xattrs).map_err(at_root)?;
    let mut walk = Walk {
        reader,
        tree: Tree::new(metadata),
        room,
        seen: HashMap::from([(ROOT, Tree::ROOT)]),
        names: Vec::new(),
        waiting: vec![Below { path: Vec::new(), id: Tree::ROOT, raw: root, parent: ROOT }],
    };
    while let Some(directory) = walk.waiting.pop() {
        walk.directory(&directory)?;
    }
    for (id, number, names) in &walk.names {
        if walk.tree.links(*id) != u32::from(*names) {
            let entry = walk.tree.walk().find(|entry| entry.id == *id);
            let path = entry.map(|entry| show(&entry.path)).unwrap_or_default();
            return Err(Refusal::Bad("it has other names than its inode says").at(&path, *number));
        }
    }
    Ok(walk.tree)
}

/// What may still come, of all inodes together.
struct Room {
    /// Bytes of attributes.
    xattrs: u64,
    /// Bytes of directories.
    directories: u64,
    /// Blocks that files have.
    blocks: u64,
    /// Bytes of files, holes among them.
    contents: u64,
}

impl Room {
    fn of<R: ReadAt + 'static>(reader: &Reader<R>) -> Self {
        Self {
            xattrs: reader.bytes().saturating_add(256 << 20),
            directories: reader.bytes(),
            blocks: reader.facts.blocks,
            contents: most_contents(reader.bytes()),
        }
    }
}

struct Walk<'r, R> {
    reader: &'r Reader<R>,
    tree: Tree,
    room: Room,
    seen: HashMap<u32, InodeId>,
    /// How many names each file says it has.
    names: Vec<(InodeId, u32, u16)>,
    waiting: Vec<Below>,
}

/// A directory that is in the tree, and whose entries are to be read.
struct Below {
    path: Vec<u8>,
    id: InodeId,
    raw: RawInode,
    parent: u32,
}

impl<R: ReadAt + 'static> Walk<'_, R> {
    fn directory(&mut self, directory: &Below) -> Result<(), ReadError> {
        let raw = &directory.raw;
        let shown = if directory.path.is_empty() { "/".to_owned() } else { show(&directory.path) };
        let at = |refusal: Refusal| refusal.at(&shown, raw.number);
        let bad = |problem| at(Refusal::Bad(problem));
        if !raw.size.is_multiple_of(BLOCK) {
            return Err(bad("a directory is not of whole blocks"));
        }
        let extents = self.reader.extents(raw, &mut self.room.blocks).map_err(at)?;
        let contents = content(&self.reader.image, raw.size, extents);
        let mut block = vec![0; BLOCK as usize];
        let mut dots = 0u8;
        for number in 0..raw.size.div_ceil(BLOCK) {
            contents
                .read_exact_at(&mut block, number.saturating_mul(BLOCK))
                .map_err(|error| at(error.into()))?;
            for entry in entries(&block).map_err(bad)? {
                let expected = match entry.name {
                    b"." => raw.number,
                    b".." => directory.parent,
                    name => {
                        self.entry(directory, name, entry.number)?;
                        continue;
                    }
                };
                if entry.number != expected {
                    return Err(bad("its entry for itself or for what holds it leads elsewhere"));
                }
                dots = dots.saturating_add(1);
            }
        }
        if dots == 2 {
            Ok(())
        } else {
            Err(bad("it has not one entry each for itself and for what holds it"))
        }
    }

    fn entry(&mut self, directory: &Below, name: &[u8], number: u32) -> Result<(), ReadError> {
        let path = [&directory.path[..], b"/", name].concat();
        let at = |refusal: Refusal| refusal.at(&show(&path), number);
        let bad = |problem| at(Refusal::Bad(problem));
        if name.is_empty() || name.len() > MAX_COMPONENT || name.contains(&b'/') || name.contains(&0) {
            return Err(bad("it is not a possible name"));
        }
        if path.len() > MAX_PATH {
            return Err(bad("its path is longer than 4096 bytes"));
        }
        if let Some(known) = self.seen.get(&number) {
            let twice =
                "this directory has a name elsewhere too, or holds itself; or the name is there twice";
            return self.tree.link_child(directory.id, name, *known).map_err(|_| bad(twice));
        }
        let raw = self.reader.inode(number).map_err(at)?;
        let kind = self.reader.kind(&raw, &mut self.room).map_err(at)?;
        let metadata = self.reader.metadata(&raw, &mut self.room.xattrs).map_err(at)?;
        let is_directory = matches!(kind, Kind::Directory(_));
        let inode = Inode::new(metadata, kind);
        let id =
            self.tree.insert_child(directory.id, name, inode).map_err(|_| bad("its name is there twice"))?;
        self.seen.insert(number, id);
        match is_directory {
            true => self.waiting.push(Below { path, id, raw, parent: directory.raw.number }),
            false => self.names.push((id, number, raw.names)),
        }
        Ok(())
    }
}

impl<R: ReadAt + 'static> Reader<R> {
    fn kind(&self, raw: &RawInode, room: &mut Room) -> Result<Kind, Refusal> {
        let place = Bytes(&raw.place);
        // As the kernel reads it: the short form, or the wide one where that is 0.
        let device = match place.u32(0) {
            0 => DeviceNumber::decode(place.u32(4)),
            short => DeviceNumber { major: (short >> 8) & 0xff, minor: short & 0xff },
        };
        Ok(match raw.mode & 0o170_000 {
            DIRECTORY => {
                room.directories = room
                    .directories
                    .checked_sub(raw.size.max(BLOCK))
                    .ok_or(Refusal::Bad("it and the directories before it are longer than the image"))?;
                Kind::directory()
            }
            REGULAR => {
                room.contents = room
                    .contents
                    .checked_sub(raw.size)
                    .ok_or(Refusal::Bad(
                    "it and the files before it are too long for such an image: over 1 TiB, and over 256 times its length",
                ))?;
                Kind::File(content(&self.image, raw.size, self.extents(raw, &mut room.blocks)?))
            }
            SYMLINK => Kind::Symlink(self.target(raw, &mut room.blocks)?.into()),
            0o020_000 => Kind::CharDevice(device),
            0o060_000 => Kind::BlockDevice(device),
            0o010_000 => Kind::Fifo,
            0o140_000 => Kind::Socket,
            _ => return Err(Refusal::Bad("its mode is of no kind of file")),
        })
    }

    fn target(&self, raw: &RawInode, blocks: &mut u64) -> Result<Vec<u8>, Refusal> {
        let len = usize::try_from(raw.size).ok().filter(|len| (1..=4095).contains(len));
        let len = len.ok_or(Refusal::Bad("its target has no possible length"))?;
        let target = if raw.size < SHORT {
            raw.place.get(..len).unwrap_or_default().to_vec()
        } else {
            let mut target = vec![0; len];
            content(&self.image, raw.size, self.extents(raw, blocks)?).read_exact_at(&mut target, 0)?;
            target
        };
        if target.contains(&0) {
            return Err(Refusal::Bad("its target has a NUL byte"));
        }
        Ok(target)
    }

    fn metadata(&self, raw: &RawInode, room: &mut u64) -> Result<Metadata, Refusal> {
        Ok(Metadata {
            mode: raw.mode & 0o7777,
            uid: raw.uid,
            gid: raw.gid,
            mtime: raw.mtime,
            xattrs: self.xattrs(raw, room)?,
        })
    }
}
