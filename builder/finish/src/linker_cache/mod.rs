//! `/etc/ld.so.cache`: where the dynamic linker finds libraries, as `ldconfig` would write it.
//!
//! Two things are left out, and neither can make a program fail to start: variants for newer processors
//! (`glibc-hwcaps`), and old formats that nothing since glibc 2.2 needs.

mod elf;
mod format;

use std::collections::BTreeMap;

use graven_image::tree::{Kind, TreePath};

use crate::error::Error;
use crate::world::World;
pub(crate) use format::Entry;

/// Folders that the linker knows by itself, after those of `/etc/ld.so.conf`.
const BY_ITSELF: [&str; 2] = ["/lib", "/usr/lib"];
/// Deepest `include` of one file by another.
const DEPTH: usize = 8;

/// A library as one folder has it.
struct Library {
    name: String,
    is_link: bool,
    flags: u32,
}

impl World<'_> {
    /// Writes the cache, and the links by which libraries are known where a package has not brought them.
    pub(crate) fn write_linker_cache(&mut self) -> Result<(), Error> {
        let mut folders = Vec::new();
        self.linker_folders("/etc/ld.so.conf", 0, &mut folders)?;
        folders.extend(BY_ITSELF.map(str::to_owned));
        let mut seen = Vec::new();
        let mut entries = Vec::new();
        for folder in folders {
            let Ok(id) = TreePath::parse(folder.as_bytes()).and_then(|path| self.tree.resolve(&path)) else {
                continue;
            };
            // A folder has one name in the cache, the first.
            if seen.contains(&id) {
                continue;
            }
            seen.push(id);
            for (soname, library) in self.libraries(&folder)? {
                if soname != library.name && !self.has(&format!("{folder}/{soname}")) {
                    self.link(&format!("{folder}/{soname}"), &library.name)?;
                }
                entries.push(Entry {
                    path: format!("{folder}/{soname}"),
                    name: soname,
                    flags: library.flags,
                });
            }
        }
        Ok(self.write("/etc/ld.so.cache", format::render(entries), 0o644)?)
    }

    fn linker_folders(&self, file: &str, depth: usize, folders: &mut Vec<String>) -> Result<(), Error> {
        let text = self.text(file)?.unwrap_or_default();
        for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
            match line.split_once(char::is_whitespace) {
                Some(("include", patterns)) if depth < DEPTH => {
                    for pattern in patterns.split_whitespace() {
                        let (folder, name) = pattern.rsplit_once('/').unwrap_or(("/etc", pattern));
                        let folder = if folder.starts_with('/') {
                            folder.to_owned()
                        } else {
                            format!("/etc/{folder}")
                        };
                        let (start, end) = name.split_once('*').unwrap_or((name, ""));
                        for found in self.names(&folder) {
                            let fits = found == name
                                || (name.contains('*') && found.starts_with(start) && found.ends_with(end));
                            if fits {
                                self.linker_folders(&format!("{folder}/{found}"), depth + 1, folders)?;
                            }
                        }
                    }
                }
                Some(("include" | "hwcap", _)) => {}
                _ if line.starts_with('/') => folders.push(line.trim_end_matches('/').to_owned()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Libraries of a folder by the name that programs know them under.
    fn libraries(&self, folder: &str) -> Result<BTreeMap<String, Library>, Error> {
        let mut libraries: BTreeMap<String, Library> = BTreeMap::new();
        for name in self.names(folder) {
            let by_name = ["lib", "ld-", "ld.so"].iter().any(|start| name.starts_with(start));
            if !by_name || !name.contains(".so") {
                continue;
            }
            let path = format!("{folder}/{name}");
            let Some(Kind::File(content)) = self.find(&path).map(|inode| &inode.kind) else { continue };
            let elf = elf::read(content)
                .map_err(|source| graven_image::tree::Error::Read { path: path.clone(), source })?;
            let Some(elf) = elf else { continue };
            let soname = elf.soname.unwrap_or_else(|| name.clone());
            // A link by the library's own name, or by its name without a number, which compilers look for.
            let named_so = name.ends_with(".so") && soname.starts_with(&name);
            let is_link = self.link_target(&path).is_some() && (name == soname || named_so);
            let soname = if is_link { name.clone() } else { soname };
            let library = Library { name, is_link, flags: elf.flags };
            // Rather a file than a link, rather the newer.
            let better = libraries.get(&soname).is_none_or(|known| match (known.is_link, library.is_link) {
                (true, false) => true,
                (false, true) => false,
                _ => format::compare(&known.name, &library.name).is_lt(),
            });
            if better {
                libraries.insert(soname, library);
            }
        }
        Ok(libraries)
    }
}
