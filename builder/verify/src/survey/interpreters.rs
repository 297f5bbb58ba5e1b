//! Programs that run scripts: which of them could ask the kernel whether a script may run.

use std::collections::BTreeMap;

use super::loading::through_env;
use super::{Looked, Nature, Surveyed};

/// A program that runs scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// Where it lies.
    pub path: String,
    /// Whether it, or a library of its own, names `execveat`. One that does not cannot ask the kernel, so any text that it
    /// is handed runs.
    pub can_ask: bool,
    /// Whether what it runs can make system calls of its own.
    pub makes_system_calls: bool,
    /// The scripts that name it in their first line.
    pub scripts: Vec<String>,
}

/// Names of programs that run what they read, also where no script names them. A version may stand behind.
const KNOWN: [&str; 25] = [
    "ash", "awk", "bash", "busybox", "csh", "dash", "expect", "gawk", "gdb", "guile", "ksh", "lua", "m4",
    "make", "mawk", "node", "perl", "php", "python", "ruby", "sh", "sqlite3", "tclsh", "tcsh", "zsh",
];
/// Those of them that can make any system call.
const SYSTEM_CALLS: [&str; 8] = ["gdb", "guile", "lua", "node", "perl", "php", "python", "ruby"];
/// Libraries that name `execveat` for everyone.
const EVERYONES: [&str; 3] = ["libc.so", "libc.musl", "ld-"];

pub(super) fn list(looked: &Looked<'_>) -> Vec<Interpreter> {
    let mut scripts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in looked.files {
        match &file.nature {
            Nature::Script(Ok(line)) => {
                let named = match through_env(line) {
                    Some(name) => ["/usr/local/bin", "/usr/bin", "/usr/sbin", "/bin", "/sbin"]
                        .iter()
                        .find_map(|folder| looked.canonical(&format!("{folder}/{name}"))),
                    None => looked.canonical(&line.interpreter),
                };
                if let Some(path) = named {
                    scripts.entry(path).or_default().push(file.path.clone());
                }
            }
            Nature::Program(_) if known(&KNOWN, &file.path) => {
                scripts.entry(file.path.clone()).or_default();
            }
            _ => {}
        }
    }
    let by_path: BTreeMap<&str, &Surveyed> =
        looked.files.iter().map(|file| (file.path.as_str(), file)).collect();
    scripts
        .into_iter()
        .filter_map(|(path, scripts)| {
            let file = by_path.get(path.as_str())?;
            let can_ask = can_ask(looked, file)?;
            Some(Interpreter { can_ask, makes_system_calls: known(&SYSTEM_CALLS, &path), path, scripts })
        })
        .collect()
}

/// `None` for what is no program.
fn can_ask(looked: &Looked<'_>, file: &Surveyed) -> Option<bool> {
    let elf = file.nature.elf()?;
    let own = elf.needed.iter().filter(|name| !EVERYONES.iter().any(|begin| name.starts_with(begin)));
    let mut own = own.map(|name| format!("/{name}"));
    let in_library = own.any(|ending| {
        let mut files = looked.files.iter().filter(|file| file.path.ends_with(&ending));
        files.any(|library| library.nature.elf().is_some_and(|elf| elf.names_execveat))
    });
    Some(elf.names_execveat || in_library)
}

/// Whether a path's last part is one of these names, with or without a version behind it.
fn known(names: &[&str], path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    names.contains(&name) || names.contains(&plain)
}
