//! Where trees come from: folders, archives, packages.
//!
//! Every source becomes a [`Layer`] first: an ordered list of entries with contents by reference, read and
//! checked whole before a tree sees any of it. Layers can be made in parallel; [`Layer::apply`] puts them into
//! the [`Tree`](graven_image::tree::Tree) in the recipe's order.
//!
//! Nothing here follows a link or a name out of its source, and nothing is written anywhere but into the
//! [`Spool`], a file without a name in a folder of the caller's choice.
#![forbid(unsafe_code)]

pub mod deb;
pub mod dir;
pub mod tar;

mod digest;
mod error;
mod file;
mod layer;
mod limits;
mod spool;
mod stream;

pub use digest::{BadDigest, Sha256};
pub use error::{Error, Problem};
pub use layer::{Entry, Item, Layer, Replaced};
pub use limits::Limits;
pub use spool::Spool;
