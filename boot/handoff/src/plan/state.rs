//! The state: what outlives a boot.

use super::text::{absolute, word};
use super::words;
use crate::identity::PartUuid;

/// The state partition: an ext4 that stage0 makes on the first boot, and of which exact paths are bound into the root.
///
/// In the file system, the path `/var/log` is `persist/var:log`: one entry each, with no folder between that could have
/// been replaced by a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The partition.
    pub partition: PartUuid,
    /// Whether it takes the rest of the disk.
    pub size: StateSize,
    /// What happens when it is not what stage0 left there.
    pub if_damaged: IfDamaged,
    /// Absolute paths of the root that are bound from it, `noexec,nosuid,nodev`: each a file or a folder, as the root has
    /// it.
    pub persist: Vec<String>,
    /// Those of them from which programs may be started, where the policy lets them: bound without `noexec`.
    pub exec: Vec<String>,
    /// Whether a seed may fill it.
    pub seed: Option<Seed>,
}

/// How a seed is taken ([`seed`](crate::seed)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// On which boots.
    pub when: SeedTime,
    /// How long a first boot waits for the partition, in seconds, at most 300.
    pub wait_seconds: u32,
}

words! {
    /// On which boots a seed is taken.
    SeedTime {
        /// Only on the first, when the state is made.
        FirstBoot = "first-boot",
        /// On each on which it is there.
        Always = "always",
    }
}

words! {
    /// How large the state is.
    StateSize {
        /// As large as the image has it.
        Fixed = "fixed",
        /// Grown to the end of the disk.
        Grow = "grow",
    }
}

words! {
    /// What happens to a state that is damaged.
    IfDamaged {
        /// It is made anew, with a warning; where that fails, as `volatile`.
        Reset = "reset",
        /// An empty tmpfs takes its place for this boot, with a warning.
        Volatile = "volatile",
        /// The boot stops.
        Fail = "fail",
    }
}

impl State {
    /// Whether a path can be persisted: absolute, without `.` or `..`, blanks or colons, and short enough for one name.
    pub fn can_persist(path: &str) -> bool {
        absolute(path) && word(path) && !path.contains(':') && path.len() <= 255
    }

    /// The name, below `persist` in the state's file system, of a path that can be persisted.
    pub fn entry(path: &str) -> String {
        path.trim_start_matches('/').replace('/', ":")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_a_name_of_its_own() {
        assert_eq!(State::entry("/etc/machine-id"), "etc:machine-id");
        for path in ["/a:b", "/", "a", "/a/", "/a/../b", "/a b", "", "/a\u{1}"] {
            assert!(!State::can_persist(path), "{path}");
        }
        assert!(State::can_persist(&format!("/{}", "a".repeat(254))));
        assert!(!State::can_persist(&format!("/{}", "a".repeat(255))));
    }
}
