//! Who logs in, and what starts.

use super::rules;
use crate::fields::Fields;
use crate::place::At;
use crate::recipe::{Services, User};
use crate::value::Kind;
use std::collections::BTreeMap;

/// The last number means "no change" to chown, the one before is nobody's on 16 bits.
const LARGEST_ID: i64 = u32::MAX as i64 - 2;

pub(crate) fn users(top: &mut Fields<'_>) -> BTreeMap<String, User> {
    let mut users = BTreeMap::new();
    for (name, entry) in top.entries("users") {
        if let Err(expected) = rules::user_name(name) {
            let message = format!("`{}` is no name for a user", name.escape_debug());
            top.report_with_help(&entry.key, message, expected);
        }
        let Kind::Table(table) = &entry.value.kind else {
            let message = format!("`users.{name}` must be a table, not {}", entry.value.kind_name());
            top.report_with_help(&entry.value.place, message, "such as { ssh-keys = [\"keys/admin.pub\"] }");
            continue;
        };
        let mut fields = top.entry_table("users", table, &entry.value.place);
        let id = |fields: &mut Fields<'_>, key| {
            let number: Option<At<i64>> = fields.integer(key, &(0..=LARGEST_ID));
            number.and_then(|number| u32::try_from(number.value).ok())
        };
        let path =
            |fields: &mut Fields<'_>, key| fields.text_like(key, rules::image_path).map(|path| path.value);
        let user = User {
            place: entry.key.clone(),
            uid: id(&mut fields, "uid"),
            gid: id(&mut fields, "gid"),
            groups: fields.texts("groups").into_iter().map(|group| group.value).collect(),
            home: path(&mut fields, "home"),
            shell: path(&mut fields, "shell"),
            comment: fields.text_like("comment", rules::account_comment).map(|comment| comment.value),
            ssh_keys: fields.local_paths("ssh-keys"),
        };
        fields.misplaced(
            "password",
            "is never in an image, where everyone may read it; log in with `ssh-keys`",
        );
        fields.finish();
        users.insert(name.to_owned(), user);
    }
    users
}

pub(crate) fn services(mut fields: Fields<'_>) -> Services {
    let mut units = |key| {
        let units: Vec<At<String>> = fields.texts(key);
        for unit in &units {
            if let Err(expected) = rules::unit_name(unit) {
                let message = format!("`{}` is no unit", unit.escape_debug());
                fields.report_with_help(&unit.place, message, expected);
            }
        }
        units
    };
    let (enable, disable, mask) = (units("enable"), units("disable"), units("mask"));
    let default_target = fields.text_like("default-target", rules::unit_name);
    let presets = fields.boolean("presets").unwrap_or(false);
    for unit in &mask {
        if enable.iter().any(|enabled| enabled.value == unit.value) {
            fields.report(&unit.place, format!("`{}` is to be enabled as well", unit.value));
        }
    }
    fields.finish();
    Services { enable, disable, mask, default_target, presets }
}
