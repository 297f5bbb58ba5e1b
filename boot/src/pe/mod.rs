//! PE32+ images, as far as signing and assembling boot artefacts needs them.
//!
//! Microsoft's PE format, «PE Format», sections «COFF File Header» to «Section Table». Every offset is checked once, here;
//! afterwards the ranges of [`Image`] lie in the file, in order, without overlap or gap.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod checksum;
mod layout;

pub use checksum::{checksum, set_checksum};
pub use layout::{
    CHECKSUM_IN_OPTIONAL, CoffHeader, DataDirectory, MACHINE_AMD64, MACHINE_ARM64, OptionalHeader,
    SectionHeader,
};

use std::ops::Range;

use thiserror::Error;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

/// Most sections that are taken; Windows' loader has the same bound.
pub const MOST_SECTIONS: usize = 96;

/// A PE32+ image whose layout has been checked.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    bytes: &'a [u8],
    /// Offset of the COFF file header, just after the signature «PE\0\0».
    pub coff_offset: usize,
    /// Offset of the optional header.
    pub optional_offset: usize,
    /// Offset of the first data directory.
    pub directories_offset: usize,
    /// The COFF file header.
    pub coff: CoffHeader,
    /// The optional header.
    pub optional: OptionalHeader,
    /// Where the section table lies.
    pub section_table: Range<usize>,
    /// The sections, in the order of the table.
    pub sections: Vec<Section>,
    /// Where sections' data ends: the end of the last, or of the headers.
    pub sections_end: usize,
    /// The certificate table, empty at the end of the file if there is none.
    pub certificates: Range<usize>,
}

/// A section of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name, up to 8 bytes, as text.
    pub name: String,
    /// Its raw data in the file.
    pub raw: Range<usize>,
    /// Where it is loaded, relative to the image's base.
    pub virtual_address: u32,
    /// Bytes in memory; raw data beyond is padding, what is missing is zero.
    pub virtual_size: u32,
}

/// Why bytes are not a PE image that can be signed or proved.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeError {
    /// The file ends too early.
    #[error("PE image: {what} at byte {offset} lies outside the file of {length} bytes")]
    Truncated {
        /// What was to be read.
        what: &'static str,
        /// Where.
        offset: u64,
        /// Length of the file.
        length: usize,
    },
    /// A field holds what it must not.
    #[error("PE image: {field} is {found}, expected {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it holds.
        found: u64,
        /// What it should.
        expected: &'static str,
    },
    /// Bytes of the file belong to no section or to two, so that the digest would not say what is loaded.
    #[error(
        "PE image: section «{section}» starts at byte {found}, expected {expected}: a gap or overlap that no signature covers"
    )]
    Layout {
        /// The section.
        section: String,
        /// Where its data starts.
        found: usize,
        /// Where the data before it ends.
        expected: usize,
    },
    /// A section's name is not ASCII text.
    #[error("PE image: section {number} has a name that is no ASCII text")]
    Name {
        /// Counted from 0.
        number: usize,
    },
}

/// The headers of an image; nothing beyond them is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Headers {
    /// Offset of the COFF file header, just after the signature «PE\0\0».
    pub coff_offset: usize,
    /// Offset of the optional header.
    pub optional_offset: usize,
    /// The COFF file header.
    pub coff: CoffHeader,
    /// The optional header.
    pub optional: OptionalHeader,
}

impl Headers {
    /// Reads the headers of a PE32+ image.
    pub fn parse(bytes: &[u8]) -> Result<Self, PeError> {
        let magic = bytes.get(..2).unwrap_or_default();
        if magic != b"MZ" {
            let found = magic.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte));
            return Err(PeError::Field { field: "the DOS signature", found, expected: "0x5a4d, «MZ»" });
        }
        let pe_offset = read::<U32>(bytes, PE_POINTER, "the pointer to the PE header")?.get() as usize;
        let signature = read::<U32>(bytes, pe_offset, "the PE signature")?.get();
        if signature != PE_SIGNATURE {
            let found = signature.into();
            return Err(PeError::Field {
                field: "the PE signature", found, expected: "0x4550, «PE\\0\\0»"
            });
        }
        let coff_offset = add(pe_offset, size_of::<U32>())?;
        let coff = read::<CoffHeader>(bytes, coff_offset, "the COFF header")?;
        let optional_offset = add(coff_offset, size_of::<CoffHeader>())?;
        let optional = read::<OptionalHeader>(bytes, optional_offset, "the optional header")?;
        if optional.magic.get() != PE32_PLUS {
            let found = optional.magic.get().into();
            return Err(PeError::Field {
                field: "the optional header's magic",
                found,
                expected: "0x20b, PE32+",
            });
        }
        Ok(Self { coff_offset, optional_offset, coff, optional })
    }
}

impl<'a> Image<'a> {
    /// Reads and checks the headers and the section table of an image.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PeError> {
        let Headers { coff_offset, optional_offset, coff, optional } = Headers::parse(bytes)?;
        let directories_offset = add(optional_offset, size_of::<OptionalHeader>())?;
        let table_offset = add(optional_offset, coff.optional_header_size.get().into())?;
        let directories = optional.directories.get() as usize;
        let directories_end = add(directories_offset, mul(directories, size_of::<DataDirectory>())?)?;
        if directories <= CERTIFICATE_DIRECTORY || directories_end > table_offset {
            return Err(PeError::Field {
                field: "NumberOfRvaAndSizes",
                found: directories as u64,
                expected: "at least 5, and room for them in the optional header",
            });
        }

        let count = usize::from(coff.sections.get());
        if count > MOST_SECTIONS {
            let found = count as u64;
            return Err(PeError::Field { field: "NumberOfSections", found, expected: "at most 96" });
        }
        let section_table = table_offset..add(table_offset, mul(count, size_of::<SectionHeader>())?)?;
        let headers_end = optional.headers_size.get() as usize;
        if headers_end > bytes.len() || section_table.end > headers_end {
            return Err(PeError::Field {
                field: "SizeOfHeaders",
                found: headers_end as u64,
                expected: "the section table's end or more, inside the file",
            });
        }
        let sections = read_sections(bytes, section_table.start, count)?;
        let sections_end = refuse_gaps(&sections, headers_end)?;
        let certificates = certificate_table(bytes, directories_offset, sections_end)?;
        Ok(Self {
            bytes,
            coff_offset,
            optional_offset,
            directories_offset,
            coff,
            optional,
            section_table,
            sections,
            sections_end,
            certificates,
        })
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Offset of the optional header's CheckSum.
    pub fn checksum_offset(&self) -> usize {
        self.optional_offset.saturating_add(CHECKSUM_IN_OPTIONAL)
    }

    /// Offset of the data directory that points to the certificate table.
    pub fn certificate_directory_offset(&self) -> usize {
        self.directories_offset
            .saturating_add(CERTIFICATE_DIRECTORY.saturating_mul(size_of::<DataDirectory>()))
    }

    /// The raw data of a section, cut to its size in memory.
    pub fn contents(&self, section: &Section) -> &'a [u8] {
        let raw = self.bytes.get(section.raw.clone()).unwrap_or_default();
        raw.get(..section.virtual_size as usize).unwrap_or(raw)
    }
}

fn read_sections(bytes: &[u8], table: usize, count: usize) -> Result<Vec<Section>, PeError> {
    let mut sections = Vec::with_capacity(count);
    for number in 0..count {
        let offset = add(table, mul(number, size_of::<SectionHeader>())?)?;
        let header = read::<SectionHeader>(bytes, offset, "a section header")?;
        let name = header.name.split(|byte| *byte == 0).next().unwrap_or_default();
        if !name.iter().all(u8::is_ascii_graphic) {
            return Err(PeError::Name { number });
        }
        let start = header.raw_pointer.get() as usize;
        let raw = match header.raw_size.get() as usize {
            0 => 0..0,
            size => start..add(start, size)?,
        };
        if raw.end > bytes.len() {
            let (offset, length) = (raw.start as u64, bytes.len());
            return Err(PeError::Truncated { what: "a section's data", offset, length });
        }
        sections.push(Section {
            name: String::from_utf8_lossy(name).into_owned(),
            raw,
            virtual_address: header.virtual_address.get(),
            virtual_size: header.virtual_size.get(),
        });
    }
    Ok(sections)
}

/// Sections' data must follow the headers and each other without a gap. Returns where it ends.
fn refuse_gaps(sections: &[Section], headers_end: usize) -> Result<usize, PeError> {
    let mut in_file: Vec<_> = sections.iter().filter(|section| !section.raw.is_empty()).collect();
    in_file.sort_by_key(|section| section.raw.start);
    let mut end = headers_end;
    for section in in_file {
        if section.raw.start != end {
            let (section, found) = (section.name.clone(), section.raw.start);
            return Err(PeError::Layout { section, found, expected: end });
        }
        end = section.raw.end;
    }
    Ok(end)
}

/// The certificate table must be the file's end.
fn certificate_table(
    bytes: &[u8],
    directories_offset: usize,
    sections_end: usize,
) -> Result<Range<usize>, PeError> {
    let offset = add(directories_offset, mul(CERTIFICATE_DIRECTORY, size_of::<DataDirectory>())?)?;
    let directory = read::<DataDirectory>(bytes, offset, "the certificate table's directory entry")?;
    let (start, size) = (directory.address.get() as usize, directory.size.get() as usize);
    if size == 0 {
        return Ok(bytes.len()..bytes.len());
    }
    if start < sections_end || start.checked_rem(8) != Some(0) {
        return Err(PeError::Field {
            field: "the certificate table's offset",
            found: start as u64,
            expected: "a multiple of 8 after the last section",
        });
    }
    if add(start, size)? != bytes.len() {
        return Err(PeError::Field {
            field: "the certificate table's size",
            found: size as u64,
            expected: "one that ends with the file",
        });
    }
    Ok(start..bytes.len())
}

/// A structure at `offset`.
fn read<T: FromBytes>(bytes: &[u8], offset: usize, what: &'static str) -> Result<T, PeError> {
    let rest = bytes.get(offset..).unwrap_or_default();
    let (value, _) = T::read_from_prefix(rest).map_err(|_| PeError::Truncated {
        what,
        offset: offset as u64,
        length: bytes.len(),
    })?;
    Ok(value)
}

fn add(a: usize, b: usize) -> Result<usize, PeError> {
    a.checked_add(b).ok_or(PeError::Field { field: "an offset", found: a as u64, expected: "less than 2^64" })
}

fn mul(a: usize, b: usize) -> Result<usize, PeError> {
    a.checked_mul(b).ok_or(PeError::Field { field: "a count", found: a as u64, expected: "less than 2^64" })
}

/// Offset of the DOS header's e_lfanew.
const PE_POINTER: usize = 0x3c;
const PE_SIGNATURE: u32 = 0x4550;
/// IMAGE_NT_OPTIONAL_HDR64_MAGIC.
const PE32_PLUS: u16 = 0x20b;
/// Index of IMAGE_DIRECTORY_ENTRY_SECURITY.
const CERTIFICATE_DIRECTORY: usize = 4;
