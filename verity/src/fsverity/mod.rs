//! fs-verity: the digest by which the kernel, IPE and `fsverity digest` know a file.
//!
//! It is the hash of a descriptor that holds the file's size and the root of a Merkle tree over its blocks
//! (`include/uapi/linux/fsverity.h` and `fs/verity/` of Linux 7.3).
//!
//! ```
//! use graven_verity::fsverity::{self, Digester, Params};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let params = Params::default();
//! // Of anything that can be read at an offset, such as a file ...
//! let file = vec![0u8; 10_000];
//! let digest = fsverity::digest(&file, &params)?;
//! // ... or of bytes as they come.
//! let mut digester = Digester::new(&params);
//! file.chunks(777).for_each(|bytes| digester.update(bytes));
//! assert_eq!(digester.finish(), digest);
//! # Ok(())
//! # }
//! ```

mod descriptor;
mod digester;
mod files;
mod params;
mod stretch;

pub use self::descriptor::{Descriptor, DescriptorError, formatted_digest};
pub use self::digester::{Digester, build, describe, digest};
pub use self::files::{FileDigest, digest_files};
pub use self::params::{Params, ParamsError};
pub use self::stretch::{BlockDigests, Stretch};
