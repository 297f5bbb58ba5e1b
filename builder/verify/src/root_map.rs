//! Which file a byte of an EROFS belongs to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use graven_image::erofs::Reader;
use graven_image::gpt::Partition;
use graven_image::tree::{Content, Kind};
use graven_verity::io::{ReadAt, Window};

use crate::layout::window;
use crate::links::{explain, shown};
use crate::prove::Disk;

/// The places of all files' contents, by offset.
pub(crate) enum RootMap {
    /// Start, length, path.
    Files(Vec<(u64, u64, String)>),
    /// Why there is none.
    Unreadable(String),
}

impl RootMap {
    /// Reads the file system of an image, bad blocks and all.
    pub(crate) fn read(disk: &Disk, partition: &Partition) -> Self {
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
        let mut files = Vec::new();
        for entry in tree.walk() {
            if let Kind::File(content) = &entry.inode.kind {
                let path = shown(&String::from_utf8_lossy(&entry.path));
                files.extend(probe.places(content).map(|(start, len)| (start, len, path.clone())));
            }
        }
        files.sort();
        Self::Files(files)
    }

    /// Whose contents lie in the `len` bytes from `offset` on, in words.
    pub(crate) fn whose(&self, offset: u64, len: u64) -> String {
        let files = match self {
            Self::Files(files) => files,
            Self::Unreadable(why) => return format!("whose it is cannot be told ({why})"),
        };
        let end = offset.saturating_add(len);
        let mut paths: Vec<&str> = files
            .iter()
            .filter(|(start, len, _)| *start < end && start.saturating_add(*len) > offset)
            .map(|(_, _, path)| path.as_str())
            .collect();
        paths.dedup();
        match paths.as_slice() {
            [] => "metadata of the file system".to_owned(),
            [one] => format!("in {one}"),
            [first, rest @ ..] => format!("in {first} and {} other small files", rest.len()),
        }
    }
}

/// Once armed, it answers with zeros and remembers where it was asked: so a file's place is known without reading it.
struct Probe {
    image: Window<Disk>,
    armed: AtomicBool,
    asked: AtomicU64,
}

impl Probe {
    /// Where the contents lie: in one run, or the blocks and then the tail behind the inode.
    fn places(&self, content: &Content) -> impl Iterator<Item = (u64, u64)> + use<> {
        const BLOCK: u64 = 4096;
        let at = |offset: u64| {
            content.read_exact_at(&mut [0], offset).ok()?;
            Some(self.asked.load(Ordering::Relaxed))
        };
        let len = content.len;
        let places = len.checked_sub(1).and_then(|last| Some((at(0)?, at(last)?, last)));
        let places = match places {
            None => vec![],
            Some((start, end, last)) if start.checked_add(last) == Some(end) => vec![(start, len)],
            Some((start, end, last)) => {
                let tail = last.checked_rem(BLOCK).unwrap_or(0);
                let blocks = last.saturating_sub(tail);
                vec![(start, blocks), (end.saturating_sub(tail), tail.saturating_add(1))]
            }
        };
        places.into_iter()
    }
}

impl ReadAt for Probe {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if self.armed.load(Ordering::Relaxed) {
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
