//! Which file a byte of the root belongs to.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use graven_image::any::Reader;
use graven_image::gpt::Partition;
use graven_image::tree::{Content, Kind};
use graven_verity::io::{ReadAt, Window};

use crate::layout::window;
use crate::links::{explain, shown};
use crate::prove::Disk;

/// Whose contents lie in some blocks.
pub(crate) enum RootMap {
    /// Each block by its offset, with its first file and how many more there are; and whether that is all of them: what is
    /// compressed has no place of its own.
    Blocks(BTreeMap<u64, Option<(String, usize)>>, bool),
    /// Why that cannot be told.
    Unreadable(String),
}

impl RootMap {
    /// Reads the file system of an image, bad blocks and all, for the sake of the blocks at `offsets`, of `size` bytes each.
    pub(crate) fn read(
        disk: &Disk,
        partition: &Partition,
        offsets: impl Iterator<Item = u64>,
        size: u64,
    ) -> Self {
        let probe = Arc::new(Probe {
            image: window(disk, partition),
            armed: AtomicBool::new(false),
            asked: AtomicU64::new(0),
        });
        let tree = match Reader::open(probe.clone()).and_then(|reader| reader.tree()) {
            Ok(tree) => tree,
            Err(error) => return Self::Unreadable(explain(&error)),
        };
        probe.armed.store(true, Ordering::Relaxed);
        let mut blocks: BTreeMap<u64, Option<(String, usize)>> =
            offsets.map(|offset| (offset, None)).collect();
        let (mut all, mut seen) = (true, BTreeSet::new());
        for entry in tree.walk() {
            if let Kind::File(content) = &entry.inode.kind
                && seen.insert(entry.id)
            {
                let path = || shown(&String::from_utf8_lossy(&entry.path));
                let met = probe.meet(content, &blocks, size);
                all &= met.is_some();
                for offset in met.unwrap_or_default() {
                    match blocks.get_mut(&offset) {
                        Some(Some((_, others))) => *others = others.saturating_add(1),
                        Some(none) => *none = Some((path(), 0)),
                        None => {}
                    }
                }
            }
        }
        Self::Blocks(blocks, all)
    }

    /// Whose contents lie in the block at `offset`, in words.
    pub(crate) fn whose(&self, offset: u64) -> String {
        let (blocks, all) = match self {
            Self::Blocks(blocks, all) => (blocks, *all),
            Self::Unreadable(why) => return format!("whose it is cannot be told ({why})"),
        };
        match blocks.get(&offset) {
            Some(Some((path, 0))) => format!("in {path}"),
            Some(Some((path, others))) => format!("in {path} and {others} other files"),
            _ if all => "metadata of the file system".to_owned(),
            _ => "compressed contents, or metadata of the file system".to_owned(),
        }
    }
}

/// Once armed, it answers with a zero and remembers where it was asked: so a file's place is known without reading it. Whoever
/// asks for more than the byte that is asked for unpacks something.
struct Probe {
    image: Window<Disk>,
    armed: AtomicBool,
    asked: AtomicU64,
}

impl Probe {
    /// Which of the blocks the contents lie in; `None` where they are compressed.
    fn meet(
        &self,
        content: &Content,
        blocks: &BTreeMap<u64, Option<(String, usize)>>,
        size: u64,
    ) -> Option<BTreeSet<u64>> {
        /// Contents in one such piece lie side by side in the image.
        const PIECE: u64 = 4096;
        let mut met = BTreeSet::new();
        let mut done = 0u64;
        while done < content.len {
            let len = content.len.saturating_sub(done).min(PIECE);
            self.asked.store(u64::MAX, Ordering::Relaxed);
            content.read_exact_at(&mut [0], done).ok()?;
            let start = self.asked.load(Ordering::Relaxed);
            // Holes lie nowhere.
            if start != u64::MAX {
                let first = start.saturating_sub(size.saturating_sub(1));
                let reach = blocks.range(first..start.saturating_add(len));
                met.extend(reach.map(|(offset, _)| *offset));
            }
            done = done.saturating_add(len);
        }
        Some(met)
    }
}

impl ReadAt for Probe {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if self.armed.load(Ordering::Relaxed) {
            if buf.len() > 1 {
                return Err(io::ErrorKind::Unsupported.into());
            }
            self.asked.store(offset, Ordering::Relaxed);
            buf.fill(0);
            return Ok(());
        }
        self.image.read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.image.size()
    }
}
