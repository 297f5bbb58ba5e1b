//! From a path to an inode.

use super::path::show;
use super::{Error, InodeId, Kind, MAX_PATH, PathProblem, Tree, TreePath};

/// Linux's `MAXSYMLINKS`.
const MAX_SYMLINKS: u32 = 40;

/// Where a path leads, symbolic links resolved: the directories on the way, by name.
pub(super) struct Trail<'a> {
    steps: Vec<(&'a [u8], InodeId)>,
    /// Length in bytes of the path without symbolic links; 0 for the root.
    pub(super) path_len: usize,
}

impl<'a> Trail<'a> {
    /// What the trail leads to.
    pub(super) fn end(&self) -> InodeId {
        self.steps.last().map_or(Tree::ROOT, |(_, id)| *id)
    }

    /// The path without symbolic links.
    pub(super) fn path(&self) -> Result<TreePath, Error> {
        let mut path = b"/".to_vec();
        for (name, _) in &self.steps {
            path.extend_from_slice(name);
            path.push(b'/');
        }
        TreePath::parse(&path)
    }

    fn down(&mut self, name: &'a [u8], id: InodeId) {
        self.path_len = self.path_len.saturating_add(name.len()).saturating_add(1);
        self.steps.push((name, id));
    }

    fn up(&mut self) {
        if let Some((name, _)) = self.steps.pop() {
            self.path_len = self.path_len.saturating_sub(name.len()).saturating_sub(1);
        }
    }

    fn restart(&mut self) {
        *self = Self { steps: Vec::new(), path_len: 0 };
    }
}

impl Tree {
    /// The inode at `path`; symbolic links on the way are followed inside the tree, a last one is not.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`], [`Error::TooManySymlinks`].
    pub fn lookup(&self, path: &TreePath) -> Result<InodeId, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return Ok(Self::ROOT) };
        let directory = self.trail(&parent)?.end();
        match &self.inode(directory).kind {
            Kind::Directory(children) => children
                .get(name)
                .copied()
                .ok_or_else(|| Error::NotFound { path: path.to_string(), missing: path.to_string() }),
            other => Err(Error::NotADirectory {
                path: path.to_string(),
                component: parent.to_string(),
                found: other.noun(),
            }),
        }
    }

    /// The inode that `path` leads to, all symbolic links followed inside the tree (40 at most).
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`], [`Error::TooManySymlinks`].
    pub fn resolve(&self, path: &TreePath) -> Result<InodeId, Error> {
        Ok(self.trail(path)?.end())
    }

    /// The path without symbolic links of what `path` leads to.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn canonical(&self, path: &TreePath) -> Result<TreePath, Error> {
        self.trail(path)?.path()
    }

    /// The entry of a directory by its name; `None` where there is none or `directory` is no directory.
    ///
    /// # Panics
    /// When `directory` is of another tree.
    pub fn child(&self, directory: InodeId, name: &[u8]) -> Option<InodeId> {
        match &self.inode(directory).kind {
            Kind::Directory(children) => children.get(name).copied(),
            _ => None,
        }
    }

    /// The whole of a small regular file, symbolic links followed inside the tree.
    ///
    /// # Errors
    /// [`Error::TooLarge`] over `limit` bytes; [`Error::NotAFile`]; [`Error::Read`]; and as
    /// [`resolve`](Self::resolve).
    pub fn read(&self, path: &TreePath, limit: u64) -> Result<Vec<u8>, Error> {
        let content = match &self.inode(self.resolve(path)?).kind {
            Kind::File(content) => content,
            other => return Err(Error::NotAFile { path: path.to_string(), found: other.noun() }),
        };
        let len = usize::try_from(content.len)
            .ok()
            .filter(|_| content.len <= limit)
            .ok_or_else(|| Error::TooLarge { path: path.to_string(), len: content.len, limit })?;
        let mut bytes = vec![0; len];
        content
            .read_exact_at(&mut bytes, 0)
            .map_err(|source| Error::Read { path: path.to_string(), source })?;
        Ok(bytes)
    }

    pub(super) fn trail<'a>(&'a self, path: &'a TreePath) -> Result<Trail<'a>, Error> {
        // Components still to be walked, the next one last.
        let mut ahead: Vec<&[u8]> = path.components().rev().collect();
        let mut trail = Trail { steps: Vec::new(), path_len: 0 };
        let mut symlinks = 0u32;
        while let Some(name) = ahead.pop() {
            let children = match &self.inode(trail.end()).kind {
                Kind::Directory(children) => children,
                other => {
                    let component = trail.path()?.to_string();
                    return Err(Error::NotADirectory {
                        path: path.to_string(),
                        component,
                        found: other.noun(),
                    });
                }
            };
            match name {
                b"." => continue,
                b".." => {
                    trail.up();
                    continue;
                }
                _ => {}
            }
            let Some(id) = children.get(name).copied() else {
                let missing = trail.path()?.join(name).map_or_else(|_| show(name), |path| path.to_string());
                return Err(Error::NotFound { path: path.to_string(), missing });
            };
            if let Kind::Symlink(target) = &self.inode(id).kind {
                symlinks = symlinks.saturating_add(1);
                if symlinks > MAX_SYMLINKS {
                    return Err(Error::TooManySymlinks(path.to_string()));
                }
                if target.first() == Some(&b'/') {
                    trail.restart();
                }
                // `dir/` asks for a directory, as the kernel has it: one step to `.` finds out.
                if target.ends_with(b"/") {
                    ahead.push(b".");
                }
                let components = target.split(|byte| *byte == b'/').filter(|component| !component.is_empty());
                ahead.extend(components.rev());
            } else {
                trail.down(name, id);
            }
            if trail.path_len > MAX_PATH {
                return Err(Error::Path { path: path.to_string(), problem: PathProblem::TooLong });
            }
        }
        Ok(trail)
    }
}
