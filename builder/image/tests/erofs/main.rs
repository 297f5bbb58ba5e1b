//! The EROFS writer and reader, against each other and against erofs-utils.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod hostile;
mod keep;
mod lookup;
mod oracle;
mod round_trip;
mod share;
mod trees;

use std::fs::File;

use graven_image::erofs::{self, FileRecord, Image};
use graven_image::tree::Tree;
use graven_verity::progress::Silent;

/// The image of a tree in a temporary file, and what was said of its files.
fn written(tree: &Tree) -> (tempfile::NamedTempFile, Vec<FileRecord>) {
    let image = Image::plan(tree, &trees::options()).unwrap();
    let out = tempfile::NamedTempFile::new().unwrap();
    out.as_file().set_len(image.len()).unwrap();
    let records = erofs::write(&image, out.as_file(), &mut [], &Silent).unwrap().files;
    (out, records)
}

/// The tree that our reader finds in an image.
fn read(image: File) -> Tree {
    erofs::Reader::open(image).unwrap().tree().unwrap()
}
