//! A signer whose certificate nobody trusts by itself, but an issuer of it.

use std::sync::Arc;

use super::{Answer, Request, SignError, Signer};
use crate::x509::Certificate;

/// Signs as another signer does; its certificate and the issuers of it, up to the one that is trusted, travel in each PKCS#7 message.
#[derive(Clone)]
pub struct ChainedSigner {
    signer: Arc<dyn Signer>,
    /// Those between it and the root.
    between: Vec<Certificate>,
    /// The last one, where it is known.
    root: Option<Certificate>,
}

impl ChainedSigner {
    /// `issuers` in order, the certificate's own first. A last one that is self-signed is the root: it proves nothing in a message,
    /// and does not travel.
    pub fn new(signer: Arc<dyn Signer>, mut issuers: Vec<Certificate>) -> Self {
        let root = issuers.pop_if(|last| last.is_self_signed());
        Self { signer, between: issuers, root }
    }
}

impl Signer for ChainedSigner {
    fn certificate(&self) -> &Certificate {
        self.signer.certificate()
    }

    fn issuers(&self) -> Option<&[Certificate]> {
        Some(&self.between)
    }

    fn chain(&self) -> Vec<&Certificate> {
        std::iter::once(self.certificate()).chain(&self.between).chain(&self.root).collect()
    }

    fn sign(&self, request: &Request) -> Result<Answer, SignError> {
        self.signer.sign(request)
    }
}
