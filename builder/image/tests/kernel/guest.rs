//! `/init` of the machine that `main.rs` starts: mounts the image with the kernel's EROFS and holds what the kernel
//! shows against the tree that went in, which it makes anew.
#![allow(clippy::unwrap_used, reason = "what goes wrong is told by the panic on the console")]

#[path = "../erofs/trees.rs"]
mod trees;

use std::os::unix::fs::FileExt;
use std::path::Path;

use graven_image::tree::{Kind, Tree, diff};
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, init_module, reboot};

/// What the test looks for on the console.
const SAME: &str = "graven: the kernel sees the tree that went in";

fn main() {
    assert_eq!(std::process::id(), 1, "this is the init of a test machine");
    let checked = std::panic::catch_unwind(check);
    match checked {
        Ok(differences) if differences.is_empty() => println!("{SAME}"),
        Ok(differences) => differences.iter().take(50).for_each(|line| println!("graven: differs: {line}")),
        Err(_) => println!("graven: the check did not come to its end"),
    }
    // QEMU ends when the machine starts anew.
    let _ = reboot(RebootCommand::Restart);
}

fn check() -> Vec<String> {
    for module in ["virtio_blk.ko", "erofs.ko"] {
        let bytes = std::fs::read(Path::new("/modules").join(module)).unwrap();
        init_module(&bytes, c"").unwrap();
    }
    for (what, at) in [("devtmpfs", "/dev"), ("proc", "/proc")] {
        std::fs::create_dir_all(at).unwrap();
        mount(what, at, what, MountFlags::empty(), None).unwrap();
    }
    std::fs::create_dir_all("/mnt").unwrap();
    mount("/dev/vda", "/mnt", "erofs", MountFlags::RDONLY, None).unwrap();

    let expected = trees::hard(true);
    let found = trees::of_folder(Path::new("/mnt"));
    // Read whole, the sparse file would take minutes here: its length and what is in it is enough.
    let (mut expected_small, mut found_small) = (expected.clone(), found);
    let mut differences = Vec::new();
    for tree in [&mut expected_small, &mut found_small] {
        let id = tree.child(Tree::ROOT, b"sparse").unwrap();
        let Kind::File(content) = &mut tree.inode_mut(id).kind else { panic!("/sparse is no file") };
        if content.len != trees::SPARSE {
            differences.push(format!("/sparse: {} bytes", content.len));
        }
        content.len = 64 << 10;
    }
    let sparse = std::fs::File::open("/mnt/sparse").unwrap();
    for (at, bytes) in trees::Sparse::new(trees::SPARSE).islands {
        let mut there = vec![0; bytes.len()];
        sparse.read_exact_at(&mut there, at).unwrap();
        if there != bytes {
            differences.push(format!("/sparse: other bytes at {at}"));
        }
    }
    differences.extend(diff(&expected_small, &found_small));
    // The kernel looks names up by bisection, and counts links as the inode says.
    for entry in expected.walk() {
        let path = format!("/mnt{}", String::from_utf8_lossy(&entry.path));
        let facts = std::fs::symlink_metadata(&path).unwrap();
        let links = std::os::unix::fs::MetadataExt::nlink(&facts);
        let counted = match &entry.inode.kind {
            Kind::Directory(children) => {
                let inside = |id| matches!(expected.inode(id).kind, Kind::Directory(_));
                2 + children.values().filter(|id| inside(**id)).count() as u64
            }
            _ => expected.links(entry.id).into(),
        };
        if links != counted {
            differences.push(format!("{path}: {links} links, expected {counted}"));
        }
    }
    differences
}
