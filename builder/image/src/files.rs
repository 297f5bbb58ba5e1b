//! The regular files of a tree, hashed: for images that others write.

use std::collections::BTreeMap;
use std::io;

use graven_verity::fsverity::{self, Digester};
use graven_verity::hash::Digest;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::erofs::FileRecord;
use crate::tree::{Content, InodeId, Kind, Tree, show};

/// A file's names, its inode and its contents.
type Named<'t> = (Vec<Box<[u8]>>, InodeId, &'t Content);

/// Bytes that are hashed at a time.
const STEP: u64 = 1 << 20;

/// Every regular file of a tree, in the order of each one's first name, several at a time on rayon's current pool.
///
/// # Errors
/// The first source of contents that fails, with the file's path.
pub fn hash(tree: &Tree) -> io::Result<Vec<FileRecord>> {
    let mut known: BTreeMap<InodeId, usize> = BTreeMap::new();
    let mut files: Vec<Named<'_>> = Vec::new();
    for entry in tree.walk() {
        let Kind::File(content) = &entry.inode.kind else { continue };
        match known.get(&entry.id) {
            Some(file) => files[*file].0.push(entry.path.into()),
            None => {
                known.insert(entry.id, files.len());
                files.push((vec![entry.path.into()], entry.id, content));
            }
        }
    }
    let record = |(paths, inode, content): Named<'_>| {
        let (sha256, fsverity) = digests(content).map_err(|error| {
            let path = show(paths.first().map_or(&[][..], |path| path));
            io::Error::new(error.kind(), format!("{path}: {error}"))
        })?;
        Ok(FileRecord { paths, inode, size: content.len, sha256, fsverity })
    };
    files.into_par_iter().map(record).collect()
}

/// SHA-256, and fs-verity with SHA-256, blocks of 4,096 bytes and no salt.
fn digests(content: &Content) -> io::Result<(Digest, Digest)> {
    let (mut sha256, mut fsverity) = (Sha256::new(), Digester::new(&fsverity::Params::default()));
    let mut buffer = vec![0; content.len.min(STEP) as usize];
    let mut done = 0;
    while done < content.len {
        let now = &mut buffer[..(content.len - done).min(STEP) as usize];
        content.read_exact_at(now, done)?;
        sha256.update(&*now);
        fsverity.update(now);
        done += now.len() as u64;
    }
    Ok((Digest::new(&sha256.finalize()).map_err(io::Error::other)?, fsverity.finish()))
}
