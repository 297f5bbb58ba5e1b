//! What computes the digests: for each hash function, many blocks at a time under one salt.
//!
//! The only place that knows a hash implementation. A faster one for some CPU is another variant of [`Kernel`], chosen
//! in [`Kernel::new`]; nothing outside changes.

use sha1::Sha1;
use sha2::digest::Output;
use sha2::{Sha256, Sha384, Sha512};

use super::Algorithm;
use super::block::Salting;

/// How many blocks a kernel is best given at a time.
pub(super) const LANES: usize = 16;

/// One hash function with its salt already taken in.
pub(super) enum Kernel {
    Sha1(Salted<Sha1>),
    Sha256(Salted<Sha256>),
    Sha384(Salted<Sha384>),
    Sha512(Salted<Sha512>),
}

impl Kernel {
    pub(super) fn new(algorithm: Algorithm, salting: Salting<'_>) -> Self {
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(Salted::new(salting)),
            Algorithm::Sha256 => Self::Sha256(Salted::new(salting)),
            Algorithm::Sha384 => Self::Sha384(Salted::new(salting)),
            Algorithm::Sha512 => Self::Sha512(Salted::new(salting)),
        }
    }

    /// Hashes `blocks`, all of one length, and hands `put` the index and digest of each.
    pub(super) fn digest_many(&self, blocks: &[&[u8]], mut put: impl FnMut(usize, &[u8])) {
        for (index, block) in blocks.iter().enumerate() {
            match self {
                Self::Sha1(salted) => put(index, &salted.digest(block)),
                Self::Sha256(salted) => put(index, &salted.digest(block)),
                Self::Sha384(salted) => put(index, &salted.digest(block)),
                Self::Sha512(salted) => put(index, &salted.digest(block)),
            }
        }
    }
}

/// The state after the leading salt, cloned for each block, and the salt that follows the block, if any.
pub(super) struct Salted<D> {
    state: D,
    suffix: Vec<u8>,
}

impl<D: sha2::Digest + Clone> Salted<D> {
    fn new(salting: Salting<'_>) -> Self {
        match salting {
            Salting::Before(salt) => Self { state: D::new_with_prefix(salt), suffix: Vec::new() },
            Salting::After(salt) => Self { state: D::new(), suffix: salt.to_vec() },
        }
    }

    fn digest(&self, block: &[u8]) -> Output<D> {
        let mut state = self.state.clone();
        state.update(block);
        state.update(&self.suffix);
        state.finalize()
    }
}
