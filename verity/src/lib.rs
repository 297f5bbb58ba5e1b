//! dm-verity and fs-verity: Merkle trees over block devices and files.
//!
//! Computes, in one parallel pass and in bounded memory, what `veritysetup format` and `fsverity digest` compute, to the
//! byte; and checks data against a root hash the way the kernel does. Needs no kernel, no device and no privilege.
//!
//! - [`dm`]: dm-verity's parameters, superblock, tree, table line, check, update;
//! - [`fec`]: its Reed–Solomon parity, and repair with it;
//! - [`fsverity`]: fs-verity's descriptor, digest and tree;
//! - [`proof`]: that a block is in a tree, shown by a few digests;
//! - [`stream`]: one read of a source for several of these at once;
//! - [`setup`]: devices as veritysetup lays them out, options included;
//! - [`io`], [`progress`], [`hash`]: what they read from, write to, report to and hash with.
//!
//! Work is done on rayon's current pool. No result depends on the number of threads. What can be had without a copy is: bytes
//! in memory, cached files, the holes of sparse ones.
//!
//! # Example
//!
//! A tree and a file digest from one pass over the data, then a check that finds a changed byte:
//!
//! ```
//! use graven_verity::dm::{self, Finding, Params, Report, Salt, TreeBuilder};
//! use graven_verity::fsverity::{self, Digester};
//! use graven_verity::hash::Algorithm;
//! use graven_verity::progress::Silent;
//! use graven_verity::stream;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut data = vec![7u8; 300 * 4096];
//! let params = Params::new(Algorithm::Sha256, 4096, 4096, 300, "c0ffee".parse::<Salt>()?)?;
//! let tree = tempfile::tempfile()?;
//!
//! let mut builder = TreeBuilder::new(params.clone(), &tree);
//! let mut digester = Digester::new(&fsverity::Params::default());
//! stream::run(&data, params.data_bytes(), &mut [&mut builder, &mut digester], &Silent)?;
//!
//! let root_hash = builder.finish()?;
//! let digest = digester.finish();
//! println!("roothash={root_hash}");
//! println!("sha256:{digest}");
//! assert_eq!(tree.metadata()?.len(), params.tree_bytes());
//!
//! dm::verify(&data, &tree, &params, &root_hash, &mut Report::new(10), &Silent)?;
//!
//! data[123 * 4096] ^= 1;
//! let mut report = Report::new(10);
//! assert!(dm::verify(&data, &tree, &params, &root_hash, &mut report, &Silent).is_err());
//! assert!(matches!(report.findings(), [Finding::DataBlock { index: 123, .. }]));
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code, missing_docs)]

pub mod dm;
pub mod fec;
pub mod fsverity;
mod geometry;
pub mod hash;
pub mod io;
mod leaves;
mod map;
mod merkle;
pub mod progress;
pub mod proof;
pub mod setup;
pub mod stream;
