//! The structures of a device tree blob. All fields are big-endian.

use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The header, 40 bytes (Devicetree Specification 0.4, 5.2). Offsets are from its start, sizes in bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// magic: 0xd00dfeed.
    pub magic: U32,
    /// totalsize: of header and blocks, with any room between and after them.
    pub total_size: U32,
    /// off_dt_struct: the structure block, a multiple of 4.
    pub structure_offset: U32,
    /// off_dt_strings: the strings block.
    pub strings_offset: U32,
    /// off_mem_rsvmap: the memory reservation block, a multiple of 8.
    pub reservations_offset: U32,
    /// version: 17.
    pub version: U32,
    /// last_comp_version: 16.
    pub last_compatible_version: U32,
    /// boot_cpuid_phys.
    pub boot_cpu: U32,
    /// size_dt_strings.
    pub strings_size: U32,
    /// size_dt_struct.
    pub structure_size: U32,
}

/// An entry of the memory reservation block, 16 bytes (5.3); one of zeros ends the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Reservation {
    /// Physical address.
    pub address: U64,
    /// Bytes.
    pub size: U64,
}

impl Reservation {
    /// Ends the block.
    pub(super) const END: Self = Self { address: U64::ZERO, size: U64::ZERO };
}

/// What follows an FDT_PROP token, 8 bytes; then the value, padded to a multiple of 4 (5.4.1).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct PropertyHeader {
    /// len: of the value, without padding.
    pub length: U32,
    /// nameoff: of the name in the strings block.
    pub name_offset: U32,
}

/// The first four bytes of every device tree, big-endian.
pub const MAGIC: u32 = 0xd00d_feed;
pub(super) const VERSION: u32 = 17;
pub(super) const LAST_COMPATIBLE_VERSION: u32 = 16;
pub(crate) const BEGIN_NODE: u32 = 1;
pub(crate) const END_NODE: u32 = 2;
pub(super) const PROP: u32 = 3;
pub(super) const NOP: u32 = 4;
pub(crate) const END: u32 = 9;

const _: () = assert!(size_of::<Header>() == 40 && size_of::<Reservation>() == 16);
const _: () = assert!(size_of::<PropertyHeader>() == 8);
