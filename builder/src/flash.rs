//! Writes an image to a disk, and reads it back.
//!
//! The disk's beginning, where its partition table is, is emptied first and written last: a disk that was written in part
//! has no table, and starts nothing.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use graven_image::formats::is_zero;
use graven_image::gpt::TAIL_BYTES;
use graven_verity::fsverity::{self, Params};
use graven_verity::hash::Digest;
use graven_verity::io::{ReadAt, Window};
use graven_verity::progress::Progress;
use rustix::fs::{Advice, FallocateFlags, OFlags, fadvise, fallocate};
use rustix::io::Errno;

/// Bytes that are written at a time, and that are looked at for zeros.
const PIECE: usize = 1 << 20;
/// Images are made for disks of these sectors, in bytes.
const SECTOR: u64 = 512;

/// A disk that may be written to.
#[derive(Debug)]
pub struct Target {
    file: File,
    path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// What its maker calls it, where that is known.
    pub model: Option<String>,
    /// Whether the kernel has it for one that can be taken out.
    pub removable: bool,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the image that are not zero, in pieces of a mebibyte.
    pub bytes: u64,
    /// Digest of all of the image's bytes as they were read from the disk.
    pub found: Digest,
}

/// Why a disk was not written, or not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// It is something else.
    #[error("{}: {found}; an image takes a whole disk, such as /dev/sdb", path.display())]
    NoDisk {
        /// What was given.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// Somebody uses it.
    #[error("{}: in use{}; nothing was written", path.display(), by(users))]
    Busy {
        /// The disk.
        path: PathBuf,
        /// By whom.
        users: Vec<String>,
    },
    /// Its sectors have another size.
    #[error(
        "{}: its sectors have {found} bytes, the image's partition table is for sectors of {SECTOR}",
        path.display()
    )]
    Sectors {
        /// The disk.
        path: PathBuf,
        /// Bytes of its sectors.
        found: u64,
    },
    /// The image does not fit.
    #[error("{}: it has {found} bytes, the image has {needed}", path.display())]
    TooSmall {
        /// The disk.
        path: PathBuf,
        /// Its bytes.
        found: u64,
        /// The image's.
        needed: u64,
    },
    /// What lies on it is not what was written.
    #[error(
        "{}: what is read back is not what was written: fs-verity digest {found}, expected {expected}; the disk is no good, or \
         somebody else writes to it",
        path.display()
    )]
    Differs {
        /// The disk.
        path: PathBuf,
        /// The image's digest.
        expected: String,
        /// The disk's.
        found: String,
    },
    /// The operating system's word.
    #[error("{}: {source}", path.display())]
    Io {
        /// Image or disk.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

fn by(users: &[String]) -> String {
    if users.is_empty() { String::new() } else { format!(": {}", users.join(", ")) }
}

fn at(path: &Path) -> impl Fn(io::Error) -> FlashError + '_ {
    move |source| FlashError::Io { path: path.to_owned(), source }
}

impl Target {
    /// Opens a disk that nobody uses, and keeps others from using it. Nothing is written.
    ///
    /// # Errors
    /// What is no whole disk, what is mounted or otherwise in use, and whatever the operating system says.
    pub fn open(path: &Path) -> Result<Self, FlashError> {
        let io = at(path);
        let metadata = fs::metadata(path).map_err(&io)?;
        let no_disk = |found: &str| Err(FlashError::NoDisk { path: path.to_owned(), found: found.into() });
        if !metadata.file_type().is_block_device() {
            return no_disk(if metadata.is_file() { "a file" } else { "no block device" });
        }
        let number = metadata.rdev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let about = Path::new("/sys/dev/block").join(format!("{major}:{minor}"));
        let fact = |name: &str| fs::read_to_string(about.join(name)).ok().map(|text| text.trim().to_owned());
        if fact("partition").is_some() {
            return no_disk("a partition");
        }
        // The kernel refuses O_EXCL on a disk that is mounted, or of which anything is.
        let opened =
            OpenOptions::new().read(true).write(true).custom_flags(OFlags::EXCL.bits() as i32).open(path);
        let file = opened.map_err(|source| match Errno::from_io_error(&source) {
            Some(Errno::BUSY) => FlashError::Busy { path: path.to_owned(), users: users(&about) },
            _ => io(source),
        })?;
        let sector = fact("queue/logical_block_size").and_then(|text| text.parse().ok()).unwrap_or(SECTOR);
        if sector != SECTOR {
            return Err(FlashError::Sectors { path: path.to_owned(), found: sector });
        }
        Ok(Self {
            bytes: ReadAt::size(&file).map_err(&io)?,
            file,
            path: path.to_owned(),
            model: fact("device/model").or_else(|| fact("device/name")),
            removable: fact("removable").as_deref() == Some("1"),
        })
    }

    /// Whether an image of so many bytes has room.
    ///
    /// # Errors
    /// [`FlashError::TooSmall`]
    pub fn fits(&self, needed: u64) -> Result<(), FlashError> {
        match self.bytes >= needed {
            true => Ok(()),
            false => Err(FlashError::TooSmall { path: self.path.clone(), found: self.bytes, needed }),
        }
    }

    /// Writes the image of these bytes and reads it back. `progress` is told of every byte of it twice.
    ///
    /// # Errors
    /// Whatever cannot be read or written; then, too, where what lies on the disk has another digest than `expected`.
    pub fn write(
        &self,
        image: &dyn ReadAt,
        expected: Digest,
        progress: &dyn Progress,
    ) -> Result<Written, FlashError> {
        let io = at(&self.path);
        let len = image.size().map_err(&io)?;
        self.fits(len)?;
        let head = len.min(PIECE as u64);
        self.empty(0, head).map_err(&io)?;
        let mut bytes = self.copy(image, head, len, progress).map_err(&io)?;
        // An older disk's second partition table.
        let tail = self.bytes.saturating_sub(TAIL_BYTES).max(len);
        self.empty(tail, self.bytes - tail).map_err(&io)?;
        self.file.sync_all().map_err(&io)?;
        bytes += self.copy(image, 0, head, progress).map_err(&io)?;
        self.file.sync_all().map_err(&io)?;

        // From the disk, not from memory.
        fadvise(&self.file, 0, None, Advice::DontNeed).map_err(|error| io(error.into()))?;
        let there = Window::new(&self.file, 0, len);
        let found = fsverity::describe(&there, &Params::default(), progress).map_err(&io)?.digest();
        match found == expected {
            true => Ok(Written { bytes, found }),
            false => Err(FlashError::Differs {
                path: self.path.clone(),
                expected: expected.to_string(),
                found: found.to_string(),
            }),
        }
    }

    /// Copies what is not zero from `start` to `end` and empties the rest; answers how many bytes were written.
    fn copy(&self, image: &dyn ReadAt, start: u64, end: u64, progress: &dyn Progress) -> io::Result<u64> {
        let mut buf = vec![0; PIECE];
        let (mut at, mut written, mut zeros) = (start, 0, start);
        while at < end {
            let len = PIECE.min(usize::try_from(end - at).unwrap_or(PIECE));
            let piece = &mut buf[..len];
            // A hole is not read.
            if image.next_data(at)?.start < at + len as u64 {
                image.read_exact_at(piece, at)?;
            } else {
                piece.fill(0);
            }
            if !is_zero(piece) {
                self.empty(zeros, at - zeros)?;
                self.file.write_all_at(piece, at)?;
                written += len as u64;
                zeros = at + len as u64;
            }
            at += len as u64;
            progress.advance(len as u64);
        }
        self.empty(zeros, end - zeros)?;
        Ok(written)
    }

    /// Makes a stretch zero: by a word to the disk where it knows one, else where it is not zero yet.
    fn empty(&self, start: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&self.file, flags, start, len) {
            Ok(()) => return Ok(()),
            Err(Errno::OPNOTSUPP | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
        let mut buf = vec![0; PIECE];
        let end = start + len;
        let mut at = start;
        while at < end {
            let piece = &mut buf[..PIECE.min(usize::try_from(end - at).unwrap_or(PIECE))];
            FileExt::read_exact_at(&self.file, piece, at)?;
            if !is_zero(piece) {
                piece.fill(0);
                self.file.write_all_at(piece, at)?;
            }
            at += piece.len() as u64;
        }
        Ok(())
    }
}

/// Who uses a disk or a part of it: mounts, swap, and devices built on it.
fn users(about: &Path) -> Vec<String> {
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    let entries = |path: &Path| {
        let names = fs::read_dir(path).into_iter().flatten().flatten();
        names.map(|entry| entry.path()).collect::<Vec<PathBuf>>()
    };
    let real = fs::canonicalize(about).unwrap_or_else(|_| about.to_owned());
    let parts = entries(&real).into_iter().filter(|path| path.join("partition").exists());
    let mounts = read("/proc/self/mountinfo".into());
    let swaps = read("/proc/swaps".into());
    let mut users = Vec::new();
    for part in std::iter::once(real).chain(parts) {
        let name = part.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = read(part.join("dev"));
        for line in mounts.lines() {
            let mut words = line.split(' ').skip(2);
            if words.next() == Some(number.trim()) {
                users.push(format!("{name} is mounted on {}", words.nth(1).unwrap_or("?")));
            }
        }
        if swaps.lines().any(|line| line.split_whitespace().next() == Some(&format!("/dev/{name}"))) {
            users.push(format!("{name} is swap"));
        }
        for holder in entries(&part.join("holders")) {
            let holder = holder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            users.push(format!("{holder} is built on {name}"));
        }
    }
    users
}
