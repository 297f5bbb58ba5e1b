//! The file tree in memory, file system writers and readers, GPT and FAT, disk images in other forms.
#![forbid(unsafe_code)]

pub mod any;
mod checksum;
pub mod damage;
pub mod erofs;
pub mod ext4;
pub mod fat;
pub mod files;
pub mod formats;
pub mod gpt;
pub mod probe;
pub mod squashfs;
pub mod tar;
pub mod tree;
mod unpack;
