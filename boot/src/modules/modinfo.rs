//! What a module says of itself: the `.modinfo` section, and the symbols it exports.

use object::read::elf::ElfFile;
use object::{Object, ObjectSection, ObjectSymbol};

use crate::compression::{DecompressError, decompress};

/// Most bytes a module may have once decompressed. The largest of Debian's has about 20 MiB.
const MODULE_LIMIT: u64 = 256 << 20;

/// A module's own description: `key=value` records in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModInfo {
    records: Vec<(String, String)>,
    exports: Vec<String>,
}

/// Why a module cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ModInfoError {
    /// It does not decompress.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// It is no ELF.
    #[error("no ELF object: {0}")]
    Elf(String),
    /// It has no such section.
    #[error("an ELF object without a .modinfo section: no kernel module")]
    NoModInfo,
}

impl ModInfo {
    /// Reads a module as found, compressed or not.
    pub fn read(file: &[u8]) -> Result<Self, ModInfoError> {
        Self::parse(&decompress(file, MODULE_LIMIT)?)
    }

    /// Reads a decompressed module.
    pub fn parse(elf: &[u8]) -> Result<Self, ModInfoError> {
        // Class 1 is ELF32, 2 is ELF64 (ELF specification, e_ident[EI_CLASS]).
        match elf.get(4) {
            Some(1) => parse_elf::<object::elf::FileHeader32<object::Endianness>>(elf),
            _ => parse_elf::<object::elf::FileHeader64<object::Endianness>>(elf),
        }
    }

    /// All values of a key, in order.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.records.iter().filter(move |(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// `name=`: the module's name.
    pub fn name(&self) -> Option<&str> {
        self.values("name").next()
    }

    /// `depends=`: modules whose symbols this one uses.
    pub fn depends(&self) -> impl Iterator<Item = &str> {
        self.values("depends").flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty())
    }

    /// `softdep=`: modules to load before (`pre:`) this one if they are there.
    pub fn soft_before(&self) -> Vec<&str> {
        self.soft("pre:")
    }

    /// `softdep=`: modules to load after (`post:`) this one if they are there.
    pub fn soft_after(&self) -> Vec<&str> {
        self.soft("post:")
    }

    fn soft(&self, wanted: &str) -> Vec<&str> {
        let mut found = Vec::new();
        for line in self.values("softdep") {
            let mut inside = false;
            for word in line.split_whitespace() {
                if word.ends_with(':') {
                    inside = word == wanted;
                } else if inside {
                    found.push(word);
                }
            }
        }
        found
    }

    /// `firmware=`: files below `/lib/firmware` it may ask for.
    pub fn firmware(&self) -> impl Iterator<Item = &str> {
        self.values("firmware")
    }

    /// `alias=`: device patterns and other names it answers to.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.values("alias")
    }

    /// Symbols it exports to other modules, in the order of its symbol table.
    pub fn exports(&self) -> &[String] {
        &self.exports
    }
}

fn parse_elf<Elf>(bytes: &[u8]) -> Result<ModInfo, ModInfoError>
where
    Elf: object::read::elf::FileHeader<Endian = object::Endianness>,
{
    let error = |e: object::Error| ModInfoError::Elf(e.to_string());
    let elf = ElfFile::<Elf>::parse(bytes).map_err(error)?;
    let section = elf.section_by_name(".modinfo").ok_or(ModInfoError::NoModInfo)?;
    let records = section
        .data()
        .map_err(error)?
        .split(|&b| b == 0)
        .filter_map(|record| {
            let text = String::from_utf8_lossy(record);
            text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))
        })
        .collect();
    Ok(ModInfo { records, exports: exports(&elf) })
}

/// Names in `__ksymtab_strings`, where the kernel keeps what a module exports; modules before that section kept them
/// as symbols `__ksymtab_NAME`.
fn exports<'data, Elf>(elf: &ElfFile<'data, Elf>) -> Vec<String>
where
    Elf: object::read::elf::FileHeader<Endian = object::Endianness>,
{
    if let Some(data) = elf.section_by_name("__ksymtab_strings").and_then(|section| section.data().ok()) {
        let names = data.split(|&b| b == 0).filter(|name| !name.is_empty());
        return names.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    }
    let names =
        elf.symbols().filter_map(|symbol| symbol.name().ok()?.strip_prefix("__ksymtab_").map(str::to_owned));
    names.collect()
}
