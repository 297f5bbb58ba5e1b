//! Who signs what in a build.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use graven_boot::sign::{DetachedSigner, FileSigner, SignError, Signer};
use graven_boot::x509::Certificate;
use graven_targets::BootChain;

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
    /// The signers of a UEFI target from a folder of keys: `db.crt`, with `db.key` beside it, or without: then every
    /// signature is asked for, and looked for in `answers`.
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
        self.all().iter().any(|signer| signer.certificate().is_development())
    }

    /// Whether any of them signs with a release key.
    #[must_use]
    pub fn any_release(&self) -> bool {
        self.all().iter().any(|signer| !signer.certificate().is_development())
    }

    fn all(&self) -> [&Arc<dyn Signer>; 3] {
        [&self.boot, &self.policy, &self.root]
    }
}

/// The signer of one role from a folder of keys: `ROLE.crt`, with `ROLE.key` beside it, or without: then every signature
/// is asked for, and looked for in `answers`.
///
/// # Errors
/// When the certificate is missing, or a file is not what its name says.
pub fn signer(keys: &Path, role: &str, answers: Option<&Path>) -> Result<Arc<dyn Signer>, SignersError> {
    let certificate = keys.join(format!("{role}.crt"));
    let key = keys.join(format!("{role}.key"));
    if !certificate.is_file() {
        return Err(SignersError::NoCertificate(certificate));
    }
    if key.exists() {
        return Ok(Arc::new(FileSigner::load(&key, &certificate)?));
    }
    // Without answers the folder of the certificate serves: it holds none, so that every request is pending.
    let own = read_certificate(&certificate)?;
    Ok(Arc::new(DetachedSigner::new(own, answers.unwrap_or(keys))))
}

fn read_certificate(path: &Path) -> Result<Certificate, SignersError> {
    let wrong = |problem: String| SignersError::Certificate { path: path.to_owned(), problem };
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut all = Certificate::read_all(&bytes).map_err(|error| wrong(error.to_string()))?;
    match (all.len(), all.pop()) {
        (1, Some(only)) => Ok(only),
        (found, _) => Err(wrong(format!("expected one certificate, found {found}"))),
    }
}
