//! Files of the root that are not the same.

use graven_handoff::hex;
use graven_image::tree::{Aspect, Content, Difference, Inode, Kind, Names, Tree, show};
use serde::Serialize;
use sha2::{Digest, Sha256};
use similar::TextDiff;

use super::security::capabilities;
use super::{Change, Fate};
use crate::dpkg::{INFO, Owners, STATUS};

/// What the builder makes of the packages: it tells nothing that they do not.
const MADE_OF_PACKAGES: [&str; 2] = [STATUS, "/etc/ld.so.cache"];
/// Bytes and lines of a text whose lines are compared.
const MOST_TEXT_BYTES: u64 = 64 << 10;
const MOST_TEXT_LINES: usize = 2000;
/// Names of an inode that are told of.
const MOST_NAMES: usize = 8;

/// A file that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Its path.
    pub path: String,
    /// What became of it.
    pub fate: Fate,
    /// The Debian package that it is of, by dpkg's notes in the root.
    pub package: Option<String>,
    /// What of it: `kind`, `mode`, `owner`, `capability`, `xattr NAME`, `target`, `device`, `contents`, `hard links`; of a file
    /// that came or went, `file`.
    pub changes: Vec<Change>,
    /// Its lines that are not the same, in diff's unified format: of small texts that everybody may read.
    pub lines: Option<String>,
}

/// The changes; then files that follow from the packages, and how many have another time alone.
pub(super) fn changes(found: &[Difference<'_>], old: &Tree, new: &Tree) -> (Vec<FileChange>, Vec<Change>) {
    let owners = [Owners::of(new), Owners::of(old)];
    let (mut files, mut follow, mut times) = (Vec::new(), Vec::new(), 0u64);
    for difference in found {
        let path = show(&difference.path);
        let fate = fate(difference);
        if fate == Fate::Changed && difference.aspects == [Aspect::Time] {
            times = times.saturating_add(1);
            continue;
        }
        let changes = details(difference);
        if fate == Fate::Changed && MADE_OF_PACKAGES.contains(&path.as_str()) {
            follow.extend(changes.into_iter().map(|change| Change { what: path.clone(), ..change }));
            continue;
        }
        let package = owners.iter().find_map(|owners| owners.package(&path)).map(str::to_owned);
        // dpkg's notes are for machines.
        let lines = if path.starts_with(INFO) { None } else { lines(difference) };
        files.push(FileChange { path, fate, package, changes, lines });
    }
    if times > 0 {
        let new = Some(times.to_string());
        follow.push(Change { what: "files of which the time alone is another".to_owned(), old: None, new });
    }
    (files, follow)
}

pub(super) fn fate(difference: &Difference<'_>) -> Fate {
    match (difference.old, difference.new) {
        (None, _) => Fate::Added,
        (_, None) => Fate::Removed,
        _ => Fate::Changed,
    }
}

/// What of a file is not the same, but for its time.
fn details(difference: &Difference<'_>) -> Vec<Change> {
    let change = |what: &str, old, new| Change { what: what.to_owned(), old, new };
    match (difference.old, difference.new) {
        (Some(old), Some(new)) => {
            let aspects = difference.aspects.iter().filter(|aspect| **aspect != Aspect::Time);
            let told = aspects.map(|aspect| match aspect {
                Aspect::Links { old, new } => change("hard links", names(old), names(new)),
                aspect => change(&name(aspect), value(aspect, old), value(aspect, new)),
            });
            told.collect()
        }
        (old, new) => vec![change("file", old.map(described), new.map(described))],
    }
}

fn name(aspect: &Aspect) -> String {
    match aspect {
        Aspect::Kind => "kind".to_owned(),
        Aspect::Mode => "mode".to_owned(),
        Aspect::Owner => "owner".to_owned(),
        Aspect::Time => "time".to_owned(),
        Aspect::Attribute(name) if **name == *capabilities::ATTRIBUTE => "capability".to_owned(),
        Aspect::Attribute(name) => format!("xattr {}", show(name)),
        Aspect::Target => "target".to_owned(),
        Aspect::Device => "device".to_owned(),
        Aspect::Length | Aspect::Contents(_) | Aspect::Unreadable(_) => "contents".to_owned(),
        Aspect::Links { .. } => "hard links".to_owned(),
    }
}

/// What an inode has of this.
fn value(aspect: &Aspect, inode: &Inode) -> Option<String> {
    let metadata = &inode.metadata;
    Some(match (aspect, &inode.kind) {
        (Aspect::Mode, _) => format!("{:04o}", metadata.mode),
        (Aspect::Owner, _) => format!("{}:{}", metadata.uid, metadata.gid),
        (Aspect::Time, _) => metadata.mtime.to_string(),
        (Aspect::Attribute(name), _) => {
            let value = metadata.xattrs.get(name)?;
            match **name == *capabilities::ATTRIBUTE {
                true => capabilities::words(value),
                false => hex::encode(value),
            }
        }
        (Aspect::Target, Kind::Symlink(target)) => show(target),
        (Aspect::Device, Kind::CharDevice(number) | Kind::BlockDevice(number)) => {
            format!("{}:{}", number.major, number.minor)
        }
        (Aspect::Length | Aspect::Contents(_) | Aspect::Unreadable(_), Kind::File(content)) => {
            digest(content)
        }
        (_, kind) => kind.noun().to_owned(),
    })
}

fn names(names: &Option<Names>) -> Option<String> {
    let names = names.as_ref()?;
    let mut shown: Vec<String> = names.iter().take(MOST_NAMES).map(|name| show(name)).collect();
    if names.len() > MOST_NAMES {
        shown.push(format!("{} more", names.len() - MOST_NAMES));
    }
    Some(shown.join(", "))
}

/// Length and SHA-256 of contents, or why they cannot be read.
fn digest(content: &Content) -> String {
    let (mut hash, mut buffer, mut offset) = (Sha256::new(), vec![0; 1 << 16], 0u64);
    while offset < content.len {
        let step = content.len.saturating_sub(offset).min(1 << 16);
        let piece = buffer.get_mut(..step as usize).unwrap_or_default();
        if let Err(error) = content.read_exact_at(piece, offset) {
            return format!("{} bytes that cannot be read: {error}", content.len);
        }
        hash.update(&*piece);
        offset = offset.saturating_add(step);
    }
    format!("{} bytes, sha256:{}", content.len, hex::encode(&hash.finalize()))
}

/// A file that only one of them has.
fn described(inode: &Inode) -> String {
    let what = match &inode.kind {
        Kind::File(content) => digest(content),
        Kind::Symlink(target) => return format!("symbolic link to {}", show(target)),
        Kind::CharDevice(number) | Kind::BlockDevice(number) => {
            format!("{} {}:{}", inode.kind.noun(), number.major, number.minor)
        }
        kind => kind.noun().to_owned(),
    };
    let metadata = &inode.metadata;
    format!("{what}, mode {:04o}, owner {}:{}", metadata.mode, metadata.uid, metadata.gid)
}

/// The lines of a text that are not the same.
fn lines(difference: &Difference<'_>) -> Option<String> {
    let (old, new) = (difference.old?, difference.new?);
    if !difference.aspects.iter().any(|aspect| matches!(aspect, Aspect::Length | Aspect::Contents(_))) {
        return None;
    }
    let (old, new) = (text(old)?, text(new)?);
    Some(TextDiff::from_lines(&old, &new).unified_diff().context_radius(1).to_string())
}

/// A small text that everybody may read.
fn text(inode: &Inode) -> Option<String> {
    let Kind::File(content) = &inode.kind else { return None };
    if content.len > MOST_TEXT_BYTES || inode.metadata.mode & 0o004 == 0 {
        return None;
    }
    let mut bytes = vec![0; content.len as usize];
    content.read_exact_at(&mut bytes, 0).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let plain = text.chars().all(|letter| !letter.is_control() || matches!(letter, '\n' | '\t'));
    (plain && text.lines().count() <= MOST_TEXT_LINES).then_some(text)
}
