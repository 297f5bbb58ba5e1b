//! Which file system an image holds, told from its superblock: for those that others made and the kernel will mount.
//!
//! Facts from Linux 7.3: `fs/erofs/erofs_fs.h`, `fs/squashfs/squashfs_fs.h`, `fs/ext4/ext4.h`. All numbers are little-endian.

use std::fmt;
use std::io;

use graven_verity::io::ReadAt;

/// A read-only file system that can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// EROFS.
    Erofs,
    /// squashfs 4.
    Squashfs,
    /// ext4, or one of its ancestors, which the same driver mounts.
    Ext4,
}

/// What a superblock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// Which file system.
    pub file_system: FileSystem,
    /// Bytes that it takes from the image's start on.
    pub bytes: u64,
    /// Kconfig symbols, without `CONFIG_`, that a kernel needs to read it, besides the file system's own.
    pub needs: Vec<&'static str>,
}

/// Why an image cannot be mounted read-only from one device.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No bytes.
    #[error("it is empty")]
    Empty,
    /// No known superblock.
    #[error("it has no superblock of EROFS, squashfs or ext4")]
    Unknown,
    /// Less than the superblock says.
    #[error("{file_system} of {expected} bytes by its superblock, and the file has {found}: it is cut short")]
    Short {
        /// Which file system.
        file_system: FileSystem,
        /// What its superblock says.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// A superblock that no kernel mounts so.
    #[error("{file_system} {what}")]
    Unfit {
        /// Which file system.
        file_system: FileSystem,
        /// What is in the way.
        what: &'static str,
    },
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl FileSystem {
    /// The kernel's name for it, its module's too.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::Squashfs => "squashfs",
            Self::Ext4 => "ext4",
        }
    }

    /// Kconfig symbol, without `CONFIG_`.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Erofs => "EROFS_FS",
            Self::Squashfs => "SQUASHFS",
            Self::Ext4 => "EXT4_FS",
        }
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads the superblock of an image, which must be whole.
///
/// # Errors
/// For what is none of the three, or cannot be mounted as it is.
pub fn probe(image: &dyn ReadAt) -> Result<Probed, ProbeError> {
    let found = image.size()?;
    if found == 0 {
        return Err(ProbeError::Empty);
    }
    let mut head = vec![0; usize::try_from(found).unwrap_or(HEAD).min(HEAD)];
    image.read_exact_at(&mut head, 0)?;
    let head = Head(head);
    let probed = match (head.u32(0), head.u32(EROFS), head.u16(EXT4 + 56)) {
        (SQUASHFS_MAGIC, ..) => squashfs(&head)?,
        (_, crate::erofs::format::MAGIC, _) => erofs(&head)?,
        (.., EXT4_MAGIC) => ext4(&head)?,
        _ => return Err(ProbeError::Unknown),
    };
    match probed.bytes <= found {
        true => Ok(probed),
        false => {
            let Probed { file_system, bytes: expected, .. } = probed;
            Err(ProbeError::Short { file_system, expected, found })
        }
    }
}

/// Bytes that hold every superblock.
const HEAD: usize = 4096;
/// Where EROFS's and ext4's superblocks begin; squashfs's does at 0.
const EROFS: usize = 1024;
const EXT4: usize = 1024;
const SQUASHFS_MAGIC: u32 = u32::from_le_bytes(*b"hsqs");
const EXT4_MAGIC: u16 = 0xef53;

/// The first bytes of an image; what lies past them reads as zero.
struct Head(Vec<u8>);

impl Head {
    fn bytes<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.0.get(offset..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
    }

    fn u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.bytes(offset))
    }

    fn u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.bytes(offset))
    }

    fn u64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.bytes(offset))
    }
}

fn squashfs(head: &Head) -> Result<Probed, ProbeError> {
    let file_system = FileSystem::Squashfs;
    let unfit = |what| Err(ProbeError::Unfit { file_system, what });
    if head.u16(28) != 4 {
        return unfit("of another version than 4");
    }
    let needs = match head.u16(20) {
        1 => "SQUASHFS_ZLIB",
        3 => "SQUASHFS_LZO",
        4 => "SQUASHFS_XZ",
        5 => "SQUASHFS_LZ4",
        6 => "SQUASHFS_ZSTD",
        _ => return unfit("is compressed by something that no kernel knows"),
    };
    Ok(Probed { file_system, bytes: head.u64(40), needs: vec![needs] })
}

fn erofs(head: &Head) -> Result<Probed, ProbeError> {
    const COMPRESSION_CONFIGURED: u32 = 0x2;
    const WIDE: u32 = 0x80;
    let file_system = FileSystem::Erofs;
    let unfit = |what| Err(ProbeError::Unfit { file_system, what });
    let [block_bits] = head.bytes(EROFS + 12);
    if !(9..=12).contains(&block_bits) {
        return unfit("has blocks that are not of 512 to 4096 bytes");
    }
    if head.u16(EROFS + 86) != 0 {
        return unfit("has its contents in further images");
    }
    let features = head.u32(EROFS + 80);
    let high = if features & WIDE == 0 { 0 } else { u64::from(head.u16(EROFS + 14)) << 32 };
    let bytes = (high | u64::from(head.u32(EROFS + 36))) << block_bits;
    let mut needs = Vec::new();
    if features & COMPRESSION_CONFIGURED != 0 {
        needs.push("EROFS_FS_ZIP");
        let algorithms = head.u16(EROFS + 84);
        let configured = [(1, "EROFS_FS_ZIP_LZMA"), (2, "EROFS_FS_ZIP_DEFLATE"), (3, "EROFS_FS_ZIP_ZSTD")];
        needs.extend(configured.iter().filter(|(bit, _)| algorithms >> bit & 1 != 0).map(|(_, need)| *need));
    }
    Ok(Probed { file_system, bytes, needs })
}

fn ext4(head: &Head) -> Result<Probed, ProbeError> {
    const RECOVER: u32 = 0x4;
    const JOURNAL_DEVICE: u32 = 0x8;
    const WIDE: u32 = 0x80;
    let file_system = FileSystem::Ext4;
    let unfit = |what| Err(ProbeError::Unfit { file_system, what });
    let (features, log) = (head.u32(EXT4 + 96), head.u32(EXT4 + 24));
    if log > 6 {
        return unfit("has blocks of more than 64 KiB");
    }
    if features & JOURNAL_DEVICE != 0 {
        return unfit("is a journal, no file system");
    }
    if features & RECOVER != 0 {
        return unfit("was not unmounted: its journal would have to be replayed first (e2fsck)");
    }
    let high = if features & WIDE == 0 { 0 } else { u64::from(head.u32(EXT4 + 336)) << 32 };
    let blocks = high | u64::from(head.u32(EXT4 + 4));
    match blocks.checked_mul(1024 << log) {
        Some(bytes) => Ok(Probed { file_system, bytes, needs: Vec::new() }),
        None => unfit("counts more blocks than there are numbers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn made(tool: &str, arguments: &[&str], name: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        // Nothing that could be compressed.
        let mut number = 1u32;
        let next = |_| {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (number >> 24) as u8
        };
        std::fs::write(folder.path().join("in/file"), (0..100_000).map(next).collect::<Vec<u8>>()).unwrap();
        let output = Command::new(tool).args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::read(folder.path().join(name)).unwrap()
    }

    #[test]
    fn what_the_usual_tools_make_is_told() {
        let ext4 = ["-q", "-F", "-t", "ext4", "-d", "in", "x", "4M"];
        let cases = [
            ("mkfs.erofs", &["x", "in"][..], FileSystem::Erofs, vec![]),
            ("mke2fs", &ext4, FileSystem::Ext4, vec![]),
            ("mksquashfs", &["in", "x", "-comp", "xz", "-quiet"], FileSystem::Squashfs, vec!["SQUASHFS_XZ"]),
            (
                "mksquashfs",
                &["in", "x", "-comp", "zstd", "-quiet"],
                FileSystem::Squashfs,
                vec!["SQUASHFS_ZSTD"],
            ),
        ];
        for (tool, arguments, file_system, needs) in cases {
            let image = made(tool, arguments, "x");
            let probed = probe(&image).unwrap();
            assert_eq!((probed.file_system, probed.needs), (file_system, needs));
            let (bytes, len) = (probed.bytes, image.len() as u64);
            assert!(bytes <= len && bytes > len / 2, "{file_system}: {bytes} of {len}");
            let cut = image[..image.len() / 16].to_vec();
            assert!(
                matches!(probe(&cut), Err(ProbeError::Short { .. } | ProbeError::Unknown)),
                "{file_system}"
            );
        }
    }

    #[test]
    fn what_cannot_be_mounted_as_it_is_is_refused() {
        let ext4 = made("mke2fs", &["-q", "-F", "-t", "ext4", "x", "4M"], "x");
        let with = |offset: usize, bit: u8| {
            let mut image = ext4.clone();
            image[EXT4 + offset] |= bit;
            probe(&image).unwrap_err().to_string()
        };
        assert!(with(96, 0x4).contains("e2fsck"));
        assert!(with(96, 0x8).contains("journal"));
        assert!(matches!(probe(&Vec::new()), Err(ProbeError::Empty)));
        for other in [vec![0; 1 << 20], b"hello".to_vec(), vec![0xff; 5000]] {
            assert!(matches!(probe(&other), Err(ProbeError::Unknown)));
        }
    }
}
