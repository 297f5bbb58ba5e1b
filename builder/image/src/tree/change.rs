//! Names given and taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::path::show;
use super::{
    Content, Error, Inode, InodeId, Kind, MAX_COMPONENT, MAX_PATH, Metadata, PathProblem, Tree, TreePath,
};

impl Tree {
    /// Puts `inode` at `path`, whose parent must exist (symbolic links to it are followed inside the tree, as
    /// `dpkg` follows `/bin -> usr/bin`). What comes later wins:
    ///
    /// - over something that is no directory, or an empty directory: replaces it;
    /// - a directory over a directory: takes the new metadata and origin, keeps the entries;
    /// - a directory over a symbolic link to a directory: the link stays, its directory is left alone
    ///   (`dpkg`'s rule), and that directory's id is returned.
    ///
    /// # Errors
    /// [`Error::DirectoryInTheWay`] over a directory with entries, [`Error::NotReplacedByDirectory`] for a
    /// directory over anything else, and as [`resolve`](Self::resolve) for the parent.
    pub fn insert(&mut self, path: &TreePath, inode: Inode) -> Result<InodeId, Error> {
        if matches!(&inode.kind, Kind::Directory(children) if !children.is_empty()) {
            return Err(Error::DirectoryWithEntries(path.to_string()));
        }
        let Some((parent, name)) = self.place(path)? else {
            if !matches!(inode.kind, Kind::Directory(_)) {
                return Err(Error::DirectoryInTheWay { path: path.to_string(), new: inode.kind.noun() });
            }
            self.renew_directory(Self::ROOT, inode);
            return Ok(Self::ROOT);
        };
        if let Some(present) = self.child(parent, name) {
            match (&self.inode(present).kind, &inode.kind) {
                (Kind::Directory(_), Kind::Directory(_)) => {
                    self.renew_directory(present, inode);
                    return Ok(present);
                }
                (Kind::Symlink(_), Kind::Directory(_)) => {
                    let target = self.resolve(path)?;
                    return match &self.inode(target).kind {
                        Kind::Directory(_) => Ok(target),
                        _ => Err(Error::NotReplacedByDirectory {
                            path: path.to_string(),
                            found: "symbolic link to a file",
                        }),
                    };
                }
                (found, Kind::Directory(_)) => {
                    return Err(Error::NotReplacedByDirectory {
                        path: path.to_string(),
                        found: found.noun(),
                    });
                }
                (Kind::Directory(children), new) if !children.is_empty() => {
                    return Err(Error::DirectoryInTheWay { path: path.to_string(), new: new.noun() });
                }
                _ => {}
            }
        }
        let id = self.allocate(path, inode)?;
        self.enter(parent, name, id);
        Ok(id)
    }

    /// Puts `inode` into a directory that is known by its id, under a name that is not taken: the fast way for
    /// a reader that already has a tree's shape. Directories come without entries.
    ///
    /// # Errors
    /// [`Error::Path`] for an impossible name, [`Error::DirectoryInTheWay`] for one that is taken,
    /// [`Error::NotADirectory`].
    ///
    /// # Panics
    /// When `directory` is of another tree.
    pub fn insert_child(&mut self, directory: InodeId, name: &[u8], inode: Inode) -> Result<InodeId, Error> {
        self.check_child(directory, name, inode.kind.noun())?;
        if matches!(&inode.kind, Kind::Directory(children) if !children.is_empty()) {
            return Err(Error::DirectoryWithEntries(show(name)));
        }
        let id = self.allocate(&TreePath::root(), inode)?;
        self.enter(directory, name, id);
        Ok(id)
    }

    /// Gives an inode one more name in a directory that is known by its id; see
    /// [`insert_child`](Self::insert_child).
    ///
    /// # Errors
    /// As there, and [`Error::HardLinkToDirectory`].
    ///
    /// # Panics
    /// When `directory` or `existing` is of another tree.
    pub fn link_child(&mut self, directory: InodeId, name: &[u8], existing: InodeId) -> Result<(), Error> {
        self.check_child(directory, name, "hard link")?;
        if matches!(self.inode(existing).kind, Kind::Directory(_)) {
            return Err(Error::HardLinkToDirectory { new: show(name), existing: "a directory".into() });
        }
        self.enter(directory, name, existing);
        Ok(())
    }

    fn check_child(&self, directory: InodeId, name: &[u8], new: &'static str) -> Result<(), Error> {
        let problem = match name {
            b"" | b"." => Some(PathProblem::Empty),
            b".." => Some(PathProblem::Parent),
            _ if name.contains(&0) || name.contains(&b'/') => Some(PathProblem::Nul),
            _ if name.len() > MAX_COMPONENT => Some(PathProblem::LongComponent),
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(Error::Path { path: show(name), problem });
        }
        match &self.inode(directory).kind {
            Kind::Directory(children) if children.contains_key(name) => {
                Err(Error::DirectoryInTheWay { path: show(name), new })
            }
            Kind::Directory(_) => Ok(()),
            other => Err(Error::NotADirectory {
                path: show(name),
                component: "the directory given".into(),
                found: other.noun(),
            }),
        }
    }

    /// `path` and all that is missing above it become directories with `metadata`; what exists stays as it is.
    ///
    /// # Errors
    /// [`Error::NotADirectory`] where something else is in the way, and as [`resolve`](Self::resolve).
    pub fn make_directories(&mut self, path: &TreePath, metadata: &Metadata) -> Result<InodeId, Error> {
        match self.resolve(path) {
            Ok(id) => match &self.inode(id).kind {
                Kind::Directory(_) => return Ok(id),
                other => {
                    return Err(Error::NotADirectory {
                        path: path.to_string(),
                        component: path.to_string(),
                        found: other.noun(),
                    });
                }
            },
            Err(Error::NotFound { .. }) => {}
            Err(other) => return Err(other),
        }
        let mut above = TreePath::root();
        let mut last = Self::ROOT;
        for component in path.components() {
            above = above.join(component)?;
            last = match self.resolve(&above) {
                Ok(id) => id,
                // A dangling symbolic link is not for us to fill: `insert` refuses it.
                Err(Error::NotFound { .. }) => {
                    self.insert(&above, Inode::new(metadata.clone(), Kind::directory()))?
                }
                Err(other) => return Err(other),
            };
        }
        Ok(last)
    }

    /// A regular file with these bytes and metadata; what is missing above it becomes directories that belong
    /// to root, mode 0755, with the file's time.
    ///
    /// # Errors
    /// As [`make_directories`](Self::make_directories) and [`insert`](Self::insert).
    pub fn write_file(
        &mut self,
        path: &TreePath,
        bytes: impl Into<Vec<u8>>,
        metadata: Metadata,
        origin: Option<Arc<str>>,
    ) -> Result<InodeId, Error> {
        if let Some(parent) = path.parent() {
            let above = Metadata { mode: 0o755, mtime: metadata.mtime, ..Metadata::default() };
            self.make_directories(&parent, &above)?;
        }
        self.insert(path, Inode { metadata, kind: Kind::File(Content::from_bytes(bytes)), origin })
    }

    /// `new` becomes one more name of what is at `existing` (a last symbolic link is linked itself).
    ///
    /// # Errors
    /// [`Error::HardLinkToDirectory`], [`Error::DirectoryInTheWay`], and as [`lookup`](Self::lookup).
    pub fn hard_link(&mut self, new: &TreePath, existing: &TreePath) -> Result<InodeId, Error> {
        let id = self.lookup(existing)?;
        if matches!(self.inode(id).kind, Kind::Directory(_)) {
            return Err(Error::HardLinkToDirectory { new: new.to_string(), existing: existing.to_string() });
        }
        let in_the_way = || Error::DirectoryInTheWay { path: new.to_string(), new: "hard link" };
        let (parent, name) = self.place(new)?.ok_or_else(in_the_way)?;
        match self.child(parent, name) {
            Some(present) if present == id => return Ok(id),
            Some(present) => {
                if matches!(&self.inode(present).kind, Kind::Directory(children) if !children.is_empty()) {
                    return Err(in_the_way());
                }
            }
            None => {}
        }
        self.enter(parent, name, id);
        Ok(id)
    }

    /// Takes the name away, with a directory everything below it. A last symbolic link is removed itself.
    ///
    /// # Errors
    /// [`Error::Root`] for `/`, and as [`lookup`](Self::lookup).
    pub fn remove(&mut self, path: &TreePath) -> Result<(), Error> {
        let id = self.lookup(path)?;
        let (parent, name) = self.place(path)?.ok_or(Error::Root("removed"))?;
        if let Kind::Directory(children) = &mut self.inode_mut(parent).kind {
            children.remove(name);
        }
        self.unlink(id);
        Ok(())
    }

    /// The directory that holds `path`, and the name in it; `None` for the root.
    fn place<'p>(&self, path: &'p TreePath) -> Result<Option<(InodeId, &'p [u8])>, Error> {
        let (Some(above), Some(name)) = (path.parent(), path.name()) else { return Ok(None) };
        let trail = self.trail(&above)?;
        if trail.path_len.saturating_add(1).saturating_add(name.len()) > MAX_PATH {
            return Err(Error::Path { path: path.to_string(), problem: PathProblem::TooLong });
        }
        match &self.inode(trail.end()).kind {
            Kind::Directory(_) => Ok(Some((trail.end(), name))),
            other => Err(Error::NotADirectory {
                path: path.to_string(),
                component: above.to_string(),
                found: other.noun(),
            }),
        }
    }

    fn renew_directory(&mut self, id: InodeId, new: Inode) {
        let present = self.inode_mut(id);
        present.metadata = new.metadata;
        present.origin = new.origin;
    }

    fn allocate(&mut self, path: &TreePath, inode: Inode) -> Result<InodeId, Error> {
        if let Some(id) = self.free.pop() {
            self.inodes[id.index()] = inode;
            return Ok(id);
        }
        let next = u32::try_from(self.inodes.len())
            .ok()
            .filter(|next| *next < u32::MAX)
            .ok_or_else(|| Error::TooManyInodes(path.to_string()))?;
        self.inodes.push(inode);
        self.links.push(0);
        Ok(InodeId(next))
    }

    /// Enters a name into a directory; what had it before loses it.
    fn enter(&mut self, directory: InodeId, name: &[u8], id: InodeId) {
        // Counted first: a name that moves from an inode to the same one must not free it.
        self.links[id.index()] += 1;
        let before = match &mut self.inode_mut(directory).kind {
            Kind::Directory(children) => children.insert(name.into(), id),
            _ => unreachable!("callers have looked: {directory:?} is a directory"),
        };
        if let Some(before) = before {
            self.unlink(before);
        }
    }

    /// One name less; without names an inode and what is below it are gone.
    fn unlink(&mut self, id: InodeId) {
        let mut gone = vec![id];
        while let Some(id) = gone.pop() {
            let links = &mut self.links[id.index()];
            *links = links.saturating_sub(1);
            if *links > 0 {
                continue;
            }
            let empty = Inode::new(Metadata::default(), Kind::Directory(BTreeMap::new()));
            let old = std::mem::replace(self.inode_mut(id), empty);
            self.free.push(id);
            if let Kind::Directory(children) = old.kind {
                gone.extend(children.into_values());
            }
        }
    }
}
