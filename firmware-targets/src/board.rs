//! Board files: what one may say, how one inherits from another, and how the result becomes a [`Target`].

use crate::arch::Arch;
use crate::target::{
    Blob, BlobPartition, BootChain, CommandLineLimit, DeviceTreeSection, DiskRules, Drivers, ModuleName,
    Proof, SECTOR_BYTES, Target,
};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use uuid::{Uuid, uuid};

/// The boards that ship, by name.
const BOARDS: [(&str, &str); 9] = [
    ("arm64-uefi", include_str!("../boards/arm64-uefi.toml")),
    ("bananapi-r3", include_str!("../boards/bananapi-r3.toml")),
    ("espressobin", include_str!("../boards/espressobin.toml")),
    ("macchiatobin", include_str!("../boards/macchiatobin.toml")),
    ("nanopi-r5s", include_str!("../boards/nanopi-r5s.toml")),
    ("qemu-arm64-fit", include_str!("../boards/qemu-arm64-fit.toml")),
    ("qemu-arm64-uefi", include_str!("../boards/qemu-arm64-uefi.toml")),
    ("qemu-x86_64", include_str!("../boards/qemu-x86_64.toml")),
    ("x86_64-uefi", include_str!("../boards/x86_64-uefi.toml")),
];

/// Command line bytes left free where a board file does not say.
const DEFAULT_RESERVE: usize = 200;
/// Protective MBR, GPT header and 128 entries: LBA 0 to 33.
const DEFAULT_FIRST_USABLE_LBA: u64 = 34;
/// Type of a partition over firmware where the board file does not say: Linux's "reserved", which no tool mounts or
/// formats.
const RESERVED_TYPE: Uuid = uuid!("8da63339-0007-60c0-c436-083ac8230908");
/// Longest name that a partition has, in characters.
const MAX_PARTITION_NAME: usize = 36;
/// A chain of board files longer than this is a mistake.
const MAX_INHERITANCE: usize = 8;

impl Target {
    /// The targets that ship, by name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BOARDS.iter().map(|(name, _)| *name)
    }

    /// The target of that name among those that ship.
    ///
    /// # Errors
    /// [`TargetError::Unknown`], with the nearest name that exists.
    pub fn named(name: &str) -> Result<Self, TargetError> {
        let mut read = Vec::new();
        resolve(&Origin::Shipped(name.to_owned()), &mut read)
    }

    /// A target from the user's own board file. With it come the paths of all files read, the one named first and
    /// those it inherits after it; boards that ship are not among them.
    ///
    /// # Errors
    /// What cannot be read, parsed or made sense of, with the file and, for syntax, the line.
    pub fn load(path: &Path) -> Result<(Self, Vec<PathBuf>), TargetError> {
        let mut read = Vec::new();
        let target = resolve(&Origin::File(path.to_owned()), &mut read)?;
        let files = read.into_iter().filter_map(|origin| match origin {
            Origin::File(path) => Some(path),
            Origin::Shipped(_) => None,
        });
        Ok((target, files.collect()))
    }
}

/// Why there is no such target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No board of that name ships.
    #[error("unknown target `{name}`; {}", names_that_ship(*.nearest))]
    Unknown {
        /// What was asked for.
        name: String,
        /// A shipped name much like it.
        nearest: Option<&'static str>,
    },
    /// A board file could not be read.
    #[error("cannot read the board file {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A board file is not TOML, has an unknown key or a value of the wrong type.
    #[error("board file {origin}: {source}")]
    Syntax {
        /// The file, or the name of the board that ships.
        origin: String,
        /// Where in it and what, over several lines.
        source: Box<toml::de::Error>,
    },
    /// A board inherits from itself, directly or through others.
    #[error("board files inherit in a circle: {chain}")]
    Cycle {
        /// The files, `→` between them.
        chain: String,
    },
    /// What the file says makes no board.
    #[error("board file {origin}: {problem}")]
    Invalid {
        /// The file, or the name of the board that ships.
        origin: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// One board file as written. Every key may be absent, since a parent may have it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BoardFile {
    /// Its own name: never inherited.
    name: String,
    /// A name that ships, or a path (with a `/`, or ending in `.toml`) relative to this file.
    inherit: Option<String>,
    description: Option<String>,
    arch: Option<Arch>,
    boot_chain: Option<BootChain>,
    consoles: Option<Vec<String>>,
    /// Nor is this: a child was not tried because its parent was.
    proved: Option<Proof>,
    device_trees: Option<Vec<String>>,
    device_tree_section: Option<DeviceTreeSection>,
    least_stub: Option<u32>,
    kernel_address: Option<u64>,
    #[serde(default)]
    command_line: CommandLineSection,
    #[serde(default)]
    drivers: DriversSection,
    #[serde(default)]
    disk: DiskSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct CommandLineSection {
    limit: Option<usize>,
    reserve: Option<usize>,
    additions: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct DriversSection {
    required: Option<Vec<String>>,
    optional: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct DiskSection {
    first_usable_lba: Option<u64>,
    blobs: Option<Vec<BlobSection>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BlobSection {
    name: String,
    /// In sectors; or `offset`, in bytes.
    lba: Option<u64>,
    offset: Option<u64>,
    size: u64,
    /// Name of the partition over it, if it has one.
    partition: Option<String>,
    /// Type of that partition.
    r#type: Option<String>,
}

impl BoardFile {
    /// What this file does not say, `parent` says. Lists are replaced, not appended to: a board that names its
    /// drivers means these and no others.
    fn over(self, parent: Self) -> Self {
        Self {
            name: self.name,
            inherit: self.inherit,
            description: self.description.or(parent.description),
            arch: self.arch.or(parent.arch),
            boot_chain: self.boot_chain.or(parent.boot_chain),
            consoles: self.consoles.or(parent.consoles),
            proved: self.proved,
            device_trees: self.device_trees.or(parent.device_trees),
            device_tree_section: self.device_tree_section.or(parent.device_tree_section),
            least_stub: self.least_stub.or(parent.least_stub),
            kernel_address: self.kernel_address.or(parent.kernel_address),
            command_line: CommandLineSection {
                limit: self.command_line.limit.or(parent.command_line.limit),
                reserve: self.command_line.reserve.or(parent.command_line.reserve),
                additions: self.command_line.additions.or(parent.command_line.additions),
            },
            drivers: DriversSection {
                required: self.drivers.required.or(parent.drivers.required),
                optional: self.drivers.optional.or(parent.drivers.optional),
            },
            disk: DiskSection {
                first_usable_lba: self.disk.first_usable_lba.or(parent.disk.first_usable_lba),
                blobs: self.disk.blobs.or(parent.disk.blobs),
            },
        }
    }

    fn into_target(self, origin: &Origin) -> Result<Target, TargetError> {
        let invalid = |problem: String| TargetError::Invalid { origin: origin.to_string(), problem };
        let missing = |key: &str| invalid(format!("`{key}` is missing"));

        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(plain) {
            return Err(invalid(format!(
                "`name` is `{}`; a target's name has 1 to 64 of A-Z a-z 0-9 . _ -",
                self.name.escape_debug()
            )));
        }
        let arch = self.arch.ok_or_else(|| missing("arch"))?;
        let boot_chain = self.boot_chain.ok_or_else(|| missing("boot-chain"))?;
        let consoles = self.consoles.ok_or_else(|| missing("consoles"))?;
        if consoles.is_empty() {
            return Err(invalid(
                "`consoles` is empty; without a `console=` the EFI stub adds one of its own".into(),
            ));
        }
        if let Some(console) = consoles.iter().find(|c| !is_plain_word(c)) {
            return Err(invalid(format!(
                "console `{}` is not a word such as `ttyS0,115200`",
                console.escape_debug()
            )));
        }
        Ok(Target {
            description: self.description.ok_or_else(|| missing("description"))?,
            arch,
            boot_chain,
            kernel_address: kernel_address(boot_chain, self.kernel_address).map_err(invalid)?,
            command_line: command_line(self.command_line, arch).map_err(invalid)?,
            consoles,
            drivers: Drivers {
                required: module_names(self.drivers.required).map_err(invalid)?,
                optional: module_names(self.drivers.optional).map_err(invalid)?,
            },
            device_trees: device_trees(self.device_trees).map_err(invalid)?,
            // A FIT has device trees anyway, and no stub; a child can be one.
            device_tree_section: self.device_tree_section.filter(|_| boot_chain == BootChain::Uki),
            least_stub: self.least_stub.filter(|_| boot_chain == BootChain::Uki),
            disk: disk_rules(self.disk).map_err(invalid)?,
            proved: self.proved.unwrap_or(Proof::Untried),
            name: self.name,
        })
    }
}

fn command_line(section: CommandLineSection, arch: Arch) -> Result<CommandLineLimit, String> {
    let most = arch.command_line_size();
    let limit = section.limit.unwrap_or(most);
    if limit == 0 || limit > most {
        return Err(format!(
            "`command-line.limit` is {limit}; the kernel's buffer on {arch} has {most} bytes"
        ));
    }
    let reserve = section.reserve.unwrap_or(DEFAULT_RESERVE);
    if reserve >= limit {
        return Err(format!("`command-line.reserve` is {reserve}, which leaves nothing of {limit} bytes"));
    }
    let additions = section.additions.unwrap_or_default();
    for addition in &additions {
        let printable = addition.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        if addition.is_empty() || !printable || addition.len() > reserve {
            return Err(format!(
                "`command-line.additions` has `{}`; each is printable ASCII and fits the reserve of {reserve} bytes",
                addition.escape_debug()
            ));
        }
    }
    Ok(CommandLineLimit { limit, reserve, additions })
}

fn module_names(names: Option<Vec<String>>) -> Result<Vec<ModuleName>, String> {
    let parse = |name: String| {
        ModuleName::parse(&name).ok_or_else(|| {
            format!("`{}` is no kernel module name; write it without folder and `.ko`", name.escape_debug())
        })
    };
    names.unwrap_or_default().into_iter().map(parse).collect()
}

fn device_trees(names: Option<Vec<String>>) -> Result<Vec<String>, String> {
    let names = names.unwrap_or_default();
    let good = |name: &str| {
        name.ends_with(".dtb")
            && is_plain_word(name)
            && name.split('/').all(|part| !part.is_empty() && part != "..")
    };
    match names.iter().find(|name| !good(name)) {
        Some(name) => Err(format!(
            "`device-trees` has `{}`; write it as the kernel does, such as `rockchip/rk3568-nanopi-r5s.dtb`",
            name.escape_debug()
        )),
        None => Ok(names),
    }
}

/// A FIT says where its kernel goes; a UEFI finds room itself.
fn kernel_address(boot_chain: BootChain, address: Option<u64>) -> Result<Option<u64>, String> {
    /// What arm64 kernels are aligned to in memory (Linux, `Documentation/arch/arm64/booting.rst`).
    const ALIGNMENT: u64 = 2 << 20;
    match (boot_chain, address) {
        (BootChain::Fit, None) => {
            Err("`kernel-address` is missing, where U-Boot puts the kernel of a FIT".into())
        }
        (BootChain::Fit, Some(address)) if !address.is_multiple_of(ALIGNMENT) => {
            Err(format!("`kernel-address` is {address:#x}; a kernel begins at a multiple of {ALIGNMENT:#x}"))
        }
        // Inherited by a board that boots otherwise.
        (BootChain::Uki, _) => Ok(None),
        (BootChain::Fit, address) => Ok(address),
    }
}

fn disk_rules(section: DiskSection) -> Result<DiskRules, String> {
    let first_usable_lba = section.first_usable_lba.unwrap_or(DEFAULT_FIRST_USABLE_LBA);
    // Past 1 GiB it would not be firmware that needs the room.
    let last = 1 << 21;
    if !(DEFAULT_FIRST_USABLE_LBA..=last).contains(&first_usable_lba) {
        return Err(format!(
            "`disk.first-usable-lba` is {first_usable_lba}; it lies between {DEFAULT_FIRST_USABLE_LBA} (the end of the \
             GPT) and {last}"
        ));
    }
    let mut blobs = section.blobs.unwrap_or_default().into_iter().map(blob).collect::<Result<Vec<_>, _>>()?;
    blobs.sort_by_key(|blob| blob.offset);

    let usable = first_usable_lba * SECTOR_BYTES;
    let (mut free_from, mut before) = (DEFAULT_FIRST_USABLE_LBA * SECTOR_BYTES, "the GPT".to_owned());
    for blob in &blobs {
        if blob.offset < free_from {
            return Err(format!(
                "blob `{}` at byte {} overlaps {before}, which ends at byte {free_from}",
                blob.name, blob.offset
            ));
        }
        if blob.end() > usable {
            return Err(format!(
                "blob `{}` ends at byte {}, past `disk.first-usable-lba` {first_usable_lba} (byte {usable}), from where \
                 on the image's own partitions lie",
                blob.name,
                blob.end()
            ));
        }
        (free_from, before) = (blob.end(), format!("blob `{}`", blob.name));
    }
    let mut names: Vec<&str> = blobs.iter().map(|blob| blob.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("two blobs are called `{}`", pair[0])),
        None => Ok(DiskRules { first_usable_lba, blobs }),
    }
}

fn blob(section: BlobSection) -> Result<Blob, String> {
    let name = section.name;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
        return Err(format!("blob `{}`: a blob's name has 1 to 64 of A-Z a-z 0-9 _ -", name.escape_debug()));
    }
    let offset = match (section.lba, section.offset) {
        (Some(lba), None) => lba.checked_mul(SECTOR_BYTES),
        (None, Some(offset)) => Some(offset),
        _ => return Err(format!("blob `{name}` needs either `lba` or `offset`")),
    };
    let offset = offset.ok_or_else(|| format!("blob `{name}` lies beyond any disk"))?;
    if section.size == 0 {
        return Err(format!("blob `{name}` has no size"));
    }
    let partition = match (section.partition, section.r#type) {
        (None, None) => None,
        (None, Some(_)) => {
            return Err(format!("blob `{name}` has a `type` and no `partition` that is of it"));
        }
        (Some(label), type_guid) => {
            let printable = label.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
            if !(1..=MAX_PARTITION_NAME).contains(&label.len()) || !printable {
                return Err(format!(
                    "blob `{name}`: `partition` is `{}`; a partition's name has 1 to {MAX_PARTITION_NAME} printable \
                     ASCII characters",
                    label.escape_debug()
                ));
            }
            for (what, bytes) in [("offset", offset), ("size", section.size)] {
                if !bytes.is_multiple_of(SECTOR_BYTES) {
                    return Err(format!(
                        "blob `{name}` is a partition; its {what} {bytes} is no multiple of {SECTOR_BYTES} bytes"
                    ));
                }
            }
            let type_guid = match type_guid {
                None => RESERVED_TYPE,
                Some(text) => Uuid::parse_str(&text).map_err(|error| {
                    format!("blob `{name}`: `type` is no GUID: {}", error.to_string().escape_debug())
                })?,
            };
            Some(BlobPartition { name: label, type_guid })
        }
    };
    Ok(Blob { name, offset, size: section.size, partition })
}

/// Where a board file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Shipped(String),
    File(PathBuf),
}

impl Origin {
    fn text(&self) -> Result<String, TargetError> {
        match self {
            Self::Shipped(name) => BOARDS
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, text)| (*text).to_owned())
                .ok_or_else(|| TargetError::Unknown { name: name.clone(), nearest: nearest(name) }),
            Self::File(path) => std::fs::read_to_string(path)
                .map_err(|source| TargetError::Read { path: path.clone(), source }),
        }
    }

    /// What `inherit = "…"` in this file means.
    fn parent(&self, inherit: &str) -> Self {
        let is_path = inherit.contains('/') || inherit.ends_with(".toml");
        match self {
            Self::File(path) if is_path => Self::File(path.parent().unwrap_or(Path::new("")).join(inherit)),
            _ => Self::Shipped(inherit.to_owned()),
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shipped(name) => write!(f, "{name} (built in)"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Reads a board file and those it inherits, child first, and lays them over each other.
fn resolve(first: &Origin, read: &mut Vec<Origin>) -> Result<Target, TargetError> {
    let mut layers: Option<BoardFile> = None;
    let mut next = Some(first.clone());
    while let Some(origin) = next {
        let circle = read.contains(&origin);
        read.push(origin.clone());
        if circle || read.len() > MAX_INHERITANCE {
            let chain: Vec<String> = read.iter().map(ToString::to_string).collect();
            return Err(TargetError::Cycle { chain: chain.join(" → ") });
        }
        let file: BoardFile = toml::from_str(&origin.text()?)
            .map_err(|source| TargetError::Syntax { origin: origin.to_string(), source: Box::new(source) })?;
        next = file.inherit.as_deref().map(|inherit| origin.parent(inherit));
        layers = Some(match layers {
            Some(child) => child.over(file),
            None => file,
        });
    }
    layers.unwrap_or_default().into_target(first)
}

fn is_plain_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic() && b != b'"')
}

fn nearest(name: &str) -> Option<&'static str> {
    Target::names()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .min()
        .map(|(_, known)| known)
}

fn names_that_ship(nearest: Option<&str>) -> String {
    let names = Target::names().collect::<Vec<_>>().join(", ");
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`, of those that ship ({names})?"),
        None => format!("those that ship are {names}"),
    }
}
