//! Whose signatures count, and for what.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use graven_boot::x509::{Certificate, CertificateError};

/// What a certificate may vouch for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The boot artefact.
    Boot,
    /// The IPE policy.
    Policy,
    /// The root hash.
    Root,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Boot, Self::Policy, Self::Root];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boot => "the boot artefact",
            Self::Policy => "the policy",
            Self::Root => "the root hash",
        })
    }
}

/// The certificates that a proof may end in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    certificates: Vec<(Certificate, Vec<Role>)>,
}

impl Trust {
    /// Trusts these for every role.
    #[must_use]
    pub fn for_all(certificates: impl IntoIterator<Item = Certificate>) -> Self {
        let mut trust = Self::default();
        for certificate in certificates {
            trust.add(certificate, &Role::ALL);
        }
        trust
    }

    /// Trusts a certificate for these roles, besides those that it has already.
    pub fn add(&mut self, certificate: Certificate, roles: &[Role]) {
        match self.certificates.iter_mut().find(|(known, _)| *known == certificate) {
            Some((_, known)) => known.extend(roles),
            None => self.certificates.push((certificate, roles.to_vec())),
        }
    }

    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// Whether a certificate may vouch for this.
    #[must_use]
    pub fn allows(&self, certificate: &Certificate, role: Role) -> bool {
        self.certificates.iter().any(|(known, roles)| known == certificate && roles.contains(&role))
    }

    /// Every certificate with what it may vouch for, in the order in which they came.
    pub fn entries(&self) -> impl Iterator<Item = (&Certificate, &[Role])> {
        self.certificates.iter().map(|(certificate, roles)| (certificate, roles.as_slice()))
    }

    /// Every certificate, those for `role` first: a signature by another role's is then found genuine but out of place.
    pub(crate) fn certificates(&self, role: Role) -> Vec<Certificate> {
        let (own, others): (Vec<_>, Vec<_>) =
            self.certificates.iter().partition(|(_, roles)| roles.contains(&role));
        own.into_iter().chain(others).map(|(certificate, _)| certificate.clone()).collect()
    }

    /// What a certificate is trusted for, in words.
    pub(crate) fn roles_of(&self, certificate: &Certificate) -> String {
        let mut roles: Vec<Role> = self
            .certificates
            .iter()
            .filter(|(known, _)| known == certificate)
            .flat_map(|(_, roles)| roles.iter().copied())
            .collect();
        roles.sort();
        roles.dedup();
        roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
    }
}

/// Why no certificates were read.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// The file system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A private key where a certificate was asked for.
    #[error("{} holds a private key: give the certificate (.crt), keys are not needed to verify", .0.display())]
    PrivateKey(PathBuf),
    /// Not a certificate.
    #[error("{}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// A folder without any.
    #[error("{}: no *.crt, *.pem, *.der or *.cer in this folder", .0.display())]
    None(PathBuf),
    /// Too long for a certificate.
    #[error("{} has more than {MOST_BYTES} bytes: this is no certificate file", .0.display())]
    TooLarge(PathBuf),
}

/// Bytes that a file of certificates may have.
const MOST_BYTES: u64 = 4 << 20;
/// Endings of certificates' file names.
const ENDINGS: [&str; 4] = ["crt", "pem", "der", "cer"];

/// Reads the certificates of a file (PEM, one or more; DER), or of all files of a folder that are named like some.
///
/// # Errors
/// Where the path cannot be read, or a file is none; in a folder, private keys are passed over.
pub fn read_certificates(path: &Path) -> Result<Vec<Certificate>, CertificatesError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CertificatesError::Io { path, source }
    };
    if !fs::metadata(path).map_err(failed(path))?.is_dir() {
        return read_file(path);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed(path))? {
        let file = entry.map_err(failed(path))?.path();
        let ending = file.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
        if ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    let mut certificates: Vec<Certificate> = Vec::new();
    for file in files {
        match read_file(&file) {
            Ok(found) => {
                let new: Vec<_> = found.into_iter().filter(|one| !certificates.contains(one)).collect();
                certificates.extend(new);
            }
            Err(CertificatesError::PrivateKey(_)) => {}
            Err(error) => return Err(error),
        }
    }
    if certificates.is_empty() { Err(CertificatesError::None(path.to_owned())) } else { Ok(certificates) }
}

fn read_file(path: &Path) -> Result<Vec<Certificate>, CertificatesError> {
    let failed = |source| CertificatesError::Io { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > MOST_BYTES {
        return Err(CertificatesError::TooLarge(path.to_owned()));
    }
    let bytes = fs::read(path).map_err(failed)?;
    Certificate::read_all(&bytes).map_err(|source| {
        let key = bytes.windows(PRIVATE_KEY.len()).any(|window| window == PRIVATE_KEY);
        match key {
            true => CertificatesError::PrivateKey(path.to_owned()),
            false => CertificatesError::Certificate { path: path.to_owned(), source },
        }
    })
}

const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";
