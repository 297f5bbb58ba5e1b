//! The disk's partitions: planned before the root is written, named once the root hash is known.

use graven_image::gpt::{self, Partition, Spec, Table, attributes};
use graven_recipe::Recipe;
use graven_verity::dm::Params;
use uuid::{Uuid, uuid};

use crate::device::Device;
use crate::error::{Error, Result};
use crate::hash_area::{BLOCK, HashArea, tree_params};
use crate::identity;
use crate::root::RootImage;
use crate::state;
use crate::volume::Volume;

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
    /// The root's, one slot or two; the first is the one that is filled.
    pub slots: Vec<Parts>,
    /// Each volume's, likewise.
    pub volumes: Vec<Vec<Parts>>,
    /// What outlives a boot, where the recipe has it: the last one, since it may grow.
    pub state: Option<usize>,
}

/// The entries of one verified device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// File system.
    pub data: usize,
    /// Its tree.
    pub verity: usize,
    /// Its root hash signature.
    pub signature: usize,
}

/// A volume that wants its place.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) volume: &'a Volume,
    /// Of the tree over it.
    pub(crate) params: Params,
}

/// Gives every partition its place. The GUIDs of the first slots follow from the root hashes and are not known yet.
///
/// # Errors
/// A root that does not fit the partition that the recipe gives it.
pub(crate) fn plan(
    recipe: &Recipe,
    named: &[&str],
    root_bytes: u64,
    params: &Params,
    volumes: &[Wanted<'_>],
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
    let hash_area = |data_bytes: u64, params: &Params| -> Result<u64> {
        let largest = tree_params(data_bytes, params.salt().clone())?;
        Ok(HashArea::of(&largest, recipe.verity.fec_roots)?.bytes())
    };
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
    let mut places = Places {
        firmware: 0..firmware.len(),
        esp: firmware.len(),
        slots: Vec::new(),
        volumes: Vec::new(),
        state: None,
    };
    let mut device = |name: &str, types: [Uuid; 3], sizes: [u64; 2], slot: usize, filled: u64| {
        let first = firmware.len() + specs.len();
        let names = ["", "-verity", "-verity-sig"].map(|ending| format!("{name}{ending}"));
        for ((type_guid, name), len) in
            types.into_iter().zip(names).zip([sizes[0], sizes[1], SIGNATURE_BYTES])
        {
            let name = if slot == 0 { name } else { EMPTY.to_owned() };
            let attributes = if slot == 0 { filled } else { attributes::NO_AUTO };
            specs.push(Spec { type_guid, guid: guid(&name, specs.len()), name, len, attributes });
        }
        Parts { data: first, verity: first + 1, signature: first + 2 }
    };
    let (root_types, root_sizes) = (
        [types.root, types.root_verity, types.root_verity_sig],
        [slot_bytes, hash_area(slot_bytes, params)?],
    );
    for slot in 0..slots {
        places.slots.push(device("root", root_types, root_sizes, slot, attributes::READ_ONLY));
    }
    for Wanted { volume, params } in volumes {
        let (name, bytes) = (volume.name(), volume.partition_bytes());
        let sizes = [bytes, hash_area(bytes, params)?];
        let quiet = attributes::READ_ONLY | attributes::NO_AUTO;
        let parts = (0..slots).map(|slot| device(name, volume_types(name), sizes, slot, quiet));
        places.volumes.push(parts.collect());
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

/// GPT types of a volume's partitions: unknown to everything that mounts by itself, and each volume's own, so that an
/// updater tells the free partitions of one volume from those of another.
fn volume_types(name: &str) -> [Uuid; 3] {
    ["volume", "volume-verity", "volume-verity-sig"]
        .map(|part| identity::uuid(&format!("{part}-type"), &[name]))
}

/// Gives what is filled the GUIDs that follow from its root hash, as the Discoverable Partitions Specification has it.
pub(crate) fn name_filled(image: &mut RootImage) {
    for Device { parts, root_hash, .. } in std::iter::once(&image.root).chain(&image.volumes) {
        let guids = [
            (parts.data, root_hash.root_partition_uuid()),
            (parts.verity, root_hash.verity_partition_uuid()),
            (parts.signature, identity::uuid("root-verity-sig", &[&root_hash.to_string()])),
        ];
        for (index, guid) in guids {
            image.table.partitions[index].guid = guid;
        }
    }
    image.table.disk_guid = identity::uuid("disk", &[&image.root.root_hash.to_string()]);
}

const _: () = assert!(SIGNATURE_BYTES.is_multiple_of(BLOCK as u64));
