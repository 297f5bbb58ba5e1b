//! The file tree in memory, file system writers and readers, GPT and FAT, disk images in other forms.
#![forbid(unsafe_code)]

mod checksum;
pub mod erofs;
pub mod fat;
pub mod formats;
pub mod gpt;
pub mod probe;
pub mod tree;
