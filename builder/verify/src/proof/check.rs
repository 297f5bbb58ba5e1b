//! Checking a proof: from a certificate or a root hash to a statement about a file.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use graven_boot::pkcs7::{Pkcs7Error, verify_root_hash};
use graven_boot::x509::Certificate;
use graven_image::any::{LookupError, ReadError, Reader};
use graven_image::tree::{self, Kind, Metadata, TreePath};
use graven_verity::dm::RootHash;
use graven_verity::hash::Digest;
use graven_verity::io::ReadAt;
use graven_verity::proof::{ProofError, Shape, leaf_digests};
use sha2::{Digest as _, Sha256};

use super::blocks::{Blocks, FileBlocks};
use super::format::{ImageProof, Subject};
use crate::trust::{Role, Trust};

/// What a proof has to end in.
#[derive(Debug, Clone, Copy)]
pub enum Trusted<'a> {
    /// A certificate that may vouch for root hashes.
    Certificates(&'a Trust),
    /// This root hash, however it came to be trusted.
    RootHash(&'a RootHash),
}

/// What was proved.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The root hash that it hangs on.
    pub root_hash: RootHash,
    /// Whose signature vouches for the root hash, where one was asked for.
    pub signer: Option<Certificate>,
    /// What it is about.
    pub thing: Thing,
    /// Its contents, where it has any.
    pub contents: Option<Contents>,
}

/// A thing in the image.
#[derive(Debug, Clone)]
pub enum Thing {
    /// What a path leads to.
    Path {
        /// Without symbolic links.
        path: TreePath,
        /// `regular file`, `directory` and so on.
        kind: &'static str,
        /// Mode, owner, time, extended attributes.
        metadata: Metadata,
    },
    /// Bytes of the root file system.
    Bytes {
        /// The first one.
        start: u64,
        /// The one after the last.
        end: u64,
    },
}

/// Contents, proved to the last byte unless there is no digest of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// Bytes.
    pub len: u64,
    /// SHA-256. `None` where the proof does not carry them and no file was given in their place.
    pub sha256: Option<[u8; 32]>,
}

/// Why a proof proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is no signature to check.
    #[error("the proof carries no signature of its root hash: give the root hash itself, if you trust it")]
    NoSignature,
    /// The signature does not hold, or nobody trusted made it.
    #[error("the root hash {root_hash} is not signed by a trusted certificate: {source}")]
    Signature {
        /// The proof's.
        root_hash: Box<RootHash>,
        /// Why.
        source: Pkcs7Error,
    },
    /// Signed by a certificate that is trusted for other things.
    #[error("the root hash is signed by «{subject}», which is not trusted for root hashes")]
    Role {
        /// Subject of the certificate.
        subject: String,
    },
    /// Another root hash.
    #[error("the proof is for root hash {found}, not for {expected}")]
    OtherRoot {
        /// The trusted one.
        expected: Box<RootHash>,
        /// The proof's.
        found: Box<RootHash>,
    },
    /// Blocks that are not what the proof says they are.
    #[error("the blocks of the proof are not those of the root hash: {0}")]
    Blocks(#[from] ProofError),
    /// Blocks there twice, missing, or past the end.
    #[error("the blocks of the proof are not those that its digests are about")]
    Positions,
    /// The file system.
    #[error("the root file system: {0}")]
    FileSystem(#[from] ReadError),
    /// A file system of another length than the tree: one of them would be read as something that it is not.
    #[error("the root file system has {found} bytes, its tree covers {expected}")]
    Length {
        /// Of the dm-verity parameters.
        expected: u64,
        /// Of the superblock.
        found: u64,
    },
    /// The path leads nowhere.
    #[error("{0}")]
    Lookup(#[from] LookupError),
    /// Not a path.
    #[error(transparent)]
    Path(#[from] tree::Error),
    /// Bytes that cannot be read from the proof's blocks.
    #[error("{what}: {source}")]
    Read {
        /// Whose.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The file differs.
    #[error("the file is not the one in the image: {0}")]
    OtherFile(String),
    /// The file that was given cannot be read.
    #[error("reading the file to compare with: {0}")]
    File(io::Error),
    /// There are no contents to compare.
    #[error("{what} is a {kind}: it has no contents that a file could have")]
    NoContents {
        /// The path.
        what: String,
        /// Its kind.
        kind: &'static str,
    },
}

/// Proves what `proof` says, from nothing but itself and what is trusted. With `file`, its contents are proved to be the
/// image's too, and those that the proof leaves out are taken from it.
///
/// # Errors
/// [`CheckError`]: it is not proved, and why.
pub fn check(
    proof: &ImageProof,
    trusted: Trusted<'_>,
    file: Option<&dyn ReadAt>,
) -> Result<Statement, CheckError> {
    let signer = root(proof, trusted)?;
    let blocks = proved_blocks(proof, file)?;
    // Whatever it is about, the superblock has to be there: it ties the number of blocks, on which the tree's height hangs, to
    // the root hash. A hash block cannot pass for data then, or data for a hash block.
    let blocks = Arc::new(blocks);
    let reader = Reader::open(blocks.clone())?;
    let (expected, found) = (proof.params.data_bytes(), reader.bytes());
    if expected != found {
        return Err(CheckError::Length { expected, found });
    }
    let (thing, contents) = match &proof.subject {
        Subject::Path(path) => {
            let found = reader.lookup(&TreePath::parse(path.as_bytes())?)?;
            let contents = match &found.inode.kind {
                Kind::File(content) => Some((content.source.clone(), content.offset, content.len)),
                other if file.is_some() => {
                    let (what, kind) = (found.path.to_string(), other.noun());
                    return Err(CheckError::NoContents { what, kind });
                }
                _ => None,
            };
            let (kind, metadata) = (found.inode.kind.noun(), found.inode.metadata);
            (Thing::Path { path: found.path, kind, metadata }, contents)
        }
        Subject::Block(block) => {
            let size = u64::from(proof.params.data_block_size());
            let start = block.saturating_mul(size);
            bytes(&blocks, start, start.saturating_add(size))
        }
        Subject::Bytes(start, end) => bytes(&blocks, *start, *end),
    };
    let contents = match contents {
        Some(place) => Some(read(proof, place, file)?),
        None => None,
    };
    Ok(Statement { root_hash: proof.root_hash, signer, thing, contents })
}

type Place = (Arc<dyn ReadAt>, u64, u64);

fn bytes(blocks: &Arc<Blocks>, start: u64, end: u64) -> (Thing, Option<Place>) {
    (Thing::Bytes { start, end }, Some((blocks.clone(), start, end.saturating_sub(start))))
}

fn root(proof: &ImageProof, trusted: Trusted<'_>) -> Result<Option<Certificate>, CheckError> {
    let found = proof.root_hash;
    match trusted {
        Trusted::RootHash(expected) if *expected == found => Ok(None),
        Trusted::RootHash(expected) => {
            Err(CheckError::OtherRoot { expected: Box::new(*expected), found: Box::new(found) })
        }
        Trusted::Certificates(trust) => {
            let message = proof.signature.as_ref().ok_or(CheckError::NoSignature)?;
            let certificates = trust.certificates(Role::Root);
            let signer = verify_root_hash(message, &found.to_string(), &certificates)
                .map_err(|source| CheckError::Signature { root_hash: Box::new(found), source })?;
            if !trust.allows(signer, Role::Root) {
                return Err(CheckError::Role { subject: signer.subject() });
            }
            Ok(Some(signer.clone()))
        }
    }
}

/// The proof's blocks, and the file's in place of those left out, once they are known to be the root hash's.
fn proved_blocks(proof: &ImageProof, file: Option<&dyn ReadAt>) -> Result<Blocks, CheckError> {
    let params = &proof.params;
    let mut blocks = Blocks::new(params.data_block_size(), params.data_bytes());
    let mut runs = Vec::new();
    for (first, bytes) in &proof.blocks {
        runs.push((*first, leaf_digests(params, bytes)));
        blocks.add(*first, bytes);
    }
    let left_out = proof.left_out.iter();
    runs.extend(left_out.clone().map(|(first, digests)| (*first, digests.clone())));
    if let Some(file) = file.filter(|_| !proof.left_out.is_empty()) {
        let theirs = FileBlocks::read(params, file).map_err(CheckError::File)?;
        for (block, digest) in left_out.flat_map(|(first, digests)| (*first..).zip(digests)) {
            let bytes = theirs.get(digest).ok_or_else(|| other_file(proof, &theirs, block))?;
            blocks.add(block, &bytes.map_err(CheckError::File)?);
        }
    }
    runs.sort_unstable_by_key(|(first, _)| *first);
    let mut positions = Vec::new();
    for (first, digests) in &runs {
        let run = ImageProof::run(*first, digests.len()).ok_or(CheckError::Positions)?;
        match positions.last_mut() {
            Some(std::ops::Range { end, .. }) if *end == run.start => *end = run.end,
            Some(std::ops::Range { end, .. }) if *end > run.start => return Err(CheckError::Positions),
            _ => positions.push(run),
        }
    }
    if positions != proof.inclusion.leaves() {
        return Err(CheckError::Positions);
    }
    let digests: Vec<Digest> = runs.into_iter().flat_map(|(_, digests)| digests).collect();
    let shape = Shape::of(params);
    proof.inclusion.verify(&shape, params.data_blocks(), &digests, &proof.root_hash.digest())?;
    Ok(blocks)
}

/// The file has nothing with the digest of `block`.
fn other_file(proof: &ImageProof, theirs: &FileBlocks<'_>, block: u64) -> CheckError {
    let wanted: HashSet<Digest> = proof.left_out.iter().flat_map(|(_, digests)| digests).copied().collect();
    CheckError::OtherFile(match theirs.first_other(&wanted) {
        Some(at) => format!("it differs in the block from byte {at} on"),
        None => format!("nothing of it lies in block {block} of the root file system"),
    })
}

/// Reads contents from the proved blocks; holds them against the file where there is one.
fn read(
    proof: &ImageProof,
    (source, offset, len): Place,
    file: Option<&dyn ReadAt>,
) -> Result<Contents, CheckError> {
    if file.is_none() && !proof.left_out.is_empty() {
        return Ok(Contents { len, sha256: None });
    }
    if let Some(file) = file {
        let found = file.size().map_err(CheckError::File)?;
        if found != len {
            return Err(CheckError::OtherFile(format!("it has {found} bytes, that one has {len}")));
        }
    }
    let mut sha256 = Sha256::new();
    let (mut ours, mut theirs) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = 0u64;
    while at < len {
        let wanted = usize::try_from(len.saturating_sub(at)).unwrap_or(PIECE).min(PIECE);
        let ours = ours.get_mut(..wanted).unwrap_or_default();
        source
            .read_exact_at(ours, offset.saturating_add(at))
            .map_err(|source| CheckError::Read { what: proof.subject.to_string(), source })?;
        sha256.update(&*ours);
        if let Some(file) = file {
            let theirs = theirs.get_mut(..wanted).unwrap_or_default();
            file.read_exact_at(theirs, at).map_err(CheckError::File)?;
            if let Some(bad) = ours.iter().zip(&*theirs).position(|(ours, theirs)| ours != theirs) {
                let byte = at.saturating_add(bad as u64);
                return Err(CheckError::OtherFile(format!("the first byte that differs is {byte}")));
            }
        }
        at = at.saturating_add(wanted as u64);
    }
    Ok(Contents { len, sha256: Some(sha256.finalize().into()) })
}

/// Bytes that are compared at a time.
const PIECE: usize = 64 * 1024;
