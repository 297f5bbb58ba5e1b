//! Which file a byte of the root belongs to.

use std::collections::BTreeSet;
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

/// The places of all files' contents, by offset.
pub(crate) enum RootMap {
    /// Start, length, path; and whether that is all of them: what is compressed has no place of its own.
    Files(Vec<(u64, u64, String)>, bool),
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
        let (mut files, mut all) = (Vec::new(), true);
        for entry in tree.walk() {
            if let Kind::File(content) = &entry.inode.kind {
                let path = shown(&String::from_utf8_lossy(&entry.path));
                match probe.places(content) {
                    Some(places) => {
                        files.extend(places.into_iter().map(|(start, len)| (start, len, path.clone())));
                    }
                    None => all = false,
                }
            }
        }
        files.sort();
        Self::Files(files, all)
    }

    /// Whose contents lie in the `len` bytes from `offset` on, in words.
    pub(crate) fn whose(&self, offset: u64, len: u64) -> String {
        let (files, all) = match self {
            Self::Files(files, all) => (files, *all),
            Self::Unreadable(why) => return format!("whose it is cannot be told ({why})"),
        };
        let end = offset.saturating_add(len);
        let mut paths: Vec<&str> = files
            .iter()
            .filter(|(start, len, _)| *start < end && start.saturating_add(*len) > offset)
            .map(|(_, _, path)| path.as_str())
            .collect();
        // A block may be in a file several times, and in several files.
        let mut seen = BTreeSet::new();
        paths.retain(|path| seen.insert(*path));
        match paths.as_slice() {
            [] if all => "metadata of the file system".to_owned(),
            [] => "compressed contents, or metadata of the file system".to_owned(),
            [one] => format!("in {one}"),
            [first, rest @ ..] => format!("in {first} and {} other files", rest.len()),
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
    /// Where the contents lie, in runs, holes left out; `None` where they are compressed.
    fn places(&self, content: &Content) -> Option<Vec<(u64, u64)>> {
        const BLOCK: u64 = 4096;
        let mut runs: Vec<(u64, u64)> = Vec::new();
        let mut done = 0u64;
        while done < content.len {
            let step = content.len.saturating_sub(done).min(BLOCK);
            self.asked.store(u64::MAX, Ordering::Relaxed);
            content.read_exact_at(&mut [0], done).ok()?;
            let start = self.asked.load(Ordering::Relaxed);
            match runs.last_mut() {
                _ if start == u64::MAX => {}
                Some((first, len)) if first.saturating_add(*len) == start => *len = len.saturating_add(step),
                _ => runs.push((start, step)),
            }
            done = done.saturating_add(step);
        }
        Some(runs)
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
