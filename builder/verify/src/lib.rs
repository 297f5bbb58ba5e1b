//! The offline proof of an image: from its bytes and a set of certificates alone, without root, mount or loop device.
//!
//! [`prove`] walks the chain from the boot artefact's signature to the last byte of the root file system, and reports
//! every link. [`Contents`] reads the same parts for people who want to look at them, [`inspect`] describes them,
//! [`diff`] tells what is not the same in two images, and [`extract`] copies them out. No network, no clock; nothing of
//! the image is trusted before it is proved.
//!
//! ```
//! use std::sync::Arc;
//!
//! use graven_verify::report::State;
//! use graven_verify::{Disk, Options, Trust, prove};
//!
//! // A disk of zeros proves nothing, and the report says where the chain breaks.
//! let disk: Disk = Arc::new(vec![0u8; 1 << 20]);
//! let report = prove(&disk, None, &Trust::default(), &Options::default());
//! assert_eq!(report.verdict(), State::Bad);
//! assert_eq!(report.links[0].name, "partition-table");
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod artefact;
mod contents;
mod device;
pub mod diff;
mod dpkg;
pub mod extract;
pub mod inspect;
mod layout;
mod links;
pub mod manifest;
pub mod page;
pub mod proof;
mod prove;
pub mod provenance;
pub mod report;
mod root_map;
pub mod sbom;
mod signature_partition;
pub mod survey;
mod trust;

pub use contents::{Boot, Contents, ContentsError, Part};
pub use layout::{BOOT_FOLDER, ESP_TYPE, FIT_FILE, Layout, LayoutError};
pub use prove::{Disk, Options, prove};
pub use signature_partition::{RootHashSignature, SignatureError};
pub use trust::{CertificatesError, Role, Trust, read_certificates};
