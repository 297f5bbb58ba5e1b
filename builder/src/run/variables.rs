//! EDK2's variable store, written as `virt-fw-vars --set-pk … --add-kek … --add-db … --sb` writes it.
//!
//! Layout: firmware volume header, variable store header, variables (EDK2 edk2-stable202408,
//! `MdePkg/Include/Pi/PiFirmwareVolume.h` and `MdeModulePkg/Include/Guid/VariableFormat.h`).

use uuid::{Uuid, uuid};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::VariablesError;

/// What is put into a machine's firmware: EFI signature lists, as in `.esl` files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// The platform key's certificate.
    pub pk: Vec<u8>,
    /// Who may change db.
    pub kek: Vec<u8>,
    /// Whose signature boots.
    pub db: Vec<u8>,
}

/// `EFI_FIRMWARE_VOLUME_HEADER` up to its block map.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct VolumeHeader {
    zero_vector: [u8; 16],
    file_system: [u8; 16],
    /// Bytes of the volume.
    length: U64,
    /// `_FVH`.
    signature: [u8; 4],
    attributes: U32,
    /// Bytes of this header, the block map included.
    header_length: U16,
    checksum: U16,
    ext_header_offset: U16,
    reserved: u8,
    revision: u8,
}

/// `VARIABLE_STORE_HEADER`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct StoreHeader {
    signature: [u8; 16],
    /// Bytes of the store, this header included.
    size: U32,
    /// 0x5a: formatted.
    format: u8,
    /// 0xfe: healthy.
    state: u8,
    reserved: [u8; 6],
}

/// `AUTHENTICATED_VARIABLE_HEADER`; name and data follow, padded to 4 bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct VariableHeader {
    /// 0x55aa.
    start_id: U16,
    /// 0x3f: added, not deleted.
    state: u8,
    reserved: u8,
    attributes: U32,
    monotonic_count: U64,
    /// `EFI_TIME` of the last authenticated write.
    time: [u8; 16],
    public_key_index: U32,
    /// Bytes of the UTF-16 name, its ending zero included.
    name_size: U32,
    data_size: U32,
    vendor: [u8; 16],
}

const SYSTEM_NV_DATA: Uuid = uuid!("fff12b8d-7696-4c8b-a985-2747075b4f50");
const AUTHENTICATED_VARIABLES: Uuid = uuid!("aaf32c78-947b-439a-a180-2e144ec37792");
const GLOBAL_VARIABLE: Uuid = uuid!("8be4df61-93ca-11d2-aa0d-00e098032b8c");
const IMAGE_SECURITY_DATABASE: Uuid = uuid!("d719b2cb-3d3a-4596-a3bc-dad00e67656f");
const SECURE_BOOT_ENABLE: Uuid = uuid!("f0a30bc7-af08-4556-99c4-001009c93a44");
const CUSTOM_MODE: Uuid = uuid!("c076ec0c-7028-4399-a072-71ee5c448b9f");
const CERT_SHA256: Uuid = uuid!("c1c41626-504c-4092-aca9-41f936934328");
const OVMF_ENROL_DEFAULT_KEYS: Uuid = uuid!("a0baa8a3-041d-48a8-bc87-c36d121b5e3d");

const ERASED: u8 = 0xff;
/// Non-volatile, boot services.
const BOOT_ONLY: u32 = 0x03;
/// Non-volatile, boot services, runtime, time-based authenticated writes.
const AUTHENTICATED: u32 = 0x27;
/// 2010-01-01 00:00:00 UTC as `EFI_TIME`: before any update that an owner could sign.
const ENROLLED_AT: [u8; 16] = [0xda, 0x07, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const NEVER: [u8; 16] = [0; 16];

/// Bytes of the flash that QEMU's arm64 machine keeps variables in.
pub(super) const FLASH_BYTES: u64 = 64 << 20;
/// Bytes of one of its blocks, and of each of the three parts of EDK2's volume: variables, working block, spare block
/// (`ArmVirtPkg/ArmVirtQemu.dsc`, `PcdFlashNvStorage…Size`).
const BLOCK_BYTES: u32 = 256 << 10;
const PARTS: u32 = 3;
/// `EFI_FVB2_…`: readable and writable, both enabled, sticky, memory-mapped, erased to ones.
const VOLUME_ATTRIBUTES: u32 = 0x0e36;

/// An empty store as AAVMF makes it where it finds none: the beginning of the flash, the rest of which is zeros.
#[must_use]
pub fn blank() -> Vec<u8> {
    let blocks = u32::try_from(FLASH_BYTES).unwrap_or(u32::MAX) / BLOCK_BYTES;
    let block_map = [blocks, BLOCK_BYTES, 0, 0].map(U32::new);
    let header_length = size_of::<VolumeHeader>() + size_of_val(&block_map);
    let mut volume = VolumeHeader {
        zero_vector: [0; 16],
        file_system: SYSTEM_NV_DATA.to_bytes_le(),
        length: U64::from(u64::from(PARTS * BLOCK_BYTES)),
        signature: *b"_FVH",
        attributes: VOLUME_ATTRIBUTES.into(),
        header_length: U16::new(header_length as u16),
        checksum: 0.into(),
        ext_header_offset: 0.into(),
        reserved: 0,
        revision: 2,
    };
    // The header's 16-bit words add up to zero.
    let words = [volume.as_bytes(), block_map.as_bytes()].concat();
    let sum = words
        .chunks_exact(2)
        .fold(0u16, |sum, word| sum.wrapping_add(u16::from_le_bytes([word[0], word[1]])));
    volume.checksum = sum.wrapping_neg().into();
    let store = StoreHeader {
        signature: AUTHENTICATED_VARIABLES.to_bytes_le(),
        size: U32::new(BLOCK_BYTES - header_length as u32),
        format: 0x5a,
        state: 0xfe,
        reserved: [0; 6],
    };
    let mut bytes = [volume.as_bytes(), block_map.as_bytes(), store.as_bytes()].concat();
    bytes.resize((PARTS * BLOCK_BYTES) as usize, ERASED);
    bytes
}

/// A copy of `template` (an empty store: OVMF's `OVMF_VARS_4M.fd`, or [`blank`]) in which PK, KEK and db are enrolled and Secure Boot is
/// on.
///
/// # Errors
/// A template that is no empty EDK2 store, or lists that do not fit it.
pub fn enrol(template: &[u8], enrolment: &Enrolment) -> Result<Vec<u8>, VariablesError> {
    let room = room(template)?;
    // Sorted by name, as the oracle does.
    let variables = [
        variable("CustomMode", CUSTOM_MODE, BOOT_ONLY, NEVER, &[0]),
        variable("KEK", GLOBAL_VARIABLE, AUTHENTICATED, ENROLLED_AT, &enrolment.kek),
        variable("PK", GLOBAL_VARIABLE, AUTHENTICATED, ENROLLED_AT, &enrolment.pk),
        variable("SecureBootEnable", SECURE_BOOT_ENABLE, BOOT_ONLY, NEVER, &[1]),
        variable("db", IMAGE_SECURITY_DATABASE, AUTHENTICATED, ENROLLED_AT, &enrolment.db),
        variable("dbx", IMAGE_SECURITY_DATABASE, AUTHENTICATED, ENROLLED_AT, &nothing_forbidden()),
    ]
    .concat();
    let mut store = template.to_vec();
    let place = store.get_mut(room).unwrap_or_default();
    let available = place.len();
    match place.get_mut(..variables.len()) {
        Some(place) => place.copy_from_slice(&variables),
        None => return Err(VariablesError::Full { needed: variables.len(), available }),
    }
    Ok(store)
}

/// Where the variables of a store go, as a range of its bytes.
fn room(store: &[u8]) -> Result<std::ops::Range<usize>, VariablesError> {
    let short = || VariablesError::Short(store.len());
    let (volume, _) = VolumeHeader::read_from_prefix(store).map_err(|_| short())?;
    let field = |field, expected: String, found: String| {
        if expected == found { Ok(()) } else { Err(VariablesError::Field { field, expected, found }) }
    };
    field("volume signature", "_FVH".into(), String::from_utf8_lossy(&volume.signature).into())?;
    let guid = |bytes| Uuid::from_bytes_le(bytes).to_string();
    field("volume type", SYSTEM_NV_DATA.to_string(), guid(volume.file_system))?;
    let start = usize::from(volume.header_length.get());
    let (header, _) =
        store.get(start..).and_then(|rest| StoreHeader::read_from_prefix(rest).ok()).ok_or_else(short)?;
    field("store type", AUTHENTICATED_VARIABLES.to_string(), guid(header.signature))?;
    field("store format and state", "5afe".into(), format!("{:02x}{:02x}", header.format, header.state))?;
    let first = start.saturating_add(size_of::<StoreHeader>());
    let end = start.saturating_add(header.size.get() as usize);
    match store.get(first..end) {
        None => Err(short()),
        Some(room) if room.iter().any(|byte| *byte != ERASED) => Err(VariablesError::NotEmpty),
        Some(_) => Ok(first..end),
    }
}

fn variable(name: &str, vendor: Uuid, attributes: u32, time: [u8; 16], data: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let header = VariableHeader {
        start_id: 0x55aa.into(),
        state: 0x3f,
        reserved: 0,
        attributes: attributes.into(),
        monotonic_count: 0.into(),
        time,
        public_key_index: 0.into(),
        name_size: size(&name),
        data_size: size(data),
        vendor: vendor.to_bytes_le(),
    };
    let mut bytes = [header.as_bytes(), &name, data].concat();
    bytes.resize(bytes.len().next_multiple_of(4), ERASED);
    bytes
}

/// What is too long for 32 bits does not fit any store, and is refused there.
fn size(bytes: &[u8]) -> U32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).into()
}

/// A dbx that forbids the hash of nothing: OVMF wants one to be there.
fn nothing_forbidden() -> Vec<u8> {
    use sha2::Digest as _;
    let entry = [OVMF_ENROL_DEFAULT_KEYS.to_bytes_le().as_slice(), &sha2::Sha256::digest([])].concat();
    let list_size = U32::from(28 + 48);
    let sizes = [list_size, U32::from(0), U32::from(48)];
    [CERT_SHA256.to_bytes_le().as_slice(), sizes.as_bytes(), &entry].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enrolment() -> Enrolment {
        Enrolment { pk: vec![1; 30], kek: vec![2; 31], db: vec![3; 32] }
    }

    #[test]
    fn a_blank_store_is_headed_as_the_firmware_heads_its_own() {
        // Made by AAVMF itself and then filled by the package's maintainers.
        let theirs =
            std::fs::read("/usr/share/AAVMF/AAVMF_VARS.ms.fd").expect("the qemu-efi-aarch64 package");
        let headers = size_of::<VolumeHeader>() + 16 + size_of::<StoreHeader>();
        assert_eq!(theirs.len() as u64, FLASH_BYTES);
        assert_eq!(blank()[..headers], theirs[..headers]);
        assert!(enrol(&blank(), &enrolment()).is_ok());
    }

    #[test]
    fn what_is_no_empty_store_is_refused() {
        assert!(matches!(enrol(&[0; 40], &enrolment()), Err(VariablesError::Short(40))));
        assert!(matches!(enrol(&[0; 4096], &enrolment()), Err(VariablesError::Field { .. })));
        let template = std::fs::read("/usr/share/OVMF/OVMF_VARS_4M.fd").expect("the ovmf package");
        let once = enrol(&template, &enrolment()).unwrap();
        assert_eq!(once.len(), template.len());
        assert!(matches!(enrol(&once, &enrolment()), Err(VariablesError::NotEmpty)));
        let huge = Enrolment { db: vec![0; 300_000], ..enrolment() };
        assert!(matches!(enrol(&template, &huge), Err(VariablesError::Full { .. })));
        for len in (0..200).chain([template.len() / 4]) {
            assert!(enrol(&template[..len], &enrolment()).is_err(), "{len}");
        }
    }
}
