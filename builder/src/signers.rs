//! Who signs what in a build.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use graven_boot::sign::{
    ChainedSigner, DetachedSigner, FileSigner, ProgramSigner, SignError, Signer, TokenSigner, TokenUri,
};
use graven_boot::x509::{Certificate, check_issuers};
use graven_targets::BootChain;

use crate::terminal;

/// The signers of the three things that a build signs.
///
/// On UEFI targets they are one: a stock kernel trusts a policy only from a certificate in db, and whatever is in db
/// can sign boot code, so more keys there would be no separation.
#[derive(Clone)]
pub struct Signers {
    /// Signs the boot artefact.
    pub boot: Arc<dyn Signer>,
    /// Signs the IPE policy.
    pub policy: Arc<dyn Signer>,
    /// Signs the root hash.
    pub root: Arc<dyn Signer>,
}

/// Why there are no signers.
#[derive(Debug, thiserror::Error)]
pub enum SignersError {
    /// The folder has no certificate for the role.
    #[error("{}: no such file; `graven keys new {}` makes the keys of an image", .0.display(), .0.parent().unwrap_or(Path::new("DIR")).display())]
    NoCertificate(PathBuf),
    /// A file that cannot be used.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A file that should say who signs.
    #[error("{}: {problem}", path.display())]
    Signer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A certificate file that cannot be used.
    #[error("{}: {problem}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl Signers {
    /// The signers of a UEFI target from a folder of keys: `db.crt`, and beside it what [`signer`] takes.
    ///
    /// # Errors
    /// When the certificate is missing, or a file is not what its name says.
    pub fn uefi(keys: &Path, answers: Option<&Path>) -> Result<Self, SignersError> {
        let db: Arc<dyn Signer> = signer(keys, "db", answers)?;
        Ok(Self { boot: Arc::clone(&db), policy: Arc::clone(&db), root: db })
    }

    /// The signers of a FIT target, likewise: `fit` signs the boot artefact; `policy`, whose certificate is in the kernel,
    /// signs policy and root hash.
    ///
    /// # Errors
    /// As [`Signers::uefi`]'s.
    pub fn fit(keys: &Path, answers: Option<&Path>) -> Result<Self, SignersError> {
        let policy = signer(keys, "policy", answers)?;
        Ok(Self { boot: signer(keys, "fit", answers)?, policy: Arc::clone(&policy), root: policy })
    }

    /// Those of a target's boot chain.
    ///
    /// # Errors
    /// As [`Signers::uefi`]'s.
    pub fn of(chain: BootChain, keys: &Path, answers: Option<&Path>) -> Result<Self, SignersError> {
        match chain {
            BootChain::Uki => Self::uefi(keys, answers),
            BootChain::Fit => Self::fit(keys, answers),
        }
    }

    /// Whether any of them signs with a development key.
    #[must_use]
    pub fn any_development(&self) -> bool {
        self.certificates().any(Certificate::is_development)
    }

    /// Whether any of them signs with a release key.
    #[must_use]
    pub fn any_release(&self) -> bool {
        self.certificates().any(|certificate| !certificate.is_development())
    }

    /// The certificates whose keys sign: of boot artefact, policy and root hash.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.all().into_iter().map(|signer| signer.certificate())
    }

    fn all(&self) -> [&Arc<dyn Signer>; 3] {
        [&self.boot, &self.policy, &self.root]
    }
}

/// The signer of one role from a folder of keys: `ROLE.crt` (where an issuer of it is trusted, with the issuers behind it, in
/// order), with the private key beside it in `ROLE.key`; or with `ROLE.signer`, whose one line says who signs (`exec:PROGRAM
/// ARGUMENTS` or a `pkcs11:` URI); or with neither: then every signature is asked for, and looked for in `answers`.
///
/// # Errors
/// When the certificate is missing, or a file is not what its name says.
pub fn signer(keys: &Path, role: &str, answers: Option<&Path>) -> Result<Arc<dyn Signer>, SignersError> {
    let certificate = keys.join(format!("{role}.crt"));
    let key = keys.join(format!("{role}.key"));
    if !certificate.is_file() {
        return Err(SignersError::NoCertificate(certificate));
    }
    let stated = keys.join(format!("{role}.signer"));
    if key.exists() && stated.exists() {
        let problem = format!("{role}.key lies beside it: one of the two can sign, take the other away");
        return Err(SignersError::Signer { path: stated, problem });
    }
    with_chain(&certificate, |own| {
        Ok(match (key.exists(), stated.exists()) {
            (true, _) => Arc::new(FileSigner::new(&key, own)?),
            (false, true) => stated_signer(&stated, own)?,
            // Without answers the folder of the certificate serves: it holds none, so that every request is pending.
            (false, false) => Arc::new(DetachedSigner::new(own, answers.unwrap_or(keys))),
        })
    })
}

/// The signer whose private key is in a file, and its certificate, with issuers behind it or without, in another (or the same).
///
/// # Errors
/// When a file is not what its name says.
pub fn file_signer(key: &Path, certificate: &Path) -> Result<Arc<dyn Signer>, SignersError> {
    with_chain(certificate, |own| Ok(Arc::new(FileSigner::new(key, own)?)))
}

/// A signer for the certificate in a file, with the issuers that stand behind it there.
pub(crate) fn with_chain(
    path: &Path,
    make: impl FnOnce(Certificate) -> Result<Arc<dyn Signer>, SignersError>,
) -> Result<Arc<dyn Signer>, SignersError> {
    let (own, issuers) = read_chain(path)?;
    let signer = make(own)?;
    Ok(if issuers.is_empty() { signer } else { Arc::new(ChainedSigner::new(signer, issuers)) })
}

/// The signer that a file names in its one line; a program with a `/` in its name is looked for from the file's folder on.
fn stated_signer(path: &Path, certificate: Certificate) -> Result<Arc<dyn Signer>, SignersError> {
    let wrong = |problem: String| SignersError::Signer { path: path.to_owned(), problem };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(wrong("expected one line that says who signs, such as exec:./sign db".to_owned()));
    };
    if line.starts_with("pkcs11:") {
        let uri: TokenUri = line.parse().map_err(|error| wrong(format!("{error}")))?;
        return Ok(Arc::new(TokenSigner::open(certificate, uri, &terminal::ask_pin)?));
    }
    let mut words = line.strip_prefix("exec:").unwrap_or_default().split_whitespace();
    let Some(program) = words.next() else {
        return Err(wrong(format!("expected exec:PROGRAM ARGUMENTS or a pkcs11: URI, found {line:?}")));
    };
    let program = match (program.contains('/'), path.parent()) {
        (true, Some(folder)) => folder.join(program),
        _ => PathBuf::from(program),
    };
    Ok(Arc::new(ProgramSigner::new(certificate, program, words)))
}

/// A signer's own certificate, and the issuers that stand behind it in the same file, in order.
///
/// # Errors
/// A file that cannot be read, or in which the certificates are not one's chain.
pub fn read_chain(path: &Path) -> Result<(Certificate, Vec<Certificate>), SignersError> {
    let wrong = |problem: String| SignersError::Certificate { path: path.to_owned(), problem };
    let bytes = std::fs::read(path).map_err(|source| SignError::Read { path: path.to_owned(), source })?;
    let all = Certificate::read_all(&bytes).map_err(|error| wrong(error.to_string()))?;
    let Some((own, issuers)) = all.split_first() else {
        return Err(wrong("no certificate is in it".to_owned()));
    };
    check_issuers(own, issuers).map_err(|error| wrong(error.to_string()))?;
    Ok((own.clone(), issuers.to_vec()))
}
