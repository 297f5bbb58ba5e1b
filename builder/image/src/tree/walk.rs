//! Every name of a tree, in order.

use std::collections::{BTreeMap, btree_map};

use super::{Inode, InodeId, Kind, Name, Tree};

/// One name of a tree.
#[derive(Debug)]
pub struct WalkEntry<'a> {
    /// From the leading `/` on; `/` for the root.
    pub path: Vec<u8>,
    /// The inode, the same for every one of its names.
    pub id: InodeId,
    /// What is there.
    pub inode: &'a Inode,
}

/// Every name of a tree: a directory before its entries, entries in byte order of their names. Made by
/// [`Tree::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    tree: &'a Tree,
    root: bool,
    /// Open directories: length of their path (0 for the root), entries still to come.
    open: Vec<(usize, btree_map::Iter<'a, Name, InodeId>)>,
    path: Vec<u8>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = WalkEntry<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.root {
            self.root = true;
            let inode = self.tree.inode(Tree::ROOT);
            self.descend(inode);
            return Some(WalkEntry { path: b"/".to_vec(), id: Tree::ROOT, inode });
        }
        loop {
            let (len, entries) = self.open.last_mut()?;
            self.path.truncate(*len);
            let Some((name, id)) = entries.next() else {
                self.open.pop();
                continue;
            };
            self.path.push(b'/');
            self.path.extend_from_slice(name);
            let inode = self.tree.inode(*id);
            self.descend(inode);
            return Some(WalkEntry { path: self.path.clone(), id: *id, inode });
        }
    }
}

impl<'a> Walk<'a> {
    fn descend(&mut self, inode: &'a Inode) {
        if let Kind::Directory(children) = &inode.kind {
            self.open.push((self.path.len(), children.iter()));
        }
    }
}

/// One name at or below a file of a tree.
#[derive(Debug)]
pub struct Below<'a> {
    /// Relative, `/` between components; empty for the file itself.
    pub path: Vec<u8>,
    /// The inode, the same for every one of its names.
    pub id: InodeId,
    /// What is there.
    pub inode: &'a Inode,
}

impl Tree {
    /// Every name from `start` on, a directory before its entries, entries in byte order of their names.
    pub fn below(&self, start: InodeId) -> impl Iterator<Item = Below<'_>> {
        let mut waiting = vec![(Vec::new(), start)];
        std::iter::from_fn(move || {
            let (path, id) = waiting.pop()?;
            let inode = self.inode(id);
            if let Kind::Directory(children) = &inode.kind {
                for (name, child) in children.iter().rev() {
                    let mut path: Vec<u8> = path.clone();
                    if !path.is_empty() {
                        path.push(b'/');
                    }
                    path.extend_from_slice(name);
                    waiting.push((path, *child));
                }
            }
            Some(Below { path, id, inode })
        })
    }

    /// Every name, a directory before its entries, entries in byte order of their names; the root comes first.
    pub fn walk(&self) -> Walk<'_> {
        Walk { tree: self, root: false, open: Vec::new(), path: Vec::new() }
    }

    /// All names of each inode that has more than one, in the order of [`walk`](Self::walk).
    pub fn hard_links(&self) -> BTreeMap<InodeId, Vec<Vec<u8>>> {
        let mut names: BTreeMap<InodeId, Vec<Vec<u8>>> = BTreeMap::new();
        if self.links.iter().all(|links| *links < 2) {
            return names;
        }
        for entry in self.walk().filter(|entry| self.links(entry.id) > 1) {
            names.entry(entry.id).or_default().push(entry.path);
        }
        names
    }
}
