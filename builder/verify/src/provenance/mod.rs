//! Provenance: a signed statement of what an image was built from and by whom, over every file of an output folder.
//!
//! SLSA's predicate in an in-toto statement in a DSSE envelope, which tools of others read. It attests a build; that the
//! image boots nothing else than what it should is what [`prove`](crate::prove) proves.

mod dsse;
mod statement;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use graven_boot::sign::{Answer, SignError, Signer};
use graven_boot::x509::Certificate;
use graven_handoff::hex;
use graven_verity::fsverity;
use graven_verity::io::{ReadAt, Window};

use crate::manifest::{Manifest, Role, sha256_of};

pub use dsse::Envelope;
pub use statement::{
    BuildDefinition, Builder, ExternalParameters, InternalParameters, Predicate, Resource, RunDetails,
    Statement,
};

/// Name of the file in the output folder.
pub const FILE: &str = "provenance.intoto.json";
const DISK: &str = "disk.img";
const SUMS: &str = "SHA256SUMS";
/// in-toto's name for plain SHA-256; our names for the digests that bind more than bytes.
const SHA256: &str = "sha256";
const FSVERITY: &str = "fsverity";
const DM_VERITY: &str = "dm-verity";

/// Why there is no provenance, or it does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ProvenanceError {
    /// A file that cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file that is not what the build left there.
    #[error("{name}: {algorithm} is {found}, expected {expected}")]
    Differs {
        /// Which, or which partition.
        name: String,
        /// By which digest.
        algorithm: String,
        /// What the build or the statement says.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A line of `SHA256SUMS` that is none.
    #[error("{SUMS}: line {0} is none of «DIGEST  NAME»")]
    Sums(usize),
    /// The signer.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// No envelope, or no statement in it.
    #[error("no signed statement: {0}")]
    Json(#[from] serde_json::Error),
    /// An envelope with something else in it.
    #[error("the envelope holds {0:?}, expected an in-toto statement")]
    PayloadType(String),
    /// A statement of another kind.
    #[error("the statement is none of SLSA provenance v1")]
    Kind,
    /// A field that is no base64.
    #[error("the envelope's {0} is no base64")]
    Base64(&'static str),
    /// No signature holds.
    #[error(
        "none of {signatures} signatures is of one of {trusted} trusted certificates over this statement"
    )]
    Signature {
        /// How many the envelope has.
        signatures: usize,
        /// How many certificates are trusted.
        trusted: usize,
    },
}

/// States and signs what an output folder is. Every file that the build summed is read, and the disk as a whole; each must be
/// what the build left.
///
/// # Errors
/// Files that are missing or others, and what the signer says.
pub fn make(
    folder: &Path,
    manifest: &Manifest,
    builder: &str,
    signer: &dyn Signer,
) -> Result<Answer<Envelope>, ProvenanceError> {
    let mut subjects = disk(folder, manifest)?;
    let sums = read(folder, SUMS)?;
    for (number, line) in (1..).zip(String::from_utf8_lossy(&sums).lines()) {
        let (expected, name) = line.split_once("  ").ok_or(ProvenanceError::Sums(number))?;
        let found = sha256_of_file(folder, name)?;
        same(name, SHA256, expected, &found)?;
        subjects.push(Resource::new(name, [(SHA256, found)]));
    }
    let statement = Statement::of(manifest, subjects, builder);
    let payload = serde_json::to_vec(&statement)?;
    Envelope::sign(&payload, signer)
}

/// The disk and its partitions, but for those that a machine writes to.
fn disk(folder: &Path, manifest: &Manifest) -> Result<Vec<Resource>, ProvenanceError> {
    let failed = |source| ProvenanceError::Io { path: folder.join(DISK).display().to_string(), source };
    let disk = File::open(folder.join(DISK)).map_err(failed)?;
    let found = fsverity::digest(&disk, &fsverity::Params::default()).map_err(failed)?.to_string();
    same(DISK, FSVERITY, &manifest.disk.fsverity, &found)?;
    let whole = sha256(&disk).map_err(failed)?;
    let mut subjects = vec![Resource::new(DISK, [(SHA256, whole), (FSVERITY, found)])];
    let roots =
        manifest.partitions.iter().filter(|partition| matches!(partition.role, Role::Root | Role::Volume));
    let hashes = std::iter::once(&manifest.root).chain(manifest.volumes.iter().map(|volume| &volume.image));
    let hashes: BTreeMap<&str, &str> =
        roots.map(|partition| &*partition.name).zip(hashes.map(|image| &*image.root_hash)).collect();
    for partition in &manifest.partitions {
        if partition.role.is_empty() || partition.role == Role::State {
            continue;
        }
        let bytes = Window::new(&disk, partition.offset, partition.size);
        let mut digests = vec![(SHA256, sha256(&bytes).map_err(failed)?)];
        digests.extend(hashes.get(&*partition.name).map(|hash| (DM_VERITY, (*hash).to_owned())));
        subjects.push(Resource::new(&format!("{DISK}/{}", partition.name), digests));
    }
    Ok(subjects)
}

/// A statement whose signature holds.
#[derive(Debug)]
pub struct Attested<'t> {
    /// What it says.
    pub statement: Statement,
    /// Who says so.
    pub signer: &'t Certificate,
}

/// Reads an envelope and proves its signature.
///
/// # Errors
/// No envelope, a signature that does not hold, no provenance in it.
pub fn open<'t>(text: &str, trusted: &'t [Certificate]) -> Result<Attested<'t>, ProvenanceError> {
    let envelope: Envelope = serde_json::from_str(text)?;
    let (payload, signer) = envelope.open(trusted)?;
    let statement: Statement = serde_json::from_slice(&payload)?;
    if !statement.is_provenance() {
        return Err(ProvenanceError::Kind);
    }
    Ok(Attested { statement, signer })
}

impl Attested<'_> {
    /// Holds an output folder against the statement: the names of the subjects that are there and the same. Partitions are
    /// part of the disk.
    ///
    /// # Errors
    /// The first that is another.
    pub fn compare(&self, folder: &Path) -> Result<Vec<String>, ProvenanceError> {
        let mut same_ones = Vec::new();
        for subject in &self.statement.subject {
            let Some(expected) = subject.digest.get(SHA256) else { continue };
            if subject.name.contains('/') || !folder.join(&subject.name).exists() {
                continue;
            }
            same(&subject.name, SHA256, expected, &sha256_of_file(folder, &subject.name)?)?;
            same_ones.push(subject.name.clone());
        }
        Ok(same_ones)
    }
}

impl Envelope {
    /// The envelope as a file.
    ///
    /// # Errors
    /// Never: it is plain text.
    pub fn to_json(&self) -> Result<String, ProvenanceError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

fn same(name: &str, algorithm: &str, expected: &str, found: &str) -> Result<(), ProvenanceError> {
    if expected == found {
        return Ok(());
    }
    let [name, algorithm, expected, found] = [name, algorithm, expected, found].map(str::to_owned);
    Err(ProvenanceError::Differs { name, algorithm, expected, found })
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, ProvenanceError> {
    let path = folder.join(name);
    std::fs::read(&path).map_err(|source| ProvenanceError::Io { path: path.display().to_string(), source })
}

fn sha256_of_file(folder: &Path, name: &str) -> Result<String, ProvenanceError> {
    let path = folder.join(name);
    let sum = File::open(&path).and_then(|file| sha256(&file));
    sum.map_err(|source| ProvenanceError::Io { path: path.display().to_string(), source })
}

fn sha256(bytes: &dyn ReadAt) -> io::Result<String> {
    Ok(hex::encode(&sha256_of(bytes)?))
}
