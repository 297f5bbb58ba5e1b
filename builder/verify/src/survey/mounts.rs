//! Writable file systems that the root mounts itself, and from which programs could be started.

use graven_image::tree::{Kind, TreePath};

use super::services::{FOLDERS, MOST_UNIT_BYTES};
use super::{Code, Looked, Problem};

/// File systems on which nobody stores a program: the kernel's own, and those that cannot be written.
const NO_PLACE: [&str; 22] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "efivarfs",
    "erofs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "none",
    "proc",
    "pstore",
    "securityfs",
    "squashfs",
    "swap",
    "sysfs",
    "tracefs",
];

pub(super) fn check(looked: &Looked<'_>, problems: &mut Vec<Problem>) {
    let read = |path: &str| {
        let path = TreePath::parse(path.as_bytes()).ok()?;
        looked.root.read(&path, MOST_UNIT_BYTES).ok().map(|text| String::from_utf8_lossy(&text).into_owned())
    };
    for line in read("/etc/fstab").unwrap_or_default().lines() {
        let words: Vec<&str> = line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
        if let [_, target, kind, options, ..] = *words.as_slice() {
            judge("/etc/fstab", target, kind, options, problems);
        }
    }
    let mut seen = Vec::new();
    for folder in FOLDERS {
        let Some(id) = looked.find(folder) else { continue };
        let Kind::Directory(names) = &looked.root.inode(id).kind else { continue };
        for (name, unit) in names.iter().filter(|(name, _)| name.ends_with(b".mount")) {
            let path = format!("{folder}/{}", String::from_utf8_lossy(name));
            if seen.contains(unit) || !looked.is_file(*unit) {
                continue;
            }
            seen.push(*unit);
            let text = read(&path).unwrap_or_default();
            let said = |key: &str| {
                let mut settings = text.lines().filter_map(|line| line.trim().split_once('='));
                settings.rfind(|(name, _)| name.trim() == key).map_or("", |(_, value)| value.trim())
            };
            judge(&path, said("Where"), said("Type"), said("Options"), problems);
        }
    }
}

fn judge(by: &str, target: &str, kind: &str, options: &str, problems: &mut Vec<Problem>) {
    let has = |word: &str| options.split(',').any(|option| option == word);
    if target.starts_with('/') && !NO_PLACE.contains(&kind) && !has("noexec") && !has("ro") {
        let message = format!(
            "mounts {target} writable and without noexec: a kernel before 6.19 lets interpreters run what is put there"
        );
        problems.push(Problem::new(Code::ExecutableMount, by, message));
    }
}
