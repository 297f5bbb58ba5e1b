//! `graven keys new`: a folder of keys, certificates and enrolment files.
//!
//! | file | holds |
//! |---|---|
//! | `pk`, `kek`, `db`, `fit`, `policy`, `provenance` `.key` | private key, PEM PKCS#8, mode 0600 |
//! | … `.crt` | certificate, PEM |
//! | `pk.der`, `kek.der`, `db.der` | the same for firmware menus |
//! | `PK.esl`, `KEK.esl`, `db.esl` | signature lists |
//! | `PK.auth`, `KEK.auth`, `db.auth` | signed updates: PK by PK, KEK by PK, db by KEK |
//! | `owner.guid` | the owner's GUID in the lists |
//!
//! This and PSS signatures are the two places of the library that draw random numbers.

mod folder;
mod make;
mod role;

pub use role::{Kind, Role};

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;
use uuid::Uuid;

use crate::enrol::{self, EfiTime, EnrolError, Variable, Write};
use crate::sign::{Answer, FileSigner, Signer};
use crate::x509::{Certificate, CertificateError, IssueError, Subject, Validity, self_signed};

/// What the new keys are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Goes into each subject: `CN=NAME ROLE`.
    pub name: String,
    /// Marks the subjects as development keys ([`crate::x509::DEVELOPMENT_MARK`]).
    pub development: bool,
    /// Dates of the certificates.
    pub validity: Validity,
    /// Time in the enrolment files, Unix seconds. Firmware takes a later update only with a later time.
    pub enrolment_time: u64,
    /// Owner in the signature lists; a random one if none is given.
    pub owner: Option<Uuid>,
    /// Roles whose keys are not of the usual kind: RSA-2048, and ECDSA P-256 for provenance.
    pub kinds: BTreeMap<Role, Kind>,
}

impl Options {
    /// Development keys: marked as such, valid always, enrolment time 2020-01-01.
    pub fn development(name: &str) -> Self {
        Self { development: true, ..Self::release(name) }
    }

    /// Release keys: no mark; otherwise as [`Self::development`].
    pub fn release(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            development: false,
            validity: Validity::ALWAYS,
            enrolment_time: 1_577_836_800,
            owner: None,
            kinds: BTreeMap::new(),
        }
    }
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    /// The owner's GUID in the signature lists.
    pub owner: Uuid,
    /// The certificates, in the order of [`Role::ALL`].
    pub certificates: Vec<Certificate>,
    /// The files, in the order in which they were written.
    pub files: Vec<PathBuf>,
}

/// Why no keys were made, or none can be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeysError {
    /// A name that certificates cannot carry sensibly.
    #[error("«{name}» cannot name keys: expected 1 to {LONGEST_NAME} printable characters")]
    Name {
        /// The name given.
        name: String,
    },
    /// Something is there already.
    #[error("{} exists; keys are never overwritten: choose another folder or move it away", path.display())]
    Exists {
        /// What is in the way.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system's random numbers failed.
    #[error("the system gives no random numbers")]
    Random,
    /// A key that nobody would check signatures with.
    #[error("no {kind} key for {role}: {reason}")]
    Unfit {
        /// Which key.
        role: Role,
        /// The kind asked for.
        kind: Kind,
        /// Who does not take it.
        reason: &'static str,
    },
    /// Key making failed.
    #[error("making the key «{role}» failed: {reason}")]
    Generate {
        /// Which key.
        role: &'static str,
        /// What the library said.
        reason: String,
    },
    /// No certificate could be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// No enrolment file could be made.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// A file holds no certificate.
    #[error("{}: {source}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CertificateError,
    },
}

/// Makes keys for every role, their certificates and enrolment files in the new or empty folder `dir`.
///
/// Everything is written at the end, into a folder beside it that is renamed: `dir` holds all of it or is as it was. Takes a
/// few seconds.
pub fn create(dir: &Path, options: &Options) -> Result<KeySet, KeysError> {
    let printable = options.name.chars().all(|c| !c.is_control());
    if options.name.is_empty() || options.name.chars().count() > LONGEST_NAME || !printable {
        return Err(KeysError::Name { name: options.name.clone() });
    }
    for (role, kind) in &options.kinds {
        role.refuse(*kind)?;
    }
    let mut folder = folder::NewFolder::at(dir)?;
    let owner = match options.owner {
        Some(owner) => owner,
        None => uuid::Builder::from_random_bytes(random()?).into_uuid(),
    };

    let mut signers = Vec::new();
    for role in Role::ALL {
        let kind = options.kinds.get(&role).copied().unwrap_or_else(|| role.usual());
        let (pem, key) = make::generate(role.name(), kind)?;
        let subject =
            Subject { common_name: format!("{} {role}", options.name), development: options.development };
        let certificate = self_signed(&key, &subject, options.validity, random()?)?;
        folder.add(&format!("{role}.key"), pem.as_bytes());
        folder.add(&format!("{role}.crt"), certificate.to_pem().as_bytes());
        signers.push(FileSigner::from_parts(key, certificate));
    }

    let [pk, kek, db, ..] = signers.as_slice() else { unreachable!("one signer a role") };
    let time = EfiTime::from_unix(options.enrolment_time)?;
    for (variable, subject, signed_by) in
        [(Variable::Pk, pk, pk), (Variable::Kek, kek, pk), (Variable::Db, db, kek)]
    {
        let list = enrol::certificate_list(owner, subject.certificate())?;
        let Answer::Signed(update) =
            enrol::authenticated_update(variable, Write::Replace, time, &list, signed_by)?
        else {
            unreachable!("a key at hand answers at once")
        };
        let stem = variable.name().to_ascii_lowercase();
        folder.add(&format!("{stem}.der"), subject.certificate().der());
        folder.add(&format!("{variable}.esl"), &list);
        folder.add(&format!("{variable}.auth"), &update);
    }
    folder.add("owner.guid", format!("{owner}\n").as_bytes());

    let files = folder.publish()?;
    let certificates = signers.iter().map(|signer| signer.certificate().clone()).collect();
    Ok(KeySet { owner, certificates, files })
}

/// Reads every certificate of a file: PEM (one or more) or DER.
pub fn read_certificates(path: &Path) -> Result<Vec<Certificate>, KeysError> {
    let contents = fs::read(path).map_err(|source| io_error("read", path, source))?;
    Certificate::read_all(&contents)
        .map_err(|source| KeysError::Certificate { path: path.to_owned(), source })
}

fn random<const N: usize>() -> Result<[u8; N], KeysError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| KeysError::Random)?;
    Ok(bytes)
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> KeysError {
    KeysError::Io { action, path: path.to_owned(), source }
}

/// RFC 5280's upper bound of a common name is 64; the role takes up to eleven of it.
const LONGEST_NAME: usize = 53;
