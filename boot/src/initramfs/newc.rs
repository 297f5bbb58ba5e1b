//! newc, written.

use std::collections::BTreeMap;

use super::{Entry, Kind};

/// The name that ends an archive.
pub(super) const TRAILER: &str = "TRAILER!!!";
/// `PATH_MAX` of the kernel, NUL included.
pub(super) const NAME_LIMIT: usize = 4096;
/// File types of `st_mode`, octal: mask, FIFO, character device, directory, block device, file, link, socket.
pub(super) const S_IFMT: u32 = 0o170_000;
pub(super) const S_IFIFO: u32 = 0o010_000;
pub(super) const S_IFCHR: u32 = 0o020_000;
pub(super) const S_IFDIR: u32 = 0o040_000;
pub(super) const S_IFBLK: u32 = 0o060_000;
pub(super) const S_IFREG: u32 = 0o100_000;
pub(super) const S_IFLNK: u32 = 0o120_000;
pub(super) const S_IFSOCK: u32 = 0o140_000;

/// Why an archive cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A name the kernel would not unpack as it stands.
    #[error(
        "'{0}' cannot be a path in an initramfs: no empty, '.' or '..' component, no NUL, at most 4095 bytes"
    )]
    Name(String),
    /// newc has 32 bits for a size.
    #[error("'{0}' has 4 GiB or more, which an initramfs cannot hold")]
    TooLarge(String),
    /// The compressor.
    #[error("compressing the initramfs: {0}")]
    Compress(#[from] std::io::Error),
}

/// Writes the entries in order, then the trailer, then zeros up to a multiple of 512 as cpio does.
pub(super) fn write(entries: &BTreeMap<String, Entry>) -> Result<Vec<u8>, WriteError> {
    let mut out = Vec::new();
    for ((path, entry), inode) in entries.iter().zip(1u32..) {
        let component = |c: &str| !matches!(c, "" | "." | "..");
        if path.len() >= NAME_LIMIT
            || path.contains('\0')
            || !path.split('/').all(component)
            || path == TRAILER
        {
            return Err(WriteError::Name(path.clone()));
        }
        let (kind, links, contents, device) = match &entry.kind {
            Kind::Directory => (S_IFDIR, 2, &b""[..], (0, 0)),
            Kind::File(contents) => (S_IFREG, 1, contents.as_slice(), (0, 0)),
            Kind::Symlink(target) => (S_IFLNK, 1, target.as_bytes(), (0, 0)),
            Kind::CharDevice { major, minor } => (S_IFCHR, 1, &b""[..], (*major, *minor)),
            Kind::BlockDevice { major, minor } => (S_IFBLK, 1, &b""[..], (*major, *minor)),
            Kind::Fifo => (S_IFIFO, 1, &b""[..], (0, 0)),
            Kind::Socket => (S_IFSOCK, 1, &b""[..], (0, 0)),
        };
        let mode = kind | (entry.mode & !S_IFMT);
        let size = u32::try_from(contents.len()).map_err(|_| WriteError::TooLarge(path.clone()))?;
        header(&mut out, inode, mode, links, size, device, path);
        out.extend_from_slice(contents);
        pad(&mut out, 4);
    }
    header(&mut out, 0, 0, 1, 0, (0, 0), TRAILER);
    pad(&mut out, 512);
    Ok(out)
}

/// The header's fields, each eight hex digits: ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor,
/// rdevmajor, rdevminor, namesize, check; then the name with its NUL, padded to 4.
fn header(out: &mut Vec<u8>, ino: u32, mode: u32, links: u32, size: u32, device: (u32, u32), name: &str) {
    let name_size = u32::try_from(name.len()).unwrap_or(u32::MAX).saturating_add(1);
    let fields = [ino, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0];
    out.extend_from_slice(b"070701");
    for field in fields {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    pad(out, 4);
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}
