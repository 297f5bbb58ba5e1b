//! Making a SignedData.

use const_oid::ObjectIdentifier;
use const_oid::db::fips204::ID_ML_DSA_65;
use const_oid::db::{rfc5911, rfc5912};
use der::asn1::{AnyRef, OctetStringRef};
use der::{Decode, Encode, Tag};

use super::Pkcs7Error;
use super::message::{
    Algorithm, Attribute, ContentInfo, EncapsulatedContent, IssuerAndSerial, RawSet, SignedDataFields,
    SignerInfo,
};
use crate::sign::{self, Answer, Purpose, Request, Signer};
use crate::x509::{Certificate, serial_der};

/// What a message holds besides the signature.
pub(crate) struct Message<'a> {
    content_type: ObjectIdentifier,
    /// The octets that are signed: for id-data the content, for other types the content's value.
    signed: &'a [u8],
    carried: Carried<'a>,
    attributes: bool,
    certificate: bool,
    form: Form,
    algorithm: Option<sign::Algorithm>,
}

/// What stands in the message as its content.
enum Carried<'a> {
    Nothing,
    /// The signed octets as an OCTET STRING.
    Octets,
    /// A whole element, whose value octets are what is signed.
    Element(AnyRef<'a>),
}

/// Whether the SignedData stands inside a ContentInfo.
enum Form {
    ContentInfo,
    Bare,
}

impl<'a> Message<'a> {
    /// Content of type id-data, detached, no attributes, no certificates.
    pub(crate) fn data(content: &'a [u8]) -> Self {
        Self {
            content_type: rfc5911::ID_DATA,
            signed: content,
            carried: Carried::Nothing,
            attributes: false,
            certificate: false,
            form: Form::ContentInfo,
            algorithm: None,
        }
    }

    /// Content of another type, attached; its value octets are what is signed.
    pub(crate) fn typed(content_type: ObjectIdentifier, element: AnyRef<'a>) -> Self {
        Self { content_type, carried: Carried::Element(element), ..Self::data(element.value()) }
    }

    /// Puts the content inside, as an OCTET STRING.
    pub(crate) fn attached(mut self) -> Self {
        self.carried = Carried::Octets;
        self
    }

    /// Signs the attributes contentType and messageDigest (no signing time) in place of the content.
    pub(crate) fn with_attributes(mut self) -> Self {
        self.attributes = true;
        self
    }

    /// Signs in this algorithm, in place of the key's usual one.
    pub(crate) fn in_algorithm(mut self, algorithm: sign::Algorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// Puts the signer's certificate inside.
    pub(crate) fn with_certificate(mut self) -> Self {
        self.certificate = true;
        self
    }

    fn carried(&self) -> Result<Option<AnyRef<'a>>, der::Error> {
        Ok(match self.carried {
            Carried::Nothing => None,
            Carried::Octets => Some(AnyRef::new(Tag::OctetString, self.signed)?),
            Carried::Element(element) => Some(element),
        })
    }

    /// Leaves out the outer ContentInfo, as UEFI's authenticated variables want it.
    pub(crate) fn bare(mut self) -> Self {
        self.form = Form::Bare;
        self
    }
}

/// Signs `message` for `purpose`.
pub(crate) fn sign(
    message: &Message<'_>,
    purpose: Purpose,
    signer: &dyn Signer,
) -> Result<Answer, Pkcs7Error> {
    let certificate = signer.certificate();
    let algorithm = match message.algorithm {
        Some(algorithm) => algorithm,
        None => sign::Algorithm::of(certificate)?,
    };
    let attributes = match message.attributes {
        true => Some(signed_attributes(message, algorithm)?),
        false => None,
    };
    let request = match &attributes {
        // The attributes are signed under the tag SET, not the [0] that they carry in the message (RFC 5652 §5.4).
        Some(set) => Request::with_algorithm(purpose, certificate, algorithm, &RawSet(set).to_der()?)?,
        None => Request::with_algorithm(purpose, certificate, algorithm, message.signed)?,
    };
    let answer = signer.sign(&request)?;
    // Who trusts an issuer alone finds its way by what is inside.
    let inside = match (signer.issuers(), message.certificate) {
        (Some(issuers), _) => std::iter::once(certificate).chain(issuers).collect(),
        (None, true) => vec![certificate],
        (None, false) => Vec::new(),
    };
    let certificates: Vec<u8> = inside.into_iter().flat_map(Certificate::der).copied().collect();
    answer.try_map(|signature| {
        assemble(message, algorithm, certificate, &certificates, attributes.as_deref(), &signature)
    })
}

fn assemble(
    message: &Message<'_>,
    algorithm: sign::Algorithm,
    certificate: &Certificate,
    certificates: &[u8],
    attributes: Option<&[u8]>,
    signature: &[u8],
) -> Result<Vec<u8>, Pkcs7Error> {
    let serial = serial_der(certificate)?;
    let signer = IssuerAndSerial {
        issuer: AnyRef::from_der(certificate.issuer_der())?,
        serial: AnyRef::from_der(&serial)?,
    }
    .to_der()?;
    let signer_info = SignerInfo {
        version: 1,
        signer: AnyRef::from_der(&signer)?,
        digest_algorithm: digest_algorithm(algorithm),
        signed_attributes: attributes.map(RawSet),
        signature_algorithm: signature_algorithm(algorithm)?,
        signature: OctetStringRef::new(signature)?,
        unsigned_attributes: None,
    }
    .to_der()?;
    let digest = digest_algorithm(algorithm).to_der()?;
    let signed_data = SignedDataFields {
        version: 1,
        digest_algorithms: RawSet(&digest),
        content: EncapsulatedContent { content_type: message.content_type, content: message.carried()? },
        certificates: Some(RawSet(certificates)).filter(|_| !certificates.is_empty()),
        crls: None,
        signer_infos: RawSet(&signer_info),
    }
    .to_der()?;
    match message.form {
        Form::Bare => Ok(signed_data),
        Form::ContentInfo => {
            let outer = ContentInfo {
                content_type: rfc5911::ID_SIGNED_DATA,
                content: AnyRef::from_der(&signed_data)?,
            };
            Ok(outer.to_der()?)
        }
    }
}

/// The value of the SET of signed attributes, sorted as DER asks.
fn signed_attributes(message: &Message<'_>, algorithm: sign::Algorithm) -> Result<Vec<u8>, Pkcs7Error> {
    let content_type = message.content_type.to_der()?;
    let digest = octet_string(&algorithm.digest(message.signed))?;
    let mut attributes = [
        Attribute { kind: rfc5911::ID_CONTENT_TYPE, values: RawSet(&content_type) }.to_der()?,
        Attribute { kind: rfc5911::ID_MESSAGE_DIGEST, values: RawSet(&digest) }.to_der()?,
    ];
    attributes.sort();
    Ok(attributes.concat())
}

/// With NULL parameters, as OpenSSL writes them.
fn digest_algorithm(algorithm: sign::Algorithm) -> Algorithm<'static> {
    let oid = match algorithm {
        sign::Algorithm::RsaPkcs1Sha256
        | sign::Algorithm::RsaPssSha256
        | sign::Algorithm::EcdsaP256Sha256 => rfc5912::ID_SHA_256,
        sign::Algorithm::RsaPkcs1Sha384
        | sign::Algorithm::RsaPssSha384
        | sign::Algorithm::EcdsaP384Sha384 => rfc5912::ID_SHA_384,
        // ML-DSA without attributes uses no digest, and RFC 9882 §3.3 has this one stand for it.
        sign::Algorithm::RsaPkcs1Sha512 | sign::Algorithm::RsaPssSha512 | sign::Algorithm::MlDsa65 => {
            rfc5912::ID_SHA_512
        }
    };
    Algorithm { oid, parameters: Some(AnyRef::NULL) }
}

fn signature_algorithm(algorithm: sign::Algorithm) -> Result<Algorithm<'static>, Pkcs7Error> {
    Ok(match algorithm {
        sign::Algorithm::RsaPkcs1Sha256
        | sign::Algorithm::RsaPkcs1Sha384
        | sign::Algorithm::RsaPkcs1Sha512 => {
            Algorithm { oid: rfc5912::RSA_ENCRYPTION, parameters: Some(AnyRef::NULL) }
        }
        // Neither the kernel nor firmware takes PSS here.
        sign::Algorithm::RsaPssSha256 | sign::Algorithm::RsaPssSha384 | sign::Algorithm::RsaPssSha512 => {
            return Err(Pkcs7Error::SignatureAlgorithm { found: algorithm.to_string() });
        }
        sign::Algorithm::EcdsaP256Sha256 => Algorithm { oid: rfc5912::ECDSA_WITH_SHA_256, parameters: None },
        sign::Algorithm::EcdsaP384Sha384 => Algorithm { oid: rfc5912::ECDSA_WITH_SHA_384, parameters: None },
        sign::Algorithm::MlDsa65 => Algorithm { oid: ID_ML_DSA_65, parameters: None },
    })
}

fn octet_string(bytes: &[u8]) -> Result<Vec<u8>, der::Error> {
    AnyRef::new(Tag::OctetString, bytes)?.to_der()
}
