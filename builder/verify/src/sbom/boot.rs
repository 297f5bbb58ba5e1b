//! What starts the root, and what lies beside it.

use std::collections::BTreeMap;

use graven_boot::uki;
use graven_handoff::initramfs;

use super::model::{Component, Hash, LicenseChoice, Property};
use crate::contents::Boot;
use crate::manifest::{Container, InitramfsEntry, Manifest, sha256_hex};

/// Kernel, stage0, the stub of a UKI, the initramfs with its files, the volumes.
pub(super) fn components(boot: &Boot) -> Vec<Component> {
    let entries = InitramfsEntry::list(&boot.initramfs);
    let files = entries.into_iter().filter_map(|entry| {
        let hashes = vec![Hash::sha256(entry.sha256?)];
        Some(Component { kind: "file", name: format!("/{}", entry.path), hashes, ..Component::default() })
    });
    let is_stage0 = |file: &Component| file.name.trim_start_matches('/') == initramfs::INIT;
    let (stage0, files): (Vec<_>, Vec<_>) = files.partition(is_stage0);
    let stage0 = stage0
        .into_iter()
        .map(|file| Component { hashes: file.hashes, ..named("application", "graven-stage0") });
    let mut components = vec![Component {
        version: Some(boot.uname.clone()),
        hashes: vec![Hash::sha256(sha256_hex(&boot.kernel))],
        ..named("operating-system", "linux")
    }];
    components.extend(stage0);
    if let Ok(version) = uki::stub_version(&boot.bytes) {
        components
            .push(Component { version: Some(version.to_string()), ..named("application", "systemd-stub") });
    }
    components.push(Component {
        hashes: vec![Hash::sha256(sha256_hex(&boot.initrd))],
        components: files,
        ..named("file", "initramfs")
    });
    components.extend(boot.plan.volumes.iter().map(|volume| Component {
        properties: vec![
            Property::new("graven:mounted-on", &volume.target),
            Property::new("graven:file-system", &volume.image.file_system),
            Property::new("graven:root-hash", &volume.root_hash.to_string()),
        ],
        ..named("file", &format!("volume/{}", volume.name))
    }));
    components
}

/// What the manifest alone tells: firmware on the disk, container images that the root was made from.
pub(super) fn beside(manifest: &Manifest) -> Vec<Component> {
    let firmware = manifest.firmware.iter().map(|firmware| Component {
        hashes: vec![Hash::sha256(firmware.sha256.clone())],
        ..named("firmware", &firmware.name)
    });
    // An image may be put in two places.
    let images: BTreeMap<String, &Container> = manifest
        .containers
        .iter()
        .map(|image| (format!("container/{}@{}", image.name, image.sha256), image))
        .collect();
    let images = images.into_iter().map(|(reference, image)| Component {
        bom_ref: Some(reference),
        version: image.says.get("version").cloned(),
        hashes: vec![Hash::sha256(image.sha256.clone())],
        licenses: image.says.get("licenses").map(|said| LicenseChoice::named(said)).into_iter().collect(),
        properties: properties(image),
        ..named("container", &image.name)
    });
    firmware.chain(images).collect()
}

/// Its layers, and what else is said of it.
fn properties(image: &Container) -> Vec<Property> {
    let layers = image.layers.iter().map(|layer| Property::new("graven:layer-sha256", layer));
    let says = image.says.iter().filter(|(key, _)| !matches!(key.as_str(), "version" | "licenses"));
    layers
        .chain(says.map(|(key, value)| Property::new(&format!("org.opencontainers.image.{key}"), value)))
        .collect()
}

fn named(kind: &'static str, name: &str) -> Component {
    let bom_ref = Some(format!("boot/{name}"));
    Component { kind, bom_ref, name: name.to_owned(), ..Component::default() }
}
