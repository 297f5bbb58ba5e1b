//! fs-verity: the digest by which the kernel, IPE and `fsverity digest` know a file.
//!
//! It is the hash of a descriptor that holds the file's size and the root of a Merkle tree over its blocks
//! (`include/uapi/linux/fsverity.h` and `fs/verity/` of Linux 7.3).

mod descriptor;
mod digester;
mod params;
mod stretch;

pub use self::descriptor::{Descriptor, DescriptorError, formatted_digest};
pub use self::digester::{Digester, build, describe, digest};
pub use self::params::{Params, ParamsError};
pub use self::stretch::{BlockDigests, Stretch};
