//! A root with a million inodes: written in one go, judged by `fsck.erofs`, read back.
#![cfg(feature = "full")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use graven_image::erofs::{self, Image, Options, Reader};
use graven_image::tree::{Content, Inode, Kind, Metadata, Tree, TreePath};
use graven_tests::oracle;
use graven_verity::progress::Silent;

const FOLDERS: u64 = 1000;
const FILES_OF_EACH: u64 = 1000;

/// Every file says which one it is, so that none can be taken for another.
fn contents(folder: u64, file: u64) -> Vec<u8> {
    format!("{folder}/{file}\n").into_bytes()
}

#[test]
fn a_million_inodes_satisfy_fsck_erofs_and_come_back() {
    let metadata = |mode| Metadata { mode, mtime: 1_700_000_000, ..Metadata::default() };
    let mut tree = Tree::new(metadata(0o755));
    for folder in 0..FOLDERS {
        let inode = Inode::new(metadata(0o755), Kind::directory());
        let id = tree.insert_child(Tree::ROOT, folder.to_string().as_bytes(), inode).unwrap();
        for file in 0..FILES_OF_EACH {
            let kind = Kind::File(Content::from_bytes(contents(folder, file)));
            tree.insert_child(id, file.to_string().as_bytes(), Inode::new(metadata(0o644), kind)).unwrap();
        }
    }
    let inodes = 1 + FOLDERS + FOLDERS * FILES_OF_EACH;
    assert_eq!(tree.len() as u64, inodes);

    let options =
        Options { uuid: uuid::Uuid::from_u128(1), build_time: 1_700_000_000, volume_name: "many".into() };
    let image = Image::plan(&tree, &options).unwrap();
    let out = tempfile::NamedTempFile::new().unwrap();
    out.as_file().set_len(image.len()).unwrap();
    let written = erofs::write(&image, out.as_file(), &mut [], &Silent).unwrap().files;
    assert_eq!(written.len() as u64, FOLDERS * FILES_OF_EACH);
    oracle::content("fsck.erofs", [out.path()]);

    let back = Reader::open(out.reopen().unwrap()).unwrap().tree().unwrap();
    assert_eq!(back.len() as u64, inodes);
    for folder in 0..FOLDERS {
        for file in (folder % 7..FILES_OF_EACH).step_by(7) {
            let path = TreePath::parse(format!("/{folder}/{file}").as_bytes()).unwrap();
            assert_eq!(back.read(&path, 64).unwrap(), contents(folder, file), "{path}");
        }
    }
}
