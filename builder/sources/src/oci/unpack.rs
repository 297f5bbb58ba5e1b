//! Layers put over each other, as the image specification has it ("Image Layer Filesystem Changeset").
//!
//! That is not how sources of a recipe go over each other: here a directory takes the place of a link, any file that of a
//! directory, and a whiteout takes away. So an image has a tree of its own, and what comes out of it is a layer like any
//! other's.

use std::collections::HashSet;

use graven_image::tree::{self, Inode, InodeId, Kind, Metadata, Tree, TreePath};

use crate::{Entry, Item, Problem};

/// What a name begins with that takes another away.
const WHITEOUT: &[u8] = b".wh.";
/// The name that takes away all that lower layers have in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// The layers so far.
pub(super) struct Unpacked {
    tree: Tree,
}

/// An entry that does not go over the layers below.
pub(super) type Failure = (TreePath, Problem);

/// What one layer does.
struct Sorted {
    /// Names of lower layers that are gone.
    gone: Vec<TreePath>,
    /// Directories of which everything from lower layers is gone.
    emptied: Vec<TreePath>,
    brought: Vec<Entry>,
}

impl Unpacked {
    pub(super) fn new() -> Self {
        Self { tree: Tree::new(Metadata { mode: 0o755, ..Metadata::default() }) }
    }

    /// Puts the next layer over those below. A whiteout is about lower layers alone, wherever in its own it stands:
    /// whiteouts come first, and before them the directories that take the place of something else, so that no
    /// whiteout goes through a link that is no longer there.
    pub(super) fn apply(&mut self, entries: Vec<Entry>) -> Result<(), Failure> {
        let sorted = Sorted::new(entries)?;
        for Entry { path, item } in &sorted.brought {
            let at = |problem| (path.clone(), problem);
            if is_directory(item) && self.present(path).map_err(at)?.is_some_and(|id| !self.is_directory(id))
            {
                self.remove(path).map_err(at)?;
            }
        }
        for path in &sorted.gone {
            let at = |problem| (path.clone(), problem);
            if self.present(path).map_err(at)?.is_some() {
                self.remove(path).map_err(at)?;
            }
        }
        for directory in &sorted.emptied {
            self.empty(directory).map_err(|problem| (directory.clone(), problem))?;
        }
        let mut placed = HashSet::new();
        for entry in sorted.brought {
            let path = entry.path.clone();
            self.place(entry, &mut placed).map_err(|problem| (path, problem))?;
        }
        Ok(())
    }

    /// Everything there is, a directory before its entries. Directories that no layer has brought by themselves are left
    /// out: whoever needs them makes them.
    pub(super) fn into_entries(self) -> Result<Vec<Entry>, Failure> {
        let mut entries = Vec::with_capacity(self.tree.len());
        let mut first_names: std::collections::HashMap<InodeId, TreePath> = std::collections::HashMap::new();
        for found in self.tree.walk().filter(|found| found.inode.origin.is_some()) {
            let path = TreePath::parse(&found.path).map_err(|error| (TreePath::root(), error.into()))?;
            if let Some(first) = first_names.get(&found.id) {
                entries.push(Entry { path, item: Item::HardLink(first.clone()) });
                continue;
            }
            if self.tree.links(found.id) > 1 {
                first_names.insert(found.id, path.clone());
            }
            let kind = match &found.inode.kind {
                Kind::Directory(_) => Kind::directory(),
                other => other.clone(),
            };
            let inode = found.inode;
            let (metadata, origin) = (inode.metadata.clone(), inode.origin.clone());
            entries.push(Entry { path, item: Item::Inode(Inode { metadata, kind, origin }) });
        }
        Ok(entries)
    }

    fn is_directory(&self, id: InodeId) -> bool {
        matches!(self.tree.inode(id).kind, Kind::Directory(_))
    }

    /// What has this name, links on the way followed inside the tree.
    fn present(&self, path: &TreePath) -> Result<Option<InodeId>, Problem> {
        match self.tree.lookup(path) {
            Ok(id) => Ok(Some(id)),
            // Nothing can be below what is no directory.
            Err(tree::Error::NotFound { .. } | tree::Error::NotADirectory { .. }) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    fn remove(&mut self, path: &TreePath) -> Result<(), Problem> {
        Ok(self.tree.remove(path)?)
    }

    fn empty(&mut self, directory: &TreePath) -> Result<(), Problem> {
        let Some(id) = self.present(directory)? else { return Ok(()) };
        let Kind::Directory(children) = &self.tree.inode(id).kind else { return Ok(()) };
        let names: Vec<_> = children.keys().cloned().collect();
        names.iter().try_for_each(|name| self.remove(&directory.join(name)?))
    }

    /// Puts one entry where it belongs; `placed` are the files of its layer so far.
    fn place(&mut self, entry: Entry, placed: &mut HashSet<InodeId>) -> Result<(), Problem> {
        let Entry { path, item } = entry;
        if let Some(present) = self.present(&path)?.filter(|_| !path.is_root()) {
            let merges = self.is_directory(present) && is_directory(&item);
            if !merges {
                // Two names of one layer become one through a link below: which of them is meant cannot be told.
                if self.holds(present, placed) {
                    return Err(Problem::DuplicateThroughLink);
                }
                if !matches!(&item, Item::HardLink(existing) if self.present(existing)? == Some(present)) {
                    self.remove(&path)?;
                }
            }
        } else if let Some(parent) = path.parent() {
            let mtime = match &item {
                Item::Inode(inode) => inode.metadata.mtime,
                Item::HardLink(existing) => self.linked(existing)?.metadata.mtime,
            };
            self.tree.make_directories(&parent, &Metadata { mode: 0o755, mtime, ..Metadata::default() })?;
        }
        let id = match item {
            Item::Inode(inode) => self.tree.insert(&path, inode)?,
            Item::HardLink(existing) => {
                self.linked(&existing)?;
                self.tree.hard_link(&path, &existing)?
            }
        };
        if !self.is_directory(id) {
            placed.insert(id);
        }
        Ok(())
    }

    fn linked(&self, existing: &TreePath) -> Result<&Inode, Problem> {
        let found = self.present(existing)?;
        found.map(|id| self.tree.inode(id)).ok_or_else(|| Problem::HardLinkToMissing(existing.to_string()))
    }

    /// Whether an inode, or one below it, was placed.
    fn holds(&self, id: InodeId, placed: &HashSet<InodeId>) -> bool {
        let mut ahead = vec![id];
        while let Some(id) = ahead.pop() {
            if placed.contains(&id) {
                return true;
            }
            if let Kind::Directory(children) = &self.tree.inode(id).kind {
                ahead.extend(children.values());
            }
        }
        false
    }
}

impl Sorted {
    /// Tells whiteouts from what a layer brings, and refuses names that some readers take for one and some for the other.
    fn new(entries: Vec<Entry>) -> Result<Self, Failure> {
        let mut sorted = Self { gone: Vec::new(), emptied: Vec::new(), brought: Vec::new() };
        for entry in entries {
            let damaged = |message: &str| (entry.path.clone(), Problem::Damaged(message.to_owned()));
            let parent = entry.path.parent().unwrap_or_else(TreePath::root);
            if parent.components().any(|name| name.starts_with(WHITEOUT)) {
                return Err(damaged("a name that begins with `.wh.` is a whiteout, which holds nothing"));
            }
            let Some(hidden) = entry.path.name().and_then(|name| name.strip_prefix(WHITEOUT)) else {
                sorted.brought.push(entry);
                continue;
            };
            let empty = matches!(
                &entry.item,
                Item::Inode(Inode { kind: Kind::File(content), .. }) if content.len == 0
            );
            if !empty {
                return Err(damaged("a whiteout is an empty regular file, but this is not"));
            }
            match hidden {
                _ if entry.path.name() == Some(OPAQUE) => sorted.emptied.push(parent),
                b"" | b"." | b".." => {
                    return Err(damaged("a whiteout of what is no name in its directory"));
                }
                _ if hidden.starts_with(WHITEOUT) => {
                    let what = "a whiteout of a whiteout, which only AUFS knows,".to_owned();
                    let instead = "push the image again with a tool of today, as an OCI image";
                    return Err((entry.path.clone(), Problem::Unsupported { what, instead }));
                }
                _ => {
                    let path = parent.join(hidden).map_err(|error| (entry.path.clone(), error.into()))?;
                    sorted.gone.push(path);
                }
            }
        }
        Ok(sorted)
    }
}

fn is_directory(item: &Item) -> bool {
    matches!(item, Item::Inode(Inode { kind: Kind::Directory(_), .. }))
}
