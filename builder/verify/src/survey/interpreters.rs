//! Programs that run scripts: which of them ask the kernel whether a script may run, and what stands behind each.

use std::collections::{BTreeMap, BTreeSet};

use graven_image::tree::{self, Kind};

use super::asking::{Asking, Evidence};
use super::loading::through_env;
use super::script::MOST_REWRITES;
use super::{Looked, Nature, Shebang, SurveyError, Surveyed, binfmt};

/// A program that runs scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// Where it lies.
    pub path: String,
    /// The package or input that it came with, where the root still knows.
    pub origin: Option<String>,
    /// What its code, and that of libraries of its own, shows of asking.
    pub evidence: Evidence,
    /// Whether what it runs can make system calls of its own.
    pub makes_system_calls: bool,
    /// The scripts that name it in their first line, or an interpreter that is a script for it.
    pub scripts: Vec<String>,
    /// Scripts and other files that it runs as code, without an exec bit: asked about these, the kernel refuses.
    pub without_exec_bit: Vec<String>,
}

impl Interpreter {
    /// Whether it asks the kernel before it runs a script.
    #[must_use]
    pub fn asking(&self) -> Asking {
        self.evidence.asking()
    }
}

/// Names of programs that run what they read, also where no script names them. A version may stand behind.
const KNOWN: [&str; 46] = [
    "ash", "awk", "bash", "bun", "busybox", "csh", "dash", "deno", "ed", "elvish", "emacs", "erl", "expect",
    "fish", "gawk", "gdb", "guile", "java", "julia", "ksh", "lua", "luajit", "m4", "make", "mawk", "mksh",
    "node", "nodejs", "nu", "perl", "php", "posh", "pwsh", "pypy", "python", "qjs", "racket", "ruby", "sh",
    "sqlite3", "tclsh", "tcsh", "toybox", "vim", "yash", "zsh",
];
/// Those of them that can make any system call.
const SYSTEM_CALLS: [&str; 17] = [
    "bun", "deno", "emacs", "gdb", "guile", "java", "julia", "lua", "luajit", "node", "nodejs", "perl",
    "php", "pypy", "python", "racket", "ruby",
];
/// How files end that are run as code by who has such a name.
const ENDINGS: [(&[&str], &[&str]); 9] = [
    (&["python", "pypy"], &[".py", ".pyc"]),
    (&["perl"], &[".pl", ".pm", ".ph", ".al"]),
    (&["ruby"], &[".rb"]),
    (&["lua", "luajit"], &[".lua"]),
    (&["tclsh", "expect"], &[".tcl", ".exp"]),
    (&["awk", "gawk", "mawk"], &[".awk"]),
    (&["node", "nodejs", "deno", "bun", "qjs"], &[".js", ".mjs", ".cjs"]),
    (&["php"], &[".php"]),
    (&["sh", "ash", "bash", "busybox", "dash", "ksh", "mksh", "posh", "toybox", "yash", "zsh"], &[".sh"]),
];
/// Libraries that take part in everyone's calls, and tell nothing of who is linked with them.
const EVERYONES: [&str; 3] = ["libc.so", "libc.musl", "ld-"];
/// Where `env` looks for a program.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// All of the root, and those that `more` names by their paths.
pub(super) fn list(looked: &Looked<'_>, more: &BTreeSet<String>) -> Result<Vec<Interpreter>, SurveyError> {
    let by_path: BTreeMap<&str, &Surveyed> =
        looked.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut scripts: BTreeMap<String, Vec<&Surveyed>> = BTreeMap::new();
    for file in looked.files {
        match &file.nature {
            Nature::Script(Ok(line)) => {
                if let Some(path) = program(looked, &by_path, line) {
                    scripts.entry(path).or_default().push(file);
                }
            }
            Nature::Program(_) if known(&KNOWN, &file.path) => {
                scripts.entry(file.path.clone()).or_default();
            }
            _ => {}
        }
    }
    let named = binfmt::interpreters(looked).into_iter().chain(more.iter().cloned());
    for path in named.filter_map(|path| looked.canonical(&path)) {
        scripts.entry(path).or_default();
    }
    let mut interpreters = Vec::new();
    for (path, scripts) in scripts {
        let Some(file) = by_path.get(path.as_str()).filter(|file| file.nature.elf().is_some()) else {
            continue;
        };
        let evidence = evidence(looked, file)?;
        let mut without_exec_bit: Vec<String> = scripts
            .iter()
            .filter(|script| script.mode & 0o111 == 0)
            .map(|script| script.path.clone())
            .collect();
        without_exec_bit.extend(libraries_without_exec_bit(looked, &path));
        without_exec_bit.sort();
        without_exec_bit.dedup();
        interpreters.push(Interpreter {
            origin: looked.root.inode(file.id).origin.as_deref().map(str::to_owned),
            evidence,
            makes_system_calls: known(&SYSTEM_CALLS, &path),
            scripts: scripts.into_iter().map(|script| script.path.clone()).collect(),
            without_exec_bit,
            path,
        });
    }
    Ok(interpreters)
}

/// The program that in the end reads a script: an interpreter may be a script itself.
fn program(looked: &Looked<'_>, by_path: &BTreeMap<&str, &Surveyed>, line: &Shebang) -> Option<String> {
    let mut line = line;
    for _ in 0..MOST_REWRITES {
        let path = match through_env(line) {
            Some(name) => PATH.iter().find_map(|folder| looked.canonical(&format!("{folder}/{name}"))),
            None => looked.canonical(&line.interpreter),
        }?;
        match by_path.get(path.as_str()).map(|file| &file.nature) {
            Some(Nature::Script(Ok(next))) => line = next,
            _ => return Some(path),
        }
    }
    None
}

/// What a program shows of asking, or a library of its own does.
fn evidence(looked: &Looked<'_>, file: &Surveyed) -> Result<Evidence, SurveyError> {
    let own = file.nature.elf().map(|elf| elf.needed.as_slice()).unwrap_or_default();
    let own = own.iter().filter(|name| !EVERYONES.iter().any(|begin| name.starts_with(begin)));
    let endings: Vec<String> = own.map(|name| format!("/{name}")).collect();
    let libraries =
        looked.files.iter().filter(|file| endings.iter().any(|ending| file.path.ends_with(ending.as_str())));
    let mut evidence = Evidence::default();
    for file in libraries.chain([file]) {
        let (Some(elf), Kind::File(content)) = (file.nature.elf(), &looked.root.inode(file.id).kind) else {
            continue;
        };
        let read = Evidence::of(elf, content);
        evidence = evidence.or(read.map_err(|source| SurveyError::Read { path: file.path.clone(), source })?);
    }
    Ok(evidence)
}

/// Files that this program loads as code by their names.
fn libraries_without_exec_bit(looked: &Looked<'_>, program: &str) -> Vec<String> {
    let endings = ENDINGS.iter().filter(|(names, _)| known(names, program)).flat_map(|(_, endings)| *endings);
    let endings: Vec<&[u8]> = endings.map(|ending| ending.as_bytes()).collect();
    if endings.is_empty() {
        return Vec::new();
    }
    let files = looked.root.walk().filter(|entry| {
        let by_name = endings.iter().any(|ending| entry.path.ends_with(ending));
        by_name && matches!(entry.inode.kind, Kind::File(_)) && entry.inode.metadata.mode & 0o111 == 0
    });
    files.map(|entry| tree::show(&entry.path)).collect()
}

/// Whether a path's last part is one of these names, with or without a version behind it.
fn known(names: &[&str], path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    names.contains(&name) || names.contains(&plain)
}
