//! What a kernel is and can do, read from its image, its configuration and its list of built-in modules; and what the
//! builder refuses in one.

mod boot_policy;
mod certificates;
mod config;
mod ikconfig;
mod image;
mod inspect;
mod refusal;
mod release;
mod root_without_initramfs;

pub use certificates::CertificatesError;
pub use config::{Config, ConfigError, Value};
pub use image::{Image, ImageError, ImageFormat};
pub use inspect::{Builtin, InspectError, Kernel, Parts};
pub use refusal::{Demands, NAMES, Signers, accept, assess};
pub use release::{Release, ReleaseError};

pub use crate::refusal::{AcceptError, Accepted, Judged, Refusal};
