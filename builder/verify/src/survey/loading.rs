//! Whether programs, libraries and scripts can be loaded: by the kernel, by their loader, and under what stage0 forbids.

use std::collections::{HashMap, HashSet};

use graven_image::tree::InodeId;

use super::script::MOST_REWRITES;
use super::{Code, Elf, Looked, Nature, Problem, Shebang, ShebangProblem, Surveyed};

/// Where `env` looks for a program, and a service's shell.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Libraries that make code in memory, by how their names begin.
const CODE_MAKERS: [&str; 9] = [
    "libmozjs-",
    "libLLVM",
    "libluajit-",
    "libjvm.",
    "libnode.",
    "libv8",
    "libjavascriptcoregtk-",
    "libcoreclr.",
    "libwasmtime.",
];
/// Programs that do, whatever they are linked with.
const CODE_MAKING_PROGRAMS: [&str; 6] = ["node", "nodejs", "java", "luajit", "dotnet", "deno"];

pub(super) fn check(looked: &Looked<'_>, problems: &mut Vec<Problem>) {
    let by_id: HashMap<InodeId, &Surveyed> = looked.files.iter().map(|file| (file.id, file)).collect();
    let folders = configured_folders(looked);
    let mut known = Known { looked, folders, found: HashMap::new() };
    for file in looked.files {
        match &file.nature {
            Nature::Script(line) => check_script(looked, &by_id, file, line, problems),
            Nature::Program(elf) | Nature::Library(elf) => {
                check_elf(file, elf, problems);
                check_loader(looked, file, elf, problems);
                known.check_libraries(file, elf, problems);
            }
            _ => {}
        }
    }
}

fn check_script(
    looked: &Looked<'_>,
    by_id: &HashMap<InodeId, &Surveyed>,
    file: &Surveyed,
    line: &Result<Shebang, ShebangProblem>,
    problems: &mut Vec<Problem>,
) {
    if file.mode & 0o111 == 0 {
        let message = "a script without an exec bit: an interpreter that asks the kernel refuses it";
        return problems.push(Problem::new(Code::NoExecBit, &file.path, message));
    }
    // Many a script of a package is never started: no error.
    let mut add = |code, message: String| problems.push(Problem::new(code, &file.path, message).warning());
    let line = match line {
        Ok(line) => line,
        Err(ShebangProblem::Empty) => return add(Code::BadLine, "nothing stands behind #!".to_owned()),
        Err(ShebangProblem::TooLong) => {
            return add(Code::BadLine, "the interpreter's path does not end within 256 bytes".to_owned());
        }
    };
    if let Some(name) = through_env(line)
        && !PATH.iter().any(|folder| looked.find(&format!("{folder}/{name}")).is_some())
    {
        add(Code::NoInterpreter, format!("env finds no {name} in {}", PATH.join(":")));
    }
    let mut line = line;
    for _ in 0..MOST_REWRITES {
        let name = &line.interpreter;
        let Some(id) = looked.find(name) else {
            let why = match (name.starts_with('/'), name.ends_with('\r')) {
                (_, true) => {
                    "its first line ends in CR LF, and the CR belongs to the interpreter's name".to_owned()
                }
                (false, _) => format!("its interpreter {name} is no absolute path"),
                (true, _) => format!("its interpreter {name} is not there"),
            };
            return add(Code::NoInterpreter, why);
        };
        if !looked.is_executable(id) {
            return add(Code::BadInterpreter, format!("its interpreter {name} is no file with an exec bit"));
        }
        match by_id.get(&id).map(|next| &next.nature) {
            Some(Nature::Script(Ok(next))) => line = next,
            Some(Nature::Program(_) | Nature::Library(_)) => return,
            // What the kernel does not know: binfmt_misc may, or nobody.
            _ => return add(Code::BadInterpreter, format!("its interpreter {name} is no program")),
        }
    }
    add(
        Code::BadInterpreter,
        format!("more than {MOST_REWRITES} interpreters stand behind each other (ELOOP)"),
    );
}

/// The program that `#!/usr/bin/env NAME` starts.
pub(super) fn through_env(line: &Shebang) -> Option<&str> {
    let words = line.interpreter.ends_with("/env").then_some(line.argument.as_deref())??;
    let words = words.strip_prefix("-S ").unwrap_or(words);
    let name = words.split_whitespace().find(|word| !word.contains('='))?;
    (!name.starts_with('-') && !name.starts_with('/')).then_some(name)
}

fn check_elf(file: &Surveyed, elf: &Elf, problems: &mut Vec<Problem>) {
    let mut add = |code, message: &str| problems.push(Problem::new(code, &file.path, message));
    if elf.executable_stack {
        add(
            Code::ExecutableStack,
            "asks for an executable stack (PT_GNU_STACK): link it with -z noexecstack",
        );
    }
    if elf.writable_code {
        add(
            Code::WritableCode,
            "has a segment that is writable and executable: link it without -N or -z rwx",
        );
    }
    if elf.text_relocations {
        add(Code::TextRelocations, "has relocations in its code (TEXTREL): compile it with -fPIC");
    }
    if file.mode & 0o6000 != 0 {
        let who = match file.mode & 0o6000 {
            0o4000 => "its owner",
            0o2000 => "its group",
            _ => "its owner and its group",
        };
        add(Code::SetId, &format!("runs as {who}, whoever starts it"));
    }
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let with = elf.needed.iter().find(|needed| CODE_MAKERS.iter().any(|begin| needed.starts_with(begin)));
    if let Some(with) = with {
        add(
            Code::CodeMaker,
            &format!("is linked with {with}, which makes code in memory: it is refused there"),
        );
    } else if matches!(file.nature, Nature::Program(_)) && CODE_MAKING_PROGRAMS.contains(&name) {
        add(
            Code::CodeMaker,
            "makes code in memory, which is refused; look for a switch that interprets instead",
        );
    }
}

fn check_loader(looked: &Looked<'_>, file: &Surveyed, elf: &Elf, problems: &mut Vec<Problem>) {
    let Some(loader) = elf.interpreter.as_deref() else { return };
    let problem = match looked.find(loader) {
        None => Problem::new(Code::NoInterpreter, &file.path, format!("its loader {loader} is not there")),
        Some(id) if !looked.is_executable(id) => Problem::new(
            Code::BadInterpreter,
            &file.path,
            format!("its loader {loader} is no file with an exec bit"),
        ),
        Some(_) => return,
    };
    // A library names one only to tell about itself when it is started.
    let library = file.path.contains(".so");
    problems.push(if library { problem.warning() } else { problem });
}

/// Folders in which libraries are looked for, and what was found there.
struct Known<'a> {
    looked: &'a Looked<'a>,
    folders: Vec<String>,
    found: HashMap<(u16, String), bool>,
}

impl Known<'_> {
    fn check_libraries(&mut self, file: &Surveyed, elf: &Elf, problems: &mut Vec<Problem>) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let missing: Vec<&str> =
            elf.needed.iter().filter(|name| !self.provided(name, elf, folder)).map(String::as_str).collect();
        if missing.is_empty() {
            return;
        }
        let message = format!("no file of the root provides {}", missing.join(", "));
        let problem = Problem::new(Code::NoLibrary, &file.path, message);
        // The program that loads a plug-in may bring what it wants.
        problems.push(if matches!(file.nature, Nature::Library(_)) { problem.warning() } else { problem });
    }

    fn provided(&mut self, name: &str, elf: &Elf, folder: &str) -> bool {
        let is_file = |path: &str| self.looked.find(path).is_some_and(|id| self.looked.is_file(id));
        if name.contains('/') {
            return is_file(name);
        }
        let own = |path: &str| path.replace("${ORIGIN}", folder).replace("$ORIGIN", folder);
        if elf.run_path.iter().any(|path| is_file(&format!("{}/{name}", own(path)))) {
            return true;
        }
        let key = (elf.machine, name.to_owned());
        if let Some(found) = self.found.get(&key) {
            return *found;
        }
        let by_machine = triplet(elf.machine)
            .into_iter()
            .flat_map(|triplet| [format!("/lib/{triplet}"), format!("/usr/lib/{triplet}")]);
        let usual = ["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/lib32", "/usr/lib32", "/usr/local/lib"];
        let mut all = by_machine.chain(usual.map(str::to_owned)).chain(self.folders.iter().cloned());
        let found = all.any(|folder| is_file(&format!("{folder}/{name}")));
        self.found.insert(key, found);
        found
    }
}

/// Debian's folder for a machine's libraries.
fn triplet(machine: u16) -> Option<&'static str> {
    Some(match machine {
        3 => "i386-linux-gnu",
        40 => "arm-linux-gnueabihf",
        62 => "x86_64-linux-gnu",
        183 => "aarch64-linux-gnu",
        243 => "riscv64-linux-gnu",
        _ => return None,
    })
}

/// The folders that `/etc/ld.so.conf` and the files in `/etc/ld.so.conf.d` name.
fn configured_folders(looked: &Looked<'_>) -> Vec<String> {
    use graven_image::tree::{Kind, TreePath};
    let mut files = vec!["/etc/ld.so.conf".to_owned()];
    if let Some(folder) = looked.find("/etc/ld.so.conf.d")
        && let Kind::Directory(names) = &looked.root.inode(folder).kind
    {
        let names = names.keys().map(|name| String::from_utf8_lossy(name).into_owned());
        let confs = names.filter(|name| name.ends_with(".conf"));
        files.extend(confs.map(|name| format!("/etc/ld.so.conf.d/{name}")));
    }
    let mut folders = HashSet::new();
    for file in files {
        let path = TreePath::parse(file.as_bytes()).ok();
        let Some(text) = path.and_then(|path| looked.root.read(&path, 1 << 20).ok()) else { continue };
        let text = String::from_utf8_lossy(&text).into_owned();
        folders.extend(text.lines().map(str::trim).filter(|line| line.starts_with('/')).map(str::to_owned));
    }
    let mut folders: Vec<String> = folders.into_iter().collect();
    folders.sort();
    folders
}
