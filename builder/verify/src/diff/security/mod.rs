//! What of the differences an attacker would look for.

pub(super) mod capabilities;

use std::collections::{BTreeMap, BTreeSet};

use graven_image::tree::{Aspect, Difference, Inode, Kind, show};
use serde::Serialize;

use super::listed::{self, Named};
use super::{Fate, Side, accounts, services};
use crate::survey::Nature;

/// A difference that bears on what may be done on the machine, and who may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Concern {
    /// What it is about.
    pub about: About,
    /// The file, unit, user or interpreter.
    pub what: String,
    /// What became of it.
    pub fate: Fate,
    /// What it is, and was, in words.
    pub says: String,
}

/// What a [`Concern`] is about, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// A program that runs with the rights of its owner or group.
    SetId,
    /// A file with capabilities.
    Capability,
    /// What everybody may write.
    Writable,
    /// A device node.
    Device,
    /// Who talks with the network: sockets, services, firewall, SSH.
    Network,
    /// What is started without being asked.
    Service,
    /// Who may log in, and as whom.
    User,
    /// A program that runs scripts.
    Interpreter,
    /// A script.
    Script,
    /// A kernel module.
    Module,
    /// What a recipe loosens, with its reason.
    Accepted,
}

impl About {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::SetId,
        Self::Capability,
        Self::Writable,
        Self::Device,
        Self::Network,
        Self::Service,
        Self::User,
        Self::Interpreter,
        Self::Script,
        Self::Module,
        Self::Accepted,
    ];

    /// The word for it, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SetId => "set-id",
            Self::Capability => "capability",
            Self::Writable => "writable",
            Self::Device => "device",
            Self::Network => "network",
            Self::Service => "service",
            Self::User => "user",
            Self::Interpreter => "interpreter",
            Self::Script => "script",
            Self::Module => "module",
            Self::Accepted => "accepted",
        }
    }

    /// Several of them.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::SetId => "Programs that take their owner's or group's rights",
            Self::Capability => "File capabilities",
            Self::Writable => "What everybody may write",
            Self::Device => "Device nodes",
            Self::Network => "Who talks with the network",
            Self::Service => "What is started at boot",
            Self::User => "Users, groups and their rights",
            Self::Interpreter => "Interpreters",
            Self::Script => "Scripts",
            Self::Module => "Kernel modules",
            Self::Accepted => "What the recipe loosens",
        }
    }
}

/// Settings of who may talk to the machine.
const NETWORK: [&str; 3] = ["/etc/nftables.conf", "/etc/ssh/", "/etc/systemd/network/"];
/// Settings of who may be what.
const RIGHTS: [&str; 4] = ["/etc/sudoers", "/etc/pam.d/", "/etc/security/", "/etc/polkit-1/"];

/// All of them, the gravest first.
pub(super) fn concerns(found: &[Difference<'_>], old: &Side<'_>, new: &Side<'_>) -> Vec<Concern> {
    let mut concerns: Vec<Concern> = found.iter().flat_map(of_file).collect();
    let changed: BTreeSet<String> =
        found.iter().filter(|one| is_other(one)).map(|one| show(&one.path)).collect();
    concerns.extend(services::concerns(&old.tree, &new.tree, &changed));
    concerns.extend(accounts::concerns(&old.tree, &new.tree));
    concerns.extend(interpreters(old, new, &changed));
    concerns.extend(scripts(found, new));
    concerns.extend(modules(old, new, &changed));
    if let (Some(old), Some(new)) = (old.manifest, new.manifest) {
        for change in listed::named(&old.accepted, &new.accepted) {
            concerns.extend(held(About::Accepted, &change.what, change.old, change.new, None));
        }
    }
    concerns.sort_by(|a, b| (a.about, &a.what).cmp(&(b.about, &b.what)));
    concerns
}

/// Whether what is executed or read there is something else.
fn is_other(difference: &Difference<'_>) -> bool {
    let other = |aspect: &Aspect| {
        matches!(
            aspect,
            Aspect::Kind | Aspect::Target | Aspect::Length | Aspect::Contents(_) | Aspect::Unreadable(_)
        )
    };
    difference.aspects.iter().any(other)
}

/// A concern about what is said of something in either, unless both say the same and `other` has nothing to add.
pub(super) fn held(
    about: About,
    what: &str,
    old: Option<String>,
    new: Option<String>,
    other: Option<&str>,
) -> Option<Concern> {
    let (fate, says) = match (old, new) {
        (None, None) => return None,
        (None, Some(new)) => (Fate::Added, new),
        (Some(old), None) => (Fate::Removed, old),
        (Some(old), Some(new)) if old != new => (Fate::Changed, format!("{new}; before: {old}")),
        (Some(_), Some(new)) => (Fate::Changed, format!("{}: {new}", other?)),
    };
    Some(Concern { about, what: what.to_owned(), fate, says })
}

fn of_file(difference: &Difference<'_>) -> Vec<Concern> {
    if difference.aspects == [Aspect::Time] {
        return Vec::new();
    }
    let path = show(&difference.path);
    let both =
        |says: fn(&Inode) -> Option<String>| [difference.old, difference.new].map(|one| one.and_then(says));
    let mut concerns = Vec::new();
    let other = is_other(difference).then_some("its contents are others");
    for (about, says, other) in [
        (About::SetId, set_id as fn(&Inode) -> Option<String>, other),
        (About::Capability, capability, other),
        (About::Writable, writable, None),
        (About::Device, device, None),
    ] {
        let [old, new] = both(says);
        concerns.extend(held(about, &path, old, new, other));
    }
    let folder = |inode: &Inode| matches!(inode.kind, Kind::Directory(_));
    if [difference.old, difference.new].into_iter().flatten().any(folder) {
        return concerns;
    }
    let under = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
    let (about, says) = match () {
        () if under(&NETWORK) => (About::Network, "settings of the network"),
        () if path.contains(".wants/") || path.contains(".requires/") => (About::Service, "started at boot"),
        () if under(&RIGHTS) => (About::User, "settings of rights"),
        () if path.ends_with("/.ssh/authorized_keys") => (About::User, "keys that may log in"),
        () => return concerns,
    };
    let fate = super::files::fate(difference);
    concerns.push(Concern { about, what: path, fate, says: says.to_owned() });
    concerns
}

/// Whose rights a program takes.
fn set_id(inode: &Inode) -> Option<String> {
    let metadata = &inode.metadata;
    let Kind::File(_) = &inode.kind else { return None };
    let takes = match (metadata.mode & 0o4000 != 0, metadata.mode & 0o2000 != 0) {
        (true, true) => format!("user {} and group {}", metadata.uid, metadata.gid),
        (true, false) => format!("user {}", metadata.uid),
        (false, true) => format!("group {}", metadata.gid),
        (false, false) => return None,
    };
    Some(format!("runs as {takes}, mode {:04o}", metadata.mode))
}

fn capability(inode: &Inode) -> Option<String> {
    inode.metadata.xattrs.get(capabilities::ATTRIBUTE).map(|value| capabilities::words(value))
}

/// The mode of what everybody may write; of a symbolic link it means nothing.
fn writable(inode: &Inode) -> Option<String> {
    let mode = inode.metadata.mode;
    let is = mode & 0o002 != 0 && !matches!(inode.kind, Kind::Symlink(_));
    is.then(|| format!("{}, mode {mode:04o}", inode.kind.noun()))
}

fn device(inode: &Inode) -> Option<String> {
    let (Kind::CharDevice(number) | Kind::BlockDevice(number)) = &inode.kind else { return None };
    let (kind, mode) = (inode.kind.noun(), inode.metadata.mode);
    Some(format!("{kind} {}:{}, mode {mode:04o}", number.major, number.minor))
}

fn interpreters(old: &Side<'_>, new: &Side<'_>, changed: &BTreeSet<String>) -> Vec<Concern> {
    let named = |side: &Side<'_>| -> Named {
        let interpreters = side.survey.interpreters.iter().map(|one| {
            let calls = if one.makes_system_calls { ", makes system calls of its own" } else { "" };
            (one.path.clone(), format!("{}{calls}", one.asking().words()))
        });
        interpreters.collect()
    };
    let (old, new) = (named(old), named(new));
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let concerns = paths.into_iter().filter_map(|path| {
        let other = changed.contains(path).then_some("its contents are others");
        held(About::Interpreter, path, old.get(path).cloned(), new.get(path).cloned(), other)
    });
    concerns.collect()
}

/// Scripts that are new, or say something else.
fn scripts(found: &[Difference<'_>], new: &Side<'_>) -> Vec<Concern> {
    let natures: BTreeMap<&str, &Nature> =
        new.survey.files.iter().map(|file| (file.path.as_str(), &file.nature)).collect();
    let concerns = found.iter().filter_map(|difference| {
        let fate = super::files::fate(difference);
        let path = show(&difference.path);
        let Some(Nature::Script(line)) = natures.get(path.as_str()) else { return None };
        if fate == Fate::Changed && !is_other(difference) {
            return None;
        }
        let says = match line {
            Ok(line) => format!("run by {}", line.interpreter),
            Err(_) => "its first line is none that the kernel takes".to_owned(),
        };
        Some(Concern { about: About::Script, what: path, fate, says })
    });
    concerns.collect()
}

/// Kernel modules that the first has not, whatever its kernel's release; of the same kernel also those that are others.
fn modules(old: &Side<'_>, new: &Side<'_>, changed: &BTreeSet<String>) -> Vec<Concern> {
    let list = |side: &Side<'_>| -> BTreeMap<String, String> {
        let modules = side.survey.files.iter().filter(|file| file.nature == Nature::Module);
        modules.map(|file| (below_release(&file.path).to_owned(), file.path.clone())).collect()
    };
    let (old, new) = (list(old), list(new));
    let concerns = new.iter().filter_map(|(module, path)| {
        let (fate, says) = match old.contains_key(module) {
            false => (Fate::Added, "the kernel may load it"),
            true if changed.contains(path) => (Fate::Changed, "its contents are others"),
            true => return None,
        };
        Some(Concern { about: About::Module, what: path.clone(), fate, says: says.to_owned() })
    });
    concerns.collect()
}

/// A module's path below the folder of its kernel.
fn below_release(path: &str) -> &str {
    let below = path.split_once("/lib/modules/").and_then(|(_, rest)| rest.split_once('/'));
    below.map_or(path, |(_, rest)| rest)
}
