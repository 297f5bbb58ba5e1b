//! dm-verity and fs-verity: Merkle trees over block devices and files.
#![forbid(unsafe_code)]

pub mod io;
