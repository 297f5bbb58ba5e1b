//! The digest of a file in one pass.

use std::io;

use super::stretch::{accumulator, pass_over};
use super::{Descriptor, Params, Stretch};
use crate::hash::Digest;
use crate::io::{ReadAt, WriteAt};
use crate::leaves;
use crate::merkle::{Accumulator, HashBlocks};
use crate::progress::{Progress, Silent};
use crate::stream::{Consumer, WINDOW};

/// Files up to this length are hashed where they are: to share out so little costs more than to do it.
const SMALL: u64 = 128 * 1024;

/// Computes a file's digest as its bytes go by, in memory of one block a level.
///
/// Large updates are shared out among the threads of rayon's current pool; small ones are done where they are.
pub struct Digester {
    params: Params,
    accumulator: Accumulator,
    data_size: u64,
}

impl Digester {
    /// A digester of a file that is empty so far.
    #[must_use]
    pub fn new(params: &Params) -> Self {
        Self { params: params.clone(), accumulator: accumulator(params), data_size: 0 }
    }

    /// Takes the file's next bytes, as many as there are.
    pub fn update(&mut self, bytes: &[u8]) {
        for bytes in bytes.chunks(WINDOW) {
            self.data_size += bytes.len() as u64;
            let Ok(()) = self.accumulator.update(bytes, &mut pass_over);
        }
    }

    /// Takes the file's next `len` bytes by the digests of their blocks ([`BlockDigests::blocks`](super::BlockDigests::blocks)).
    /// A last block that is not full must have been filled up with zeros, and be the file's last.
    ///
    /// # Errors
    /// Where the bytes before are no whole blocks, or the digests are not as many as the blocks.
    pub fn update_known(&mut self, digests: &[u8], len: u64) -> io::Result<()> {
        let block = u64::from(self.params.block_size());
        let fits = digests.len() as u64 == len.div_ceil(block) * self.params.slots().slot as u64;
        if !self.data_size.is_multiple_of(block) || !fits {
            return Err(misplaced("the digests of blocks", self.data_size));
        }
        self.data_size += len;
        let Ok(()) = self.accumulator.update_digests(digests.to_vec(), &mut pass_over);
        Ok(())
    }

    /// Takes the file's next bytes as they were hashed before.
    ///
    /// # Errors
    /// Where no hash block of the lowest level begins here: after a multiple of 512 KiB, by default.
    pub fn append(&mut self, stretch: &Stretch) -> io::Result<()> {
        let whole = self.data_size.is_multiple_of(u64::from(self.params.block_size()));
        if !whole || !self.accumulator.at_hash_block() {
            return Err(misplaced("a stretch", self.data_size));
        }
        self.data_size += stretch.len();
        stretch.append_to(&mut self.accumulator);
        Ok(())
    }

    /// The descriptor of the file as it is now complete.
    #[must_use]
    pub fn finish_descriptor(mut self) -> Descriptor {
        let Ok(()) = self.accumulator.pad(&mut pass_over);
        let Ok(root) = self.accumulator.finish(&mut pass_over);
        Descriptor::new(self.params, self.data_size, root)
    }

    /// The digest of the file as it is now complete.
    #[must_use]
    pub fn finish(self) -> Digest {
        self.finish_descriptor().digest()
    }
}

fn misplaced(what: &str, at: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("fs-verity digest: {what} cannot follow byte {at}"))
}

impl Consumer for Digester {
    fn window(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset != self.data_size {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "fs-verity digest: expected the data from byte {} on, got byte {offset}",
                    self.data_size
                ),
            ));
        }
        self.update(bytes);
        Ok(())
    }
}

/// The digest of all of `source`, read once.
///
/// # Errors
/// Those of reading it.
pub fn digest(source: &dyn ReadAt, params: &Params) -> io::Result<Digest> {
    Ok(describe(source, params, &Silent)?.digest())
}

/// The descriptor of all of `source`, read once. `progress` counts its bytes.
///
/// # Errors
/// Those of reading it.
pub fn describe(source: &dyn ReadAt, params: &Params, progress: &dyn Progress) -> io::Result<Descriptor> {
    hash(source, source.size()?, params, progress, &mut |_| Ok(()))
}

/// The same, and the tree, [`Params::tree_bytes`] of it, to `tree` from its offset 0 on: the top level first, as file
/// systems store it.
///
/// # Errors
/// Those of reading `source` and of writing `tree`; [`io::ErrorKind::InvalidInput`] for a source past 2^63 bytes.
pub fn build(
    source: &dyn ReadAt,
    params: &Params,
    tree: &dyn WriteAt,
    progress: &dyn Progress,
) -> io::Result<Descriptor> {
    let size = source.size()?;
    let too_large = || io::Error::new(io::ErrorKind::InvalidInput, "fs-verity tree: the file is too large");
    let geometry = params.geometry(size).ok_or_else(too_large)?;
    hash(source, size, params, progress, &mut |blocks| {
        let offset = geometry.offset(blocks.level, blocks.first).ok_or_else(too_large)?;
        tree.write_all_at(blocks.bytes, offset)
    })
}

fn hash(
    source: &dyn ReadAt,
    size: u64,
    params: &Params,
    progress: &dyn Progress,
    emit: &mut (impl FnMut(HashBlocks<'_>) -> io::Result<()> + Send),
) -> io::Result<Descriptor> {
    let mut accumulator = accumulator(params);
    if size <= SMALL {
        let mut bytes = vec![0; size as usize];
        source.read_exact_at(&mut bytes, 0)?;
        accumulator.update(&bytes, emit)?;
        accumulator.pad(emit)?;
        progress.advance(size);
        let root = accumulator.finish(emit)?;
        return Ok(Descriptor::new(params.clone(), size, root));
    }
    let block = u64::from(params.block_size());
    let whole = size / block;
    leaves::digests(source, whole, params.hasher(), params.slots().slot, progress, |digests| {
        accumulator.update_digests(digests, emit)
    })?;
    let mut rest = vec![0; (size % block) as usize];
    source.read_exact_at(&mut rest, whole * block)?;
    accumulator.update(&rest, emit)?;
    accumulator.pad(emit)?;
    progress.advance(rest.len() as u64);
    let root = accumulator.finish(emit)?;
    Ok(Descriptor::new(params.clone(), size, root))
}
