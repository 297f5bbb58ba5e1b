//! SpcIndirectDataContent: what an Authenticode signature signs.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912;
use der::asn1::{AnyRef, BitStringRef, BmpString, OctetStringRef};
use der::{Decode, Encode, Sequence, Tag, TagNumber};

/// SPC_INDIRECT_DATA_OBJID.
pub(super) const SPC_INDIRECT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.4");
/// SPC_PE_IMAGE_DATA_OBJID.
const SPC_PE_IMAGE_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.15");

/// `SpcIndirectDataContent`.
#[derive(Sequence)]
struct IndirectData<'a> {
    data: TypedData<'a>,
    digest: DigestInfo<'a>,
}

/// `SpcAttributeTypeAndOptionalValue`.
#[derive(Sequence)]
struct TypedData<'a> {
    kind: ObjectIdentifier,
    value: AnyRef<'a>,
}

/// `DigestInfo`.
#[derive(Sequence)]
struct DigestInfo<'a> {
    algorithm: spki::AlgorithmIdentifier<AnyRef<'a>>,
    digest: &'a OctetStringRef,
}

/// `SpcPeImageData`: no flags, and as file `[0] { [2] { [0] "<<<Obsolete>>>" } }`, which signers write by custom.
#[derive(Sequence)]
struct PeImageData<'a> {
    flags: BitStringRef<'a>,
    file: AnyRef<'a>,
}

/// DER of the content for an image with this digest.
pub(super) fn encode(digest: &[u8; 32]) -> Result<Vec<u8>, der::Error> {
    let obsolete = BmpString::from_utf8("<<<Obsolete>>>")?;
    let string = AnyRef::new(context(0, false), obsolete.as_ref())?.to_der()?;
    let file = AnyRef::new(context(2, true), &string)?.to_der()?;
    let image_data =
        PeImageData { flags: BitStringRef::from_bytes(&[])?, file: AnyRef::new(context(0, true), &file)? }
            .to_der()?;
    IndirectData {
        data: TypedData { kind: SPC_PE_IMAGE_DATA, value: AnyRef::from_der(&image_data)? },
        digest: DigestInfo {
            algorithm: spki::AlgorithmIdentifier { oid: rfc5912::ID_SHA_256, parameters: Some(AnyRef::NULL) },
            digest: OctetStringRef::new(digest)?,
        },
    }
    .to_der()
}

/// The encoded content as an element.
pub(super) fn element(content: &[u8]) -> Result<AnyRef<'_>, der::Error> {
    AnyRef::from_der(content)
}

/// The SHA-256 digest in a content, or why there is none.
pub(super) fn read_digest(content: AnyRef<'_>) -> Result<[u8; 32], String> {
    let content: IndirectData<'_> = content.decode_as().map_err(|error: der::Error| error.to_string())?;
    if content.data.kind != SPC_PE_IMAGE_DATA {
        return Err(format!("it is about {}, not a PE image", content.data.kind));
    }
    if content.digest.algorithm.oid != rfc5912::ID_SHA_256 {
        return Err(format!("its digest algorithm is {}", content.digest.algorithm.oid));
    }
    let digest = content.digest.digest.as_bytes();
    digest.try_into().map_err(|_| format!("its digest has {} bytes", digest.len()))
}

fn context(number: u32, constructed: bool) -> Tag {
    Tag::ContextSpecific { constructed, number: TagNumber(number) }
}
