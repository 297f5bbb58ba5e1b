//! A signer whose certificate nobody trusts by itself, but an issuer of it.

use std::sync::Arc;

use super::{Answer, Request, SignError, Signer};
use crate::x509::Certificate;

/// Signs as another signer does; its certificate and the issuers of it, up to the one that is trusted, travel in each PKCS#7 message.
#[derive(Clone)]
pub struct ChainedSigner {
    signer: Arc<dyn Signer>,
    issuers: Vec<Certificate>,
}

impl ChainedSigner {
    /// `issuers` as [`crate::x509::intermediates`] gives them: without the root, which is trusted.
    pub fn new(signer: Arc<dyn Signer>, issuers: Vec<Certificate>) -> Self {
        Self { signer, issuers }
    }
}

impl Signer for ChainedSigner {
    fn certificate(&self) -> &Certificate {
        self.signer.certificate()
    }

    fn issuers(&self) -> Option<&[Certificate]> {
        Some(&self.issuers)
    }

    fn sign(&self, request: &Request) -> Result<Answer, SignError> {
        self.signer.sign(request)
    }
}
