//! Where a file lies when the kernel asks, and what it then knows of it.

use std::fmt;

use crate::evaluate::Facts;

/// Where a file of a root lies when the kernel asks about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The root: on its dm-verity device. A bind mount of it is the same.
    #[default]
    Root,
    /// A copy on a tmpfs: /tmp, /run, /dev/shm.
    Tmpfs,
    /// A copy on the state or another writable disk, without fs-verity.
    State,
    /// Seen through an overlay over the root, and not changed in it.
    Overlay,
    /// Changed in an overlay, or bound from elsewhere into the root.
    OverlayUpper,
    /// A copy in memory that has no name.
    Memfd,
    /// The file system that the initramfs was unpacked into.
    Initramfs,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Root,
        Self::Tmpfs,
        Self::State,
        Self::Overlay,
        Self::OverlayUpper,
        Self::Memfd,
        Self::Initramfs,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Tmpfs => "tmpfs",
            Self::State => "state",
            Self::Overlay => "overlay",
            Self::OverlayUpper => "overlay-upper",
            Self::Memfd => "memfd",
            Self::Initramfs => "initramfs",
        }
    }

    /// What it is, for who chooses among them.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Root => "The root: on its dm-verity device",
            Self::Tmpfs => "A copy on a tmpfs: /tmp, /run, /dev/shm",
            Self::State => "A copy on the state or another writable disk, without fs-verity",
            Self::Overlay => "Seen through an overlay over the root, and not changed in it",
            Self::OverlayUpper => "Changed in an overlay, or bound from elsewhere into the root",
            Self::Memfd => "A copy in memory that has no name",
            Self::Initramfs => "The file system that the initramfs was unpacked into",
        }
    }

    /// The place of that exact name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|place| place.name() == name)
    }

    /// What the kernel knows of a file there that it would know by `root` on its root.
    pub fn facts(self, root: &Facts) -> Facts {
        let providers = root.providers;
        match self {
            // The kernel asks for the device of the file that holds the data, below the overlay.
            Self::Root | Self::Overlay => root.clone(),
            Self::Tmpfs | Self::State | Self::OverlayUpper | Self::Memfd => {
                Facts { providers, ..Facts::default() }
            }
            Self::Initramfs => Facts { boot_verified: true, providers, ..Facts::default() },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
