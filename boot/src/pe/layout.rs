//! The structures of a PE32+ image. Offsets are from the structure's start, sizes in bytes.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// IMAGE_FILE_HEADER, 20 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CoffHeader {
    /// Machine: [`MACHINE_AMD64`], [`MACHINE_ARM64`].
    pub machine: U16,
    /// NumberOfSections.
    pub sections: U16,
    /// TimeDateStamp, kept as the linker wrote it.
    pub timestamp: U32,
    /// PointerToSymbolTable; 0 in images.
    pub symbols: U32,
    /// NumberOfSymbols; 0 in images.
    pub symbol_count: U32,
    /// SizeOfOptionalHeader: the section table follows the optional header.
    pub optional_header_size: U16,
    /// Characteristics.
    pub characteristics: U16,
}

/// IMAGE_OPTIONAL_HEADER64 without its data directories, 112 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct OptionalHeader {
    /// Magic: 0x20b.
    pub magic: U16,
    /// MajorLinkerVersion, MinorLinkerVersion.
    pub linker: [u8; 2],
    /// SizeOfCode.
    pub code_size: U32,
    /// SizeOfInitializedData.
    pub initialized_data_size: U32,
    /// SizeOfUninitializedData.
    pub uninitialized_data_size: U32,
    /// AddressOfEntryPoint.
    pub entry_point: U32,
    /// BaseOfCode.
    pub code_base: U32,
    /// ImageBase.
    pub image_base: U64,
    /// SectionAlignment: in memory.
    pub section_alignment: U32,
    /// FileAlignment.
    pub file_alignment: U32,
    /// Major and minor operating system, image and subsystem version.
    pub versions: [U16; 6],
    /// Win32VersionValue.
    pub win32_version: U32,
    /// SizeOfImage: in memory, a multiple of SectionAlignment.
    pub image_size: U32,
    /// SizeOfHeaders: where the first section's data starts in the file.
    pub headers_size: U32,
    /// CheckSum, at offset [`CHECKSUM_IN_OPTIONAL`].
    pub checksum: U32,
    /// Subsystem: 10 is an EFI application.
    pub subsystem: U16,
    /// DllCharacteristics.
    pub dll_characteristics: U16,
    /// Stack and heap, reserve and commit.
    pub memory: [U64; 4],
    /// LoaderFlags.
    pub loader_flags: U32,
    /// NumberOfRvaAndSizes: how many data directories follow.
    pub directories: U32,
}

/// IMAGE_DATA_DIRECTORY, 8 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DataDirectory {
    /// VirtualAddress; in the certificate table's entry an offset in the file.
    pub address: U32,
    /// Size.
    pub size: U32,
}

/// IMAGE_SECTION_HEADER, 40 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SectionHeader {
    /// Name, padded with zeros.
    pub name: [u8; 8],
    /// VirtualSize.
    pub virtual_size: U32,
    /// VirtualAddress, relative to ImageBase.
    pub virtual_address: U32,
    /// SizeOfRawData, a multiple of FileAlignment.
    pub raw_size: U32,
    /// PointerToRawData.
    pub raw_pointer: U32,
    /// Relocations and line numbers; 0 in images.
    pub relocations: [U32; 3],
    /// Characteristics.
    pub characteristics: U32,
}

/// Offset of CheckSum in [`OptionalHeader`].
pub const CHECKSUM_IN_OPTIONAL: usize = 64;
/// IMAGE_FILE_MACHINE_AMD64.
pub const MACHINE_AMD64: u16 = 0x8664;
/// IMAGE_FILE_MACHINE_ARM64.
pub const MACHINE_ARM64: u16 = 0xaa64;

const _: () = assert!(size_of::<CoffHeader>() == 20 && size_of::<OptionalHeader>() == 112);
const _: () = assert!(size_of::<SectionHeader>() == 40);
const _: () = assert!(std::mem::offset_of!(OptionalHeader, checksum) == CHECKSUM_IN_OPTIONAL);
