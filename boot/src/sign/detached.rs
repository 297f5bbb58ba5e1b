//! A signer whose private key is elsewhere: answers are files that someone brings back.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::{Answer, Request, SignError, Signer, answer_path, verify};
use crate::x509::Certificate;

/// Answers a request from the file `ID.sig` (raw signature bytes) in a folder; where it is missing, the request is
/// pending. Every answer is checked against the certificate before it is used.
#[derive(Clone, Debug)]
pub struct DetachedSigner {
    certificate: Certificate,
    answers: PathBuf,
}

impl DetachedSigner {
    /// A signer for `certificate`'s key, with answers in the folder `answers` (which need not exist yet).
    pub fn new(certificate: Certificate, answers: impl Into<PathBuf>) -> Self {
        Self { certificate, answers: answers.into() }
    }

    /// The file in which the answer to `request` is expected.
    pub fn answer_path(&self, request: &Request) -> PathBuf {
        answer_path(&self.answers, request)
    }
}

impl Signer for DetachedSigner {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn sign(&self, request: &Request) -> Result<Answer, SignError> {
        request.refuse_foreign(&self.certificate)?;
        let path = self.answer_path(request);
        let signature = match fs::read(&path) {
            Ok(signature) => signature,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Answer::Pending(request.clone()));
            }
            Err(source) => return Err(SignError::Read { path, source }),
        };
        verify(&self.certificate, request.algorithm(), request.to_be_signed(), &signature).map_err(
            |source| SignError::BadAnswer {
                path,
                id: request.id().to_string(),
                purpose: request.purpose(),
                source,
            },
        )?;
        Ok(Answer::Signed(signature))
    }
}
