//! What the cache must know of a library: for which processor it is, and its `DT_SONAME`.

use std::io;

use graven_image::tree::Content;
use object::elf::{
    DT_SONAME, DT_STRTAB, EM_386, EM_AARCH64, EM_ARM, EM_RISCV, EM_X86_64, ET_DYN, FileHeader32, FileHeader64,
};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, elf};

/// Larger than any library.
const LARGEST: u64 = 1 << 30;
/// `FLAG_ELF_LIBC6` of glibc's `ldconfig.h`.
const LIBC6: u32 = 0x0003;

/// A shared library.
pub(crate) struct Library {
    /// What it calls itself.
    pub(crate) soname: Option<String>,
    /// Kind and processor, as the cache has them.
    pub(crate) flags: u32,
}

/// Reads a library; nothing where the file is none, or one for a processor that the cache has no word for.
pub(crate) fn read(content: &Content) -> io::Result<Option<Library>> {
    let mut head = [0u8; 5];
    if content.len < 64 || content.len > LARGEST {
        return Ok(None);
    }
    content.read_exact_at(&mut head, 0)?;
    if !head.starts_with(&elf::ELFMAG) {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(content.len).unwrap_or(0)];
    content.read_exact_at(&mut bytes, 0)?;
    Ok(match elf::FileClass(head[4]) {
        elf::ELFCLASS64 => library::<FileHeader64<Endianness>>(&bytes),
        _ => library::<FileHeader32<Endianness>>(&bytes),
    })
}

fn library<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Option<Library> {
    let header = Elf::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    if header.e_type(endian) != ET_DYN {
        return None;
    }
    // The values of glibc's `ldconfig.h`, version 2.41.
    let processor = match (header.e_machine(endian), header.is_type_64()) {
        (EM_X86_64, true) => 0x0300,
        (EM_X86_64, false) => 0x0800,
        (EM_AARCH64, true) => 0x0a00,
        (EM_ARM, false) => 0x0900,
        (EM_RISCV, true) => 0x1000,
        (EM_386, false) => 0,
        _ => return None,
    };
    let segments = header.program_headers(endian, bytes).ok()?;
    let dynamic = segments.iter().find_map(|segment| segment.dynamic(endian, bytes).ok()?)?;
    let value = |tag: elf::DynamicTag| {
        let entry = dynamic.iter().find(|entry| entry.tag(endian) == tag)?;
        Some(entry.d_val(endian).into())
    };
    let soname = value(DT_SONAME).zip(value(DT_STRTAB)).and_then(|(offset, strings)| {
        let address = strings.checked_add(offset)?;
        let segment = segments.iter().find_map(|segment| {
            let start: u64 = segment.p_vaddr(endian).into();
            let within = address.checked_sub(start)?;
            let file: u64 = segment.p_filesz(endian).into();
            let at: u64 = segment.p_offset(endian).into();
            (segment.p_type(endian) == elf::PT_LOAD && within < file).then(|| at.checked_add(within))?
        })?;
        let rest = bytes.get(usize::try_from(segment).ok()?..)?;
        let name = rest.split(|byte| *byte == 0).next()?;
        String::from_utf8(name.to_vec()).ok()
    });
    Some(Library { soname, flags: LIBC6 | processor })
}
