//! `.auth` files: time-based authenticated updates for `SetVariable`.

use std::fmt;
use std::time::Duration;

use uuid::{Uuid, uuid};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::EnrolError;
use crate::pkcs7::{self, Message};
use crate::sign::{Answer, Purpose, Signer};

/// A variable that enrolment writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// Platform key: signed by itself.
    Pk,
    /// Key exchange keys: signed by PK.
    Kek,
    /// Who may sign boot code: signed by KEK (or PK).
    Db,
    /// Who and what may not boot: signed by KEK (or PK).
    Dbx,
}

impl Variable {
    /// The variable's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pk => "PK",
            Self::Kek => "KEK",
            Self::Db => "db",
            Self::Dbx => "dbx",
        }
    }

    /// The namespace that the name is in.
    pub fn vendor(self) -> Uuid {
        match self {
            Self::Pk | Self::Kek => GLOBAL_VARIABLE,
            Self::Db | Self::Dbx => IMAGE_SECURITY_DATABASE,
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an update does to what the variable holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Write {
    /// Takes its place; with a later time than the last one's alone.
    #[default]
    Replace,
    /// Adds to it, whatever its time.
    Append,
}

impl Write {
    /// Non-volatile, boot service access, runtime access, time-based authenticated; append where it is one.
    fn attributes(self) -> u32 {
        match self {
            Self::Replace => 0x27,
            Self::Append => 0x67,
        }
    }
}

/// `EFI_TIME` with pad, nanosecond, time zone and daylight 0, as authenticated variables ask; 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct EfiTime {
    year: U16,
    /// 1 to 12.
    month: u8,
    /// 1 to 31.
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    zero: [u8; 9],
}

impl EfiTime {
    /// From Unix time in seconds (UTC). Firmware takes an update only if its time is later than the variable's last.
    pub fn from_unix(unix: u64) -> Result<Self, EnrolError> {
        let date = der::DateTime::from_unix_duration(Duration::from_secs(unix))
            .map_err(|_| EnrolError::Time { unix })?;
        Ok(Self {
            year: U16::new(date.year()),
            month: date.month(),
            day: date.day(),
            hour: date.hour(),
            minute: date.minutes(),
            second: date.seconds(),
            zero: [0; 9],
        })
    }
}

/// Head of `EFI_VARIABLE_AUTHENTICATION_2`; 40 bytes, little-endian. The SignedData follows, then the variable's data.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct AuthenticationHeader {
    /// TimeStamp.
    time: EfiTime,
    /// WIN_CERTIFICATE.dwLength: bytes from here to the end of the SignedData.
    length: U32,
    /// WIN_CERTIFICATE.wRevision: 0x0200.
    revision: U16,
    /// WIN_CERTIFICATE.wCertificateType: 0x0EF1, WIN_CERT_TYPE_EFI_GUID.
    certificate_type: U16,
    /// WIN_CERTIFICATE_UEFI_GUID.CertType: PKCS#7.
    kind: [u8; 16],
}

/// The update (a `.auth` file) that sets `variable` to `data` (signature lists) or adds it, signed by `signer`, which is PK for PK
/// and KEK, KEK for db and dbx. Who writes it gives the same attributes.
///
/// The SignedData stands without ContentInfo, as the specification writes it: EDK2 looks for the digest's OID at a fixed
/// place and took no other form for years. The signer's certificate is inside, or firmware cannot tell who signed.
pub fn authenticated_update(
    variable: Variable,
    write: Write,
    time: EfiTime,
    data: &[u8],
    signer: &dyn Signer,
) -> Result<Answer, EnrolError> {
    let signed = [
        variable.name().encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>().as_slice(),
        &variable.vendor().to_bytes_le(),
        &write.attributes().to_le_bytes(),
        time.as_bytes(),
        data,
    ]
    .concat();
    let message = Message::data(&signed).with_certificate().bare();
    let answer = pkcs7::sign(&message, Purpose::Enrolment, signer)
        .map_err(|source| EnrolError::Sign { variable: variable.name(), source })?;
    answer.try_map(|signed_data| {
        let too_long = || EnrolError::TooLong { what: "an update's signature", length: signed_data.len() };
        let length = signed_data.len().checked_add(CERTIFICATE_HEAD).ok_or_else(too_long)?;
        let header = AuthenticationHeader {
            time,
            length: U32::new(u32::try_from(length).map_err(|_| too_long())?),
            revision: U16::new(0x0200),
            certificate_type: U16::new(0x0ef1),
            kind: CERT_TYPE_PKCS7.to_bytes_le(),
        };
        Ok([header.as_bytes(), &signed_data, data].concat())
    })
}

/// EFI_GLOBAL_VARIABLE.
const GLOBAL_VARIABLE: Uuid = uuid!("8be4df61-93ca-11d2-aa0d-00e098032b8c");
/// EFI_IMAGE_SECURITY_DATABASE_GUID.
const IMAGE_SECURITY_DATABASE: Uuid = uuid!("d719b2cb-3d3a-4596-a3bc-dad00e67656f");
/// EFI_CERT_TYPE_PKCS7_GUID.
const CERT_TYPE_PKCS7: Uuid = uuid!("4aafd29d-68df-49ee-8aa9-347d375665a7");
/// Bytes of WIN_CERTIFICATE_UEFI_GUID before the SignedData.
const CERTIFICATE_HEAD: usize = 24;
