//! `[[volume]]`: finished file systems beside the root.

use super::state::{nested, within};
use super::{Choice, rules};
use crate::fields::Fields;
use crate::place::Place;
use crate::recipe::{Mount, State, Volume};
use crate::words::PolicyOp;
use std::collections::BTreeMap;

/// Where something of one boot, or of the kernel's, is mounted over whatever the root has there.
const COVERED: [&str; 5] = ["/dev", "/proc", "/sys", "/run", "/tmp"];

pub(crate) fn volumes(top: &mut Fields<'_>, choice: Option<&Choice>) -> Vec<Volume> {
    let mut earlier: BTreeMap<(&str, String), Place> = BTreeMap::new();
    let mut volumes = Vec::new();
    for fields in top.tables("volume") {
        let Some(volume) = volume(fields, choice) else { continue };
        for (what, text) in
            [("is the name of two volumes", &volume.name), ("is mounted twice", &volume.target)]
        {
            if let Some(first) = earlier.insert((what, text.value.clone()), text.place.clone()) {
                let message = format!("`{}` {what}", text.value);
                top.report_with_help(&text.place, message, format!("first at {first}"));
            }
        }
        volumes.push(volume);
    }
    volumes
}

fn volume(mut fields: Fields<'_>, choice: Option<&Choice>) -> Option<Volume> {
    let place = fields.place().clone();
    let name = fields.text_like("name", |text| {
        rules::volume_name(text)?;
        let firmware = choice.iter().flat_map(|choice| &choice.target.disk.blobs);
        match firmware.filter_map(|blob| blob.partition.as_ref()).any(|partition| partition.name == text) {
            true => Err("another name: the target's firmware has a partition of this one".to_owned()),
            false => Ok(()),
        }
    });
    let image = fields.pattern("image");
    let target = fields.text_like("target", |path| match path {
        "/" => Err("a folder of the root: the root itself is what [[source]] and [packages] make".to_owned()),
        _ if path.contains(char::is_whitespace) => Err("a path without blanks".to_owned()),
        _ => rules::image_path(path),
    });
    let is_stated = fields.has("allow");
    let mut allow: Vec<PolicyOp> = fields.words("allow").into_iter().map(|op| op.value).collect();
    if !is_stated {
        allow.push(PolicyOp::Execute);
    }
    allow.sort_unstable();
    allow.dedup();
    let size = fields.size("size");
    for key in ["name", "image", "target"] {
        if !fields.has(key) {
            fields.report(&place, format!("this volume has no `{key}`"));
        }
    }
    fields.finish();
    Some(Volume { name: name?, image: image?, target: target?, allow, size })
}

/// What is mounted elsewhere, and where a disk needs to know how large a volume may grow: for the whole of a recipe.
pub(crate) fn find_room(
    top: &Fields<'_>,
    volumes: &[Volume],
    mounts: &[Mount],
    state: Option<&State>,
    slots: u8,
) {
    for Volume { name, target, size, .. } in volumes {
        let refuse = |what: &str| {
            let message = format!("volume `{}` cannot be mounted on `{}`: {what}", name.value, target.value);
            top.report_with_help(
                &target.place,
                message,
                "a folder of its own, such as /opt/NAME or /srv/NAME",
            );
        };
        let of_state = state.map(|_| "/var");
        if let Some(covered) = COVERED.into_iter().chain(of_state).find(|covered| within(target, covered)) {
            refuse(&format!("`{covered}` is not the image's when the machine runs"));
        }
        if let Some(mount) = mounts.iter().find(|mount| nested(target, &mount.target).is_some()) {
            refuse(&format!("`{}` is mounted, too ({})", mount.target.value, mount.target.place));
        }
        let persisted = state.iter().flat_map(|state| &state.persist);
        if let Some(path) = persisted.into_iter().find(|path| nested(target, path).is_some()) {
            refuse(&format!("`{}` is bound from the state ({})", path.value, path.place));
        }
        if slots > 1 && size.is_none() {
            let message = format!("two slots need a `size` for volume `{}`", name.value);
            let help =
                "the next version must fit the same partition: say how large it may grow, such as \"64M\"";
            top.report_with_help(&name.place, message, help);
        }
    }
}
