//! What scripts and finishers change: the tree, and what is still to be made of what they said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use graven_image::tree::{Error, Inode, Kind, Metadata, Tree, TreePath};

use crate::Installed;
use crate::accounts::Accounts;
use crate::alternatives::Alternative;
use crate::units::Wishes;

/// The state between the first script and the last finisher.
pub(crate) struct World<'t> {
    /// The root file system.
    pub(crate) tree: &'t mut Tree,
    /// Users and groups.
    pub(crate) accounts: Accounts,
    /// Units that scripts enable.
    pub(crate) units: Wishes,
    /// Alternatives that scripts install.
    pub(crate) alternatives: Vec<Alternative>,
    /// Diversions, in the order of `dpkg-divert`.
    pub(crate) diversions: Vec<Diversion>,
    /// Owners and modes that `dpkg` is told to keep, by path.
    pub(crate) overrides: BTreeMap<String, Override>,
    /// Init scripts that were to be started, with their packages.
    pub(crate) init_scripts: Vec<(String, String)>,
    /// Shells that scripts add to `/etc/shells`.
    pub(crate) shells: Vec<String>,
    /// What scripts ask for that is made once, at the end.
    pub(crate) finishers: BTreeSet<Finisher>,
    /// Answers to the package's questions: the defaults of its templates.
    pub(crate) answers: BTreeMap<String, String>,
    /// Seconds since 1970 that stand for "now".
    pub(crate) time: i64,
    architecture: String,
    package: String,
    origin: Arc<str>,
}

/// What is made once, when everything else is in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Finisher {
    /// `/etc/ld.so.cache`
    LinkerCache,
    /// `/etc/ssl/certs`
    Certificates,
    /// `/etc/pam.d/common-*`
    PamProfiles,
    /// `/etc/shells`
    Shells,
    /// `/etc/machine-id`
    MachineId,
}

/// A line of `/var/lib/dpkg/statoverride`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Override {
    pub(crate) user: String,
    pub(crate) group: String,
    pub(crate) mode: String,
}

/// An entry of `/var/lib/dpkg/diversions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diversion {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) package: String,
}

impl<'t> World<'t> {
    /// A world in which nothing has been done yet.
    pub(crate) fn new(tree: &'t mut Tree, accounts: Accounts, time: i64) -> Self {
        Self {
            tree,
            accounts,
            units: Wishes::default(),
            alternatives: Vec::new(),
            diversions: Vec::new(),
            overrides: BTreeMap::new(),
            init_scripts: Vec::new(),
            shells: Vec::new(),
            finishers: BTreeSet::new(),
            answers: BTreeMap::new(),
            time,
            architecture: String::new(),
            package: String::new(),
            origin: Arc::from("graven"),
        }
    }

    /// Whose script is read next: what it makes is told to be this package's.
    pub(crate) fn enter(&mut self, package: &Installed) {
        self.package = package.name.clone();
        self.architecture = package.architecture.clone();
        self.origin = format!("{}={}", package.name, package.version).into();
    }

    /// No package: what is made is the finishers' own.
    pub(crate) fn leave(&mut self) {
        self.package = String::new();
        self.origin = Arc::from("graven");
    }

    /// The package whose script is read.
    pub(crate) fn package(&self) -> &str {
        &self.package
    }

    /// Debian's name of that package's architecture.
    pub(crate) fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Root's, with this mode and the image's time.
    pub(crate) fn metadata(&self, mode: u16) -> Metadata {
        Metadata { mode, mtime: self.time, ..Metadata::default() }
    }

    /// What a path leads to.
    pub(crate) fn find(&self, path: &str) -> Option<&Inode> {
        let path = TreePath::parse(path.as_bytes()).ok()?;
        self.tree.resolve(&path).ok().map(|id| self.tree.inode(id))
    }

    /// Whether something has that name, a dangling link included.
    pub(crate) fn has(&self, path: &str) -> bool {
        TreePath::parse(path.as_bytes()).is_ok_and(|path| self.tree.lookup(&path).is_ok())
    }

    /// The target of a symbolic link.
    pub(crate) fn link_target(&self, path: &str) -> Option<String> {
        let path = TreePath::parse(path.as_bytes()).ok()?;
        match &self.tree.inode(self.tree.lookup(&path).ok()?).kind {
            Kind::Symlink(target) => Some(String::from_utf8_lossy(target).into_owned()),
            _ => None,
        }
    }

    /// Whether a path leads to a file that may be executed.
    pub(crate) fn is_executable(&self, path: &str) -> bool {
        self.find(path)
            .is_some_and(|inode| matches!(inode.kind, Kind::File(_)) && inode.metadata.mode & 0o111 != 0)
    }

    /// The package that diverts a file.
    pub(crate) fn diverter(&self, path: &str) -> Option<String> {
        self.diversions
            .iter()
            .find(|diversion| diversion.from == path)
            .map(|diversion| diversion.package.clone())
    }

    /// Names in a folder, in byte order; none where there is no such folder.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        match self.find(folder).map(|inode| &inode.kind) {
            Some(Kind::Directory(children)) => {
                children.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// A small text file; none where it is not there.
    pub(crate) fn text(&self, path: &str) -> Result<Option<String>, Error> {
        const LARGEST: u64 = 16 << 20;
        let path = TreePath::parse(path.as_bytes())?;
        match self.tree.read(&path, LARGEST) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts something in its place, folders above it included.
    pub(crate) fn put(&mut self, path: &TreePath, kind: Kind, metadata: Metadata) -> Result<(), Error> {
        if let Some(parent) = path.parent() {
            let above = self.metadata(0o755);
            self.tree.make_directories(&parent, &above)?;
        }
        let origin = Some(self.origin.clone());
        self.tree.insert(path, Inode { metadata, kind, origin })?;
        Ok(())
    }

    /// A file of root's.
    pub(crate) fn write(&mut self, path: &str, bytes: impl Into<Vec<u8>>, mode: u16) -> Result<(), Error> {
        let metadata = self.metadata(mode);
        let kind = Kind::File(graven_image::tree::Content::from_bytes(bytes));
        self.put(&TreePath::parse(path.as_bytes())?, kind, metadata)
    }

    /// A symbolic link, in the place of one that is there.
    pub(crate) fn link(&mut self, path: &str, target: &str) -> Result<(), Error> {
        let metadata = self.metadata(0o777);
        self.put(&TreePath::parse(path.as_bytes())?, Kind::Symlink(target.as_bytes().into()), metadata)
    }
}
