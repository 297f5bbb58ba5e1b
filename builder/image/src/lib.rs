//! The file tree in memory, file system writers and readers, GPT and FAT.
#![forbid(unsafe_code)]

pub mod erofs;
pub mod fat;
pub mod gpt;
pub mod tree;
