//! From a path to its inode, without a look at anything else: as the kernel finds it.

use graven_verity::io::ReadAt;

use super::super::format::{BLOCK, BLOCK_LEN, FileType};
use super::contents::content;
use super::dirents::entries;
use super::inode::RawInode;
use super::walk::{check_type, located};
use super::{Problem, ReadError, Reader};
use crate::tree::{self, Inode, TreePath};

/// Linux's `MAXSYMLINKS`.
const MAX_SYMLINKS: u32 = 40;

/// What a path leads to.
#[derive(Debug, Clone)]
pub struct Found {
    /// The path without symbolic links.
    pub path: TreePath,
    /// Number of the inode.
    pub nid: u64,
    /// The inode; of a directory without its children.
    pub inode: Inode,
}

/// Why a path leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The image cannot be read, or is bad.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is no such name.
    #[error("{path}: there is no {missing}")]
    NotFound {
        /// The path asked for.
        path: TreePath,
        /// The first path on the way that is not there.
        missing: String,
    },
    /// Something on the way has no names in it.
    #[error("{path}: {found} is not a directory")]
    NotADirectory {
        /// The path asked for.
        path: TreePath,
        /// The path on the way.
        found: String,
    },
    /// Symbolic links in a circle.
    #[error("{0}: more than {MAX_SYMLINKS} symbolic links on the way")]
    TooManySymlinks(TreePath),
    /// A symbolic link to what can be no path.
    #[error("{path}: a symbolic link on the way leads to no possible path")]
    Path {
        /// The path asked for.
        path: TreePath,
        /// Why.
        source: tree::Error,
    },
}

/// A directory entry and its inode.
struct Step {
    name: Box<[u8]>,
    raw: RawInode,
}

impl<R: ReadAt + 'static> Reader<R> {
    /// The inode at `path`. Symbolic links are followed inside the image, a last one too; `..` of the root is the root. Of
    /// each directory on the way as many blocks are read as a binary search needs.
    ///
    /// # Errors
    /// [`LookupError`], which names the path and what is wrong on the way.
    pub fn lookup(&self, path: &TreePath) -> Result<Found, LookupError> {
        let root_nid = self.facts.root_nid;
        let root = self.inode(root_nid).map_err(|refusal| located(refusal, "/".into(), root_nid))?;
        let mut trail: Vec<Step> = Vec::new();
        let mut ahead: Vec<Box<[u8]>> = path.components().rev().map(Into::into).collect();
        let mut symlinks = 0u32;
        while let Some(name) = ahead.pop() {
            let here = trail.last().map_or(&root, |step| &step.raw);
            if here.file_type != FileType::Directory {
                return Err(LookupError::NotADirectory { path: path.clone(), found: shown(&trail, None) });
            }
            match &*name {
                b"" | b"." => continue,
                b".." => {
                    trail.pop();
                    continue;
                }
                _ => {}
            }
            let at = |refusal| located(refusal, shown(&trail, Some(&name)), here.nid);
            let Some((nid, file_type)) = self.find(here, &name, &trail)? else {
                return Err(LookupError::NotFound {
                    path: path.clone(),
                    missing: shown(&trail, Some(&name)),
                });
            };
            let raw = self.inode(nid).map_err(at)?;
            let entry = super::dirents::Entry { name: &name, nid, file_type };
            check_type(&entry, raw.file_type).map_err(|problem| at(problem.into()))?;
            if raw.file_type != FileType::Symlink {
                trail.push(Step { name, raw });
                continue;
            }
            symlinks = symlinks.saturating_add(1);
            if symlinks > MAX_SYMLINKS {
                return Err(LookupError::TooManySymlinks(path.clone()));
            }
            let target = self.target(&raw).map_err(at)?;
            if target.first() == Some(&b'/') {
                trail.clear();
            }
            ahead.extend(target.split(|byte| *byte == b'/').rev().map(Into::into));
        }
        let raw = trail.last().map_or(&root, |step| &step.raw);
        let mut shared = 0;
        let inode = self.whole(raw, &mut shared);
        let inode = inode.map_err(|refusal| located(refusal, shown(&trail, None), raw.nid))?;
        let whole: Vec<u8> = trail.iter().flat_map(|step| [b"/", &*step.name].concat()).collect();
        let end = TreePath::parse(if whole.is_empty() { b"/" } else { &whole });
        let end = end.map_err(|source| LookupError::Path { path: path.clone(), source })?;
        Ok(Found { path: end, nid: raw.nid, inode })
    }

    /// The entry of that name in a directory: its inode's number and kind.
    fn find(
        &self,
        directory: &RawInode,
        name: &[u8],
        trail: &[Step],
    ) -> Result<Option<(u64, u8)>, ReadError> {
        let contents = content(&self.image, directory.place);
        let (mut low, mut high) = (0, directory.size.div_ceil(BLOCK));
        let mut buf = [0; BLOCK_LEN];
        while low < high {
            let middle = low.saturating_add(high.saturating_sub(low) / 2);
            let at = middle.saturating_mul(BLOCK);
            let len = usize::try_from(directory.size.saturating_sub(at)).unwrap_or(BLOCK_LEN).min(BLOCK_LEN);
            let (block, _) = buf.split_at_mut(len);
            contents.read_exact_at(block, at).map_err(|source| ReadError::Io {
                offset: at,
                wanted: len as u64,
                source,
            })?;
            let entries = entries(block).map_err(|what| {
                let problem = Problem::Directory { block: middle, what };
                located(problem.into(), shown(trail, None), directory.nid)
            })?;
            match (entries.first(), entries.last()) {
                (Some(first), _) if name < first.name => high = middle,
                (_, Some(last)) if name > last.name => low = middle.saturating_add(1),
                _ => {
                    let entry = entries.iter().find(|entry| entry.name == name);
                    return Ok(entry.map(|entry| (entry.nid, entry.file_type)));
                }
            }
        }
        Ok(None)
    }
}

/// The path of the last step, or of a name below it, for messages.
fn shown(trail: &[Step], name: Option<&[u8]>) -> String {
    let names: Vec<String> = trail
        .iter()
        .map(|step| &*step.name)
        .chain(name)
        .map(|name| format!("/{}", super::super::plan::shown(name)))
        .collect();
    if names.is_empty() { "/".into() } else { names.concat() }
}
