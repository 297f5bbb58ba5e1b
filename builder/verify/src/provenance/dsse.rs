//! DSSE: the envelope in which a statement travels with its signature.
//! <https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_boot::sign::{Algorithm, Answer, Purpose, Request, Signer, verify};
use graven_boot::x509::Certificate;
use serde::{Deserialize, Serialize};

use super::ProvenanceError;

/// What in-toto calls its statements.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// An envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Signature {
    /// SHA-256 of the signer's certificate; a hint.
    #[serde(default)]
    keyid: String,
    sig: String,
}

impl Envelope {
    /// Signs a statement.
    pub(super) fn sign(payload: &[u8], signer: &dyn Signer) -> Result<Answer<Self>, ProvenanceError> {
        let certificate = signer.certificate();
        let request = Request::new(Purpose::Provenance, certificate, &encoded(PAYLOAD_TYPE, payload))?;
        signer.sign(&request)?.try_map(|signature| {
            Ok(Self {
                payload: STANDARD.encode(payload),
                payload_type: PAYLOAD_TYPE.to_owned(),
                signatures: vec![Signature {
                    keyid: certificate.fingerprint().to_string(),
                    sig: STANDARD.encode(signature),
                }],
            })
        })
    }

    /// The statement, and which of the certificates vouches for it.
    pub(super) fn open<'t>(
        &self,
        trusted: &'t [Certificate],
    ) -> Result<(Vec<u8>, &'t Certificate), ProvenanceError> {
        if self.payload_type != PAYLOAD_TYPE {
            return Err(ProvenanceError::PayloadType(self.payload_type.clone()));
        }
        let payload = STANDARD.decode(&self.payload).map_err(|_| ProvenanceError::Base64("payload"))?;
        let message = encoded(&self.payload_type, &payload);
        for signature in &self.signatures {
            let bytes = STANDARD.decode(&signature.sig).map_err(|_| ProvenanceError::Base64("sig"))?;
            let signer = trusted.iter().find(|certificate| {
                let algorithm = Algorithm::of(certificate);
                algorithm.is_ok_and(|algorithm| verify(certificate, algorithm, &message, &bytes).is_ok())
            });
            if let Some(signer) = signer {
                return Ok((payload, signer));
            }
        }
        Err(ProvenanceError::Signature { signatures: self.signatures.len(), trusted: trusted.len() })
    }
}

/// `PAE`, what is signed: type and payload, each with its length before it.
fn encoded(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_what_the_protocol_says() {
        // The example of the specification.
        let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(encoded("http://example.com/HelloWorld", b"hello world"), expected);
    }
}
