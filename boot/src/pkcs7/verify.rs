//! Reading a SignedData and proving its signature.

use const_oid::ObjectIdentifier;
use const_oid::db::fips204::ID_ML_DSA_65;
use const_oid::db::{rfc5911, rfc5912};
use der::asn1::{AnyRef, OctetStringRef};
use der::{Decode, Encode, Tag, TagNumber, Tagged};
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::fmt;

use super::Pkcs7Error;
use super::message::{
    Algorithm, Attribute, ContentInfo, EncapsulatedContent, IssuerAndSerial, RawSet, SignedDataFields,
    SignerInfo,
};
use crate::sign::verify_by_oid;
use crate::x509::{Certificate, PublicKey, anchor, serial_der};

/// A SignedData with exactly one signer, parsed but not yet proved.
pub struct SignedData<'a> {
    content: EncapsulatedContent<'a>,
    signer: SignerInfo<'a>,
    signer_id: SignerId,
    certificates: Vec<Certificate>,
}

/// How a message names its signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignerId {
    /// By the certificate's issuer and serial number, both as whole DER elements.
    IssuerAndSerial {
        /// DER `Name`.
        issuer: Vec<u8>,
        /// DER `INTEGER`.
        serial: Vec<u8>,
    },
    /// By the certificate's subject key identifier.
    KeyIdentifier(Vec<u8>),
}

impl<'a> SignedData<'a> {
    /// Parses strict DER, nothing after it: a SignedData within its ContentInfo.
    pub fn parse(der: &'a [u8]) -> Result<Self, Pkcs7Error> {
        let outer = ContentInfo::from_der(der)?;
        if outer.content_type != rfc5911::ID_SIGNED_DATA {
            return Err(Pkcs7Error::NotSignedData { found: name(outer.content_type) });
        }
        Self::from_fields(outer.content.decode_as()?)
    }

    /// Parses a SignedData that stands without ContentInfo, as in UEFI's authenticated variables.
    pub fn parse_bare(der: &'a [u8]) -> Result<Self, Pkcs7Error> {
        Self::from_fields(SignedDataFields::from_der(der)?)
    }

    fn from_fields(fields: SignedDataFields<'a>) -> Result<Self, Pkcs7Error> {
        let infos = fields.signer_infos.elements()?;
        let [info] = infos.as_slice() else {
            return Err(Pkcs7Error::Signers { found: infos.len() });
        };
        let signer = SignerInfo::from_der(info)?;
        let signer_id = SignerId::read(signer.signer)?;
        let expected = match signer_id {
            SignerId::IssuerAndSerial { .. } => 1,
            SignerId::KeyIdentifier(_) => 3,
        };
        if (fields.version, signer.version) != (expected, expected) {
            let (outer, inner) = (fields.version, signer.version);
            return Err(Pkcs7Error::Version { outer, inner, expected });
        }
        let announced = fields.digest_algorithms.elements()?;
        let announced = announced.into_iter().map(Algorithm::from_der).collect::<Result<Vec<_>, _>>()?;
        if !announced.iter().any(|algorithm| algorithm.oid == signer.digest_algorithm.oid) {
            return Err(Pkcs7Error::UnannouncedDigest { found: name(signer.digest_algorithm.oid) });
        }
        let certificates = match fields.certificates {
            Some(set) => set.elements()?.into_iter().map(Certificate::from_der).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        Ok(Self { content: fields.content, signer, signer_id, certificates })
    }

    /// OID of the content's type.
    pub fn content_type(&self) -> ObjectIdentifier {
        self.content.content_type
    }

    /// The signed octets that the message carries (an OCTET STRING's bytes; the value of any other element), or none if
    /// it is detached.
    pub fn content(&self) -> Option<&'a [u8]> {
        self.content.content.map(AnyRef::value)
    }

    /// The carried content as a whole element.
    pub(crate) fn content_element(&self) -> Option<AnyRef<'a>> {
        self.content.content
    }

    /// OID of the signer's digest algorithm.
    pub fn digest_algorithm(&self) -> ObjectIdentifier {
        self.signer.digest_algorithm.oid
    }

    /// OID of the signer's signature algorithm, as it stands in the message.
    pub fn signature_algorithm(&self) -> ObjectIdentifier {
        self.signer.signature_algorithm.oid
    }

    /// The signer's raw signature, as a [`Signer`](crate::sign::Signer) gave it.
    pub fn signature(&self) -> &'a [u8] {
        self.signer.signature.as_bytes()
    }

    /// How the message names its signer.
    pub fn signer(&self) -> &SignerId {
        &self.signer_id
    }

    /// Whether attributes are signed in place of the content.
    pub fn has_signed_attributes(&self) -> bool {
        self.signer.signed_attributes.is_some()
    }

    /// The certificates that the message carries; trusted by nobody.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Proves that `content` was signed by a certificate in `trusted`, or by one in the message that leads to one there,
    /// and returns the trusted one. Where the message carries content, it must be `content`.
    ///
    /// Neither validity dates nor key usage are looked at, as in the kernel.
    pub fn verify<'t>(
        &self,
        content: &[u8],
        trusted: &'t [Certificate],
    ) -> Result<&'t Certificate, Pkcs7Error> {
        if let Some(carried) = self.content().filter(|carried| *carried != content) {
            return Err(Pkcs7Error::OtherContent { expected: content.len(), found: carried.len() });
        }
        let signer = self
            .signer_among(trusted)
            .ok_or_else(|| Pkcs7Error::UnknownSigner { signer: self.signer_id.to_string() })?;

        let algorithm = self.full_algorithm(signer.public_key())?;
        let bad_signature = |source| Pkcs7Error::Signature { subject: signer.subject(), source };
        let signature = self.signer.signature.as_bytes();
        match self.signer.signed_attributes {
            Some(set) => {
                self.check_attributes(set, content)?;
                verify_by_oid(signer.public_key(), algorithm, &set.to_der()?, signature)
            }
            None => verify_by_oid(signer.public_key(), algorithm, content, signature),
        }
        .map_err(bad_signature)?;
        Ok(anchor(signer, &self.certificates, trusted)?)
    }

    /// The certificate of the signer whom the message names, out of those that are trusted and those inside.
    pub fn signer_among<'s>(&'s self, trusted: &'s [Certificate]) -> Option<&'s Certificate> {
        trusted.iter().chain(&self.certificates).find(|certificate| self.signer_id.names(certificate))
    }

    /// The signature algorithm with its digest, from what the message names in two places.
    fn full_algorithm(&self, key: &PublicKey) -> Result<ObjectIdentifier, Pkcs7Error> {
        use rfc5912 as oid;
        let (digest, named) = (self.digest_algorithm(), self.signature_algorithm());
        let (with_rsa, with_ecdsa) = match digest {
            oid::ID_SHA_256 => (oid::SHA_256_WITH_RSA_ENCRYPTION, oid::ECDSA_WITH_SHA_256),
            oid::ID_SHA_384 => (oid::SHA_384_WITH_RSA_ENCRYPTION, oid::ECDSA_WITH_SHA_384),
            oid::ID_SHA_512 => (oid::SHA_512_WITH_RSA_ENCRYPTION, oid::ECDSA_WITH_SHA_512),
            _ => return Err(Pkcs7Error::Digest { found: name(digest) }),
        };
        match key {
            PublicKey::Rsa { .. } if named == oid::RSA_ENCRYPTION || named == with_rsa => Ok(with_rsa),
            PublicKey::P256(_) | PublicKey::P384(_) if named == with_ecdsa => Ok(with_ecdsa),
            PublicKey::MlDsa65(_) if named == ID_ML_DSA_65 => Ok(named),
            _ => Err(Pkcs7Error::SignatureAlgorithm { found: name(named) }),
        }
    }

    /// contentType and messageDigest, each once, must agree with the content (RFC 5652 §5.4 and §11).
    fn check_attributes(&self, set: RawSet<'a>, content: &[u8]) -> Result<(), Pkcs7Error> {
        let (mut content_type, mut digest) = (None, None);
        for element in set.elements()? {
            let attribute = Attribute::from_der(element)?;
            let place = match attribute.kind {
                rfc5911::ID_CONTENT_TYPE => &mut content_type,
                rfc5911::ID_MESSAGE_DIGEST => &mut digest,
                _ => continue,
            };
            let values = attribute.values.elements()?;
            let [value] = values.as_slice() else {
                return Err(Pkcs7Error::Attributes("expected one value in contentType and messageDigest"));
            };
            if place.replace(*value).is_some() {
                return Err(Pkcs7Error::Attributes("contentType or messageDigest occurs twice"));
            }
        }
        let content_type = content_type.ok_or(Pkcs7Error::Attributes("no contentType"))?;
        if ObjectIdentifier::from_der(content_type)? != self.content_type() {
            return Err(Pkcs7Error::Attributes("contentType is not the content's type"));
        }
        let digest = digest.ok_or(Pkcs7Error::Attributes("no messageDigest"))?;
        let digest = <&OctetStringRef>::from_der(digest)?.as_bytes();
        let computed = match self.digest_algorithm() {
            rfc5912::ID_SHA_256 => Sha256::digest(content).to_vec(),
            rfc5912::ID_SHA_384 => Sha384::digest(content).to_vec(),
            rfc5912::ID_SHA_512 => Sha512::digest(content).to_vec(),
            other => return Err(Pkcs7Error::Digest { found: name(other) }),
        };
        match digest == computed {
            true => Ok(()),
            false => Err(Pkcs7Error::Attributes("messageDigest is not the content's digest")),
        }
    }
}

impl SignerId {
    fn read(element: AnyRef<'_>) -> Result<Self, Pkcs7Error> {
        let key_identifier = Tag::ContextSpecific { constructed: false, number: TagNumber(0) };
        if element.tag() == key_identifier {
            return Ok(Self::KeyIdentifier(element.value().to_vec()));
        }
        let named: IssuerAndSerial<'_> = element.decode_as()?;
        Ok(Self::IssuerAndSerial { issuer: named.issuer.to_der()?, serial: named.serial.to_der()? })
    }

    /// Whether `certificate` is the one named.
    pub fn names(&self, certificate: &Certificate) -> bool {
        match self {
            Self::IssuerAndSerial { issuer, serial } => {
                certificate.issuer_der() == issuer && serial_der(certificate).is_ok_and(|own| own == *serial)
            }
            Self::KeyIdentifier(id) => certificate.subject_key_id().is_some_and(|own| own == *id),
        }
    }
}

impl fmt::Display for SignerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| {
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        match self {
            Self::IssuerAndSerial { issuer, serial } => {
                match x509_cert::name::Name::from_der(issuer) {
                    Ok(name) => write!(f, "issuer «{name}», serial ")?,
                    Err(_) => write!(f, "an unreadable issuer, serial ")?,
                }
                hex(f, AnyRef::from_der(serial).map(AnyRef::value).unwrap_or_default())
            }
            Self::KeyIdentifier(id) => {
                write!(f, "key identifier ")?;
                hex(f, id)
            }
        }
    }
}

/// An OID with its name where it has one.
pub(super) fn name(oid: ObjectIdentifier) -> String {
    match const_oid::db::DB.by_oid(&oid) {
        Some(name) => format!("{name} ({oid})"),
        None => oid.to_string(),
    }
}
