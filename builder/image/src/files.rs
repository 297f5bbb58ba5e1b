//! The regular files of a tree, hashed: for images that others write, and for ours whose files share blocks.

use std::collections::BTreeMap;
use std::io;

use graven_verity::fsverity::{self, BlockDigests, Digester};
use graven_verity::hash::Digest;
use graven_verity::io::read_through;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::erofs::FileRecord;
use crate::tree::{Content, InodeId, Kind, Tree, show};

/// A file's names, its inode and its contents.
type Named<'t> = (Vec<Box<[u8]>>, InodeId, &'t Content);

/// Every regular file of a tree, in the order of each one's first name, several at a time on rayon's current pool.
///
/// # Errors
/// The first source of contents that fails, with the file's path.
pub fn hash(tree: &Tree) -> io::Result<Vec<FileRecord>> {
    each(tree, |record, _| record)
}

/// What `wanted` makes of each file and of the SHA-256 of its blocks of 4,096 bytes, the last one filled up with zeros.
pub(crate) fn each<T: Send>(
    tree: &Tree,
    wanted: impl Fn(FileRecord, Vec<u8>) -> T + Sync,
) -> io::Result<Vec<T>> {
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
    let one = |(paths, inode, content): Named<'_>| {
        let (sha256, fsverity, blocks) = digests(content).map_err(|error| {
            let path = show(paths.first().map_or(&[][..], |path| path));
            io::Error::new(error.kind(), format!("{path}: {error}"))
        })?;
        Ok(wanted(FileRecord { paths, inode, size: content.len, sha256, fsverity }, blocks))
    };
    files.into_par_iter().map(one).collect()
}

/// SHA-256; fs-verity with SHA-256, blocks of 4,096 bytes and no salt; and the digests of these blocks.
fn digests(content: &Content) -> io::Result<(Digest, Digest, Vec<u8>)> {
    let params = fsverity::Params::default();
    let (mut sha256, mut fsverity, mut blocks) = (Sha256::new(), Digester::new(&params), Vec::new());
    read_through(&content.window(), |piece| {
        sha256.update(piece);
        let digests = BlockDigests::of(&params, piece);
        fsverity.update_known(digests.all(), piece.len() as u64)?;
        blocks.extend_from_slice(digests.all());
        Ok(())
    })?;
    Ok((Digest::new(&sha256.finalize()).map_err(io::Error::other)?, fsverity.finish(), blocks))
}
