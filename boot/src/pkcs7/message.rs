//! The layout of SignedData: one set of types, written by the encoder and read by the verifier.

use const_oid::ObjectIdentifier;
use der::asn1::{AnyRef, OctetStringRef};
use der::{DecodeValue, EncodeValue, FixedTag, Header, Length, Reader, Sequence, SliceReader, Tag, Writer};

/// `AlgorithmIdentifier` with its parameters as they stand.
pub(super) type Algorithm<'a> = spki::AlgorithmIdentifier<AnyRef<'a>>;

/// `ContentInfo` around a SignedData, RFC 2315 §7.
#[derive(Sequence)]
pub(super) struct ContentInfo<'a> {
    pub(super) content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    pub(super) content: AnyRef<'a>,
}

/// `SignedData`, RFC 2315 §9.1.
#[derive(Sequence)]
pub(super) struct SignedDataFields<'a> {
    pub(super) version: u8,
    pub(super) digest_algorithms: RawSet<'a>,
    pub(super) content: EncapsulatedContent<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    pub(super) certificates: Option<RawSet<'a>>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub(super) crls: Option<RawSet<'a>>,
    pub(super) signer_infos: RawSet<'a>,
}

/// The inner `ContentInfo`: an OCTET STRING for id-data, a SEQUENCE for Authenticode.
#[derive(Sequence)]
pub(super) struct EncapsulatedContent<'a> {
    pub(super) content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) content: Option<AnyRef<'a>>,
}

/// `SignerInfo`, RFC 2315 §9.2 (RFC 5652 §5.3 for the key identifier).
#[derive(Sequence)]
pub(super) struct SignerInfo<'a> {
    pub(super) version: u8,
    /// `IssuerAndSerialNumber`, or `[0]` key identifier.
    pub(super) signer: AnyRef<'a>,
    pub(super) digest_algorithm: Algorithm<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    pub(super) signed_attributes: Option<RawSet<'a>>,
    pub(super) signature_algorithm: Algorithm<'a>,
    pub(super) signature: &'a OctetStringRef,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub(super) unsigned_attributes: Option<RawSet<'a>>,
}

/// `IssuerAndSerialNumber`, RFC 2315 §6.7.
#[derive(Sequence)]
pub(super) struct IssuerAndSerial<'a> {
    pub(super) issuer: AnyRef<'a>,
    pub(super) serial: AnyRef<'a>,
}

/// `Attribute`, RFC 5652 §5.3.
#[derive(Sequence)]
pub(super) struct Attribute<'a> {
    pub(super) kind: ObjectIdentifier,
    pub(super) values: RawSet<'a>,
}

/// A `SET OF` as its raw value. Foreign signers do not always sort certificates or attributes, and signed attributes are
/// hashed as they stand, so the order is kept and not judged.
#[derive(Clone, Copy)]
pub(super) struct RawSet<'a>(pub(super) &'a [u8]);

impl<'a> RawSet<'a> {
    /// The elements, each with its tag and length.
    pub(super) fn elements(self) -> Result<Vec<&'a [u8]>, der::Error> {
        let mut reader = SliceReader::new(self.0)?;
        let mut elements = Vec::new();
        while !reader.is_finished() {
            elements.push(reader.tlv_bytes()?);
        }
        Ok(elements)
    }
}

impl FixedTag for RawSet<'_> {
    const TAG: Tag = Tag::Set;
}

impl<'a> DecodeValue<'a> for RawSet<'a> {
    type Error = der::Error;

    fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> der::Result<Self> {
        Ok(Self(reader.read_slice(header.length())?))
    }
}

impl EncodeValue for RawSet<'_> {
    fn value_len(&self) -> der::Result<Length> {
        self.0.len().try_into()
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        writer.write(self.0)
    }
}
