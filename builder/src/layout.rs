//! The disk's partitions: planned before the root is written, named once the root hash is known.

use graven_image::gpt::{self, Partition, Spec, Table, attributes};
use graven_recipe::Recipe;
use graven_verity::dm::{Params, RootHash};
use uuid::{Uuid, uuid};

use crate::error::{Error, Result};
use crate::hash_area::{BLOCK, HashArea, tree_params};
use crate::identity;
use crate::state;

/// GPT type of the EFI system partition.
pub const ESP_TYPE: Uuid = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
/// Bytes of a verity-sig partition, as systemd-repart makes it.
pub const SIGNATURE_BYTES: u64 = 16 * 1024;
/// Bytes of the EFI system partition for one boot artefact, where the recipe says nothing.
const ESP_BYTES_PER_SLOT: u64 = 64 << 20;
/// Name of a partition that is free for the next version (systemd-sysupdate's word).
const EMPTY: &str = "_empty";

/// Which entry of the table is what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Firmware of the board that has a partition over it.
    pub firmware: std::ops::Range<usize>,
    /// EFI system partition: the boot artefact's, whatever starts it.
    pub esp: usize,
    /// One slot, or two; the first is the one that is filled.
    pub slots: Vec<Slot>,
    /// What outlives a boot, where the recipe has it: the last one, since it may grow.
    pub state: Option<usize>,
}

/// The entries of one version of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Root file system.
    pub root: usize,
    /// Its tree.
    pub verity: usize,
    /// Its root hash signature.
    pub signature: usize,
}

/// Gives every partition its place. The GUIDs of the first slot follow from the root hash and are not known yet.
///
/// # Errors
/// A root that does not fit the partition that the recipe gives it.
pub(crate) fn plan(
    recipe: &Recipe,
    named: &[&str],
    root_bytes: u64,
    params: &Params,
) -> Result<(Table, Places)> {
    let slot_bytes = match &recipe.disk.root_size {
        Some(size) if size.value < root_bytes => {
            return Err(Error::Limit(format!(
                "{}: the root needs {root_bytes} bytes, root-size gives it {}; raise root-size or put less into the root",
                size.place, size.value
            )));
        }
        Some(size) => size.value,
        None => root_bytes,
    };
    let largest = tree_params(slot_bytes, params.salt().clone())?;
    let verity_bytes = HashArea::of(&largest, recipe.verity.fec_roots)?.bytes();
    let slots = usize::from(recipe.disk.slots);
    let esp_bytes =
        recipe.disk.esp_size.as_ref().map_or(ESP_BYTES_PER_SLOT * slots as u64, |size| size.value);

    let guid = |purpose: &str, slot: usize| identity::uuid(&format!("{purpose}-{slot}"), named);
    let types = recipe.target.arch.partition_types();
    let firmware = firmware(recipe, named);
    let mut specs = vec![Spec {
        type_guid: ESP_TYPE,
        guid: guid("esp", 0),
        name: "esp".into(),
        len: esp_bytes,
        attributes: 0,
    }];
    let mut places =
        Places { firmware: 0..firmware.len(), esp: firmware.len(), slots: Vec::new(), state: None };
    for slot in 0..slots {
        let first = firmware.len() + specs.len();
        places.slots.push(Slot { root: first, verity: first + 1, signature: first + 2 });
        let parts = [
            (types.root, "root", slot_bytes),
            (types.root_verity, "root-verity", verity_bytes),
            (types.root_verity_sig, "root-verity-sig", SIGNATURE_BYTES),
        ];
        for (type_guid, name, len) in parts {
            let name = if slot == 0 { name } else { EMPTY };
            let attributes = if slot == 0 { attributes::READ_ONLY } else { attributes::NO_AUTO };
            specs.push(Spec { type_guid, guid: guid(name, specs.len()), name: name.into(), len, attributes });
        }
    }
    if let Some(state) = &recipe.state {
        places.state = Some(firmware.len() + specs.len());
        specs.push(Spec {
            type_guid: state::PARTITION_TYPE,
            guid: state::partition_uuid(recipe),
            name: "state".into(),
            len: state::partition_bytes(state),
            attributes: attributes::NO_AUTO,
        });
    }
    let first_usable = recipe.target.disk.first_usable_lba * gpt::SECTOR;
    let table = Table::plan(identity::uuid("disk", named), firmware, &specs, first_usable, gpt::ALIGNMENT)?;
    Ok((table, places))
}

/// The partitions that the board wants over its firmware.
fn firmware(recipe: &Recipe, named: &[&str]) -> Vec<Partition> {
    let blobs = recipe.target.disk.blobs.iter();
    blobs
        .filter_map(|blob| {
            let partition = blob.partition.as_ref()?;
            Some(Partition {
                type_guid: partition.type_guid,
                guid: identity::uuid(&format!("firmware-{}", blob.name), named),
                name: partition.name.clone(),
                start: blob.offset,
                len: blob.size,
                attributes: attributes::REQUIRED,
            })
        })
        .collect()
}

/// Gives the filled slot the GUIDs that follow from its root hash, as the Discoverable Partitions Specification has it.
pub(crate) fn name_slot(table: &mut Table, slot: Slot, root_hash: &RootHash) {
    let hash = root_hash.to_string();
    let guids = [
        (slot.root, root_hash.root_partition_uuid()),
        (slot.verity, root_hash.verity_partition_uuid()),
        (slot.signature, identity::uuid("root-verity-sig", &[&hash])),
    ];
    for (index, guid) in guids {
        table.partitions[index].guid = guid;
    }
    table.disk_guid = identity::uuid("disk", &[&hash]);
}

const _: () = assert!(SIGNATURE_BYTES.is_multiple_of(BLOCK as u64));
