//! The digests of many files: small ones side by side.
//!
//! To hash a small file costs less than to open it. So files of one folder are opened by their names in it; a file is not
//! asked for its length, which reading it tells; and the blocks of many fill the lanes that those of one would leave idle.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rayon::prelude::*;
use rustix::fs::{Mode, OFlags};

use super::stretch::{accumulator, pass_over};
use super::{Descriptor, Params, describe};
use crate::hash::{BlockHasher, Digest, Salting};
use crate::leaves::{Buffers, PIECE};
use crate::progress::Progress;

/// Files that a thread takes on at a time.
const FILES: usize = 64;

/// A file of so many bytes is hashed by itself, by every thread that has nothing else to do.
const LARGE: usize = 128 * 1024;

/// A file's length in bytes, and its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDigest {
    /// Bytes.
    pub data_size: u64,
    /// The digest of its descriptor.
    pub digest: Digest,
}

/// The digests of files, in their order; of each that cannot be read, why. `progress` counts their bytes.
///
/// Runs on rayon's current pool, in memory of 400 KiB a thread. For files as they are on disk; a [`describe`] of anything
/// else that can be read gives the same.
///
/// ```
/// use graven_verity::fsverity::{self, Params};
/// use graven_verity::progress::Silent;
///
/// let params = Params::default();
/// let digests = fsverity::digest_files(&["/proc/self/exe", "/no/such/file"], &params, &Silent);
/// assert!(digests[0].is_ok() && digests[1].is_err());
/// ```
pub fn digest_files<P: AsRef<Path> + Sync>(
    paths: &[P],
    params: &Params,
    progress: &dyn Progress,
) -> Vec<io::Result<FileDigest>> {
    let buffers = Buffers::default();
    let descriptors = BlockHasher::new(params.algorithm(), Salting::Before(&[]), Descriptor::SIZE);
    let digest = |paths: &[P]| {
        buffers.lend(PIECE + LARGE, |buffer| {
            let mut batch = Batch::new(params, &descriptors, buffer);
            for path in paths {
                batch.take(path.as_ref(), progress);
            }
            batch.finish()
        })
    };
    paths.par_chunks(FILES).flat_map_iter(digest).collect()
}

/// Files of which the blocks lie in a buffer, not hashed yet.
struct Batch<'a> {
    params: &'a Params,
    descriptors: &'a BlockHasher,
    folder: Folder,
    /// Their blocks, one file's after the other's.
    buffer: &'a mut [u8],
    used: usize,
    /// Where among the results theirs belong, and their lengths in bytes.
    waiting: Vec<(usize, usize)>,
    results: Vec<io::Result<FileDigest>>,
}

impl<'a> Batch<'a> {
    fn new(params: &'a Params, descriptors: &'a BlockHasher, buffer: &'a mut [u8]) -> Self {
        let folder = Folder::default();
        Self { params, descriptors, folder, buffer, used: 0, waiting: Vec::new(), results: Vec::new() }
    }

    fn take(&mut self, path: &Path, progress: &dyn Progress) {
        let result = self.read(path, progress);
        self.results.push(result);
        if self.used >= PIECE {
            self.hash();
        }
    }

    /// Reads a small file into the buffer, and answers what is to take the place of its digest until that is known; of a
    /// large one the digest itself.
    fn read(&mut self, path: &Path, progress: &dyn Progress) -> io::Result<FileDigest> {
        let file = self.folder.open(path)?;
        let room = &mut self.buffer[self.used..][..LARGE];
        let size = read_start(&file, room)?;
        if size == LARGE {
            let descriptor = describe(&file, self.params, progress)?;
            return Ok(FileDigest { data_size: descriptor.data_size(), digest: descriptor.digest() });
        }
        let blocks = size.next_multiple_of(self.params.block_size() as usize);
        room[size..blocks].fill(0);
        self.used += blocks;
        self.waiting.push((self.results.len(), size));
        progress.advance(size as u64);
        Ok(FileDigest { data_size: size as u64, digest: Digest::from_hash(&[]) })
    }

    /// Puts the digests of the files in the buffer into their places.
    fn hash(&mut self) {
        let (params, slot) = (self.params, self.params.slots().slot);
        let block = params.block_size() as usize;
        let mut leaves = vec![0; self.used / block * slot];
        params.hasher().digest_run(&self.buffer[..self.used], slot, &mut leaves);
        let mut rest = leaves.as_slice();
        let mut descriptors = Vec::with_capacity(self.waiting.len() * Descriptor::SIZE);
        for (_, size) in &self.waiting {
            let (own, others) = rest.split_at(size.div_ceil(block) * slot);
            rest = others;
            let root = match own.len() / slot {
                0 => None,
                1 => Some(Digest::from_hash(own)),
                _ => {
                    let mut tree = accumulator(params);
                    let Ok(()) = tree.update_digests(own.to_vec(), &mut pass_over);
                    let Ok(root) = tree.finish(&mut pass_over);
                    root
                }
            };
            descriptors.extend(Descriptor::layout(params, *size as u64, root.as_ref(), 0));
        }
        let mut digests = vec![0; self.waiting.len() * slot];
        self.descriptors.digest_run(&descriptors, slot, &mut digests);
        for ((index, size), digest) in self.waiting.drain(..).zip(digests.chunks_exact(slot)) {
            let data_size = size as u64;
            self.results[index] = Ok(FileDigest { data_size, digest: Digest::from_hash(digest) });
        }
        self.used = 0;
    }

    fn finish(mut self) -> Vec<io::Result<FileDigest>> {
        self.hash();
        self.results
    }
}

/// The folder that the last file was in, opened when a second one came from there: its path need not be walked again.
#[derive(Default)]
struct Folder {
    /// As the files' paths name it, with the slash at its end.
    path: Vec<u8>,
    opened: Option<OwnedFd>,
}

impl Folder {
    fn open(&mut self, path: &Path) -> io::Result<File> {
        let bytes = path.as_os_str().as_bytes();
        let name_at = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let (folder, name) = bytes.split_at(name_at);
        if folder.is_empty() || name.is_empty() || folder != self.path {
            *self = Self { path: folder.to_vec(), opened: None };
            return File::open(path);
        }
        if self.opened.is_none() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.opened = rustix::fs::open(folder, flags, Mode::empty()).ok();
        }
        let Some(folder) = &self.opened else { return File::open(path) };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::io::retry_on_intr(|| rustix::fs::openat(folder, name, flags, Mode::empty()))?;
        Ok(file.into())
    }
}

/// Reads the start of a file; answers how many bytes that is, which are all of it where they do not fill the buffer: a
/// regular file gives less than it is asked for at its end alone, and pipes and terminals cannot be read at an offset.
fn read_start(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Algorithm;
    use crate::progress::Silent;

    #[test]
    fn files_of_all_lengths_have_the_digests_that_each_has_alone() {
        let folder = tempfile::tempdir().unwrap();
        let lengths = [0, 1, 1023, 4000, 4096, 4097, 70_000, LARGE - 1, LARGE, LARGE + 1, PIECE + LARGE];
        std::fs::create_dir(folder.path().join("in")).unwrap();
        let name = |index: usize| format!("{}{index}", if index % 7 < 3 { "in/" } else { "" });
        let paths: Vec<_> = (0..3 * FILES).map(|index| folder.path().join(name(index))).collect();
        for (index, path) in paths.iter().enumerate() {
            let len = lengths[index * index % lengths.len()];
            let bytes: Vec<u8> = (0..len).map(|i| (i * index / 7 % 253) as u8).collect();
            std::fs::write(path, bytes).unwrap();
        }
        std::fs::remove_file(&paths[100]).unwrap();
        for (algorithm, block, salt) in [
            (Algorithm::Sha256, 4096, &[][..]),
            (Algorithm::Sha512, 1024, &[7; 9]),
            (Algorithm::Sha256, 65536, &[1]),
        ] {
            let params = Params::new(algorithm, block, salt).unwrap();
            let found = digest_files(&paths, &params, &Silent);
            assert_eq!(found.len(), paths.len());
            for (index, (path, found)) in paths.iter().zip(found).enumerate() {
                if index == 100 {
                    assert_eq!(found.unwrap_err().kind(), io::ErrorKind::NotFound);
                    continue;
                }
                let alone = describe(&File::open(path).unwrap(), &params, &Silent).unwrap();
                let alone = FileDigest { data_size: alone.data_size(), digest: alone.digest() };
                assert_eq!(found.unwrap(), alone, "{index}");
            }
        }
    }
}
