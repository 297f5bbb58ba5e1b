//! What of a root the kernel may be asked about, and what will not run there: read from the files themselves.

mod asking;
mod binfmt;
pub(crate) mod elf;
mod interpreters;
mod loading;
mod mounts;
mod problem;
mod script;
mod services;

use std::collections::BTreeSet;
use std::io;

use graven_image::tree::{self, Content, InodeId, Kind, Tree, TreePath};
use graven_ipe::Op;

pub use asking::{Asking, Evidence};
pub use elf::{Elf, Taken};
pub use interpreters::Interpreter;
pub use problem::{Code, Problem};
pub use script::{Shebang, ShebangProblem};

/// A root, looked through.
#[derive(Debug, Default)]
pub struct Survey {
    /// The files that a policy can be asked about, in the order of their paths.
    pub files: Vec<Surveyed>,
    /// The programs that run scripts, in the order of their paths.
    pub interpreters: Vec<Interpreter>,
    /// What will not run as it stands, or should be known.
    pub problems: Vec<Problem>,
}

/// One file that a policy can be asked about.
#[derive(Debug, Clone)]
pub struct Surveyed {
    /// From the leading `/` on.
    pub path: String,
    /// What it is.
    pub nature: Nature,
    /// Permission bits with set-uid and set-gid.
    mode: u16,
    id: InodeId,
}

/// What a file is to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nature {
    /// An ELF file that is started.
    Program(Elf),
    /// An ELF file that others load.
    Library(Elf),
    /// A file that begins with `#!`.
    Script(Result<Shebang, ShebangProblem>),
    /// A kernel module.
    Module,
    /// Firmware of a device.
    Firmware,
    /// A kernel that kexec could start.
    Kernel,
    /// An initramfs for it.
    Initramfs,
    /// A policy of IMA, read by its path.
    ImaPolicy,
    /// A certificate of IMA or EVM, read by its path.
    Certificate,
}

impl Nature {
    /// The word for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Program(_) => "program",
            Self::Library(_) => "library",
            Self::Script(_) => "script",
            Self::Module => "module",
            Self::Firmware => "firmware",
            Self::Kernel => "kernel",
            Self::Initramfs => "initramfs",
            Self::ImaPolicy => "ima-policy",
            Self::Certificate => "certificate",
        }
    }

    /// The operation that it is for.
    #[must_use]
    pub fn op(&self) -> Op {
        match self {
            Self::Program(_) | Self::Library(_) | Self::Script(_) => Op::Execute,
            Self::Module => Op::Kmodule,
            Self::Firmware => Op::Firmware,
            Self::Kernel => Op::KexecImage,
            Self::Initramfs => Op::KexecInitramfs,
            Self::ImaPolicy => Op::Policy,
            Self::Certificate => Op::X509Cert,
        }
    }

    fn elf(&self) -> Option<&Elf> {
        match self {
            Self::Program(elf) | Self::Library(elf) => Some(elf),
            _ => None,
        }
    }
}

/// Why a root could not be looked through.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// A file could not be read.
    #[error("reading {path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Looks through a root.
///
/// # Errors
/// Where a file cannot be read.
pub fn survey(root: &Tree) -> Result<Survey, SurveyError> {
    let files = files(root)?;
    let looked = Looked { root, files: &files };
    let mut problems = Vec::new();
    loading::check(&looked, &mut problems);
    services::check(&looked, &mut problems);
    mounts::check(&looked, &mut problems);
    let interpreters = interpreters::list(&looked, &BTreeSet::new())?;
    for interpreter in &interpreters {
        check_interpreter(&looked, interpreter, &mut problems);
    }
    problems.sort_by(|a, b| (&a.path, a.code).cmp(&(&b.path, b.code)));
    Ok(Survey { files, interpreters, problems })
}

/// The interpreters of a root alone, and what stands at the paths of `more`.
///
/// # Errors
/// Where a file cannot be read.
pub fn interpreters(root: &Tree, more: &BTreeSet<String>) -> Result<Vec<Interpreter>, SurveyError> {
    interpreters::list(&Looked { root, files: &files(root)? }, more)
}

/// The files that a policy can be asked about.
fn files(root: &Tree) -> Result<Vec<Surveyed>, SurveyError> {
    let mut files = Vec::new();
    for entry in root.walk() {
        let Kind::File(content) = &entry.inode.kind else { continue };
        let path = tree::show(&entry.path);
        let nature =
            nature(&path, content).map_err(|source| SurveyError::Read { path: path.clone(), source })?;
        if let Some(nature) = nature {
            files.push(Surveyed { path, nature, mode: entry.inode.metadata.mode, id: entry.id });
        }
    }
    Ok(files)
}

fn check_interpreter(looked: &Looked<'_>, interpreter: &Interpreter, problems: &mut Vec<Problem>) {
    let path = &interpreter.path;
    let set_id = looked.find(path).is_some_and(|id| looked.root.inode(id).metadata.mode & 0o6000 != 0);
    if set_id {
        let message = "runs what it is handed with the rights of its owner or group: take the bit off";
        problems.push(Problem::new(Code::SetIdInterpreter, path, message));
    }
    // A script that has none is told of by itself.
    let mut libraries =
        interpreter.without_exec_bit.iter().filter(|file| !interpreter.scripts.contains(file));
    if let (Asking::Asks, Some(first)) = (interpreter.asking(), libraries.next()) {
        let message = match libraries.count() {
            0 => format!("asks the kernel, which refuses it {first}: it has no exec bit"),
            more => {
                format!("asks the kernel, which refuses it {first} and {more} more: they have no exec bit")
            }
        };
        problems.push(Problem::new(Code::LibraryWithoutExecBit, path, message));
    }
}

/// What a file is, by its first bytes, and for what has none of its own by its place; `None` where no policy is asked.
fn nature(path: &str, content: &Content) -> io::Result<Option<Nature>> {
    let mut head = vec![0; usize::try_from(content.len.min(script::HEAD as u64)).unwrap_or_default()];
    content.read_exact_at(&mut head, 0)?;
    if let Some(line) = Shebang::parse(&head) {
        return Ok(Some(Nature::Script(line)));
    }
    let under =
        |folder: &str| [format!("/{folder}/"), format!("/usr/{folder}/")].iter().any(|f| path.starts_with(f));
    let name = path.rsplit('/').next().unwrap_or_default();
    if under("lib/firmware") {
        return Ok(Some(Nature::Firmware));
    }
    if [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().any(|ending| name.ends_with(ending)) {
        return Ok(Some(Nature::Module));
    }
    if head.starts_with(b"\x7fELF") {
        return Ok(match Elf::read(content)? {
            // What only a linker takes is no code that runs.
            Some(elf) if elf.relocatable => None,
            Some(elf) if elf.interpreter.is_some() || elf.fixed => Some(Nature::Program(elf)),
            Some(elf) if elf.entry && elf.needed.is_empty() && !name.contains(".so") => {
                Some(Nature::Program(elf))
            }
            Some(elf) => Some(Nature::Library(elf)),
            None => None,
        });
    }
    Ok(match path {
        "/etc/ima/ima-policy" => Some(Nature::ImaPolicy),
        "/etc/keys/x509_ima.der" | "/etc/keys/x509_evm.der" => Some(Nature::Certificate),
        _ if under("boot") || path.starts_with("/usr/lib/modules/") || path.starts_with("/lib/modules/") => {
            let begins = |words: &[&str]| words.iter().any(|word| name.starts_with(word));
            match () {
                () if begins(&["vmlinuz", "vmlinux", "bzImage", "Image"]) => Some(Nature::Kernel),
                () if begins(&["initrd", "initramfs"]) => Some(Nature::Initramfs),
                () => None,
            }
        }
        _ => None,
    })
}

/// A root and its files, as the checks see them.
struct Looked<'a> {
    root: &'a Tree,
    files: &'a [Surveyed],
}

impl<'a> Looked<'a> {
    /// What an absolute path leads to inside the root.
    fn find(&self, path: &str) -> Option<InodeId> {
        let path = TreePath::parse(path.as_bytes()).ok()?;
        path.as_bytes().starts_with(b"/").then(|| self.root.resolve(&path).ok()).flatten()
    }

    /// The same without the symbolic links on the way.
    fn canonical(&self, path: &str) -> Option<String> {
        let path = TreePath::parse(path.as_bytes()).ok()?;
        self.root.canonical(&path).ok().map(|path| path.to_string())
    }

    fn is_file(&self, id: InodeId) -> bool {
        matches!(self.root.inode(id).kind, Kind::File(_))
    }

    /// Whether anyone may execute it; without an exec bit not even root may.
    fn is_executable(&self, id: InodeId) -> bool {
        self.is_file(id) && self.root.inode(id).metadata.mode & 0o111 != 0
    }
}
