//! Comparing two trees: the oracle of every reader and writer of trees, and what two releases are told apart by.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::path::show;
use super::{Content, Inode, Kind, Tree, WalkEntry};

/// A name at which two trees are not the same.
#[derive(Debug)]
pub struct Difference<'t> {
    /// From the leading `/` on.
    pub path: Vec<u8>,
    /// What the first has there.
    pub old: Option<&'t Inode>,
    /// What the second has there.
    pub new: Option<&'t Inode>,
    /// Where both have something: what of it is not the same.
    pub aspects: Vec<Aspect>,
}

/// What of a file is not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aspect {
    /// One is a folder, the other a link, and the like.
    Kind,
    /// Permission bits.
    Mode,
    /// Owner or group.
    Owner,
    /// Time of modification.
    Time,
    /// The extended attribute of this name.
    Attribute(Box<[u8]>),
    /// Where a symbolic link leads.
    Target,
    /// Number of a device.
    Device,
    /// Length of the contents.
    Length,
    /// Contents of the same length, from this byte on.
    Contents(u64),
    /// Contents that could not be read, and why.
    Unreadable(String),
    /// All names of the inode in either, where it has several: hard links.
    Links {
        /// In the first.
        old: Option<Names>,
        /// In the second.
        new: Option<Names>,
    },
}

/// The names of one inode, shared by all of them.
pub type Names = Arc<[Vec<u8>]>;

/// The names at which two trees are not the same, in walk order: kinds, metadata, contents (which are read), hard links.
/// Origins are not compared.
pub fn compare<'t>(a: &'t Tree, b: &'t Tree) -> Vec<Difference<'t>> {
    let mut known = BTreeSet::new();
    let (old_links, new_links) = (hard_links(a, &mut known), hard_links(b, &mut known));
    let (mut left, mut right) = (a.walk().peekable(), b.walk().peekable());
    let mut differences = Vec::new();
    loop {
        let order = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) => walk_order(a, b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return differences,
        };
        let first = if order.is_le() { left.next() } else { None };
        let second = if order.is_ge() { right.next() } else { None };
        let (old, new) = (first.as_ref().map(|entry| entry.inode), second.as_ref().map(|entry| entry.inode));
        let path = first.or(second).map(|entry| entry.path).unwrap_or_default();
        let mut aspects = old.zip(new).map(|(old, new)| aspects(old, new)).unwrap_or_default();
        let (old_names, new_names) = (old_links.get(&path), new_links.get(&path));
        if old.is_some() && new.is_some() && old_names.map(Arc::as_ptr) != new_names.map(Arc::as_ptr) {
            aspects.push(Aspect::Links { old: old_names.cloned(), new: new_names.cloned() });
        }
        if old.is_none() || new.is_none() || !aspects.is_empty() {
            differences.push(Difference { path, old, new, aspects });
        }
    }
}

/// What differs between two trees, a line each, as [`compare`] finds it. Empty when the trees are the same.
pub fn diff(a: &Tree, b: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    for difference in compare(a, b) {
        let path = show(&difference.path);
        match (difference.old, difference.new) {
            (Some(old), Some(new)) => {
                lines.extend(
                    difference.aspects.iter().map(|aspect| format!("{path}: {}", aspect.line(old, new))),
                );
            }
            (Some(old), None) => lines.push(format!("{path}: {} in the first only", old.kind.noun())),
            (None, Some(new)) => lines.push(format!("{path}: {} in the second only", new.kind.noun())),
            (None, None) => {}
        }
    }
    lines
}

impl Aspect {
    fn line(&self, old: &Inode, new: &Inode) -> String {
        let (was, is) = (&old.metadata, &new.metadata);
        match (self, &old.kind, &new.kind) {
            (Self::Mode, ..) => format!("mode {:04o} and {:04o}", was.mode, is.mode),
            (Self::Owner, ..) => format!("owner {}:{} and {}:{}", was.uid, was.gid, is.uid, is.gid),
            (Self::Time, ..) => format!("time {} and {}", was.mtime, is.mtime),
            (Self::Attribute(name), ..) => format!("extended attribute {} differs", show(name)),
            (Self::Target, Kind::Symlink(a), Kind::Symlink(b)) => {
                format!("link to {} and {}", show(a), show(b))
            }
            (
                Self::Device,
                Kind::CharDevice(a) | Kind::BlockDevice(a),
                Kind::CharDevice(b) | Kind::BlockDevice(b),
            ) => {
                format!("device {}:{} and {}:{}", a.major, a.minor, b.major, b.minor)
            }
            (Self::Length, Kind::File(a), Kind::File(b)) => format!("{} and {} bytes", a.len, b.len),
            (Self::Contents(at), ..) => format!("contents differ at byte {at}"),
            (Self::Unreadable(why), ..) => format!("contents cannot be read: {why}"),
            (Self::Links { old, new }, ..) => {
                let count = |names: &Option<Names>| names.as_ref().map_or(1, |names| names.len());
                format!("one of {} names and of {}", count(old), count(new))
            }
            (Self::Kind | Self::Target | Self::Device | Self::Length, a, b) => {
                format!("{} and {}", a.noun(), b.noun())
            }
        }
    }
}

fn walk_order(a: &WalkEntry<'_>, b: &WalkEntry<'_>) -> Ordering {
    a.path.split(|byte| *byte == b'/').cmp(b.path.split(|byte| *byte == b'/'))
}

/// For each name of an inode that has several: all of them. The same names are the same value, in both trees.
fn hard_links(tree: &Tree, known: &mut BTreeSet<Names>) -> BTreeMap<Vec<u8>, Names> {
    let mut links = BTreeMap::new();
    for names in tree.hard_links().into_values() {
        let names: Names = names.into();
        let names = known.get(&names).cloned().unwrap_or(names);
        known.insert(Arc::clone(&names));
        links.extend(names.iter().map(|name| (name.clone(), Arc::clone(&names))));
    }
    links
}

fn aspects(a: &Inode, b: &Inode) -> Vec<Aspect> {
    let (old, new) = (&a.metadata, &b.metadata);
    let mut aspects = Vec::new();
    let mut differs = |is: bool, aspect: Aspect| {
        if is {
            aspects.push(aspect);
        }
    };
    differs(old.mode != new.mode, Aspect::Mode);
    differs((old.uid, old.gid) != (new.uid, new.gid), Aspect::Owner);
    differs(old.mtime != new.mtime, Aspect::Time);
    for name in old.xattrs.keys().chain(new.xattrs.keys().filter(|name| !old.xattrs.contains_key(*name))) {
        differs(old.xattrs.get(name) != new.xattrs.get(name), Aspect::Attribute(name.clone()));
    }
    match (&a.kind, &b.kind) {
        (Kind::Directory(_), Kind::Directory(_))
        | (Kind::Fifo, Kind::Fifo)
        | (Kind::Socket, Kind::Socket) => {}
        (Kind::File(a), Kind::File(b)) => aspects.extend(contents(a, b)),
        (Kind::Symlink(a), Kind::Symlink(b)) => differs(a != b, Aspect::Target),
        (Kind::CharDevice(a), Kind::CharDevice(b)) | (Kind::BlockDevice(a), Kind::BlockDevice(b)) => {
            differs(a != b, Aspect::Device);
        }
        _ => aspects.insert(0, Aspect::Kind),
    }
    aspects
}

fn contents(a: &Content, b: &Content) -> Option<Aspect> {
    if a.len != b.len {
        return Some(Aspect::Length);
    }
    let (mut first, mut second) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut offset = 0;
    while offset < a.len {
        let step = a.len.saturating_sub(offset).min(1 << 16);
        let (first, second) = (first.get_mut(..step as usize)?, second.get_mut(..step as usize)?);
        if let Err(error) = a.read_exact_at(first, offset).and_then(|()| b.read_exact_at(second, offset)) {
            return Some(Aspect::Unreadable(error.to_string()));
        }
        if first != second {
            let at = first.iter().zip(second.iter()).position(|(a, b)| a != b).unwrap_or_default();
            return Some(Aspect::Contents(offset.saturating_add(at as u64)));
        }
        offset = offset.saturating_add(step);
    }
    None
}
