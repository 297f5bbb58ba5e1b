//! What goes in comes out, at any window, from any order of insertion.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use graven_image::erofs::{self, Image, PlanError, SourceError};
use graven_image::tree::{Content, DeviceNumber, Inode, InodeId, Kind, Metadata, Tree, diff};
use graven_verity::fsverity;
use graven_verity::hash::Algorithm;
use graven_verity::io::ReadAt;
use graven_verity::progress::Silent;
use proptest::prelude::*;

use super::trees::{self, Builder, Sparse, metadata, options, pattern};
use super::{read, written};

fn bytes_of(tree: &Tree) -> Vec<u8> {
    let image = Image::plan(tree, &options()).unwrap();
    let mut bytes = vec![0; image.len() as usize];
    image.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn contents(tree: &Tree, id: InodeId) -> Vec<u8> {
    let Kind::File(content) = &tree.inode(id).kind else { panic!("not a file") };
    let mut bytes = vec![0; content.len as usize];
    content.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn the_hard_tree_comes_back_and_every_file_is_hashed() {
    let tree = trees::hard(false);
    let (image, records) = written(&tree);
    let back = read(image.reopen().unwrap());
    assert_eq!(diff(&tree, &back), Vec::<String>::new());
    assert_eq!(bytes_of(&tree), std::fs::read(image.path()).unwrap(), "written and rendered bytes differ");

    let files: Vec<_> = tree.walk().filter(|entry| matches!(entry.inode.kind, Kind::File(_))).collect();
    assert_eq!(records.iter().map(|record| record.paths.len()).sum::<usize>(), files.len());
    for record in &records {
        let bytes = contents(&tree, record.inode);
        assert_eq!(record.size, bytes.len() as u64);
        assert_eq!(record.sha256, Algorithm::Sha256.digest(&bytes), "{:?}", record.paths);
        assert_eq!(record.fsverity, fsverity::digest(&bytes, &fsverity::Params::default()).unwrap());
    }
    let hard = records.iter().find(|record| record.paths[0].as_ref() == b"/links/hard-0").unwrap();
    assert_eq!(hard.paths.len(), 21);
}

#[test]
fn a_file_over_4_gib_stays_sparse_and_comes_back() {
    let mut b = Builder::new();
    let content = Sparse::content(trees::SPARSE);
    b.add(Tree::ROOT, "sparse", metadata(0o644), Kind::File(content));
    b.file(Tree::ROOT, "after", pattern(10_000, 1));
    let (image, _) = written(&b.tree);
    let facts = image.as_file().metadata().unwrap();
    assert!(facts.len() > 4 << 30);
    assert!(facts.blocks() * 512 < 1 << 20, "{} bytes on disk", facts.blocks() * 512);
    let back = read(image.reopen().unwrap());
    let Kind::File(content) = &back.inode(back.child(Tree::ROOT, b"sparse").unwrap()).kind else { panic!() };
    assert_eq!(content.len, trees::SPARSE);
    for (at, expected) in [((1u64 << 32) - 2, b"four gigabytes".as_slice()), (trees::SPARSE - 3, b"end")] {
        let mut found = vec![0; expected.len()];
        content.read_exact_at(&mut found, at).unwrap();
        assert_eq!(found, expected);
    }
}

#[test]
fn many_groups_of_inodes_keep_every_tail_with_its_file() {
    // 8 MiB of tails close a group: this makes three, and files that cross the window of the pass.
    let mut b = Builder::new();
    for directory in 0..6u64 {
        let id = b.directory(Tree::ROOT, format!("{directory}"));
        for number in 0..1200u64 {
            b.file(id, format!("{number}"), pattern(4096 + 4000, directory * 10_000 + number));
        }
    }
    let (image, records) = written(&b.tree);
    assert_eq!(diff(&b.tree, &read(image.reopen().unwrap())), Vec::<String>::new());
    for record in records {
        assert_eq!(record.sha256, Algorithm::Sha256.digest(&contents(&b.tree, record.inode)));
    }
}

#[test]
fn the_order_of_insertion_does_not_matter() {
    let names = ["z", "a", "m", "..x", "-"];
    let build = |order: &[usize]| {
        let mut b = Builder::new();
        for name in order.iter().map(|index| names[*index]) {
            let directory = b.directory(Tree::ROOT, name);
            b.file(directory, "file", pattern(5000, name.len() as u64));
        }
        let first = b.tree.child(Tree::ROOT, b"z").and_then(|z| b.tree.child(z, b"file")).unwrap();
        b.tree.link_child(Tree::ROOT, b"again", first).unwrap();
        bytes_of(&b.tree)
    };
    assert_eq!(build(&[0, 1, 2, 3, 4]), build(&[4, 2, 3, 0, 1]));
}

#[test]
fn a_truncated_source_is_named() {
    let mut b = Builder::new();
    let directory = b.directory(Tree::ROOT, "etc");
    let mut content = Content::from_bytes(pattern(5000, 1));
    content.len = 6000;
    b.add(directory, "changed", metadata(0o644), Kind::File(content));
    let image = Image::plan(&b.tree, &options()).unwrap();
    let out = tempfile::tempfile().unwrap();
    let error = erofs::write(&image, &out, &mut [], &Silent).unwrap_err();
    let source: &SourceError = error.get_ref().unwrap().downcast_ref().unwrap();
    assert_eq!((source.path.as_str(), source.len), ("/etc/changed", 6000));
}

#[test]
fn what_the_format_cannot_hold_is_refused_by_name() {
    let refused = |metadata: Metadata, kind: Kind| {
        let mut b = Builder::new();
        let directory = b.directory(Tree::ROOT, "d");
        b.add(directory, "x", metadata, kind);
        Image::plan(&b.tree, &options()).unwrap_err().to_string()
    };
    let with = |name: &str, len: usize| Metadata {
        xattrs: trees::xattrs(&[(name, &vec![0; len])]),
        ..metadata(0o644)
    };
    assert_eq!(
        refused(with("system.nfs4_acl", 1), Kind::Fifo),
        "`/d/x`: extended attribute `system.nfs4_acl`: EROFS has no place for its name: only user., trusted., \
         security. and the two system.posix_acl_ names"
    );
    assert!(refused(with("user.x", 65_536), Kind::Fifo).contains("65536 bytes"));
    assert!(refused(with(&format!("user.{}", "x".repeat(251)), 1), Kind::Fifo).contains("256 bytes"));
    assert!(refused(metadata(0o10_000), Kind::Fifo).contains("mode 10000"));
    assert!(refused(metadata(0o777), Kind::Symlink(vec![b'a'; 4096].into())).contains("4096 bytes"));
    assert!(refused(metadata(0o777), Kind::Symlink(Box::default())).contains("0 bytes"));
    let device = DeviceNumber { major: 4096, minor: 0 };
    assert!(refused(metadata(0), Kind::CharDevice(device)).contains("4096:0"));
    let mut content = Content::from_bytes(*b"");
    content.len = 17 << 40;
    assert!(refused(metadata(0), Kind::File(content)).contains("does not fit"));
    let long = erofs::Options { volume_name: "0123456789abcdef".into(), ..options() };
    assert!(matches!(Image::plan(&Tree::new(metadata(0)), &long), Err(PlanError::VolumeName(_))));
}

/// A recipe for one inode; where it goes is derived from `place`.
#[derive(Debug, Clone)]
struct Planned {
    place: u16,
    name: Vec<u8>,
    metadata: Metadata,
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    Directory,
    File(usize),
    Symlink(usize),
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
    Socket,
    HardLink(u16),
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        3 => 0..5000usize,
        2 => (0..4usize, 0..200usize).prop_map(|(blocks, less)| (blocks * 4096 + 100).saturating_sub(less)),
        2 => prop::sample::select(trees::LENGTHS.to_vec()),
    ]
}

fn a_metadata() -> impl Strategy<Value = Metadata> {
    let ids = || prop_oneof![Just(0), Just(1000), 65_534..65_538u32, any::<u32>()];
    let mtime = prop_oneof![4 => Just(trees::BUILD_TIME), 1 => any::<i64>()];
    let names = prop_oneof![
        Just("user.a".to_string()),
        Just("security.capability".into()),
        Just("system.posix_acl_access".into()),
        Just("system.posix_acl_default".into()),
        "(user|trusted|security)\\.[a-z.]{1,200}",
    ];
    let value = prop_oneof![4 => 0..40usize, 1 => 0..5000usize];
    let xattrs = prop::collection::btree_map(names, value, 0..3);
    (0..=0o7777u16, ids(), ids(), mtime, xattrs).prop_map(|(mode, uid, gid, mtime, xattrs)| Metadata {
        mode,
        uid,
        gid,
        mtime,
        xattrs: xattrs
            .into_iter()
            .map(|(name, len)| (name.into_bytes().into(), pattern(len, 1).into()))
            .collect::<BTreeMap<_, _>>(),
    })
}

fn a_planned() -> impl Strategy<Value = Planned> {
    let shape = prop_oneof![
        3 => Just(Shape::Directory),
        5 => lengths().prop_map(Shape::File),
        2 => (1..4096usize).prop_map(Shape::Symlink),
        1 => (0..4096u32, 0..1u32 << 20).prop_map(|(major, minor)| Shape::Char(major, minor)),
        1 => (0..4096u32, 0..1u32 << 20).prop_map(|(major, minor)| Shape::Block(major, minor)),
        1 => Just(Shape::Fifo),
        1 => Just(Shape::Socket),
        2 => any::<u16>().prop_map(Shape::HardLink),
    ];
    let name =
        prop::collection::vec(any::<u8>().prop_filter("no name", |byte| !matches!(byte, 0 | b'/')), 1..=255);
    (any::<u16>(), name, a_metadata(), shape).prop_map(|(place, name, metadata, shape)| Planned {
        place,
        name,
        metadata,
        shape,
    })
}

fn built(root: Metadata, planned: &[Planned]) -> Tree {
    let mut tree = Tree::new(root);
    let (mut directories, mut others) = (vec![Tree::ROOT], Vec::new());
    for (number, Planned { place, name, metadata, shape }) in planned.iter().enumerate() {
        let above = directories[usize::from(*place) % directories.len()];
        let device = |major: &u32, minor: &u32| DeviceNumber { major: *major, minor: *minor };
        let kind = match shape {
            Shape::HardLink(which) if !others.is_empty() => {
                let _ = tree.link_child(above, name, others[usize::from(*which) % others.len()]);
                continue;
            }
            Shape::Directory => Kind::directory(),
            Shape::File(len) => Kind::File(Content::from_bytes(pattern(*len, number as u64))),
            Shape::Symlink(len) => Kind::Symlink(vec![b'l'; *len].into()),
            Shape::Char(major, minor) => Kind::CharDevice(device(major, minor)),
            Shape::Block(major, minor) => Kind::BlockDevice(device(major, minor)),
            Shape::Fifo | Shape::HardLink(_) => Kind::Fifo,
            Shape::Socket => Kind::Socket,
        };
        let is_directory = matches!(kind, Kind::Directory(_));
        // Names that are taken or dots are refused by the tree.
        let Ok(id) = tree.insert_child(above, name, Inode::new(metadata.clone(), kind)) else { continue };
        if is_directory { directories.push(id) } else { others.push(id) }
    }
    tree
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back(
        root in a_metadata(),
        planned in prop::collection::vec(a_planned(), 0..120),
        ranges in prop::collection::vec((any::<u64>(), 0..20_000usize), 8),
    ) {
        let tree = built(root, &planned);
        let bytes = bytes_of(&tree);
        let image = Image::plan(&tree, &options()).unwrap();
        for (at, len) in ranges {
            let at = at % (image.len() + 1);
            let len = len.min((image.len() - at) as usize);
            let mut part = vec![0xaa; len];
            image.read_exact_at(&mut part, at).unwrap();
            prop_assert_eq!(&part, &bytes[at as usize..at as usize + len]);
        }
        let back = erofs::Reader::open(bytes).unwrap().tree().unwrap();
        prop_assert_eq!(diff(&tree, &back), Vec::<String>::new());
    }
}
