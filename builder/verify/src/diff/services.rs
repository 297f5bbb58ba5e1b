//! Units of systemd that talk with the network: what they listen on, and what they start.

use std::collections::{BTreeMap, BTreeSet};

use graven_image::tree::{Inode, Kind, Tree, TreePath};

use super::security::{About, Concern, held};

/// Where units lie, what outranks others last.
const FOLDERS: [&str; 3] = ["/lib/systemd/system", "/usr/lib/systemd/system", "/etc/systemd/system"];
/// Bytes that a unit may have.
const MOST_UNIT_BYTES: u64 = 1 << 20;
/// Settings of a socket that say what it listens on.
const LISTENS: [&str; 3] = ["ListenStream", "ListenDatagram", "ListenSequentialPacket"];

/// A unit with its drop-ins.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unit {
    /// All settings, in their order.
    settings: Vec<(String, String)>,
}

/// Units that face the network and are not the same, or start a program that is not.
pub(super) fn concerns(old: &Tree, new: &Tree, changed: &BTreeSet<String>) -> Vec<Concern> {
    let (was, is) = (units(old), units(new));
    let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let concerns = names.into_iter().filter_map(|name| {
        let (old_unit, new_unit) = (was.get(name), is.get(name));
        let faces = |unit: Option<&Unit>| unit.and_then(|unit| unit.faces_network(name));
        let other_program = new_unit.and_then(|unit| {
            unit.programs()
                .find(|program| canonical(new, program).is_some_and(|path| changed.contains(&path)))
        });
        let other = match other_program {
            _ if old_unit != new_unit => Some("its settings are others".to_owned()),
            Some(program) => Some(format!("{program} is another")),
            None => None,
        };
        held(About::Network, name, faces(old_unit), faces(new_unit), other.as_deref())
    });
    concerns.collect()
}

impl Unit {
    fn values<'a>(&'a self, names: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
        let of = move |(name, value): &'a (String, String)| {
            names.contains(&name.as_str()).then_some(value.as_str())
        };
        self.settings.iter().filter_map(of)
    }

    /// What it has to do with the network, in words; `None` where it shows nothing of it.
    fn faces_network(&self, name: &str) -> Option<String> {
        if name.ends_with(".socket") {
            // A path, or a name in the abstract namespace, is not reached from outside.
            let listens: Vec<&str> =
                self.values(&LISTENS).filter(|address| !address.starts_with(['/', '@', '%'])).collect();
            return (!listens.is_empty()).then(|| format!("listens on {}", listens.join(", ")));
        }
        if !name.ends_with(".service") {
            return None;
        }
        let waits = self.values(&["After", "Requires", "Wants"]).flat_map(str::split_whitespace);
        let waits = waits.into_iter().any(|unit| matches!(unit, "network.target" | "network-online.target"));
        let capabilities = self.values(&["AmbientCapabilities", "CapabilityBoundingSet"]);
        let mut capabilities =
            capabilities.filter(|set| !set.starts_with('~')).flat_map(str::split_whitespace);
        let binds =
            capabilities.any(|one| matches!(one, "CAP_NET_BIND_SERVICE" | "CAP_NET_ADMIN" | "CAP_NET_RAW"));
        let programs: Vec<&str> = self.programs().collect();
        (waits || binds).then(|| match programs.as_slice() {
            [] => "faces the network".to_owned(),
            programs => format!("faces the network, starts {}", programs.join(", ")),
        })
    }

    /// The programs that it starts.
    fn programs(&self) -> impl Iterator<Item = &str> {
        let lines = self.settings.iter().filter(|(name, _)| name.starts_with("ExecStart"));
        let programs = lines.filter_map(|(_, line)| {
            let line = line.trim_start_matches(['-', '@', ':', '+', '!', '|']);
            line.split_whitespace().next()
        });
        let mut seen = BTreeSet::new();
        programs.filter(move |program| seen.insert(*program))
    }
}

/// All units by name. One that is masked is none.
fn units(root: &Tree) -> BTreeMap<String, Unit> {
    let mut units = BTreeMap::new();
    let mut drop_ins: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for folder in FOLDERS {
        for (name, inode) in entries(root, folder) {
            let path = format!("{folder}/{name}");
            if let Some(unit) = name.strip_suffix(".d") {
                for (file, _) in entries(root, &path).into_iter().filter(|(file, _)| file.ends_with(".conf"))
                {
                    let settings = settings(root, &format!("{path}/{file}")).unwrap_or_default();
                    drop_ins.entry(unit.to_owned()).or_default().extend(settings);
                }
            } else if (name.ends_with(".service") || name.ends_with(".socket")) && !is_alias(&name, inode) {
                match settings(root, &path) {
                    Some(settings) => units.insert(name, Unit { settings }),
                    None => units.remove(&name),
                };
            }
        }
    }
    for (name, settings) in drop_ins {
        if let Some(unit) = units.get_mut(&name) {
            unit.settings.extend(settings);
        }
    }
    units
}

/// Whether it is another name of a unit, which is told of by its own. A link of the same name is the unit from elsewhere, one
/// to `/dev/null` masks it.
fn is_alias(name: &str, inode: &Inode) -> bool {
    let Kind::Symlink(target) = &inode.kind else { return false };
    let target = String::from_utf8_lossy(target);
    !matches!(target.rsplit('/').next(), Some(last) if last == name || target == "/dev/null")
}

fn entries<'t>(root: &'t Tree, folder: &str) -> Vec<(String, &'t Inode)> {
    let id = TreePath::parse(folder.as_bytes()).and_then(|path| root.resolve(&path));
    let Ok(Kind::Directory(names)) = id.map(|id| &root.inode(id).kind) else { return Vec::new() };
    let entries =
        names.iter().map(|(name, id)| (String::from_utf8_lossy(name).into_owned(), root.inode(*id)));
    entries.collect()
}

/// `Name=value` of a unit's file; `None` where it leads to nothing that can be read.
fn settings(root: &Tree, path: &str) -> Option<Vec<(String, String)>> {
    let bytes = root.read(&TreePath::parse(path.as_bytes()).ok()?, MOST_UNIT_BYTES).ok()?;
    let text = String::from_utf8_lossy(&bytes).replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let settings = lines.filter_map(|line| line.split_once('='));
    Some(settings.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect())
}

/// A program's path without symbolic links on the way.
fn canonical(root: &Tree, path: &str) -> Option<String> {
    let path = TreePath::parse(path.as_bytes()).ok()?;
    root.canonical(&path).ok().map(|path| path.to_string())
}
