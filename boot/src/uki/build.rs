//! Assembling a UKI.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::{DeviceTreeProblem, UkiError};
use crate::fdt::Tree;
use crate::pe::{Headers, Image, PeError, SectionHeader, set_checksum};

/// What a UKI is made of.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// systemd-stub, `linuxx64.efi.stub` or `linuxaa64.efi.stub`, unsigned.
    pub stub: &'a [u8],
    /// Text of os-release.
    pub os_release: &'a str,
    /// The kernel command line, exactly.
    pub cmdline: &'a str,
    /// The kernel's release (`uname -r`).
    pub uname: &'a str,
    /// The initramfs.
    pub initrd: &'a [u8],
    /// The kernel: a PE image with EFI stub.
    pub linux: &'a [u8],
    /// The board's device trees, where the firmware's is not to be used.
    pub device_trees: DeviceTrees<'a>,
}

/// Device trees that systemd-stub hands to the kernel in place of the firmware's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceTrees<'a> {
    /// The firmware's is used.
    #[default]
    None,
    /// `.dtb`: this one, whatever the machine is.
    Always(&'a [u8]),
    /// `.dtbauto`: the first of these whose `compatible` is the firmware's, which the firmware must bring; where none is,
    /// the firmware's own.
    Matching(&'a [&'a [u8]]),
}

impl<'a> DeviceTrees<'a> {
    /// Name of the section, and each one's contents.
    fn sections(self) -> (&'static str, Vec<&'a [u8]>) {
        match self {
            Self::None => (DTB, Vec::new()),
            Self::Always(tree) => (DTB, vec![tree]),
            Self::Matching(trees) => (DTBAUTO, trees.to_vec()),
        }
    }
}

/// Makes an unsigned UKI. The same parts give the same bytes.
///
/// The sections follow the stub's in the order .osrel .cmdline .dtb .dtbauto .uname .initrd .linux. `.linux` comes last and is
/// as large in memory as the kernel's own SizeOfImage says, since newer stubs start the kernel in place.
pub fn build(parts: &Parts<'_>) -> Result<Vec<u8>, UkiError> {
    if let Some(offset) = parts.cmdline.bytes().position(|byte| byte.is_ascii_control()) {
        return Err(UkiError::ControlCharacter { offset });
    }
    let stub = check_stub(parts.stub)?;
    let kernel = Headers::parse(parts.linux).map_err(|source| UkiError::Pe { part: "kernel", source })?;
    let (stub_machine, kernel_machine) = (stub.coff.machine.get(), kernel.coff.machine.get());
    if stub_machine != kernel_machine {
        return Err(UkiError::Machine { stub: stub_machine, kernel: kernel_machine });
    }

    let mut sections = vec![
        NewSection::data(".osrel", parts.os_release.as_bytes()),
        NewSection::data(".cmdline", parts.cmdline.as_bytes()),
    ];
    let (section, trees) = parts.device_trees.sections();
    for (number, tree) in (1..).zip(trees) {
        check_device_tree(section, tree).map_err(|reason| UkiError::DeviceTree {
            section,
            number,
            reason,
        })?;
        sections.push(NewSection::data(section, tree));
    }
    sections.extend([
        NewSection::data(".uname", parts.uname.as_bytes()),
        NewSection::data(".initrd", parts.initrd),
        NewSection::kernel(parts.linux, kernel.optional.image_size.get()),
    ]);
    let mut image = assemble(&stub, &sections)?;
    set_checksum(&mut image).map_err(|source| UkiError::Pe { part: "UKI", source })?;
    Ok(image)
}

/// The version that a stub says it has: 257 of `257.13-1~deb13u1`.
pub fn stub_version(stub: &[u8]) -> Result<u32, UkiError> {
    let stub = check_stub(stub)?;
    let said = stub.sections.iter().find(|section| section.name == MAGIC_SECTION);
    let said = said.and_then(|section| stub.contents(section).strip_prefix(STUB_MAGIC)).unwrap_or_default();
    let digits = said.iter().take_while(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte));
    let reason = format!("its section {MAGIC_SECTION} names no version");
    digits.collect::<String>().parse().map_err(|_| UkiError::Stub { reason })
}

/// What a device tree in this section must be.
pub(super) fn check_device_tree(section: &str, bytes: &[u8]) -> Result<(), DeviceTreeProblem> {
    let tree = Tree::parse(bytes)?;
    if section == DTBAUTO && tree.root().texts("compatible").is_none() {
        return Err(DeviceTreeProblem::NoCompatible);
    }
    match tree.node("/chosen").and_then(|chosen| chosen.property("bootargs")) {
        Some(_) => Err(DeviceTreeProblem::Bootargs),
        None => Ok(()),
    }
}

/// A section to be added.
struct NewSection<'a> {
    name: &'static str,
    contents: &'a [u8],
    /// Least bytes in memory, where more than the contents.
    least_memory: u32,
    characteristics: u32,
}

impl<'a> NewSection<'a> {
    fn data(name: &'static str, contents: &'a [u8]) -> Self {
        Self { name, contents, least_memory: 0, characteristics: CNT_INITIALIZED_DATA | MEM_READ }
    }

    fn kernel(contents: &'a [u8], image_size: u32) -> Self {
        let characteristics = CNT_CODE | MEM_READ;
        Self { name: ".linux", contents, least_memory: image_size, characteristics }
    }
}

fn check_stub(bytes: &[u8]) -> Result<Image<'_>, UkiError> {
    let stub = Image::parse(bytes).map_err(|source| UkiError::Pe { part: "stub", source })?;
    let refuse = |reason: &str| Err(UkiError::Stub { reason: reason.to_owned() });
    if !stub.certificates.is_empty() {
        return refuse("it is signed");
    }
    if stub.sections_end != bytes.len() || stub.coff.symbols.get() != 0 {
        return refuse("it has bytes after its last section");
    }
    let magic = stub.sections.iter().find(|section| section.name == MAGIC_SECTION);
    let is_stub = magic.is_some_and(|section| stub.contents(section).starts_with(STUB_MAGIC));
    if !is_stub {
        return refuse(&format!("its section {MAGIC_SECTION} does not say «systemd-stub»"));
    }
    if let Some(own) = stub.sections.iter().find(|section| OURS.contains(&section.name.as_str())) {
        return refuse(&format!("it has a section {} already", own.name));
    }
    let alignments = [stub.optional.section_alignment.get(), stub.optional.file_alignment.get()];
    if !alignments.iter().all(|alignment| alignment.is_power_of_two()) {
        return refuse("an alignment in its header is no power of two");
    }
    Ok(stub)
}

/// The stub with `sections` after its own; CheckSum still to be written.
fn assemble(stub: &Image<'_>, sections: &[NewSection<'_>]) -> Result<Vec<u8>, UkiError> {
    let headers_end = stub.optional.headers_size.get() as usize;
    let free = headers_end.saturating_sub(stub.section_table.end);
    let room = free.checked_div(size_of::<SectionHeader>()).unwrap_or_default();
    if room < sections.len() {
        return Err(UkiError::HeaderRoom { room, wanted: sections.len() });
    }

    let in_memory = u64::from(stub.optional.section_alignment.get());
    let in_file = u64::from(stub.optional.file_alignment.get());
    let mut image = stub.bytes().to_vec();
    pad(&mut image, in_file)?;
    let mut headers = Vec::new();
    let mut address = memory_end(stub);
    let mut data_size = u64::from(stub.optional.initialized_data_size.get());
    for section in sections {
        if section.contents.is_empty() {
            return Err(UkiError::Empty { name: section.name });
        }
        address = round_up(address, in_memory)?;
        let size = (section.contents.len() as u64).max(section.least_memory.into());
        let pointer = image.len() as u64;
        image.extend_from_slice(section.contents);
        pad(&mut image, in_file)?;
        headers.push(SectionHeader {
            name: padded_name(section.name),
            virtual_size: field(size)?,
            virtual_address: field(address)?,
            raw_size: field((image.len() as u64).saturating_sub(pointer))?,
            raw_pointer: field(pointer)?,
            relocations: [U32::ZERO; 3],
            characteristics: U32::new(section.characteristics),
        });
        address = address.saturating_add(size);
        data_size = data_size.saturating_add(size);
    }

    let (mut coff, mut optional) = (stub.coff, stub.optional);
    let count = usize::from(coff.sections.get()).saturating_add(sections.len());
    coff.sections = U16::new(u16::try_from(count).map_err(|_| UkiError::TooLong { length: count as u64 })?);
    optional.image_size = field(round_up(address, in_memory)?)?;
    optional.initialized_data_size = field(data_size)?;
    optional.checksum = U32::ZERO;
    put(&mut image, stub.coff_offset, coff.as_bytes())?;
    put(&mut image, stub.optional_offset, optional.as_bytes())?;
    put(&mut image, stub.section_table.end, headers.as_bytes())?;
    Ok(image)
}

/// Where the stub's sections end in memory.
fn memory_end(stub: &Image<'_>) -> u64 {
    let ends = stub
        .sections
        .iter()
        .map(|section| u64::from(section.virtual_address).saturating_add(u64::from(section.virtual_size)));
    ends.max().unwrap_or_default()
}

fn round_up(value: u64, alignment: u64) -> Result<u64, UkiError> {
    value.checked_next_multiple_of(alignment).ok_or(UkiError::TooLong { length: value })
}

fn pad(image: &mut Vec<u8>, alignment: u64) -> Result<(), UkiError> {
    let length = round_up(image.len() as u64, alignment)?;
    image.resize(usize::try_from(length).map_err(|_| UkiError::TooLong { length })?, 0);
    Ok(())
}

fn field(value: u64) -> Result<U32, UkiError> {
    u32::try_from(value).map(U32::new).map_err(|_| UkiError::TooLong { length: value })
}

fn put(image: &mut [u8], offset: usize, bytes: &[u8]) -> Result<(), UkiError> {
    let length = image.len();
    let place = image.get_mut(offset..).and_then(|rest| rest.get_mut(..bytes.len()));
    let outside = PeError::Truncated { what: "a header", offset: offset as u64, length };
    place.ok_or(UkiError::Pe { part: "stub", source: outside })?.copy_from_slice(bytes);
    Ok(())
}

fn padded_name(name: &str) -> [u8; 8] {
    let mut padded = [0; 8];
    for (place, byte) in padded.iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    padded
}

/// Where a stub says what it is.
const MAGIC_SECTION: &str = ".sdmagic";
/// What systemd's tools look for there.
const STUB_MAGIC: &[u8] = b"#### LoaderInfo: systemd-stub ";
/// Sections that are the builder's to add.
const OURS: [&str; 7] = [".osrel", ".cmdline", DTB, DTBAUTO, ".uname", ".initrd", ".linux"];
/// A device tree for whatever machine it is.
pub(super) const DTB: &str = ".dtb";
/// One of several device trees, of which the stub picks by the machine.
pub(super) const DTBAUTO: &str = ".dtbauto";
/// IMAGE_SCN_CNT_CODE.
const CNT_CODE: u32 = 0x20;
/// IMAGE_SCN_CNT_INITIALIZED_DATA.
const CNT_INITIALIZED_DATA: u32 = 0x40;
/// IMAGE_SCN_MEM_READ.
const MEM_READ: u32 = 0x4000_0000;
