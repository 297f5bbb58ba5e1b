//! A signer that is a program: a firm's own, or a few lines around a cloud's key service.

use std::ffi::OsString;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Answer, BadSignature, Request, SignError, Signer, verify};
use crate::x509::Certificate;

/// How long a program may take: somebody may have to touch a token, or to type.
const PATIENCE: Duration = Duration::from_secs(120);
/// A signature of RSA-4096 in base64 is 684 characters.
const MOST_ANSWER_BYTES: u64 = 64 << 10;
/// Between two looks at a program that has closed its output.
const PAUSE: Duration = Duration::from_millis(10);

/// Hands each request to a program, as the entry that it would be in `to-sign.json`, one line of JSON on standard input, and
/// takes the signature in base64 from its standard output. What it answers is checked against the certificate.
#[derive(Clone, Debug)]
pub struct ProgramSigner {
    certificate: Certificate,
    program: PathBuf,
    arguments: Vec<OsString>,
    patience: Duration,
}

/// Why a program's answer is none.
#[derive(Debug, thiserror::Error)]
pub enum ProgramProblem {
    /// It does not start, or breaks off the conversation.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It ended with a failure.
    #[error("it ended with {status}{}", after(said))]
    Failed {
        /// How.
        status: ExitStatus,
        /// The end of what it wrote to standard error.
        said: String,
    },
    /// It took too long and was stopped.
    #[error("no answer within {} seconds", .0.as_secs())]
    Late(Duration),
    /// Its answer is something else.
    #[error("expected a signature in base64 on standard output, found {found:?}")]
    NoBase64 {
        /// How it begins.
        found: String,
    },
    /// It is a signature, but not the one that was asked for.
    #[error("{0}")]
    BadSignature(#[from] BadSignature),
}

fn after(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

impl ProgramSigner {
    /// A signer for `certificate`'s key.
    pub fn new<A: Into<OsString>>(
        certificate: Certificate,
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { certificate, program: program.into(), arguments, patience: PATIENCE }
    }

    /// With another limit than two minutes.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn ask(&self, request: &Request) -> Result<Vec<u8>, ProgramProblem> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let answered = self.converse(&mut child, request);
        if answered.is_err() {
            // It may have ended by itself; if not, nobody waits for it any more.
            let _ = child.kill();
            let _ = child.wait();
        }
        answered
    }

    fn converse(&self, child: &mut Child, request: &Request) -> Result<Vec<u8>, ProgramProblem> {
        let deadline = Instant::now().checked_add(self.patience);
        let late = || ProgramProblem::Late(self.patience);
        let left = || deadline.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        let line = serde_json::to_string(request).map_err(io::Error::other)? + "\n";
        if let Some(mut input) = child.stdin.take() {
            // Apart, for a program that reads nothing; that it does not read is no failure of its own.
            thread::spawn(move || input.write_all(line.as_bytes()));
        }
        let output = child.stdout.take().map(read_apart);
        let errors = child.stderr.take().map(read_apart);
        let answer = match output.map(|output| output.recv_timeout(left())) {
            Some(Ok(answer)) => answer,
            Some(Err(RecvTimeoutError::Timeout)) => return Err(late()),
            Some(Err(RecvTimeoutError::Disconnected)) | None => Vec::new(),
        };
        let status = loop {
            match child.try_wait()? {
                Some(status) => break status,
                None if left().is_zero() => return Err(late()),
                None => thread::sleep(PAUSE),
            }
        };
        if !status.success() {
            let said = errors.and_then(|errors| errors.recv_timeout(left()).ok()).unwrap_or_default();
            return Err(ProgramProblem::Failed { status, said: last_line(&said) });
        }
        let text: Vec<u8> = answer.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let found = || String::from_utf8_lossy(&text).chars().take(40).collect();
        match STANDARD.decode(&text) {
            Ok(signature) if !signature.is_empty() => Ok(signature),
            _ => Err(ProgramProblem::NoBase64 { found: found() }),
        }
    }
}

/// Reads to the end, or to the most that is taken, in a thread of its own.
fn read_apart(from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.take(MOST_ANSWER_BYTES).read_to_end(&mut bytes);
        // Nobody may be waiting any more.
        let _ = sender.send(bytes);
    });
    receiver
}

fn last_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

impl Signer for ProgramSigner {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn sign(&self, request: &Request) -> Result<Answer, SignError> {
        request.refuse_foreign(&self.certificate)?;
        let checked = self.ask(request).and_then(|signature| {
            verify(&self.certificate, request.algorithm(), request.to_be_signed(), &signature)?;
            Ok(signature)
        });
        match checked {
            Ok(signature) => Ok(Answer::Signed(signature)),
            Err(problem) => Err(SignError::Program {
                program: self.program.clone(),
                purpose: request.purpose(),
                subject: self.certificate.subject(),
                problem: Box::new(problem),
            }),
        }
    }
}
