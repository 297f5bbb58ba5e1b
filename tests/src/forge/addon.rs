//! UKI addons: a PE image without code whose `.cmdline` systemd-stub puts behind the UKI's own.

use graven_boot::authenticode;
use graven_boot::pe::Image;
use graven_boot::sign::Signer;

use super::signed;
use crate::inputs;

/// A signed addon that adds these words to the line.
pub fn addon(line: &str, signer: &dyn Signer) -> Vec<u8> {
    let stub = inputs::member(&inputs::stub(), "./usr/lib/systemd/boot/efi/addonx64.efi.stub");
    signed(authenticode::sign(&with_section(&stub, b".cmdline", line.as_bytes()), signer))
}

/// A PE image with one more section at its end («PE Format», section table).
fn with_section(pe: &[u8], name: &[u8; 8], contents: &[u8]) -> Vec<u8> {
    let image = Image::parse(pe).expect("the stub is a PE image");
    let alignment = image.optional.section_alignment.get();
    let ends = image.sections.iter().map(|section| section.virtual_address + section.virtual_size);
    let address = ends.max().unwrap_or(0).next_multiple_of(alignment);
    let file_alignment = image.optional.file_alignment.get() as usize;

    let mut bytes = pe.to_vec();
    bytes.resize(bytes.len().next_multiple_of(file_alignment), 0);
    let pointer = bytes.len();
    bytes.extend_from_slice(contents);
    bytes.resize(bytes.len().next_multiple_of(file_alignment), 0);

    let length = u32::try_from(contents.len()).expect("a line is short");
    let raw_size = u32::try_from(bytes.len() - pointer).expect("a line is short");
    let pointer = u32::try_from(pointer).expect("the stub is small");
    let mut header = name.to_vec();
    for field in [length, address, raw_size, pointer, 0, 0, 0, INITIALIZED_DATA | READ] {
        header.extend_from_slice(&field.to_le_bytes());
    }
    let place = image.section_table.end;
    assert!(place + header.len() <= image.optional.headers_size.get() as usize, "the headers have room");
    bytes[place..place + header.len()].copy_from_slice(&header);

    let count = image.coff.sections.get() + 1;
    bytes[image.coff_offset + NUMBER_OF_SECTIONS..][..2].copy_from_slice(&count.to_le_bytes());
    let size = (address + length).next_multiple_of(alignment);
    bytes[image.optional_offset + SIZE_OF_IMAGE..][..4].copy_from_slice(&size.to_le_bytes());
    bytes
}

/// Offset in the COFF header.
const NUMBER_OF_SECTIONS: usize = 2;
/// Offset in the optional header.
const SIZE_OF_IMAGE: usize = 56;
/// IMAGE_SCN_CNT_INITIALIZED_DATA.
const INITIALIZED_DATA: u32 = 0x40;
/// IMAGE_SCN_MEM_READ.
const READ: u32 = 0x4000_0000;
