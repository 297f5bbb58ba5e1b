//! Whether the members of one archive go together.

use graven_image::tree::{self, Inode, Kind, Metadata, Tree, TreePath};

use crate::{Entry, Item, Problem};

/// What an archive is unpacked over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Below {
    /// Nothing that it may count on: hard links are to its own members.
    Nothing,
    /// Other layers, of which a hard link may name a file.
    Layers,
}

/// The archive's own tree: what each name means when only this archive is unpacked.
pub(super) struct Checker {
    tree: Tree,
    below: Below,
}

impl Checker {
    pub(super) fn new(below: Below) -> Self {
        Self { tree: Tree::new(Metadata::default()), below }
    }

    /// Takes the next entry in, or says why it does not go with those before.
    pub(super) fn admit(&mut self, entry: &Entry) -> Result<(), Problem> {
        if entry.path.is_root() && !matches!(&entry.item, Item::Inode(Inode { kind: Kind::Directory(_), .. }))
        {
            return Err(Problem::Damaged("the root of the tree must be a directory".to_owned()));
        }
        match self.tree.lookup(&entry.path) {
            Ok(present) => {
                let repeated = matches!(self.tree.inode(present).kind, Kind::Directory(_))
                    && matches!(&entry.item, Item::Inode(Inode { kind: Kind::Directory(_), .. }));
                return if repeated { Ok(()) } else { Err(Problem::Duplicate) };
            }
            Err(tree::Error::NotFound { .. }) => {}
            Err(other) => return Err(other.into()),
        }
        if let Some(parent) = entry.path.parent() {
            self.tree.make_directories(&parent, &Metadata::default())?;
        }
        match &entry.item {
            Item::Inode(inode) => {
                self.tree.insert(&entry.path, Inode::new(Metadata::default(), shape(&inode.kind)))?;
            }
            Item::HardLink(existing) => self.hard_link(&entry.path, existing)?,
        }
        Ok(())
    }

    fn hard_link(&mut self, new: &TreePath, existing: &TreePath) -> Result<(), Problem> {
        match self.tree.hard_link(new, existing) {
            Ok(_) => Ok(()),
            // Whoever knows the layers below sees whether it is there; here the name counts as taken.
            Err(tree::Error::NotFound { .. }) if self.below == Below::Layers => {
                self.tree.insert(new, Inode::new(Metadata::default(), Kind::Fifo))?;
                Ok(())
            }
            Err(tree::Error::NotFound { .. }) => Err(Problem::HardLinkToMissing(existing.to_string())),
            Err(other) => Err(other.into()),
        }
    }
}

/// The kind without what a directory might hold.
fn shape(kind: &Kind) -> Kind {
    match kind {
        Kind::Directory(_) => Kind::directory(),
        other => other.clone(),
    }
}
