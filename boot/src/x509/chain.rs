//! From a signer's certificate to one that is trusted.

use thiserror::Error;

use super::Certificate;
use crate::sign;

/// Longest chain that is followed, the signer's and the trusted certificate included.
const LONGEST_CHAIN: usize = 6;

/// Why no trusted certificate stands behind a signer.
#[derive(Debug, Error)]
pub enum ChainError {
    /// The chain ends without meeting a trusted certificate.
    #[error(
        "no trusted certificate stands behind signer «{subject}» (sha256:{fingerprint}): the chain ends at issuer \
         «{missing}»; trust that certificate if the signature is wanted"
    )]
    Untrusted {
        /// Subject of the signer.
        subject: String,
        /// Fingerprint of the signer.
        fingerprint: String,
        /// Issuer that was looked for last.
        missing: String,
    },
}

/// Walks from `signer` through `others` (certificates found in a message, trusted by nobody) to the first certificate
/// that is in `trusted`. A signer that is itself trusted is its own anchor. Validity dates are not looked at.
pub fn anchor<'t>(
    signer: &Certificate,
    others: &[Certificate],
    trusted: &'t [Certificate],
) -> Result<&'t Certificate, ChainError> {
    let mut link = signer;
    for _ in 0..LONGEST_CHAIN {
        if let Some(found) = trusted.iter().find(|candidate| *candidate == link) {
            return Ok(found);
        }
        let issues_link = |candidate: &&Certificate| {
            candidate.subject_der() == link.issuer_der() && candidate.is_ca() && issued_by(link, candidate)
        };
        if let Some(found) = trusted.iter().find(issues_link) {
            return Ok(found);
        }
        match others.iter().filter(|candidate| *candidate != link).find(issues_link) {
            Some(next) => link = next,
            None => break,
        }
    }
    Err(ChainError::Untrusted {
        subject: signer.subject(),
        fingerprint: signer.fingerprint().to_string(),
        missing: link.issuer(),
    })
}

/// Whether `issuer`'s key made the signature in `certificate`. An algorithm we cannot check counts as no.
pub(super) fn issued_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    let algorithm = certificate.parsed.signature_algorithm().oid;
    let Some(signature) = certificate.parsed.signature().as_bytes() else { return false };
    sign::verify_by_oid(issuer.public_key(), algorithm, certificate.tbs_der(), signature).is_ok()
}
