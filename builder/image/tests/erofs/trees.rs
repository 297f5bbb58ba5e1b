//! Trees to make images of.
#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use graven_image::erofs::Options;
use graven_image::tree::{Content, DeviceNumber, Inode, InodeId, Kind, Metadata, Tree};
use graven_verity::io::ReadAt;

/// The superblock's time in these tests; inodes with it are compact.
pub(crate) const BUILD_TIME: i64 = 1_700_000_000;

pub(crate) fn options() -> Options {
    Options {
        uuid: uuid::Uuid::from_u128(0x6ba7_b810_9dad_11d1_80b4_00c0_4fd4_30c8),
        build_time: BUILD_TIME,
        volume_name: "graven-root".into(),
    }
}

pub(crate) fn metadata(mode: u16) -> Metadata {
    Metadata { mode, mtime: BUILD_TIME, ..Metadata::default() }
}

/// Bytes that tell where they are, so that a block in the wrong place shows.
pub(crate) fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// A long file of zeros with a few bytes in it, produced as it is read.
pub(crate) struct Sparse {
    pub(crate) len: u64,
    pub(crate) islands: Vec<(u64, Vec<u8>)>,
}

impl ReadAt for Sparse {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset + buf.len() as u64;
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buf.fill(0);
        for (at, bytes) in &self.islands {
            let (from, to) = ((*at).max(offset), (at + bytes.len() as u64).min(end));
            if from < to {
                buf[(from - offset) as usize..(to - offset) as usize]
                    .copy_from_slice(&bytes[(from - at) as usize..(to - at) as usize]);
            }
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len)
    }
}

impl Sparse {
    pub(crate) fn new(len: u64) -> Self {
        let islands = vec![
            (0, b"begin".to_vec()),
            (len / 2 - 3, b"across".to_vec()),
            ((1 << 32) - 2, b"four gigabytes".to_vec()),
            (len - 3, b"end".to_vec()),
        ];
        let islands = islands.into_iter().filter(|(at, bytes)| at + bytes.len() as u64 <= len).collect();
        Self { len, islands }
    }

    pub(crate) fn content(len: u64) -> Content {
        Content { source: Arc::new(Self::new(len)), offset: 0, len }
    }
}

/// Length of the sparse file of [`hard`]: over 4 GiB, neither whole blocks nor inline.
pub(crate) const SPARSE: u64 = (4 << 30) + 8323;

/// A file that is opened whenever it is read: thousands of them stay below any limit of open files.
struct OnDisk(PathBuf);

impl ReadAt for OnDisk {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        ReadAt::read_exact_at(&File::open(&self.0)?, buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(std::fs::metadata(&self.0)?.len())
    }
}

pub(crate) struct Builder {
    pub(crate) tree: Tree,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self { tree: Tree::new(metadata(0o755)) }
    }

    pub(crate) fn add(
        &mut self,
        directory: InodeId,
        name: impl AsRef<[u8]>,
        metadata: Metadata,
        kind: Kind,
    ) -> InodeId {
        self.tree.insert_child(directory, name.as_ref(), Inode::new(metadata, kind)).unwrap()
    }

    pub(crate) fn directory(&mut self, above: InodeId, name: impl AsRef<[u8]>) -> InodeId {
        self.add(above, name, metadata(0o755), Kind::directory())
    }

    pub(crate) fn file(
        &mut self,
        above: InodeId,
        name: impl AsRef<[u8]>,
        bytes: impl Into<Vec<u8>>,
    ) -> InodeId {
        self.add(above, name, metadata(0o644), Kind::File(Content::from_bytes(bytes)))
    }
}

pub(crate) fn xattrs(pairs: &[(&str, &[u8])]) -> BTreeMap<Box<[u8]>, Box<[u8]>> {
    pairs.iter().map(|(name, value)| (name.as_bytes().into(), (*value).into())).collect()
}

/// Lengths at which something changes: nothing, inline or not with either inode form, whole blocks, windows.
pub(crate) const LENGTHS: [usize; 22] = [
    0, 1, 2, 31, 32, 33, 2048, 4031, 4032, 4033, 4063, 4064, 4065, 4095, 4096, 4097, 8128, 8160, 8191, 8192,
    8193, 1_000_001,
];

/// Every kind of inode and every awkward case. `large`: with a file over 4 GiB.
pub(crate) fn hard(large: bool) -> Tree {
    let mut b = Builder::new();
    let root = Tree::ROOT;

    let sizes = b.directory(root, "sizes");
    for (number, len) in LENGTHS.iter().enumerate() {
        b.file(sizes, format!("compact-{len}"), pattern(*len, number as u64));
        let extended = Metadata { mtime: 1_234_567_890, ..metadata(0o640) };
        let content = Content::from_bytes(pattern(*len, 100 + number as u64));
        b.add(sizes, format!("extended-{len}"), extended, Kind::File(content));
    }

    let owners = b.directory(root, "owners");
    for (number, (uid, gid)) in
        [(65_535, 65_535), (65_536, 0), (0, 65_536), (u32::MAX - 1, u32::MAX - 1)].into_iter().enumerate()
    {
        let metadata = Metadata { uid, gid, ..metadata(0o600) };
        b.add(owners, format!("{number}"), metadata, Kind::File(Content::from_bytes(*b"x")));
    }
    for (number, mtime) in [0, -1, 1, i64::from(u32::MAX) + 1, BUILD_TIME + 1].into_iter().enumerate() {
        b.add(owners, format!("time-{number}"), Metadata { mtime, ..metadata(0o1777) }, Kind::directory());
    }
    let suid = Metadata { mode: 0o6755, ..metadata(0) };
    b.add(owners, "suid", suid, Kind::File(Content::from_bytes(*b"#!")));

    let links = b.directory(root, "links");
    for len in [1usize, 100, 4031, 4032, 4033, 4064, 4065, 4095] {
        let target: Vec<u8> = b"/target".iter().copied().cycle().take(len).collect();
        b.add(links, format!("symlink-{len}"), metadata(0o777), Kind::Symlink(target.into()));
    }
    let linked = b.file(links, "hard-0", pattern(5000, 7));
    for number in 1..20 {
        b.tree.link_child(links, format!("hard-{number}").as_bytes(), linked).unwrap();
    }
    b.tree.link_child(sizes, b"hard-elsewhere", linked).unwrap();

    let special = b.directory(root, "dev");
    let device = |major, minor| DeviceNumber { major, minor };
    b.add(special, "null", metadata(0o666), Kind::CharDevice(device(1, 3)));
    b.add(special, "vda", metadata(0o660), Kind::BlockDevice(device(254, 0)));
    b.add(special, "far", metadata(0o600), Kind::CharDevice(device(4095, 1_048_575)));
    b.add(special, "minor", metadata(0o600), Kind::BlockDevice(device(8, 257)));
    let fifo = b.add(special, "fifo", metadata(0o644), Kind::Fifo);
    b.tree.link_child(special, b"fifo-again", fifo).unwrap();
    b.add(special, "socket", metadata(0o755), Kind::Socket);

    let attributes = b.directory(root, "xattrs");
    let capability = [1u8, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let cases: [(&str, BTreeMap<_, _>); 6] = [
        ("capability", xattrs(&[("security.capability", &capability)])),
        ("user", xattrs(&[("user.a", b"1"), ("user.empty", b""), ("user.b", &[b'x'; 300])])),
        (
            "many",
            (0..200)
                .map(|i| (format!("user.number-{i:03}").into_bytes().into(), vec![i as u8; i].into()))
                .collect(),
        ),
        ("long", xattrs(&[("user.long", &vec![b'L'; 65_535]), ("trusted.x", b"y")])),
        (
            "block",
            xattrs(&[("user.block", &[b'B'; 4000]), ("security.selinux", b"system_u:object_r:etc_t:s0\0")]),
        ),
        ("name", xattrs(&[(&format!("user.{}", "n".repeat(250)), b"v")])),
    ];
    for (name, xattrs) in cases {
        for len in [0usize, 100, 5000] {
            let metadata = Metadata { xattrs: xattrs.clone(), ..metadata(0o644) };
            let content = Content::from_bytes(pattern(len, 3));
            b.add(attributes, format!("{name}-{len}"), metadata, Kind::File(content));
        }
        let metadata = Metadata { xattrs: xattrs.clone(), ..metadata(0o755) };
        let directory = b.add(attributes, format!("{name}-directory"), metadata, Kind::directory());
        b.file(directory, "inside", *b"inside");
    }

    let big = b.directory(root, "big");
    for number in 0..5000u32 {
        let name = format!("{number:04}-{}", "n".repeat((number % 97) as usize));
        b.file(big, name, number.to_string());
    }
    let mut deep = b.directory(root, "deep");
    for number in 0..100 {
        deep = b.directory(deep, format!("level-{number}"));
    }
    b.file(deep, "bottom", *b"deep");
    let names = b.directory(root, "names");
    for name in ["!", "-", "...", "..a", ".a", " ", "a b", "ä", &"n".repeat(255), "\u{7f}"] {
        b.file(names, name, name.as_bytes());
    }
    b.directory(root, "empty");

    // Much of which is the same, or zeros.
    let common = b.directory(root, "common");
    for number in 0..12u64 {
        let parts =
            [pattern(8192, number % 3), vec![0; 8192 * (number as usize % 2)], pattern(12_288, number % 4)];
        let tail = pattern(number as usize * 400, 1);
        b.file(common, format!("{number}"), [parts.concat(), tail].concat());
    }
    b.file(common, "repeats", pattern(4096, 500).repeat(2000));
    if large {
        let metadata = Metadata { mtime: 5, ..metadata(0o644) };
        b.add(root, "sparse", metadata, Kind::File(Sparse::content(SPARSE)));
    }
    b.tree
}

/// A folder of the host as a tree: what `mkfs.erofs` sees.
pub(crate) fn of_folder(folder: &Path) -> Tree {
    let (inode, _) = of_path(folder);
    let mut tree = Tree::new(inode.metadata);
    let mut known = BTreeMap::new();
    let mut waiting = vec![(folder.to_owned(), Tree::ROOT)];
    while let Some((folder, id)) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = std::os::unix::ffi::OsStrExt::as_bytes(path.file_name().unwrap());
            let (inode, number) = of_path(&path);
            if let Some(known) = known.get(&number) {
                tree.link_child(id, name, *known).unwrap();
                continue;
            }
            let is_directory = matches!(inode.kind, Kind::Directory(_));
            let child = tree.insert_child(id, name, inode).unwrap();
            if is_directory {
                waiting.push((path, child));
            } else {
                known.insert(number, child);
            }
        }
    }
    tree
}

fn of_path(path: &Path) -> (Inode, u64) {
    let facts = std::fs::symlink_metadata(path).unwrap();
    let kind = facts.file_type();
    let number = facts.rdev();
    let device = DeviceNumber { major: rustix::fs::major(number), minor: rustix::fs::minor(number) };
    let kind = if kind.is_dir() {
        Kind::directory()
    } else if kind.is_symlink() {
        let target = std::fs::read_link(path).unwrap();
        Kind::Symlink(std::os::unix::ffi::OsStrExt::as_bytes(target.as_os_str()).into())
    } else if kind.is_fifo() {
        Kind::Fifo
    } else if kind.is_socket() {
        Kind::Socket
    } else if kind.is_char_device() {
        Kind::CharDevice(device)
    } else if kind.is_block_device() {
        Kind::BlockDevice(device)
    } else {
        Kind::File(Content { source: Arc::new(OnDisk(path.to_owned())), offset: 0, len: facts.len() })
    };
    let mut names = vec![0u8; 65_536];
    let len = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let mut xattrs = BTreeMap::new();
    for name in names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0u8; 65_536];
        let text = std::str::from_utf8(name).unwrap();
        let len = rustix::fs::lgetxattr(path, text, &mut value[..]).unwrap();
        xattrs.insert(name.into(), value[..len].into());
    }
    let metadata = Metadata {
        mode: (facts.mode() & 0o7777) as u16,
        uid: facts.uid(),
        gid: facts.gid(),
        mtime: facts.mtime(),
        xattrs,
    };
    (Inode::new(metadata, kind), facts.ino())
}
