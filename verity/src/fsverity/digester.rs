//! The digest of a file in one pass.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use super::{Descriptor, Params};
use crate::hash::Digest;
use crate::io::ReadAt;
use crate::merkle::{Accumulator, HashBlocks};
use crate::progress::Silent;
use crate::stream::{self, Consumer, WINDOW};

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
        let hasher = params.hasher();
        Self {
            params: params.clone(),
            accumulator: Accumulator::new(Arc::clone(hasher), Arc::clone(hasher), params.slots()),
            data_size: 0,
        }
    }

    /// Takes the file's next bytes, as many as there are.
    pub fn update(&mut self, bytes: &[u8]) {
        for bytes in bytes.chunks(WINDOW) {
            self.data_size += bytes.len() as u64;
            let Ok(()) = self.accumulator.update(bytes, &mut pass_over);
        }
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

/// The tree itself is not kept: only its root is wanted.
fn pass_over(_: HashBlocks<'_>) -> Result<(), Infallible> {
    Ok(())
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
    let mut digester = Digester::new(params);
    stream::run(source, source.size()?, &mut [&mut digester], &Silent)?;
    Ok(digester.finish())
}
