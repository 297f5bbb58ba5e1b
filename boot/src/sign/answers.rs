//! A folder of answers, held against the requests that were made: each where it belongs, or named with what is wrong.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{BadSignature, Purpose, Request, RequestId, verify};
use crate::x509::{Certificate, Fingerprint};

/// A signature is at most this long: what is longer is no answer.
const LONGEST_ANSWER: u64 = 64 << 10;
/// Ending of an answer's file name.
const ENDING: &str = "sig";

/// What is wrong with a folder of answers.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AnswerProblem {
    /// A request without an answer.
    #[error("{} is missing: the answer to request {id} ({purpose}), by the key of «{subject}»", path.display())]
    Missing {
        /// Where it is expected.
        path: PathBuf,
        /// The request.
        id: RequestId,
        /// What was to be signed.
        purpose: Purpose,
        /// The certificate's subject.
        subject: String,
    },
    /// An answer that is another request's.
    #[error(
        "{} does not fit request {id} ({purpose}): it is the answer to request {belongs_to} ({other}); give each its own name",
        path.display()
    )]
    Swapped {
        /// The answer's file.
        path: PathBuf,
        /// The request that its name says.
        id: RequestId,
        /// That one's purpose.
        purpose: Purpose,
        /// The request that it answers.
        belongs_to: RequestId,
        /// That one's purpose.
        other: Purpose,
    },
    /// A signature that is nobody's.
    #[error("{} does not fit request {id} ({purpose}): {source}; sign the request again", path.display())]
    Wrong {
        /// The answer's file.
        path: PathBuf,
        /// The request.
        id: RequestId,
        /// What was to be signed.
        purpose: Purpose,
        /// What is wrong with it.
        source: BadSignature,
    },
    /// A file that cannot be a signature.
    #[error("{} has {length} bytes: this is no signature", path.display())]
    TooLong {
        /// The answer's file.
        path: PathBuf,
        /// Its length.
        length: u64,
    },
    /// An answer to what nobody asks any more.
    #[error(
        "{} answers nothing that is asked for: it was made for an earlier list of requests, or has a wrong name; take it away",
        path.display()
    )]
    Stale {
        /// The answer's file.
        path: PathBuf,
    },
    /// The certificate of a request is not there, so that no answer can be checked.
    #[error(
        "request {id} ({purpose}) is for certificate sha256:{fingerprint} («{subject}»), which is not among those at hand"
    )]
    NoCertificate {
        /// The request.
        id: RequestId,
        /// What is to be signed.
        purpose: Purpose,
        /// The certificate that it names.
        fingerprint: Fingerprint,
        /// Its subject.
        subject: String,
    },
}

/// Holds the files `ID.sig` of a folder against the requests of a round. `earlier` are requests of rounds before, whose
/// answers may lie there too. Nothing is found wrong where each request has the signature of its certificate's key.
///
/// # Errors
/// Where the folder or a file of it cannot be read.
pub fn check_answers(
    folder: &Path,
    requests: &[Request],
    certificates: &[Certificate],
    earlier: &[RequestId],
) -> io::Result<Vec<AnswerProblem>> {
    let mut problems = Vec::new();
    for request in requests {
        problems.extend(check(folder, request, requests, certificates)?);
    }
    let known = |name: &str| {
        requests.iter().map(Request::id).chain(earlier.iter().copied()).any(|id| id.to_string() == name)
    };
    let mut stale = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_answer = path.extension().is_some_and(|ending| ending == ENDING);
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if is_answer && !known(name) {
            stale.push(path);
        }
    }
    stale.sort();
    problems.extend(stale.into_iter().map(|path| AnswerProblem::Stale { path }));
    Ok(problems)
}

/// The file of the answer to a request.
pub fn answer_path(folder: &Path, request: &Request) -> PathBuf {
    folder.join(format!("{}.{ENDING}", request.id()))
}

fn check(
    folder: &Path,
    request: &Request,
    requests: &[Request],
    certificates: &[Certificate],
) -> io::Result<Option<AnswerProblem>> {
    let (id, purpose, path) = (request.id(), request.purpose(), answer_path(folder, request));
    let subject = || request.subject().to_owned();
    let signature = match read(&path) {
        Ok(Ok(signature)) => signature,
        Ok(Err(length)) => return Ok(Some(AnswerProblem::TooLong { path, length })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Some(AnswerProblem::Missing { path, id, purpose, subject: subject() }));
        }
        Err(error) => return Err(error),
    };
    let fits = |request: &Request| {
        let own = certificates.iter().find(|certificate| certificate.fingerprint() == request.certificate());
        own.map(|own| verify(own, request.algorithm(), request.to_be_signed(), &signature))
    };
    let source = match fits(request) {
        Some(Ok(())) => return Ok(None),
        Some(Err(source)) => source,
        None => {
            let fingerprint = request.certificate();
            return Ok(Some(AnswerProblem::NoCertificate { id, purpose, fingerprint, subject: subject() }));
        }
    };
    let other = requests.iter().find(|other| other.id() != id && matches!(fits(other), Some(Ok(()))));
    Ok(Some(match other {
        Some(other) => {
            let (belongs_to, other) = (other.id(), other.purpose());
            AnswerProblem::Swapped { path, id, purpose, belongs_to, other }
        }
        None => AnswerProblem::Wrong { path, id, purpose, source },
    }))
}

/// A file's bytes, or its length where it has too many.
fn read(path: &Path) -> io::Result<Result<Vec<u8>, u64>> {
    let length = fs::metadata(path)?.len();
    if length > LONGEST_ANSWER { Ok(Err(length)) } else { fs::read(path).map(Ok) }
}
