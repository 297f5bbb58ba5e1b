//! Container images, as registries, layout folders and archives hold them (OCI image specification 1.1, distribution
//! specification 1.1, and Docker's "schema 2" documents, which are the same by other names).
//!
//! An image is a chain of digests: an index names a manifest for each platform, a manifest names a configuration and
//! layers, all by SHA-256 and size. Whoever knows the first digest needs to trust nobody: each blob is held against its
//! descriptor before anything in it is looked at ([`Blobs`] brings them), each layer unpacked against its place in the
//! configuration. [`choose`] walks from an index to what belongs to one platform, [`read`] makes one
//! [`Layer`](crate::Layer) of it, [`Registry`] fetches.
//!
//! Of the configuration only platform and labels are used: what an appliance starts its recipe says.

mod auth;
mod blobs;
mod choose;
mod document;
mod error;
mod image;
mod layout;
mod platform;
mod registry;
mod unpack;

pub use auth::{BadCredentials, Credential, Credentials};
pub use blobs::{Blob, Blobs, Stored};
pub use choose::{Chain, choose};
pub use document::Descriptor;
pub use error::Error;
pub use image::{Facts, Image, read};
pub use layout::{Layout, Which};
pub use platform::Platform;
pub use registry::{Registry, Scheme, Version};
