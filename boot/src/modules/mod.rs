//! Kernel modules: which ones are needed, in what order, and depmod's files for those that the root carries.
//!
//! Only the modules asked for and what they depend on are read: a distribution's folder holds thousands.

mod closure;
mod index;
mod index_bin;
mod modinfo;

use std::io;

pub use closure::{Module, ModulesError, Necessity, Wanted, closure, trim};
pub use index::{Index, IndexFile};
pub use modinfo::{ModInfo, ModInfoError};

/// The files of one kernel's modules folder (`/usr/lib/modules/RELEASE`).
pub trait ModuleFiles {
    /// Paths of its files, relative to the folder, such as `kernel/fs/erofs/erofs.ko.xz`. Others than modules may be among them.
    fn paths(&self) -> Vec<String>;

    /// The bytes of one of them, as found.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
}

/// A folder on disk.
#[derive(Clone, Debug)]
pub struct Folder {
    root: std::path::PathBuf,
    paths: Vec<String>,
}

impl Folder {
    /// Lists the folder, symbolic links not followed.
    pub fn open(root: &std::path::Path) -> io::Result<Self> {
        let mut paths = Vec::new();
        let mut pending = vec![root.to_path_buf()];
        while let Some(folder) = pending.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    pending.push(entry.path());
                } else if kind.is_file()
                    && let Some(path) = entry.path().strip_prefix(root).ok().and_then(|p| p.to_str())
                {
                    paths.push(path.to_owned());
                }
            }
        }
        paths.sort();
        Ok(Self { root: root.to_path_buf(), paths })
    }
}

impl ModuleFiles for Folder {
    fn paths(&self) -> Vec<String> {
        self.paths.clone()
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.root.join(path))
    }
}

/// The module's name as the kernel writes it, `_` for `-`, from its file's path; `None` for what is no module.
pub fn name_of_path(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let stem =
        [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].into_iter().find_map(|ending| file.strip_suffix(ending))?;
    (!stem.is_empty()).then(|| normal(stem))
}

/// Module names compare with `-` and `_` alike.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}
