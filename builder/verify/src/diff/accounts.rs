//! Users and groups: who may be whom.

use std::collections::BTreeMap;

use graven_image::tree::{Tree, TreePath};

use super::listed::{self, Named};
use super::security::{About, Concern, held};

/// Bytes that a list of users may have.
const MOST_BYTES: u64 = 4 << 20;

/// Each a line of its file.
pub(super) fn concerns(old: &Tree, new: &Tree) -> Vec<Concern> {
    let mut concerns = Vec::new();
    for (path, noun, secret) in
        [("/etc/passwd", "user", false), ("/etc/group", "group", false), ("/etc/shadow", "password of", true)]
    {
        for change in listed::named(&entries(old, path, secret), &entries(new, path, secret)) {
            let what = format!("{noun} {}", change.what);
            concerns.extend(held(About::User, &what, change.old, change.new, None));
        }
    }
    concerns
}

/// What stands behind each name. Of a password only whether there is one.
fn entries(root: &Tree, path: &str, secret: bool) -> Named {
    let read = TreePath::parse(path.as_bytes()).and_then(|path| root.read(&path, MOST_BYTES));
    let text = String::from_utf8_lossy(&read.unwrap_or_default()).into_owned();
    let entries = text.lines().filter_map(|line| {
        let (name, rest) = line.split_once(':')?;
        let value = match rest.split(':').next().unwrap_or_default() {
            _ if !secret => rest.to_owned(),
            "" => "empty: anyone may log in".to_owned(),
            word if word.starts_with(['!', '*']) => "none: nobody may log in with it".to_owned(),
            _ => "set".to_owned(),
        };
        Some((name.to_owned(), value))
    });
    entries.collect::<BTreeMap<_, _>>()
}
