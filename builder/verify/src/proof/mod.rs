//! Proofs of single files: that a path of the signed root has this mode, this owner and these contents, checkable with a
//! certificate and without the image.
//!
//! A proof carries the root hash's signature, the dm-verity parameters, the blocks of the root file system that a reader
//! comes by on its way from the superblock to the file's last byte, and the digests that lead from those blocks to the
//! root hash. [`make`] finds the blocks by reading the path from the image and noting what was read; [`check`] proves the
//! blocks and reads the path again, from nothing but them, with the same reader. The format is described in
//! `docs/formats/proof.md`.

mod blocks;
mod check;
mod format;
mod make;

pub use check::{CheckError, Contents, Statement, Thing, Trusted, check};
pub use format::{FormatError, ImageProof, Subject};
pub use make::{MakeError, make};
