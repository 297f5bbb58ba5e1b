//! dm-verity: parameters, superblock, tree, table line.
//!
//! Byte for byte what `veritysetup format` writes and the kernel's `drivers/md/dm-verity-target.c` (7.3) reads.

mod params;
mod root_hash;
mod salt;
mod superblock;
mod table;
mod tree;
mod update;
mod verify;

pub use self::params::{HashType, Params, ParamsError};
pub use self::root_hash::{RootHash, RootHashError};
pub use self::salt::{Salt, SaltError};
pub use self::superblock::{Superblock, SuperblockError};
pub use self::table::{OnCorruption, OnError, Table, TableFec};
pub use self::tree::{TreeBuilder, build, build_with};
pub use self::update::update;
pub use self::verify::{Finding, Report, VerifyError, verify};
