//! From the root directory to the whole tree.

use std::collections::HashMap;

use graven_verity::io::ReadAt;

use super::super::format::{BLOCK, BLOCK_LEN, FileType, SUPERBLOCK_OFFSET, Superblock};
use super::super::plan::shown;
use super::contents::content;
use super::dirents::{self, Entry};
use super::inode::{Indexed, Place, RawInode, Refusal};
use super::{Owner, Problem, ReadError, Reader};
use crate::tree::{DeviceNumber, Inode, InodeId, Kind, MAX_COMPONENT, MAX_PATH, Metadata, Tree};
use crate::unpack::most_contents;

pub(super) fn tree<R: ReadAt + 'static>(reader: &Reader<R>) -> Result<Tree, ReadError> {
    let root_nid = reader.facts.root_nid;
    let at_root = |refusal| located(refusal, "/".into(), root_nid);
    let raw = reader.inode(root_nid).map_err(at_root)?;
    if raw.file_type != FileType::Directory {
        return Err(at_root(Problem::RootKind.into()));
    }
    let mut shared = 0;
    let xattrs = reader.xattrs(&raw, &mut shared).map_err(at_root)?;
    let mut walk = Walk {
        reader,
        tree: Tree::new(metadata(&raw, xattrs)),
        seen: HashMap::from([(root_nid, Tree::ROOT)]),
        names: Vec::new(),
        extents: vec![Extent {
            start: SUPERBLOCK_OFFSET,
            len: size_of::<Superblock>() as u64,
            owner: Owner::Superblock,
        }],
        file_blocks: reader.facts.chunked.then(|| BlockSet::of(reader.facts.bytes)),
        directory_bytes: 0,
        contents_bytes: 0,
        index_bytes: 0,
        shared,
    };
    walk.claim(&raw).map_err(at_root)?;
    walk.everything(raw)?;
    walk.check_links()?;
    check_overlaps(walk.extents, walk.file_blocks.as_ref())?;
    Ok(walk.tree)
}

struct Walk<'r, R> {
    reader: &'r Reader<R>,
    tree: Tree,
    seen: HashMap<u64, InodeId>,
    /// How many names each inode says it has; directories left out.
    names: Vec<(InodeId, u64, u32)>,
    extents: Vec<Extent>,
    /// Blocks that files have, where several may have the same; else they are among the extents.
    file_blocks: Option<BlockSet>,
    /// Length of all directories so far.
    directory_bytes: u64,
    /// Length of all files so far.
    contents_bytes: u64,
    /// Length of all indexes so far.
    index_bytes: u64,
    /// Bytes of shared attributes so far.
    shared: u64,
}

/// A range of the image that belongs to one inode.
struct Extent {
    start: u64,
    len: u64,
    owner: Owner,
}

/// Some blocks of an image, a bit each.
struct BlockSet {
    words: Vec<u64>,
}

impl BlockSet {
    /// None of an image of so many bytes.
    fn of(bytes: u64) -> Self {
        let words = bytes.div_ceil(BLOCK).div_ceil(u64::BITS.into());
        Self { words: vec![0; usize::try_from(words).unwrap_or_default()] }
    }

    /// Numbers of the blocks that some bytes lie in.
    fn met(start: u64, len: u64) -> std::ops::Range<u64> {
        start.checked_div(BLOCK).unwrap_or_default()..start.saturating_add(len).div_ceil(BLOCK)
    }

    fn insert(&mut self, start: u64, len: u64) {
        for block in Self::met(start, len) {
            if let Some(word) = self.words.get_mut(usize::try_from(block >> 6).unwrap_or(usize::MAX)) {
                *word |= 1u64.wrapping_shl(block as u32);
            }
        }
    }

    /// The first block that is among these and has some of the bytes.
    fn first(&self, start: u64, len: u64) -> Option<u64> {
        let is_in = |block: &u64| {
            let word = self.words.get(usize::try_from(*block >> 6).unwrap_or(usize::MAX));
            word.is_some_and(|word| word & 1u64.wrapping_shl(*block as u32) != 0)
        };
        Self::met(start, len).find(is_in)
    }
}

/// A directory on the way down.
struct Open {
    /// Its path's length in bytes.
    path: usize,
    name: Box<[u8]>,
    nid: u64,
    id: InodeId,
    /// Directories in it that are still to be read, the next one last.
    waiting: Vec<Below>,
}

/// A directory that has its name and inode in the tree and is still to be read.
type Below = (Box<[u8]>, RawInode, InodeId);

impl<R: ReadAt + 'static> Walk<'_, R> {
    fn everything(&mut self, root: RawInode) -> Result<(), ReadError> {
        let mut open: Vec<Open> = Vec::new();
        let mut next: Option<Below> = Some((Box::default(), root, Tree::ROOT));
        loop {
            if let Some((name, raw, id)) = next.take() {
                let above = open.last();
                let parent = above.map_or(raw.nid, |above| above.nid);
                let path = above.map_or(0, |above| above.path.saturating_add(1)).saturating_add(name.len());
                open.push(Open { path, name, nid: raw.nid, id, waiting: Vec::new() });
                self.directory(&mut open, &raw, parent)?;
            }
            let Some(last) = open.last_mut() else { return Ok(()) };
            next = last.waiting.pop();
            if next.is_none() {
                open.pop();
            }
        }
    }

    /// Reads the last of the open directories.
    fn directory(&mut self, open: &mut [Open], raw: &RawInode, parent: u64) -> Result<(), ReadError> {
        let bad = |open: &[Open], problem: Problem| located(problem.into(), path(open, None), raw.nid);
        self.directory_bytes = self.directory_bytes.saturating_add(raw.size);
        if self.directory_bytes > self.reader.facts.bytes {
            return Err(bad(open, Problem::DirectoryBytes));
        }
        let mut dots = [(".", raw.nid, false), ("..", parent, false)];
        let mut before: Box<[u8]> = Box::default();
        let mut waiting = Vec::new();
        let mut buf = [0; BLOCK_LEN];
        let contents = content(&self.reader.image, raw.place);
        for number in 0..raw.size.div_ceil(BLOCK) {
            let at = number.saturating_mul(BLOCK);
            let len = usize::try_from(raw.size.saturating_sub(at)).unwrap_or(BLOCK_LEN).min(BLOCK_LEN);
            let (block, _) = buf.split_at_mut(len);
            contents.read_exact_at(block, at).map_err(|source| ReadError::Io {
                offset: at,
                wanted: len as u64,
                source,
            })?;
            let entries = dirents::entries(block)
                .map_err(|what| bad(open, Problem::Directory { block: number, what }))?;
            for entry in entries {
                if entry.name <= &*before {
                    let problem = if entry.name.is_empty() { Problem::Name } else { Problem::Order };
                    return Err(located(problem.into(), path(open, Some(entry.name)), entry.nid));
                }
                before = entry.name.into();
                match dots.iter_mut().find(|(dot, ..)| dot.as_bytes() == entry.name) {
                    Some((name, expected, found)) => {
                        if entry.nid != *expected {
                            let problem = Problem::Dot { name, found: entry.nid, expected: *expected };
                            return Err(bad(open, problem));
                        }
                        *found = true;
                    }
                    None => {
                        let child = self.entry(open, &entry);
                        waiting.extend(
                            child.map_err(|refusal| {
                                located(refusal, path(open, Some(entry.name)), entry.nid)
                            })?,
                        );
                    }
                }
            }
        }
        if let Some((name, ..)) = dots.iter().find(|(.., found)| !found) {
            return Err(bad(open, Problem::NoDot(name)));
        }
        waiting.reverse();
        if let Some(last) = open.last_mut() {
            last.waiting = waiting;
        }
        Ok(())
    }

    /// Enters one name into the tree; a directory is handed back, to be read in turn.
    fn entry(&mut self, open: &[Open], entry: &Entry<'_>) -> Result<Option<Below>, Refusal> {
        if entry.name.len() > MAX_COMPONENT || entry.name.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return Err(Problem::Name.into());
        }
        let (above, path) = open.last().map_or((Tree::ROOT, 0), |open| (open.id, open.path));
        if path.saturating_add(1).saturating_add(entry.name.len()) > MAX_PATH {
            return Err(Problem::PathLength.into());
        }
        if let Some(known) = self.seen.get(&entry.nid).copied() {
            let kind = super::super::render::file_type(&self.tree.inode(known).kind);
            check_type(entry, kind)?;
            // A directory is refused here, and so are loops.
            self.tree.link_child(above, entry.name, known).map_err(|_| Problem::DirectoryTwice)?;
            return Ok(None);
        }
        let raw = self.reader.inode(entry.nid)?;
        check_type(entry, raw.file_type)?;
        self.index_bytes = self.index_bytes.saturating_add(raw.index_bytes());
        if self.index_bytes > self.reader.facts.bytes {
            return Err(Problem::IndexBytes.into());
        }
        if raw.file_type == FileType::Regular {
            self.contents_bytes = self.contents_bytes.saturating_add(raw.size);
            let most = most_contents(self.reader.facts.bytes);
            if self.contents_bytes > most {
                return Err(Problem::ContentsBytes(most).into());
            }
        }
        let inode = self.reader.whole(&raw, &mut self.shared)?;
        let id = self.tree.insert_child(above, entry.name, inode).map_err(|_| Problem::Name)?;
        self.seen.insert(entry.nid, id);
        self.claim(&raw)?;
        if raw.file_type == FileType::Directory {
            return Ok(Some((entry.name.into(), raw, id)));
        }
        self.names.push((id, raw.nid, raw.nlink));
        Ok(None)
    }

    /// Notes which bytes belong to an inode. Of compressed contents only the index does: their clusters may be shared.
    fn claim(&mut self, raw: &RawInode) -> Result<(), Refusal> {
        let owner = Owner::Inode(raw.nid);
        let Place { blocks, blocks_len, tail, tail_len } = raw.place;
        let end = tail.saturating_add(tail_len).saturating_add(raw.index_bytes());
        self.extents.push(Extent { start: raw.offset, len: end.saturating_sub(raw.offset), owner });
        let shared = self.file_blocks.as_mut().filter(|_| raw.file_type == FileType::Regular);
        match (shared, &raw.indexed) {
            (Some(shared), Some(Indexed::Chunked(list))) => {
                for (len, start) in self.reader.chunks(list)?.all() {
                    start.into_iter().for_each(|start| shared.insert(start, len));
                }
            }
            (Some(shared), _) => shared.insert(blocks, blocks_len),
            (None, _) if blocks_len > 0 => {
                self.extents.push(Extent { start: blocks, len: blocks_len, owner });
            }
            (None, _) => {}
        }
        Ok(())
    }

    fn check_links(&self) -> Result<(), ReadError> {
        for (id, nid, expected) in &self.names {
            let found = self.tree.links(*id);
            if found != *expected {
                let entry = self.tree.walk().find(|entry| entry.id == *id);
                let path = entry.map(|entry| shown(&entry.path)).unwrap_or_default();
                let problem = Problem::Links { found, expected: *expected };
                return Err(ReadError::Inode { path, nid: *nid, problem });
            }
        }
        Ok(())
    }
}

impl<R: ReadAt + 'static> Reader<R> {
    /// All of an inode; of a directory without its children. `shared` is as for its attributes.
    pub(super) fn whole(&self, raw: &RawInode, shared: &mut u64) -> Result<Inode, Refusal> {
        let kind = match raw.file_type {
            FileType::Directory => Kind::directory(),
            FileType::Regular => Kind::File(match &raw.indexed {
                Some(Indexed::Compressed(layout)) => self.compressed(raw, layout)?,
                Some(Indexed::Chunked(list)) => self.chunked(list)?,
                None => content(&self.image, raw.place),
            }),
            FileType::Symlink => Kind::Symlink(self.target(raw)?),
            FileType::CharDevice => Kind::CharDevice(DeviceNumber::decode(raw.device)),
            FileType::BlockDevice => Kind::BlockDevice(DeviceNumber::decode(raw.device)),
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
        };
        let xattrs = self.xattrs(raw, shared)?;
        Ok(Inode::new(metadata(raw, xattrs), kind))
    }

    /// Where a symbolic link leads.
    pub(super) fn target(&self, raw: &RawInode) -> Result<Box<[u8]>, Refusal> {
        let contents = content(&self.image, raw.place);
        let len = usize::try_from(contents.len).map_err(|_| Problem::Size(contents.len))?;
        let mut target = vec![0; len];
        let io = |source| ReadError::Io { offset: contents.offset, wanted: contents.len, source };
        contents.read_exact_at(&mut target, 0).map_err(io)?;
        if target.contains(&0) {
            return Err(Problem::Target.into());
        }
        Ok(target.into())
    }
}

/// Nothing shares its bytes with anything, but for files with files where they may.
fn check_overlaps(mut extents: Vec<Extent>, file_blocks: Option<&BlockSet>) -> Result<(), ReadError> {
    extents.sort_unstable_by_key(|extent| (extent.start, extent.len));
    for pair in extents.windows(2) {
        if let [first, second] = pair
            && first.start.saturating_add(first.len) > second.start
        {
            let (first, offset, second) = (first.owner, second.start, second.owner);
            return Err(ReadError::Overlap { offset, first, second });
        }
    }
    for Extent { start, len, owner } in extents {
        if let Some(block) = file_blocks.and_then(|blocks| blocks.first(start, len)) {
            let offset = block.saturating_mul(BLOCK).max(start);
            return Err(ReadError::Overlap { offset, first: Owner::Files, second: owner });
        }
    }
    Ok(())
}

pub(super) fn check_type(entry: &Entry<'_>, inode: FileType) -> Result<(), Problem> {
    if entry.file_type != inode as u8 {
        return Err(Problem::FileType { entry: entry.file_type, inode: inode as u8 });
    }
    Ok(())
}

fn metadata(raw: &RawInode, xattrs: super::xattrs::Xattrs) -> Metadata {
    Metadata { mode: raw.mode, uid: raw.uid, gid: raw.gid, mtime: raw.mtime, xattrs }
}

pub(super) fn located(refusal: Refusal, path: String, nid: u64) -> ReadError {
    match refusal {
        Refusal::Image(error) => error,
        Refusal::Bad(problem) => ReadError::Inode { path, nid, problem },
    }
}

/// The path of the last open directory, or of a name in it, for messages.
fn path(open: &[Open], name: Option<&[u8]>) -> String {
    let names: Vec<String> = open
        .iter()
        .skip(1)
        .map(|open| &*open.name)
        .chain(name)
        .map(|name| format!("/{}", shown(name)))
        .collect();
    if names.is_empty() { "/".into() } else { names.concat() }
}
