//! A signer that has no key, only signatures that were made before: those of a finished image.

use super::{Answer, Request, SignError, Signer, verify};
use crate::x509::Certificate;

/// Answers a request with the one of its signatures that is the certificate's over the request's message; where none is, the
/// request is pending. So an image that is built again gets the signatures of the first, and no others hold.
#[derive(Clone, Debug)]
pub struct AttachedSigner {
    certificate: Certificate,
    signatures: Vec<Vec<u8>>,
}

impl AttachedSigner {
    /// A signer with raw signatures of `certificate`'s key, in any order.
    pub fn new(certificate: Certificate, signatures: Vec<Vec<u8>>) -> Self {
        Self { certificate, signatures }
    }
}

impl Signer for AttachedSigner {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn sign(&self, request: &Request) -> Result<Answer, SignError> {
        request.refuse_foreign(&self.certificate)?;
        let holds = |signature: &&Vec<u8>| {
            verify(&self.certificate, request.algorithm(), request.to_be_signed(), signature).is_ok()
        };
        Ok(match self.signatures.iter().find(holds) {
            Some(signature) => Answer::Signed(signature.clone()),
            None => Answer::Pending(request.clone()),
        })
    }
}
