//! From a signer's certificate to one that is trusted.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_CODE_SIGNING};
use thiserror::Error;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

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
    /// A certificate of the chain may not do what it does there.
    #[error("signer «{signer}» comes from a trusted certificate by way of «{subject}», which {problem}")]
    Constraint {
        /// Subject of the signer.
        signer: String,
        /// Subject of the certificate.
        subject: String,
        /// What it may not.
        problem: &'static str,
    },
}

/// Walks from `signer` through `others` (certificates found in a message, trusted by nobody) to the first certificate
/// that is in `trusted`. A signer that is itself trusted is its own anchor, whatever else it says of itself.
///
/// An issuer must be one (basic constraints, path length, key usage where it is stated), and the signer's own key usages must let it
/// sign code where they are stated. Validity dates are not looked at, as in kernel and firmware.
pub fn anchor<'t>(
    signer: &Certificate,
    others: &[Certificate],
    trusted: &'t [Certificate],
) -> Result<&'t Certificate, ChainError> {
    if let Some(found) = trusted.iter().find(|candidate| *candidate == signer) {
        return Ok(found);
    }
    let found = above(signer, others, trusted)?;
    match signer.cannot_sign_code() {
        Some(problem) => Err(constraint(signer, signer, problem)),
        None => Ok(found),
    }
}

/// The first trusted certificate that stands behind this one, whatever this one may do itself; found as [`anchor`] finds it.
pub fn above<'t>(
    certificate: &Certificate,
    others: &[Certificate],
    trusted: &'t [Certificate],
) -> Result<&'t Certificate, ChainError> {
    let mut link = certificate;
    for below in 0..LONGEST_CHAIN {
        let issues_link = |candidate: &&Certificate| {
            candidate.subject_der() == link.issuer_der() && issued_by(link, candidate)
        };
        let (issuer, anchor) = match trusted.iter().find(issues_link) {
            Some(found) => (found, Some(found)),
            None => match others.iter().filter(|candidate| *candidate != link).find(issues_link) {
                Some(next) => (next, trusted.iter().find(|candidate| *candidate == next)),
                None => break,
            },
        };
        if let Some(problem) = issuer.cannot_issue(below) {
            return Err(constraint(certificate, issuer, problem));
        }
        if let Some(found) = anchor {
            return Ok(found);
        }
        link = issuer;
    }
    Err(ChainError::Untrusted {
        subject: certificate.subject(),
        fingerprint: certificate.fingerprint().to_string(),
        missing: link.issuer(),
    })
}

fn constraint(signer: &Certificate, certificate: &Certificate, problem: &'static str) -> ChainError {
    ChainError::Constraint { signer: signer.subject(), subject: certificate.subject(), problem }
}

/// Why several certificates are not the chain of one signer.
#[derive(Debug, Error)]
pub enum BrokenChain {
    /// A certificate is not by the one after it.
    #[error(
        "«{subject}» is not issued by the certificate after it, «{next}»: expected the signer's own first, then each one's issuer"
    )]
    NotIssued {
        /// Whose.
        subject: String,
        /// The one after it.
        next: String,
    },
    /// A certificate may not issue others.
    #[error("«{subject}» cannot be an issuer: it {problem}")]
    NoIssuer {
        /// Whose.
        subject: String,
        /// What it lacks.
        problem: &'static str,
    },
    /// The kernel finds an issuer by key identifiers alone.
    #[error(
        "«{subject}» does not name the key of its issuer «{issuer}» by an authority key identifier, and the kernel looks for nothing else: issue it again with \
         subjectKeyIdentifier in the issuer's and authorityKeyIdentifier=keyid in its own"
    )]
    NoKeyIdentifier {
        /// Whose.
        subject: String,
        /// Its issuer.
        issuer: String,
    },
}

/// Holds a signer's certificate and the issuers that go with it, in order, against what kernel and firmware follow.
pub fn check_issuers(signer: &Certificate, issuers: &[Certificate]) -> Result<(), BrokenChain> {
    let mut link = signer;
    for (below, issuer) in issuers.iter().enumerate() {
        if issuer.subject_der() != link.issuer_der() || !issued_by(link, issuer) {
            return Err(BrokenChain::NotIssued { subject: link.subject(), next: issuer.subject() });
        }
        if let Some(problem) = issuer.cannot_issue(below) {
            return Err(BrokenChain::NoIssuer { subject: issuer.subject(), problem });
        }
        let named = link.authority_key_id();
        if named.is_none() || named != issuer.subject_key_id() {
            return Err(BrokenChain::NoKeyIdentifier { subject: link.subject(), issuer: issuer.subject() });
        }
        link = issuer;
    }
    Ok(())
}

impl Certificate {
    /// Why it cannot have issued a certificate that has `below` more between itself and a signer.
    fn cannot_issue(&self, below: usize) -> Option<&'static str> {
        let tbs = self.parsed.tbs_certificate();
        match tbs.get_extension::<BasicConstraints>() {
            Ok(Some((_, constraints))) if constraints.ca => {
                let most = constraints.path_len_constraint.map(usize::from);
                if most.is_some_and(|most| below > most) {
                    return Some("may not have so long a chain below it (path length)");
                }
            }
            _ => return Some("may not issue certificates (basic constraints)"),
        }
        match tbs.get_extension::<KeyUsage>() {
            Ok(Some((_, usage))) if !usage.key_cert_sign() => Some("may not sign certificates (key usage)"),
            Ok(_) => None,
            Err(_) => Some("has a key usage that cannot be read"),
        }
    }

    /// Why its key may not sign what the chain of trust is made of.
    fn cannot_sign_code(&self) -> Option<&'static str> {
        let tbs = self.parsed.tbs_certificate();
        match tbs.get_extension::<KeyUsage>() {
            Ok(Some((_, usage))) if !usage.digital_signature() => return Some("may not sign (key usage)"),
            Ok(_) => {}
            Err(_) => return Some("has a key usage that cannot be read"),
        }
        let signs_code =
            |usage: &ObjectIdentifier| [ID_KP_CODE_SIGNING, ANY_EXTENDED_KEY_USAGE].contains(usage);
        match tbs.get_extension::<ExtendedKeyUsage>() {
            Ok(Some((_, usages))) if !usages.0.iter().any(signs_code) => {
                Some("may not sign code (extended key usage)")
            }
            Ok(_) => None,
            Err(_) => Some("has an extended key usage that cannot be read"),
        }
    }

    /// The key identifier of its issuer, where it names one.
    fn authority_key_id(&self) -> Option<Vec<u8>> {
        type Akid = x509_cert::ext::pkix::AuthorityKeyIdentifier;
        let (_, akid) = self.parsed.tbs_certificate().get_extension::<Akid>().ok()??;
        akid.key_identifier.map(|id| id.as_bytes().to_vec())
    }
}

/// Whether `issuer`'s key made the signature in `certificate`. An algorithm we cannot check counts as no.
pub(super) fn issued_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    let algorithm = certificate.parsed.signature_algorithm().oid;
    let Some(signature) = certificate.parsed.signature().as_bytes() else { return false };
    sign::verify_by_oid(issuer.public_key(), algorithm, certificate.tbs_der(), signature).is_ok()
}
