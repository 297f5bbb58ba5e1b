//! The verified devices of an image: the root, and each volume.

use std::borrow::Cow;

use graven_handoff::{PartUuid, Plan, RootHash, Verified, Volume};
use graven_image::gpt::Partition;

use crate::layout::Layout;
use crate::links::command_line::Line;

/// A device: where it lies on the disk, and what it must be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Device<'a> {
    /// Data.
    pub(crate) data: &'a Partition,
    /// Superblock, tree and parity.
    pub(crate) verity: &'a Partition,
    /// Root hash signature.
    pub(crate) signature: &'a Partition,
    /// What it is bound to, where that could be read.
    pub(crate) root_hash: Option<&'a RootHash>,
    /// What stage0 is told of it.
    pub(crate) planned: Option<&'a Verified>,
    /// The volume that it is; the root is none.
    pub(crate) volume: Option<&'a Volume>,
}

impl<'a> Device<'a> {
    /// The root: found by its types, bound by the command line.
    pub(crate) fn root(layout: &'a Layout, line: Option<&'a Line>, plan: Option<&'a Plan>) -> Self {
        Self {
            data: &layout.root,
            verity: &layout.verity,
            signature: &layout.signature,
            root_hash: line.map(|line| &line.binding.root_hash),
            planned: plan.map(|plan| &plan.root),
            volume: None,
        }
    }

    /// A volume: found and bound by the plan.
    ///
    /// # Errors
    /// A partition that is not there.
    pub(crate) fn volume(layout: &'a Layout, volume: &'a Volume) -> Result<Self, String> {
        let [(_, data), (_, verity), (_, signature)] = partitions(volume);
        let find = |what: &str, uuid: PartUuid| {
            let found = layout.others.iter().find(|partition| *partition.guid.as_bytes() == uuid.0);
            found.ok_or_else(|| format!("the disk has no partition {uuid} for its {what}"))
        };
        Ok(Self {
            data: find("data", data)?,
            verity: find("hash tree", verity)?,
            signature: find("root hash signature", signature)?,
            root_hash: Some(&volume.root_hash),
            planned: Some(&volume.image),
            volume: Some(volume),
        })
    }

    /// The name of one of its links.
    pub(crate) fn link(&self, kind: &'static str) -> Cow<'static, str> {
        link(self.volume, kind)
    }

    /// Who says what its root hash is.
    pub(crate) fn bound_by(&self) -> &'static str {
        if self.volume.is_some() { "stage0's plan" } else { "the command line" }
    }
}

/// The name of a link of the root or of a volume.
pub(crate) fn link(volume: Option<&Volume>, kind: &'static str) -> Cow<'static, str> {
    match volume {
        Some(volume) => format!("volume {}: {kind}", volume.name).into(),
        None => kind.into(),
    }
}

/// The PARTUUIDs of a volume, and what each part is to readers.
pub(crate) fn partitions(volume: &Volume) -> [(&'static str, PartUuid); 3] {
    [
        ("volume", volume.root_hash.data_partition()),
        ("volume's hash tree", volume.root_hash.hash_partition()),
        ("volume's root hash signature", volume.image.signature_partition),
    ]
}
