//! Local Debian packages (deb(5), format 2.0), without `dpkg` and without running anything of them.

mod ar;
mod control;
mod unpack;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use graven_image::tree::{Content, Inode, Kind, TreePath};
use md5::{Digest as _, Md5};

use crate::tar::{self, Bad};
use crate::{Entry, Error, Item, Layer, Limits, Problem, Sha256, Spool};
use ar::Member;
pub use control::Control;
pub use unpack::unpack;

/// Names of the programs that `dpkg` would run.
pub const MAINTAINER_SCRIPTS: [&str; 5] = ["config", "postinst", "postrm", "preinst", "prerm"];

/// Most bytes that the control archive may unpack to.
const CONTROL_LIMIT: u64 = 64 << 20;

/// A package, read and checked, nothing of it in any tree yet.
#[derive(Debug)]
pub struct Package {
    /// Its `control` file.
    pub control: Control,
    /// Its maintainer scripts by name ([`MAINTAINER_SCRIPTS`]): never run here; a caller that has no finisher for one
    /// must refuse the package.
    pub scripts: BTreeMap<String, Vec<u8>>,
    /// The other files of the control archive by name: `md5sums`, `triggers`, `shlibs`, `templates` …
    pub control_files: BTreeMap<String, Vec<u8>>,
    /// Configuration files: those of `conffiles` that the package brings.
    pub conffiles: Vec<TreePath>,
    /// Its files; their origin is `package=version`.
    pub layer: Layer,
    /// SHA-256 of the `.deb`.
    pub sha256: Sha256,
}

/// Reads a `.deb`, its SHA-256 first. Contents go to the spool; several packages can be read at once.
///
/// # Errors
/// [`Error`], which names the package and, where it is one's fault, the member.
pub fn read(
    path: &Path,
    expected: Option<&Sha256>,
    spool: &Spool,
    limits: &Limits,
) -> Result<Package, Error> {
    let Opened { control, mut files, control_archive, data_archive, sha256 } =
        Opened::read(path, expected, spool, limits)?;
    let origin: Arc<str> = format!("{}={}", control.package(), control.version()).into();
    let entries = tar::parse(data_archive.source, Some(origin), spool, limits)
        .map_err(|bad| inside(path, &data_archive.name, bad))?;
    let layer = tar::layer(path, entries, sha256);
    let conffiles = match files.remove("conffiles") {
        Some(list) => conffiles(&list, &layer).map_err(|problem| {
            inside(path, &control_archive, Bad { member: Some("conffiles".to_owned()), problem })
        })?,
        None => Vec::new(),
    };
    let (scripts, control_files) =
        files.into_iter().partition(|(name, _)| MAINTAINER_SCRIPTS.contains(&name.as_str()));
    Ok(Package { control, scripts, control_files, conffiles, layer, sha256 })
}

/// Reads what a `.deb` says of itself, and what it hashes to; none of its files.
///
/// # Errors
/// As for [`read`].
pub fn read_control(path: &Path, limits: &Limits) -> Result<(Control, Sha256), Error> {
    let spool =
        Spool::in_memory().map_err(|error| Error::new(path, Problem::Io { doing: "reading", error }))?;
    Opened::read(path, None, &spool, limits).map(|opened| (opened.control, opened.sha256))
}

/// A package whose files are still packed.
struct Opened {
    control: Control,
    /// The control archive's other files.
    files: ControlFiles,
    /// The control archive's name.
    control_archive: String,
    data_archive: Member,
    sha256: Sha256,
}

impl Opened {
    fn read(path: &Path, expected: Option<&Sha256>, spool: &Spool, limits: &Limits) -> Result<Self, Error> {
        let (source, sha256) = tar::open(path, expected)?;
        let whole = |problem| Error::new(path, problem);
        let members = ar::members(&source).map_err(whole)?;
        let (control_archive, data_archive) = archives(members).map_err(whole)?;

        let Member { name: control_archive, source } = control_archive;
        let limits = Limits {
            unpacked_bytes: limits.unpacked_bytes.min(CONTROL_LIMIT),
            members: 1000,
            ..limits.clone()
        };
        let entries =
            tar::parse(source, None, spool, &limits).map_err(|bad| inside(path, &control_archive, bad))?;
        let at = |(member, problem)| inside(path, &control_archive, Bad { member: Some(member), problem });
        let mut files = control_files(entries).map_err(at)?;
        let text = files
            .remove("control")
            .ok_or_else(|| whole(Problem::Damaged("its control archive has no file `control`".to_owned())))?;
        let control = Control::parse(&text).map_err(|problem| at(("control".to_owned(), problem)))?;
        Ok(Self { control, files, control_archive, data_archive, sha256 })
    }
}

/// What is bad in an archive of a package's.
fn inside(path: &Path, archive: &str, bad: Bad) -> Error {
    let member = bad.member.map_or_else(|| archive.to_owned(), |member| format!("{archive}: {member}"));
    Bad { member: Some(member), problem: bad.problem }.of(path)
}

impl Package {
    /// The same, called by this name in errors rather than by its path.
    #[must_use]
    pub fn called(mut self, name: &str) -> Self {
        name.clone_into(&mut self.layer.input);
        self
    }

    /// Contents of one file of the package, by its path in the package (symbolic links are not followed).
    ///
    /// # Errors
    /// [`Error`] when the package has no such regular file.
    pub fn member(&self, path: &TreePath) -> Result<&Content, Error> {
        self.layer.member(path).ok_or_else(|| Error {
            input: self.layer.input.clone(),
            member: Some(path.to_string()),
            problem: Problem::Damaged("the package has no such regular file".to_owned()),
        })
    }

    /// Holds the files against the package's `md5sums`, where it has that; reads them all. MD5 proves nothing against
    /// an attacker, only that package and list belong together.
    ///
    /// # Errors
    /// [`Error`], which names the first file that differs or is missing.
    pub fn verify_md5sums(&self) -> Result<(), Error> {
        let Some(list) = self.control_files.get("md5sums") else { return Ok(()) };
        let files = self.files();
        for line in list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let bad = |member: String, message: String| Error {
                input: self.layer.input.clone(),
                member: Some(member),
                problem: Problem::Damaged(message),
            };
            let (sum, name) =
                line.split_at_checked(32).filter(|(_, name)| name.starts_with(b"  ")).ok_or_else(|| {
                    bad("md5sums".to_owned(), format!("no `MD5  name`: {}", line.escape_ascii()))
                })?;
            let name = name.get(2..).unwrap_or_default();
            let path = TreePath::parse(name).map_err(|error| bad("md5sums".to_owned(), error.to_string()))?;
            let content = files.get(&path).ok_or_else(|| {
                bad(path.to_string(), "it is in `md5sums` but not in the package".to_owned())
            })?;
            let found = md5(content).map_err(|error| Error {
                input: self.layer.input.clone(),
                member: Some(path.to_string()),
                problem: Problem::Io { doing: "reading", error },
            })?;
            if !found.as_bytes().eq_ignore_ascii_case(sum) {
                let message = format!("its MD5 is {found}, `md5sums` says {}", sum.escape_ascii());
                return Err(bad(path.to_string(), message));
            }
        }
        Ok(())
    }

    /// The paragraph for `/var/lib/dpkg/status`: the control file's fields with `Status: install ok installed` and
    /// the configuration files with their MD5, as `dpkg` writes it.
    ///
    /// # Errors
    /// [`Error`] when a configuration file cannot be read.
    pub fn status_paragraph(&self) -> Result<String, Error> {
        let mut text = String::new();
        let mut field = |name: &str, value: &str| {
            let separator = if value.starts_with('\n') { "" } else { " " };
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{name}:{separator}{value}");
        };
        field("Package", self.control.package());
        field("Status", "install ok installed");
        for (name, value) in self.control.fields().filter(|(name, _)| !name.eq_ignore_ascii_case("Package")) {
            field(name, value);
        }
        if !self.conffiles.is_empty() {
            let mut list = String::new();
            for path in &self.conffiles {
                let sum = md5(self.member(path)?).map_err(|error| Error {
                    input: self.layer.input.clone(),
                    member: Some(path.to_string()),
                    problem: Problem::Io { doing: "reading", error },
                })?;
                let _ = write!(list, "\n {path} {sum}");
            }
            field("Conffiles", &list);
        }
        Ok(text)
    }

    /// The list for `/var/lib/dpkg/info/PACKAGE.list`: every name of the package, `/.` first, in archive order.
    pub fn file_list(&self) -> Vec<u8> {
        let mut list = b"/.\n".to_vec();
        for entry in self.layer.entries().iter().filter(|entry| !entry.path.is_root()) {
            list.extend_from_slice(entry.path.as_bytes());
            list.push(b'\n');
        }
        list
    }

    /// Regular files by path, hard links among them.
    fn files(&self) -> BTreeMap<&TreePath, &Content> {
        let mut files = BTreeMap::new();
        for entry in self.layer.entries() {
            let content = match &entry.item {
                Item::Inode(Inode { kind: Kind::File(content), .. }) => Some(content),
                Item::Inode(_) => None,
                Item::HardLink(target) => files.get(target).copied(),
            };
            files.extend(content.map(|content| (&entry.path, content)));
        }
        files
    }
}

/// Control and data archive out of the members, which come in this order: `debian-binary`, `control.tar*`,
/// `data.tar*`, then perhaps others whose names begin with `_`.
fn archives(members: Vec<Member>) -> Result<(Member, Member), Problem> {
    let mut members = members.into_iter();
    let mut next = |wanted: &str, fits: fn(&str) -> bool| match members.next() {
        Some(member) if fits(&member.name) => Ok(member),
        Some(member) => {
            Err(Problem::Damaged(format!("member `{wanted}` was expected, `{}` is there", member.name)))
        }
        None => Err(Problem::Damaged(format!("member `{wanted}` is missing"))),
    };
    let version = next("debian-binary", |name| name == "debian-binary")?;
    let size = version.source.size().unwrap_or(u64::MAX);
    let mut text = [0; 4];
    if size != 4 || version.source.read_exact_at(&mut text, 0).is_err() || &text != b"2.0\n" {
        let what = "a package format other than 2.0".to_owned();
        return Err(Problem::Unsupported { what, instead: "build the package with a current dpkg-deb" });
    }
    let control = next("control.tar", |name| is_archive(name, "control.tar"))?;
    let data = next("data.tar", |name| is_archive(name, "data.tar"))?;
    match members.find(|member| !member.name.starts_with('_')) {
        Some(stranger) => Err(Problem::Damaged(format!("a member `{}` that no package has", stranger.name))),
        None => Ok((control, data)),
    }
}

fn is_archive(name: &str, stem: &str) -> bool {
    name.strip_prefix(stem).is_some_and(|suffix| ["", ".gz", ".xz", ".zst"].contains(&suffix))
}

type ControlFiles = BTreeMap<String, Vec<u8>>;

fn control_files(entries: Vec<Entry>) -> Result<ControlFiles, (String, Problem)> {
    let mut files = BTreeMap::new();
    for entry in entries.into_iter().filter(|entry| !entry.path.is_root()) {
        let path = entry.path.to_string();
        let name = path.trim_start_matches('/').to_owned();
        let at = |problem| (name.clone(), problem);
        let Item::Inode(Inode { kind: Kind::File(content), .. }) = entry.item else {
            return Err(at(Problem::Damaged("a control archive has regular files only".to_owned())));
        };
        if name.contains('/') {
            return Err(at(Problem::Damaged("a control archive has no folders".to_owned())));
        }
        let bytes = bytes(&content).map_err(|error| at(Problem::Io { doing: "reading", error }))?;
        files.insert(name, bytes);
    }
    Ok(files)
}

fn bytes(content: &Content) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(content.len).map_err(|_| std::io::ErrorKind::FileTooLarge)?];
    content.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Absolute names, one a line; `remove-on-upgrade NAME` names a file that is gone.
fn conffiles(list: &[u8], layer: &Layer) -> Result<Vec<TreePath>, Problem> {
    let text = std::str::from_utf8(list).map_err(|_| Problem::Damaged("it is not UTF-8".to_owned()))?;
    let mut paths = Vec::new();
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if line.starts_with("remove-on-upgrade ") {
            continue;
        }
        if !line.starts_with('/') {
            return Err(Problem::Damaged(format!("`{line}` is no absolute name")));
        }
        let path = TreePath::parse(line.as_bytes())?;
        if layer.member(&path).is_none() {
            return Err(Problem::Damaged(format!("`{line}` is not among the package's regular files")));
        }
        paths.push(path);
    }
    Ok(paths)
}

fn md5(content: &Content) -> std::io::Result<String> {
    let mut hasher = Md5::new();
    let mut buffer = vec![0; 1 << 17];
    let mut offset = 0;
    while offset < content.len {
        let step = content.len.saturating_sub(offset).min(buffer.len() as u64);
        let window = buffer.get_mut(..usize::try_from(step).unwrap_or(0)).unwrap_or_default();
        content.read_exact_at(window, offset)?;
        hasher.update(&*window);
        offset = offset.saturating_add(step);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
