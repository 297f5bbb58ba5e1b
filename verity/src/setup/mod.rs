//! dm-verity devices as `veritysetup` lays them out: which option's text means what, where superblock, tree and parity
//! lie on which device, and what is printed of it.
//!
//! The rules are those of veritysetup 2.6.1, found by running it (`tests/tests/verity_verbs.rs` does so again) and in
//! cryptsetup's `lib/verity/`. Nothing here opens a file.
//!
//! ```
//! use graven_verity::setup::{Devices, Layout, Options, Uuid};
//!
//! let options = Options { salt: "c0ffee".parse()?, ..Options::default() };
//! let layout = Layout::plan(&options, &Devices::separate(300 * 4096))?;
//! assert_eq!((layout.tree_start, layout.tree_bytes()), (4096, 4 * 4096));
//!
//! let header = layout.header("hash.img", &Uuid::nil().to_string());
//! assert!(header.to_string().starts_with("VERITY header information for hash.img\nUUID:"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod header;
mod layout;
mod options;

pub use uuid::Uuid;

pub use self::header::Header;
pub use self::layout::{Devices, FecPlace, Layout, LayoutError, ParityPlace, SUPERBLOCK_ALIGNMENT};
pub use self::options::{OptionError, Options, algorithm, hash_type, number, number32, roots, salt, uuid};
