//! Volumes: verified file systems besides the root, such as an application's image.

use super::{Verified, words};
use crate::identity::RootHash;

/// A finished, read-only file system with a root hash and a root hash signature of its own. The command line does not name
/// it: the plan does, which the boot artefact's signature covers as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name, of which its device has its own ([`Volume::can_be_named`]).
    pub name: String,
    /// Where it is mounted, read-only, nosuid and nodev: an absolute path as a [`Mount`](super::Mount)'s.
    pub target: String,
    /// Whether programs on it may be started, where the policy lets them.
    pub programs: Programs,
    /// Root of its tree.
    pub root_hash: RootHash,
    /// What it is.
    pub image: Verified,
}

words! {
    /// Whether a volume is for programs.
    Programs {
        /// They may be started, where the policy lets them.
        Exec = "exec",
        /// It is mounted noexec.
        Noexec = "noexec",
    }
}

impl Volume {
    /// Whether a volume can have this name: 1 to 24 of `a-z 0-9 -`, so that its partitions' names fit, and not the root's.
    pub fn can_be_named(name: &str) -> bool {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=24).contains(&name.len()) && name.bytes().all(plain) && name != "root"
    }
}
