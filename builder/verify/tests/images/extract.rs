//! What comes out is what went in, and it lands nowhere else.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use crate::image::{self, Change, INIT, Image};
use graven_image::tree::{DeviceNumber, Inode, Kind, Metadata, Tree, TreePath};
use graven_verify::extract::{self, ExtractError, Selected, Selection};
use graven_verify::{Contents, Part};

fn contents(image: &Image) -> Contents {
    Contents::open(Arc::new(image.disk.clone())).unwrap()
}

fn select(contents: &Contents, name: &str) -> Selected {
    extract::select(contents, &name.parse().unwrap()).unwrap()
}

fn printed(contents: &Contents, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    extract::print(&select(contents, name), &mut out).unwrap();
    out
}

#[test]
fn every_part_has_a_name() {
    let image = Image::plain();
    let contents = contents(image);
    assert_eq!(printed(&contents, "boot"), image.uki);
    assert_eq!(printed(&contents, "/usr/sbin/init"), INIT);
    assert_eq!(
        printed(&contents, "esp:/efi/boot/BOOTX64.EFI".replace("efi/boot", "EFI/BOOT").as_str()),
        image.uki
    );
    assert_eq!(printed(&contents, "cmdline"), image.manifest.command_line.as_bytes());
    assert_eq!(printed(&contents, "initramfs:/init"), image::STAGE0);
    assert_eq!(printed(&contents, "stage0"), image::STAGE0);
    assert!(printed(&contents, "policy").starts_with(b"policy_name=acme"));
    let root = &image.table.partitions[1];
    assert_eq!(printed(&contents, "root"), image.disk[root.start as usize..(root.start + root.len) as usize]);
    for part in Part::ALL {
        assert!(!printed(&contents, part.name()).is_empty(), "{}", part.name());
    }
    assert!(matches!("nothing".parse::<Selection>(), Err(ExtractError::Name(..))));
    assert!("/a/../b".parse::<Selection>().is_err());
    assert!(extract::select(&contents, &"/nothing".parse().unwrap()).is_err());
}

#[test]
fn a_folder_comes_out_without_what_only_root_may_have() {
    let contents = contents(Image::plain());
    let folder = tempfile::tempdir().unwrap();
    let dest = folder.path().join("root");
    let Selected::Tree(tree, id) = select(&contents, "/") else { panic!("a tree") };
    let done = extract::to_folder(&tree, id, &dest).unwrap();
    assert_eq!((done.files, done.symlinks, done.skipped.len()), (3, 1, 0));
    assert_eq!(fs::read(dest.join("usr/sbin/init")).unwrap(), INIT);
    let mode = fs::metadata(dest.join("usr/sbin/init")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "not set-uid");
    assert_eq!(fs::read_link(dest.join("link")).unwrap().to_str(), Some("/etc/passwd"));
    assert!(matches!(extract::to_folder(&tree, id, &dest), Err(ExtractError::Exists(_))));
}

#[test]
fn nothing_is_written_through_a_link_or_over_a_file() {
    let contents = contents(Image::plain());
    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    symlink(&target, &link).unwrap();
    for name in ["boot", "/usr/sbin/init", "/"] {
        let selected = select(&contents, name);
        let outcome = match &selected {
            Selected::Tree(tree, id) => extract::to_folder(tree, *id, &link).map(|_| ()),
            _ => extract::to_new_file(&selected, &link),
        };
        assert!(matches!(outcome, Err(ExtractError::Exists(_))), "{name}");
        assert!(!target.exists());
    }
}

#[test]
fn a_tar_gives_back_the_tree() {
    let path = |text: &str| TreePath::parse(text.as_bytes()).unwrap();
    let long = format!("/{}/{}", "d".repeat(90), "f".repeat(90));
    let change = Change {
        tree: Box::new(move |tree: &mut Tree| {
            let mut metadata = Metadata {
                mode: 0o600,
                uid: 70_000,
                gid: 4_000_000,
                mtime: 1_700_000_000,
                ..Metadata::default()
            };
            metadata
                .xattrs
                .insert(b"security.capability".as_slice().into(), b"\x01\0\0\x02".as_slice().into());
            let console = Kind::CharDevice(DeviceNumber { major: 5, minor: 1 });
            tree.insert(&path("/console"), Inode::new(metadata.clone(), console)).unwrap();
            tree.make_directories(
                &path(&long).parent().unwrap(),
                &Metadata { mode: 0o755, ..metadata.clone() },
            )
            .unwrap();
            let init = tree.lookup(&path("/usr/sbin/init")).unwrap();
            let parent = tree.lookup(&path(&long).parent().unwrap()).unwrap();
            tree.link_child(parent, path(&long).name().unwrap(), init).unwrap();
        }),
        ..Change::default()
    };
    let contents = contents(&Image::build(&change));
    let Selected::Tree(tree, id) = select(&contents, "/") else { panic!("a tree") };
    let (mut first, mut second) = (Vec::new(), Vec::new());
    extract::to_tar(&tree, id, &mut first).unwrap();
    extract::to_tar(&tree, id, &mut second).unwrap();
    assert!(first == second, "the same tree, the same bytes");

    let mut archive = tar::Archive::new(first.as_slice());
    let mut names = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        if name == "./console" {
            assert_eq!(entry.header().device_minor().unwrap(), Some(1));
            let extensions = entry.pax_extensions().unwrap().unwrap();
            let records: Vec<_> = extensions
                .map(|one| {
                    let one = one.unwrap();
                    (one.key().unwrap().to_owned(), one.value_bytes().to_vec())
                })
                .collect();
            assert!(records.contains(&("gid".into(), b"4000000".to_vec())), "{records:?}");
            assert!(records.contains(&("SCHILY.xattr.security.capability".into(), b"\x01\0\0\x02".to_vec())));
        }
        if name.ends_with("fff") {
            assert_eq!(entry.header().entry_type(), tar::EntryType::Regular);
        }
        if name == "./usr/sbin/init" {
            assert_eq!(entry.header().entry_type(), tar::EntryType::Link);
            assert_eq!(entry.header().mode().unwrap(), 0o4755);
        }
        names.push(name);
    }
    assert!(names.contains(&"./".to_owned()) && names.contains(&"./link".to_owned()), "{names:?}");
}
