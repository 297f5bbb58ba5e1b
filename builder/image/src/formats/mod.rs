//! The disk image in the forms that other programs want: for virtual machines (qcow2, VHD, VHDX), compressed, and the map
//! that bmaptool copies by.
//!
//! Each is a function of the disk's bytes and of an [`Identity`]: nothing is read from a clock or from chance, so the same
//! disk gives the same file. Zeros take no room.

mod bmap;
mod qcow2;
mod vhd;
mod vhdx;

use std::fs::File;
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::ops::Range;

use graven_verity::io::{ReadAt, Window, read_through};
use uuid::Uuid;

/// A form of a disk image besides its plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// The plain bytes, compressed with Zstandard.
    RawZst,
    /// QEMU's.
    Qcow2,
    /// Microsoft's older one, of fixed size as Azure takes it.
    Vhd,
    /// Microsoft's newer one.
    Vhdx,
    /// Which blocks of the plain image must be copied, and their digests: for bmaptool.
    Bmap,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::RawZst, Self::Qcow2, Self::Vhd, Self::Vhdx, Self::Bmap];

    /// What a user types.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RawZst => "raw.zst",
            Self::Qcow2 => "qcow2",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Bmap => "bmap",
        }
    }

    /// The format of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Ending of its files' names, after the plain image's without its own: bmaptool finds its map beside the image so.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::RawZst => "img.zst",
            other => other.name(),
        }
    }
}

/// What a format says of the disk that is not in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Tells this disk from others.
    pub id: Uuid,
    /// When it was made, in seconds since 1970.
    pub made: i64,
}

/// A disk to be written in another form.
#[derive(Clone, Copy)]
pub struct Disk<'a> {
    /// Its bytes.
    pub bytes: &'a dyn ReadAt,
    /// How many, a multiple of 512.
    pub len: u64,
    /// Stretches whose zeros count as much as other bytes, in bytes, ascending: what a proof covers. Elsewhere zeros are only
    /// what nobody wrote.
    pub covered: &'a [Range<u64>],
}

/// Writes `disk` in another form into an empty file.
///
/// # Errors
/// Whatever the file system says, and [`io::ErrorKind::FileTooLarge`] for a disk beyond what the format can hold.
pub fn write(format: Format, disk: &Disk<'_>, identity: &Identity, out: &mut File) -> io::Result<()> {
    match format {
        Format::RawZst => compress(disk, out),
        Format::Qcow2 => qcow2::write(disk, out),
        Format::Vhd => vhd::write(disk, identity, out),
        Format::Vhdx => vhdx::write(disk, identity, out),
        Format::Bmap => bmap::write(disk, out),
    }
}

/// Zstandard in one frame. Its workers' number does not show in what they make, as long as there are any.
fn compress(disk: &Disk<'_>, out: &File) -> io::Result<()> {
    const LEVEL: i32 = 9;
    let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut encoder = zstd::Encoder::new(out, LEVEL)?;
    encoder.multithread(u32::try_from(workers).unwrap_or(1))?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(disk.len))?;
    read_through(&Window::new(disk.bytes, 0, disk.len), |piece| encoder.write_all(piece))?;
    encoder.finish().map(drop)
}

/// Calls `each` with the number and the bytes of every piece of `len` bytes that holds anything but zeros, in order; the
/// last is filled up with zeros.
fn pieces(disk: &Disk<'_>, len: usize, each: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let size = len as u64;
    let mut buf = vec![0; len];
    let mut at = 0;
    while at < disk.len {
        let data = disk.bytes.next_data(at)?;
        if data.start >= disk.len {
            break;
        }
        // A hole's end need not be a piece's.
        at = at.max(data.start / size * size);
        let there = len.min(usize::try_from(disk.len - at).unwrap_or(usize::MAX));
        disk.bytes.read_exact_at(&mut buf[..there], at)?;
        buf[there..].fill(0);
        if !is_zero(&buf) {
            each(at / size, &buf)?;
        }
        at += size;
    }
    Ok(())
}

/// Whether nothing but zeros is there.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    // Words that the compiler compares many at a time.
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

fn too_large(format: &str, most: &str) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("a {format} image holds at most {most}"))
}
