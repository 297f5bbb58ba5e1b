//! Services that want what stage0 takes away from every process.

use graven_image::tree::{Kind, TreePath};

use super::{Code, Looked, Problem};

/// Where systemd's units lie, as links on the way to them lead.
pub(super) const FOLDERS: [&str; 3] =
    ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
/// Programs that make device-mapper devices.
const DEVICE_MAPPERS: [&str; 10] = [
    "cryptsetup",
    "dmeventd",
    "dmsetup",
    "integritysetup",
    "kpartx",
    "lvm",
    "multipathd",
    "systemd-cryptsetup",
    "systemd-veritysetup",
    "veritysetup",
];
/// Bytes that a unit may have.
pub(super) const MOST_UNIT_BYTES: u64 = 1 << 20;

pub(super) fn check(looked: &Looked<'_>, problems: &mut Vec<Problem>) {
    let mut seen = Vec::new();
    for folder in FOLDERS {
        let Some(id) = looked.find(folder) else { continue };
        let Kind::Directory(names) = &looked.root.inode(id).kind else { continue };
        for (name, unit) in names {
            let Kind::File(content) = &looked.root.inode(*unit).kind else { continue };
            let name = String::from_utf8_lossy(name);
            if !name.ends_with(".service") || content.len > MOST_UNIT_BYTES || seen.contains(unit) {
                continue;
            }
            seen.push(*unit);
            let path = format!("{folder}/{name}");
            let read =
                TreePath::parse(path.as_bytes()).and_then(|path| looked.root.read(&path, MOST_UNIT_BYTES));
            if let Ok(text) = read {
                check_unit(&path, &String::from_utf8_lossy(&text), problems);
            }
        }
    }
}

fn check_unit(path: &str, text: &str, problems: &mut Vec<Problem>) {
    let settings = text.lines().filter_map(|line| line.trim().split_once('='));
    for (key, value) in settings {
        let (key, value) = (key.trim(), value.trim());
        match key {
            "AmbientCapabilities" if value.contains("CAP_MAC_ADMIN") => problems.push(Problem::new(
                Code::NeedsTaken,
                path,
                "wants CAP_MAC_ADMIN, which no process has after stage0",
            )),
            _ if key.starts_with("Exec") => {
                let program = value.trim_start_matches(['-', '@', ':', '+', '!', '|']);
                let program = program.split_whitespace().next().unwrap_or_default();
                let name = program.rsplit('/').next().unwrap_or_default();
                if DEVICE_MAPPERS.contains(&name) {
                    let why =
                        format!("starts {name}, whose calls to the device mapper are refused after stage0");
                    problems.push(Problem::new(Code::NeedsTaken, path, why));
                }
            }
            _ => {}
        }
    }
}
