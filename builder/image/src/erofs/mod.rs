//! EROFS, uncompressed: our own writer and reader.
//!
//! Writing is two passes over one layout: [`Image::plan`] gives everything its place and knows the length, then
//! the image is read through [`ReadAt`](graven_verity::io::ReadAt) as if it existed, its metadata rendered and
//! files taken from their sources on the fly; [`write()`] does that once, front to back, and hashes what passes.
//! Where files are to share blocks ([`Image::plan_sharing`]), they are read and hashed before. [`Reader`] reads such
//! images back, and those of `mkfs.erofs`.
//!
//! ```
//! use graven_image::erofs::{self, Image, Options, Reader};
//! use graven_image::tree::{self, Content, Inode, Kind, Metadata, Tree};
//! use graven_verity::{io::ReadAt, progress::Silent};
//!
//! let mut tree = Tree::new(Metadata { mode: 0o755, ..Metadata::default() });
//! let hello = Inode::new(Metadata::default(), Kind::File(Content::from_bytes(*b"hello")));
//! tree.insert_child(Tree::ROOT, b"greeting", hello)?;
//!
//! let options = Options { uuid: uuid::Uuid::nil(), build_time: 0, volume_name: "root".into() };
//! let image = Image::plan(&tree, &options)?;
//! let file = tempfile::tempfile()?;
//! file.set_len(image.len())?;
//! let written = erofs::write(&image, &file, &mut [], &Silent)?;
//! assert_eq!(written.files[0].sha256.to_string(), "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
//!
//! assert_eq!(tree::diff(&tree, &Reader::open(file)?.tree()?), Vec::<String>::new());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod directory;
pub(crate) mod format;
mod keep;
mod plan;
pub mod read;
mod render;
mod share;
mod slots;
mod write;
mod xattr;

pub use keep::{Place, Places, Shares};
pub use plan::{Image, Options, PlanError};
pub use read::{ReadError, Reader};
pub use render::SourceError;
pub use share::Contents;
pub use write::{FileRecord, Written, write};
pub use xattr::XattrProblem;
