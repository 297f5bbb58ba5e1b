//! Whether two trees are the same, to the last byte of contents.

use std::cmp::Ordering;

use super::path::show;
use super::{Content, Inode, Kind, Tree, WalkEntry};

/// What differs between two trees, a line each, in walk order: names, kinds, metadata, contents (which are
/// read), hard links. Origins are not compared. Empty when the trees are the same.
pub fn diff(a: &Tree, b: &Tree) -> Vec<String> {
    let mut differences = Vec::new();
    let (mut left, mut right) = (a.walk().peekable(), b.walk().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => walk_order(a, b),
        };
        let first = if order.is_le() { left.next() } else { None };
        let second = if order.is_ge() { right.next() } else { None };
        match (first, second) {
            (Some(a), Some(b)) => inodes(&show(&a.path), a.inode, b.inode, &mut differences),
            (Some(a), None) => {
                differences.push(format!("{}: {} in the first only", show(&a.path), a.inode.kind.noun()));
            }
            (None, Some(b)) => {
                differences.push(format!("{}: {} in the second only", show(&b.path), b.inode.kind.noun()));
            }
            (None, None) => break,
        }
    }
    let names = |tree: &Tree| {
        let mut groups: Vec<Vec<Vec<u8>>> = tree.hard_links().into_values().collect();
        groups.sort();
        groups
    };
    let (first, second) = (names(a), names(b));
    let mut only = |groups: &[Vec<Vec<u8>>], others: &[Vec<Vec<u8>>], which: &str| {
        for group in groups.iter().filter(|group| others.binary_search(group).is_err()) {
            let names: Vec<String> = group.iter().map(|name| show(name)).collect();
            differences.push(format!("{}: one inode in the {which} only", names.join(", ")));
        }
    };
    only(&first, &second, "first");
    only(&second, &first, "second");
    differences
}

fn walk_order(a: &WalkEntry<'_>, b: &WalkEntry<'_>) -> Ordering {
    a.path.split(|byte| *byte == b'/').cmp(b.path.split(|byte| *byte == b'/'))
}

fn inodes(path: &str, a: &Inode, b: &Inode, differences: &mut Vec<String>) {
    let (old, new) = (&a.metadata, &b.metadata);
    if old.mode != new.mode {
        differences.push(format!("{path}: mode {:04o} and {:04o}", old.mode, new.mode));
    }
    if (old.uid, old.gid) != (new.uid, new.gid) {
        differences.push(format!("{path}: owner {}:{} and {}:{}", old.uid, old.gid, new.uid, new.gid));
    }
    if old.mtime != new.mtime {
        differences.push(format!("{path}: time {} and {}", old.mtime, new.mtime));
    }
    for name in old.xattrs.keys().chain(new.xattrs.keys().filter(|name| !old.xattrs.contains_key(*name))) {
        if old.xattrs.get(name) != new.xattrs.get(name) {
            differences.push(format!("{path}: extended attribute {} differs", show(name)));
        }
    }
    match (&a.kind, &b.kind) {
        (Kind::Directory(_), Kind::Directory(_))
        | (Kind::Fifo, Kind::Fifo)
        | (Kind::Socket, Kind::Socket) => {}
        (Kind::File(a), Kind::File(b)) => differences.extend(contents(path, a, b)),
        (Kind::Symlink(a), Kind::Symlink(b)) if a == b => {}
        (Kind::Symlink(a), Kind::Symlink(b)) => {
            differences.push(format!("{path}: link to {} and {}", show(a), show(b)));
        }
        (Kind::CharDevice(a), Kind::CharDevice(b)) | (Kind::BlockDevice(a), Kind::BlockDevice(b))
            if a == b => {}
        (Kind::CharDevice(a), Kind::CharDevice(b)) | (Kind::BlockDevice(a), Kind::BlockDevice(b)) => {
            differences.push(format!("{path}: device {}:{} and {}:{}", a.major, a.minor, b.major, b.minor));
        }
        (a, b) => differences.push(format!("{path}: {} and {}", a.noun(), b.noun())),
    }
}

fn contents(path: &str, a: &Content, b: &Content) -> Option<String> {
    if a.len != b.len {
        return Some(format!("{path}: {} and {} bytes", a.len, b.len));
    }
    let (mut first, mut second) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut offset = 0;
    while offset < a.len {
        let step = a.len.saturating_sub(offset).min(1 << 16);
        let (first, second) = (first.get_mut(..step as usize)?, second.get_mut(..step as usize)?);
        if let Err(error) = a.read_exact_at(first, offset).and_then(|()| b.read_exact_at(second, offset)) {
            return Some(format!("{path}: contents cannot be read: {error}"));
        }
        if let Some(at) = first.iter().zip(second.iter()).position(|(a, b)| a != b) {
            return Some(format!("{path}: contents differ at byte {}", offset.saturating_add(at as u64)));
        }
        offset = offset.saturating_add(step);
    }
    None
}
