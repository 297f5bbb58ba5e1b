//! What a source brings, read and checked, before it is put into the tree.

use std::collections::HashSet;
use std::sync::Arc;

use graven_image::tree::{self, Content, Inode, Kind, Metadata, Tree, TreePath};

use crate::{Error, Problem, Sha256};

/// What one folder, archive or package brings, in its order.
#[derive(Debug)]
pub struct Layer {
    pub(crate) input: String,
    pub(crate) entries: Vec<Entry>,
    /// SHA-256 of the file it was read from; none for a folder.
    pub sha256: Option<Sha256>,
    /// The newest modification time of its entries in seconds since 1970 (for `source-date`); none when there
    /// are no entries, and for a folder whose times are not kept.
    pub newest_mtime: Option<i64>,
}

/// A name, and what it is to become.
#[derive(Debug)]
pub struct Entry {
    /// Where it goes.
    pub path: TreePath,
    /// What it is.
    pub item: Item,
}

/// What an entry is.
#[derive(Debug)]
pub enum Item {
    /// A file of any kind.
    Inode(Inode),
    /// One more name of an earlier entry of the same layer.
    HardLink(TreePath),
}

/// A file that a layer replaced. `dpkg` refuses that unless the new package declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Which.
    pub path: TreePath,
    /// Where the old one came from.
    pub earlier: Option<Arc<str>>,
}

impl Layer {
    /// The folder, archive or package, for messages.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// What it brings, in its order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The contents of one regular file of the layer by the very name it has there; hard links are followed,
    /// symbolic links not.
    pub fn member(&self, path: &TreePath) -> Option<&Content> {
        let mut wanted = path;
        // A hard link names an earlier entry: walking backwards each is met once.
        for entry in self.entries.iter().rev().filter(|entry| !entry.path.is_root()) {
            if entry.path != *wanted {
                continue;
            }
            match &entry.item {
                Item::Inode(Inode { kind: Kind::File(content), .. }) => return Some(content),
                Item::Inode(_) => return None,
                Item::HardLink(target) => wanted = target,
            }
        }
        None
    }

    /// The same entries, all below `folder`.
    ///
    /// # Errors
    /// When a path becomes too long.
    pub fn below(mut self, folder: &TreePath) -> Result<Self, Error> {
        if folder.is_root() {
            return Ok(self);
        }
        let input = self.input.clone();
        let moved = |path: &TreePath| {
            let at = |error: tree::Error| Error {
                input: input.clone(),
                member: Some(path.to_string()),
                problem: error.into(),
            };
            folder.join(path.as_bytes()).map_err(at)
        };
        for entry in &mut self.entries {
            entry.path = moved(&entry.path)?;
            if let Item::HardLink(existing) = &mut entry.item {
                *existing = moved(existing)?;
            }
        }
        Ok(self)
    }

    /// Puts all entries into the tree, in order, by the rules of [`Tree::insert`]. Directories that the layer
    /// uses without bringing them are made: root's, mode 0755, with the time of the entry that needs them.
    ///
    /// Returns the files that it replaced, those that were there before under the same name.
    ///
    /// # Errors
    /// Where the tree already has something that cannot be replaced; it is then left half changed, and is of
    /// no more use.
    pub fn apply(self, tree: &mut Tree) -> Result<Vec<Replaced>, Error> {
        let mut replaced = Vec::new();
        let mut placed = HashSet::new();
        for entry in self.entries {
            let shown = entry.path.to_string();
            let at = |problem| Error { input: self.input.clone(), member: Some(shown), problem };
            match place(tree, entry, &mut placed) {
                Ok(Some(earlier)) => replaced.push(earlier),
                Ok(None) => {}
                Err(problem) => return Err(at(problem)),
            }
        }
        Ok(replaced)
    }
}

fn place(
    tree: &mut Tree,
    entry: Entry,
    placed: &mut HashSet<tree::InodeId>,
) -> Result<Option<Replaced>, Problem> {
    let mut replaced = None;
    match tree.lookup(&entry.path) {
        Ok(present) => {
            let inode = tree.inode(present);
            if !matches!(inode.kind, Kind::Directory(_)) && !keeps_link(tree, &entry) {
                if placed.contains(&present) {
                    return Err(Problem::DuplicateThroughLink);
                }
                replaced = Some(Replaced { path: entry.path.clone(), earlier: inode.origin.clone() });
            }
        }
        Err(tree::Error::NotFound { .. }) => {
            if let Some(parent) = entry.path.parent() {
                let mtime = match &entry.item {
                    Item::Inode(inode) => inode.metadata.mtime,
                    Item::HardLink(existing) => tree.inode(tree.lookup(existing)?).metadata.mtime,
                };
                tree.make_directories(&parent, &Metadata { mode: 0o755, mtime, ..Metadata::default() })?;
            }
        }
        Err(other) => return Err(other.into()),
    }
    let id = match entry.item {
        Item::Inode(inode) => tree.insert(&entry.path, inode)?,
        Item::HardLink(existing) => tree.hard_link(&entry.path, &existing)?,
    };
    if !matches!(tree.inode(id).kind, Kind::Directory(_)) {
        placed.insert(id);
    }
    Ok(replaced)
}

/// A directory where the tree has a link to one: the link stays, nothing is replaced.
fn keeps_link(tree: &Tree, entry: &Entry) -> bool {
    let brings_directory = matches!(&entry.item, Item::Inode(Inode { kind: Kind::Directory(_), .. }));
    brings_directory
        && tree.resolve(&entry.path).is_ok_and(|id| matches!(tree.inode(id).kind, Kind::Directory(_)))
}
