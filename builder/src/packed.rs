//! Roots that programs of this machine write: `mkfs.erofs`, `sqfstar`, `mke2fs`, each fed with the tree as one pax archive.
//!
//! What they wrote is not taken on trust: it is read back and held against the tree to the last byte before it is hashed.
//! So whatever a file system, or its program, cannot hold is an error that names the file, never something left out.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use graven_image::any::Reader;
use graven_image::erofs::FileRecord;
use graven_image::files;
use graven_image::probe::FileSystem;
use graven_image::tar::{self, TarError};
use graven_image::tree::{self, Content, Inode, InodeId, Kind, Metadata, Tree, TreePath};
use graven_recipe::{Compressor, Packed, Root};
use graven_verity::fsverity::{self, Stretch};
use graven_verity::io::{Concat, WriteAt, Zeros};
use graven_verity::progress::Progress;
use graven_verity::stream::{self, Consumer, CopyTo};
use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::hash_area::BLOCK;
use crate::identity;
use crate::tools::{MKE2FS_FROM_TAR, MKFS_EROFS, SQFSTAR, Tool, Tools, mke2fs_configuration};

/// The folder that `mke2fs` makes in every file system, without being asked.
const LOST_AND_FOUND: &str = "/lost+found";

/// A file system in a file of its own, until it lies on the disk.
#[derive(Debug)]
pub(crate) struct PackedRoot {
    file: File,
    len: u64,
    /// Every regular file, hashed.
    pub(crate) files: Vec<FileRecord>,
    _folder: TempDir,
}

/// What the root of a recipe is.
pub(crate) const fn file_system(root: &Root) -> FileSystem {
    match root {
        Root::Plain { .. } | Root::Erofs(_) => FileSystem::Erofs,
        Root::Squashfs(_) => FileSystem::Squashfs,
        Root::Ext4 => FileSystem::Ext4,
    }
}

/// The program that writes it, where it is not us.
pub(crate) const fn tool(root: &Root) -> Option<Tool> {
    match root {
        Root::Plain { .. } => None,
        Root::Erofs(_) => Some(MKFS_EROFS),
        Root::Squashfs(_) => Some(SQFSTAR),
        Root::Ext4 => Some(MKE2FS_FROM_TAR),
    }
}

/// Kconfig symbols that a kernel needs built in to read it, besides the file system's own.
pub(crate) fn needs(root: &Root) -> Vec<&'static str> {
    let (Root::Erofs(packed) | Root::Squashfs(packed)) = root else { return Vec::new() };
    match (root, packed.compress) {
        (Root::Squashfs(_), compress) => vec![
            "SQUASHFS_XATTR",
            match compress {
                Compressor::Gzip | Compressor::Deflate => "SQUASHFS_ZLIB",
                Compressor::Lz4 | Compressor::Lz4hc => "SQUASHFS_LZ4",
                Compressor::Xz | Compressor::Lzma => "SQUASHFS_XZ",
                Compressor::Zstd => "SQUASHFS_ZSTD",
            },
        ],
        (_, Compressor::Lz4 | Compressor::Lz4hc) => vec!["EROFS_FS_ZIP"],
        (_, Compressor::Deflate | Compressor::Gzip) => vec!["EROFS_FS_ZIP", "EROFS_FS_ZIP_DEFLATE"],
        (_, Compressor::Zstd) => vec!["EROFS_FS_ZIP", "EROFS_FS_ZIP_ZSTD"],
        (_, Compressor::Lzma | Compressor::Xz) => vec!["EROFS_FS_ZIP", "EROFS_FS_ZIP_LZMA"],
    }
}

/// Makes the tree what the file system will hold: ext4 has a folder for what `e2fsck` finds.
///
/// # Errors
/// Where something else has its name.
pub(crate) fn prepare(tree: &mut Tree, root: &Root, source_date: i64) -> Result<()> {
    if *root != Root::Ext4 {
        return Ok(());
    }
    let path = TreePath::parse(LOST_AND_FOUND.as_bytes())?;
    if tree.lookup(&path).is_err() {
        let metadata = Metadata { mode: 0o700, mtime: source_date, ..Metadata::default() };
        tree.insert(&path, Inode::new(metadata, Kind::directory()))?;
    }
    Ok(())
}

/// Has the root written, into a folder below `spool`, and reads it back. `named` is what the image is, for its UUID.
///
/// # Errors
/// A program that is missing, too old or fails; something that it does not write as the tree has it.
pub(crate) fn write(
    root: &Root,
    tree: &Tree,
    named: &[&str],
    source_date: i64,
    tools: &Tools,
    spool: &Path,
) -> Result<PackedRoot> {
    refuse_times(root, tree)?;
    let failed = |error| Error::io(spool, error);
    let folder = tempfile::tempdir_in(spool).map_err(failed)?;
    let image = folder.path().join("root");
    let uuid = identity::uuid(file_system(root).name(), named).to_string();
    let time = source_date.max(0).to_string();
    let (tool, command) = match root {
        Root::Plain { .. } | Root::Erofs(_) => (MKFS_EROFS, erofs(tools, root, &uuid, &time, &image)),
        Root::Squashfs(packed) => (SQFSTAR, squashfs(tools, packed, tree, &time, &image)),
        Root::Ext4 => {
            let hash_seed = identity::uuid("ext4-hash-seed", named).to_string();
            (MKE2FS_FROM_TAR, ext4(tools, tree, [&uuid, &hash_seed], &time, folder.path(), &image)?)
        }
    };
    let output = feed(command, tree, folder.path(), tool)?;
    if !output.status.success() {
        return Err(tool.said(&output));
    }
    let file = File::open(&image).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    hold(&file, tree, tool)?;
    let files = files::hash(tree).map_err(Error::Contents)?;
    Ok(PackedRoot { file, len, files, _folder: folder })
}

/// squashfs counts seconds in 32 bits, and its program takes an archive with others for damaged.
fn refuse_times(root: &Root, tree: &Tree) -> Result<()> {
    let outside = |time: i64| u32::try_from(time).is_err();
    let is_squashfs = matches!(root, Root::Squashfs(_));
    match tree.walk().find(|entry| is_squashfs && outside(entry.inode.metadata.mtime)) {
        None => Ok(()),
        Some(entry) => Err(Error::Limit(format!(
            "the root file system: {}: squashfs has no time before 1970 or after 2106; take another `fs`",
            tree::show(&entry.path)
        ))),
    }
}

fn erofs(tools: &Tools, root: &Root, uuid: &str, time: &str, image: &Path) -> Command {
    let mut command = tools.command(MKFS_EROFS);
    command.args(["--quiet", "-b4096", "--tar=f", "--mkfs-time", "-T", time, "-U", uuid]);
    if let Root::Erofs(Packed { compress, level, cluster, dedupe }) = root {
        let level = level.map(|level| format!(",level={level}")).unwrap_or_default();
        command.arg(format!("-z{compress}{level}")).arg(format!("-C{cluster}"));
        command.args(dedupe.then_some("-Ededupe"));
    }
    command.arg(image);
    command
}

fn squashfs(tools: &Tools, packed: &Packed, tree: &Tree, time: &str, image: &Path) -> Command {
    let top = &tree.inode(Tree::ROOT).metadata;
    let Packed { compress, level, cluster, .. } = packed;
    let mut command = tools.command(SQFSTAR);
    command.args(["-quiet", "-no-progress", "-comp", compress.as_str(), "-b", &cluster.to_string()]);
    if let Some(level) = level {
        command.args(["-Xcompression-level", &level.to_string()]);
    }
    // Of the archive's entry for it nothing is taken.
    command.args(["-root-mode", &format!("{:o}", top.mode), "-root-time", &top.mtime.to_string()]);
    command.args(["-root-uid", &top.uid.to_string(), "-root-gid", &top.gid.to_string()]);
    command.args(["-mkfs-time", time]).arg(image);
    command
}

fn ext4(
    tools: &Tools,
    tree: &Tree,
    [uuid, hash_seed]: [&str; 2],
    time: &str,
    folder: &Path,
    image: &Path,
) -> Result<Command> {
    let Ext4Size { inodes, blocks } = Ext4Size::of(tree);
    let failed = |error| Error::io(image, error);
    File::create(image).and_then(|file| file.set_len(blocks * u64::from(BLOCK))).map_err(failed)?;
    // No journal: nothing is ever written.
    let features = "none,ext_attr,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,\
                    metadata_csum";
    let extended = format!("hash_seed={hash_seed},lazy_itable_init=0,nodiscard,root_owner=0:0");
    let mut command = tools.command(MKE2FS_FROM_TAR);
    command.env("MKE2FS_CONFIG", mke2fs_configuration(folder)?).env("E2FSPROGS_FAKE_TIME", time);
    command.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0", "-e", "remount-ro"]);
    command.args(["-N", &inodes.to_string(), "-U", uuid, "-O", features, "-E", &extended, "-d", "-"]);
    command.arg(image).arg(blocks.to_string());
    Ok(command)
}

/// How large an ext4 has to be: never too small, and by little too large.
struct Ext4Size {
    inodes: u64,
    blocks: u64,
}

impl Ext4Size {
    fn of(tree: &Tree) -> Self {
        const BLOCK: u64 = crate::hash_area::BLOCK as u64;
        const INODE: u64 = 256;
        /// Blocks that one group's bitmaps tell of.
        const GROUP: u64 = 8 * BLOCK;
        /// Inodes that the file system keeps for itself.
        const RESERVED: u64 = 11;
        let mut seen = std::collections::BTreeSet::<InodeId>::new();
        let mut blocks = 0;
        for entry in tree.walk().filter(|entry| seen.insert(entry.id)) {
            blocks += match &entry.inode.kind {
                // A node of the tree of extents for each 300 of them, however small the free places are.
                Kind::File(Content { len, .. }) => {
                    let own = len.div_ceil(BLOCK);
                    own + own / (4 * 300)
                }
                Kind::Symlink(target) => u64::from(target.len() >= 60),
                Kind::Directory(children) => {
                    let entries = children.keys().map(|name| (8 + name.len() as u64).next_multiple_of(4));
                    // The last entry of a block may be a longest one that did not fit.
                    1 + entries.sum::<u64>().div_ceil(BLOCK - 300)
                }
                Kind::CharDevice(_) | Kind::BlockDevice(_) | Kind::Fifo | Kind::Socket => 0,
            };
            blocks += u64::from(!entry.inode.metadata.xattrs.is_empty());
        }
        // lost+found has four blocks; superblock, descriptors and their copies, bitmaps, and inodes, in whole blocks a group.
        let inodes = seen.len() as u64 + RESERVED;
        blocks += 4 + inodes * INODE / BLOCK;
        let groups = blocks / GROUP + 2;
        let fixed = groups * (3 + (groups * 64).div_ceil(BLOCK) + 2);
        Self { inodes, blocks: blocks + fixed + blocks / 64 + 64 }
    }
}

/// Runs a program with the tree as an archive on its standard input.
fn feed(mut command: Command, tree: &Tree, folder: &Path, tool: Tool) -> Result<Output> {
    // Its own temporary files belong where the image is.
    command.env("TMPDIR", folder).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| tool.failed(&error))?;
    let (input, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        let fed = scope.spawn(move || match input {
            Some(input) => tar::write(tree, Tree::ROOT, BufWriter::with_capacity(1 << 20, input)),
            None => Ok(()),
        });
        let heard = scope.spawn(move || listen(err));
        let stdout = listen(out);
        let status = child.wait().map_err(|error| tool.failed(&error))?;
        let stderr = heard.join().unwrap_or_default();
        match fed.join() {
            Ok(Ok(())) => {}
            // It has ended before the archive did: what it said says why.
            Ok(Err(TarError::Io { source, .. })) if source.kind() == io::ErrorKind::BrokenPipe => {}
            Ok(Err(error @ TarError::Unfit { .. })) => {
                return Err(Error::Limit(format!(
                    "the root file system: {error}; `fs = \"erofs\"` without `compress` has it"
                )));
            }
            Ok(Err(TarError::Io { path, source })) => {
                return Err(Error::Contents(io::Error::new(source.kind(), format!("{path}: {source}"))));
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
        Ok(Output { status, stdout, stderr })
    })
}

/// All that a program says, for messages.
fn listen(stream: Option<impl io::Read>) -> Vec<u8> {
    let mut said = Vec::new();
    let _ = stream.map(|mut stream| stream.read_to_end(&mut said));
    said
}

/// What was written is the tree, to the last byte.
fn hold(image: &File, tree: &Tree, tool: Tool) -> Result<()> {
    let image = image.try_clone().map_err(|error| tool.failed(&error))?;
    let read = Reader::open(image).and_then(|reader| reader.tree());
    let read = read.map_err(|error| tool.failed(&format!("what it wrote cannot be read: {error}")))?;
    let found = tree::diff(tree, &read);
    let Some(first) = found.first() else { return Ok(()) };
    let more = match found.len() {
        1 => String::new(),
        more => format!(" (and {} more)", more - 1),
    };
    Err(Error::Limit(format!(
        "the root file system: {} does not write everything as it is in the root, compared by the two: {first}{more}; change the \
         file, or take another `fs`: EROFS without `compress` has all",
        tool.name
    )))
}

impl PackedRoot {
    /// Length in whole blocks.
    pub(crate) fn len(&self) -> u64 {
        self.len.next_multiple_of(u64::from(BLOCK))
    }

    /// Copies it to its place, and shows every byte to `tree`: it is read a second time.
    pub(crate) fn copy(
        &self,
        place: &dyn WriteAt,
        tree: &mut dyn Consumer,
        progress: &dyn Progress,
    ) -> io::Result<Stretch> {
        let padded = Concat::new().then(&self.file, self.len).then(&Zeros, self.len() - self.len);
        let mut copy = CopyTo::sparse(place, BLOCK as usize);
        let mut stretch = Stretch::new(&fsverity::Params::default());
        stream::run(&padded, self.len(), &mut [&mut copy, tree, &mut stretch], progress)?;
        Ok(stretch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The folder that tests/setup.sh makes.
    fn tools() -> Tools {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(std::path::PathBuf::from);
        let cache = cache.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cache"));
        Tools::first_in(Some(cache.join("graven/writers/bin")))
    }

    fn packed(root: &Root, tree: &Tree) -> Result<PackedRoot> {
        let spool = tempfile::tempdir().unwrap();
        write(root, tree, &["test"], 1_700_000_000, &tools(), spool.path())
    }

    fn tree() -> Tree {
        let mut tree = Tree::new(Metadata { mode: 0o755, mtime: 5, uid: 3, gid: 4, ..Metadata::default() });
        prepare(&mut tree, &Root::Ext4, 7).unwrap();
        tree
    }

    fn put(tree: &mut Tree, name: &str, metadata: Metadata, kind: Kind) {
        tree.insert_child(Tree::ROOT, name.as_bytes(), Inode::new(metadata, kind)).unwrap();
    }

    fn all() -> [Root; 3] {
        let packed = |compress| Packed { compress, level: None, cluster: 65536, dedupe: false };
        [Root::Erofs(packed(Compressor::Lz4)), Root::Squashfs(packed(Compressor::Gzip)), Root::Ext4]
    }

    #[test]
    fn what_a_file_system_does_not_hold_is_an_error_that_names_the_file() {
        let attribute = |name: &str| Metadata {
            xattrs: [(name.as_bytes().into(), b"x".as_slice().into())].into(),
            ..Metadata::default()
        };
        let file = || Kind::File(Content::from_bytes(*b"contents"));
        let cases = [
            ("user.note", attribute("user.note"), file(), [true, true, false]),
            ("security.capability", attribute("security.capability"), file(), [true, true, true]),
            ("early", Metadata { mtime: -1, ..Metadata::default() }, file(), [true, false, true]),
            ("late", Metadata { mtime: 1 << 33, ..Metadata::default() }, file(), [true, false, false]),
            ("socket", Metadata::default(), Kind::Socket, [false, false, false]),
        ];
        for (name, metadata, kind, held) in cases {
            let mut tree = tree();
            put(&mut tree, name, metadata, kind);
            for (root, held) in all().iter().zip(held) {
                match packed(root, &tree) {
                    Ok(_) => assert!(held, "{name} in {root:?}"),
                    Err(error) => {
                        let said = error.to_string();
                        assert!(!held && said.contains(name), "{name} in {root:?}: {said}");
                        assert_eq!(error.fault(), crate::error::Fault::Usage, "{said}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_ext4_is_large_enough_for_whatever_goes_in() {
        let file = |len: u64| Kind::File(Content { source: std::sync::Arc::new(Zeros), offset: 0, len });
        let mut trees = vec![tree()];
        let mut names = tree();
        for number in 0..3000 {
            put(&mut names, &format!("{number:0255}"), Metadata::default(), file(number % 3));
        }
        trees.push(names);
        let mut attributes = tree();
        for number in 0..1000 {
            let xattrs = [(b"security.capability".as_slice().into(), [1; 20].as_slice().into())].into();
            put(&mut attributes, &number.to_string(), Metadata { xattrs, ..Metadata::default() }, file(4097));
        }
        trees.push(attributes);
        let mut large = tree();
        for number in 0..3 {
            put(&mut large, &number.to_string(), Metadata::default(), file(60 << 20));
        }
        trees.push(large);
        for tree in trees {
            packed(&Root::Ext4, &tree).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
