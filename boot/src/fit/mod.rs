//! U-Boot's FIT: kernel, device trees and initramfs in one device tree blob, with signed configurations.
//!
//! Flat Image Tree Specification; U-Boot, `doc/usage/fit/`. [`build`] makes a FIT, [`sign`] signs it (or one made by
//! mkimage), [`verify`] proves it by U-Boot's rules, old and new, and [`control`] writes the public key where U-Boot
//! looks for it, into its control device tree.
//!
//! ```
//! use graven_boot::fit::{self, Address, Compression, Hash, Kind, SignOptions, Signed, TrustedKey};
//! use graven_boot::fdt::{Node, Property, Tree};
//! use graven_boot::{keys, sign::{FileSigner, Signer}};
//! use graven_targets::Arch;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let parent = tempfile::tempdir()?;
//! # let dir = parent.path().join("keys");
//! # keys::create(&dir, &keys::Options::development("acme"))?;
//! let mut board = Tree::new(Node::new("").with(Property::text("compatible", "acme,firewall")))?;
//! board.set_bootargs("console=ttyAMA0 ro")?;
//! let unsigned = fit::build(&fit::Parts {
//!     description: "acme 1.0",
//!     timestamp: 1_767_225_600,
//!     hash: Hash::Sha256,
//!     arch: Arch::Aarch64,
//!     images: vec![
//!         fit::ImageParts::new("kernel-1", Kind::Kernel(Address { load: 0x4040_0000, entry: 0x4040_0000 }), b"Image")
//!             .compressed(Compression::Gzip)?,
//!         fit::ImageParts::new("fdt-1", Kind::DeviceTree, &board.to_bytes()?),
//!         fit::ImageParts::new("ramdisk-1", Kind::Ramdisk, b"initramfs"),
//!     ],
//!     configurations: vec![fit::ConfigurationParts {
//!         name: "conf-1".into(),
//!         description: "acme firewall".into(),
//!         kernel: "kernel-1".into(),
//!         ramdisk: Some("ramdisk-1".into()),
//!         fdt: vec!["fdt-1".into()],
//!         ..Default::default()
//!     }],
//! })?;
//!
//! let signer = FileSigner::load(&dir.join("fit.key"), &dir.join("fit.crt"))?;
//! let options = SignOptions::new("fit", 1_767_225_600);
//! let Signed::Whole(signed) = fit::sign(&unsigned, &options, &signer)? else { unreachable!("a key file answers at once") };
//!
//! let report = fit::verify(&signed, &[TrustedKey::of(signer.certificate())])?;
//! assert!(report.holds(), "{report}");
//! # Ok(())
//! # }
//! ```

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod algorithm;
mod build;
mod compression;
pub mod control;
mod read;
mod region;
mod report;
mod sign;
mod verify;

pub use algorithm::{Hash, Padding, SignatureAlgorithm};
pub use build::{Address, ConfigurationParts, ImageParts, Kind, Parts, arch_name, build};
pub use compression::Compression;
pub use read::{Configuration, Fit, Image, Placement, Reference, SignatureNode};
pub use report::{ConfigurationReport, ImageReport, Report, SignatureReport};
pub use sign::{SignOptions, Signed, sign};
pub use verify::{TrustedKey, verify};

use thiserror::Error;

use crate::compression::DecompressError;
use crate::fdt::FdtError;
use crate::sign::SignError;

/// Why no FIT was made or signed, or bytes are none.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FitError {
    /// Not a device tree.
    #[error(transparent)]
    Fdt(FdtError),
    /// Tokens that U-Boot's versions hash differently.
    #[error("FIT: its structure block has FDT_NOP tokens; make it again with mkimage or graven")]
    Nops,
    /// A part that every FIT has is missing.
    #[error("FIT: {node} has no {what}")]
    Missing {
        /// The node.
        node: String,
        /// What is missing.
        what: &'static str,
    },
    /// A name with a unit address.
    #[error("FIT: the name {node} contains «@», which U-Boot refuses since a node could pass for another")]
    UnitAddress {
        /// The node.
        node: String,
    },
    /// An image with data inside and outside, of which U-Boot would take the latter.
    #[error("FIT: {node} gives its data in more than one of data, data-position and data-offset")]
    TwoPlaces {
        /// The node.
        node: String,
    },
    /// External data that is not in the file.
    #[error("FIT: the data of {node} ({size:?} bytes at {start:?}) lies outside the file of {length} bytes")]
    Outside {
        /// The node.
        node: String,
        /// From the file's start, if it is said.
        start: Option<u64>,
        /// Bytes, if it is said.
        size: Option<u64>,
        /// Bytes of the file.
        length: usize,
    },
    /// A compression that is not undone here.
    #[error("FIT: image «{image}» is compressed as {found}; expected none, gzip, lz4 or zstd")]
    Compression {
        /// The image.
        image: String,
        /// The name found.
        found: String,
    },
    /// Data that cannot be decompressed.
    #[error("FIT: image «{image}» {source}")]
    Data {
        /// The image.
        image: String,
        /// What is wrong.
        source: DecompressError,
    },
    /// Parts that do not make a FIT that boots.
    #[error("FIT: {0}")]
    Parts(String),
    /// An image that cannot be signed as it is.
    #[error("FIT: image «{name}» {reason}")]
    Image {
        /// The image.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A configuration that cannot be signed as it is.
    #[error("FIT: configuration «{name}» cannot be signed: {reason}")]
    Configuration {
        /// The configuration.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A key that U-Boot cannot check signatures of.
    #[error(
        "certificate «{subject}» has a {found}; expected RSA of 2048, 3072 or 4096 bits: U-Boot checks no ECDSA in software"
    )]
    Key {
        /// The certificate's subject.
        subject: String,
        /// What its key is.
        found: String,
    },
    /// A key's name that cannot be a node's.
    #[error("«{found}» cannot name a key in a FIT: expected 1 to 90 of A-Z a-z 0-9 . _ -")]
    KeyName {
        /// The name.
        found: String,
    },
    /// A key node that is there already, with another key.
    #[error(
        "the control device tree has another key in /signature/key-{name}; choose another name or start without it"
    )]
    OtherKey {
        /// The name.
        name: String,
    },
    /// A key node that U-Boot could not use.
    #[error("control device tree: /signature/{node}: {reason}")]
    KeyNode {
        /// The node's name.
        node: String,
        /// What is wrong.
        reason: String,
    },
    /// External data at a fixed place, and a tree that outgrew the room before it.
    #[error("FIT: the signed tree takes {needed} bytes, and external data stands at byte {room} of the file")]
    Room {
        /// Bytes of the tree.
        needed: usize,
        /// Where the data starts.
        room: usize,
    },
    /// The signer refused.
    #[error(transparent)]
    Sign(#[from] SignError),
}
