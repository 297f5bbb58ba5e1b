//! Mending by parity: on the devices themselves, or in memory to see what it would do.

use std::fs::File;
use std::io;

use graven_verity::dm::{RootHash, VerifyError};
use graven_verity::fec::{self, Message, Repaired};
use graven_verity::io::{Overlay, ReadWriteAt, Window};
use graven_verity::progress::Progress;
use graven_verity::setup::{FecPlace, Layout, ParityPlace};

use super::devices::{Device, facts};

/// Where a repair reads and writes.
pub(super) struct Places<'a> {
    pub(super) data: &'a dyn ReadWriteAt,
    pub(super) hash: &'a dyn ReadWriteAt,
    pub(super) fec: &'a dyn ReadWriteAt,
}

impl Places<'_> {
    pub(super) fn mend(
        &self,
        layout: &Layout,
        parity: &ParityPlace,
        root_hash: &RootHash,
        progress: &dyn Progress,
    ) -> Result<Repaired, VerifyError> {
        let gap_bytes = parity.gap_blocks * u64::from(layout.params.hash_block_size());
        let fec_bytes = self
            .fec
            .size()
            .map_err(|source| VerifyError::Read { what: "the length of the parity".into(), source })?;
        let message = Message {
            data: self.data,
            tree: &Window::new(self.hash, layout.tree_start, layout.tree_bytes()),
            gap: Some((&Window::new(self.hash, layout.tree_end(), gap_bytes), parity.gap_blocks)),
            parity: &Window::new(self.fec, parity.start, fec_bytes.saturating_sub(parity.start)),
            roots: parity.roots,
        };
        fec::repair(&message, &layout.params, root_hash, progress)
    }
}

/// Hash and FEC device, on which nothing is written: what would be stays in memory.
pub(super) struct Trial<'a> {
    hash: Overlay<&'a File>,
    fec: Overlay<&'a File>,
    hash_on_data: bool,
    fec_place: FecPlace,
}

impl<'a> Trial<'a> {
    pub(super) fn new(data: &Device, hash: &'a Device, fec: &'a Device) -> Self {
        let facts = facts(data, hash, Some(fec));
        Self {
            hash: Overlay::new(&hash.file),
            fec: Overlay::new(&fec.file),
            hash_on_data: facts.hash_on_data,
            fec_place: facts.fec,
        }
    }

    /// With what stands for the data device. A device that serves as two is one here too.
    pub(super) fn places<'b>(&'b self, data: &'b dyn ReadWriteAt) -> Places<'b> {
        let hash = if self.hash_on_data { data } else { &self.hash };
        let fec = match self.fec_place {
            FecPlace::Own => &self.fec,
            FecPlace::Hash => hash,
            FecPlace::Data => data,
        };
        Places { data, hash, fec }
    }

    /// Bytes of the hash device that were written, where it is none of the others.
    pub(super) fn changed_hash_bytes(&self) -> io::Result<u64> {
        self.hash.changed_bytes()
    }
}
