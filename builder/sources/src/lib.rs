//! Where trees come from: folders, archives, packages and [container images](oci), and the [repositories](debian) and
//! registries that hold them.
//!
//! Every source becomes a [`Layer`] first: an ordered list of entries with contents by reference, read and
//! checked whole before a tree sees any of it. Layers can be made in parallel; [`Layer::apply`] puts them into
//! the [`Tree`](graven_image::tree::Tree) in the recipe's order.
//!
//! This is the only room that knows the [`network`], and nothing of it is believed before its signature or digest
//! has been checked; what is fetched lies in a [store](store::Store), by its digest.
//!
//! Nothing here follows a link or a name out of its source, and nothing is written anywhere but into that store and into
//! the [`Spool`], a file without a name in a folder of the caller's choice.
#![forbid(unsafe_code)]

pub mod deb;
pub mod debian;
pub mod dir;
pub mod network;
pub mod oci;
pub mod store;
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
