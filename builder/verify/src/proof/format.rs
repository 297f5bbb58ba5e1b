//! The file that a proof is.

use std::fmt;
use std::ops::Range;

use graven_handoff::base64;
use graven_verity::dm::{HashType, Params, ParamsError, RootHash, RootHashError, Salt, SaltError};
use graven_verity::hash::{Algorithm, Digest, UnknownAlgorithm};
use graven_verity::proof::Proof;
use serde::{Deserialize, Serialize};

const FORMAT: &str = "graven-proof";
const VERSION: u32 = 1;

/// What a proof is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A path of the root file system, symbolic links followed.
    Path(String),
    /// A data block.
    Block(u64),
    /// Bytes of the root file system: the first, and the one after the last.
    Bytes(u64, u64),
}

/// A proof, parsed and nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageProof {
    pub(super) subject: Subject,
    pub(super) params: Params,
    pub(super) root_hash: RootHash,
    /// PKCS#7, DER, detached, over the root hash's text.
    pub(super) signature: Option<Vec<u8>>,
    /// Runs of whole blocks, by the first one's position.
    pub(super) blocks: Vec<(u64, Vec<u8>)>,
    /// Runs of blocks that are not carried, but for their digests: blocks of the file, the last of which is filled up with zeros.
    pub(super) left_out: Vec<(u64, Vec<Digest>)>,
    pub(super) inclusion: Proof,
}

/// Why something is no proof.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Not the JSON that it has to be.
    #[error("not a proof: {0}")]
    Json(#[from] serde_json::Error),
    /// Another kind of file, or a later version.
    #[error("not a proof of format {FORMAT}, version {VERSION}, but of {format:?}, version {version}")]
    Version {
        /// As it says.
        format: String,
        /// As it says.
        version: u32,
    },
    /// The hash function.
    #[error(transparent)]
    Algorithm(#[from] UnknownAlgorithm),
    /// The salt.
    #[error(transparent)]
    Salt(#[from] SaltError),
    /// The parameters.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The root hash.
    #[error(transparent)]
    RootHash(#[from] RootHashError),
    /// A value that cannot be.
    #[error("not a proof: {field} has to be {expected}")]
    Value {
        /// Which.
        field: &'static str,
        /// What is possible.
        expected: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Wire {
    format: String,
    version: u32,
    subject: Subject,
    verity: WireVerity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    blocks: Vec<WireBlocks>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<WireDigests>,
    inclusion: Proof,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WireVerity {
    root_hash: String,
    hash_type: u32,
    hash_algorithm: String,
    data_block_size: u32,
    hash_block_size: u32,
    data_blocks: u64,
    salt: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireBlocks {
    first: u64,
    bytes: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireDigests {
    first: u64,
    digests: Vec<String>,
}

impl ImageProof {
    /// Reads a proof.
    ///
    /// # Errors
    /// Anything but the documented format.
    pub fn parse(json: &str) -> Result<Self, FormatError> {
        let wire: Wire = serde_json::from_str(json)?;
        if wire.format != FORMAT || wire.version != VERSION {
            return Err(FormatError::Version { format: wire.format, version: wire.version });
        }
        let value = |field, expected| FormatError::Value { field, expected };
        let verity = wire.verity;
        let hash_type = match verity.hash_type {
            0 => HashType::ChromeOs,
            1 => HashType::Normal,
            _ => return Err(value("hash-type", "0 or 1")),
        };
        let params = Params::new(
            verity.hash_algorithm.parse::<Algorithm>()?,
            verity.data_block_size,
            verity.hash_block_size,
            verity.data_blocks,
            verity.salt.parse::<Salt>()?,
        )?
        .with_hash_type(hash_type)?;
        let root_hash: RootHash = verity.root_hash.parse()?;
        if root_hash.as_bytes().len() != params.algorithm().digest_size() {
            return Err(value("root-hash", "a digest of hash-algorithm"));
        }
        let signature = wire.signature.as_deref().map(base64::decode);
        if signature == Some(None) {
            return Err(value("signature", "padded base64"));
        }
        let size = params.data_block_size() as usize;
        let mut blocks = Vec::with_capacity(wire.blocks.len());
        for run in wire.blocks {
            let bytes = base64::decode(&run.bytes)
                .filter(|bytes| !bytes.is_empty() && bytes.len().is_multiple_of(size));
            blocks.push((run.first, bytes.ok_or_else(|| value("bytes", "whole blocks in padded base64"))?));
        }
        let mut left_out = Vec::with_capacity(wire.left_out.len());
        for run in wire.left_out {
            let digests: Option<Vec<Digest>> = run.digests.iter().map(|digest| digest.parse().ok()).collect();
            let digests = digests.filter(|digests| !digests.is_empty());
            left_out
                .push((run.first, digests.ok_or_else(|| value("digests", "digests in hexadecimal digits"))?));
        }
        Ok(Self {
            subject: wire.subject,
            params,
            root_hash,
            signature: signature.flatten(),
            blocks,
            left_out,
            inclusion: wire.inclusion,
        })
    }

    /// The proof as a file.
    ///
    /// # Errors
    /// Never, in practice.
    pub fn to_json(&self) -> Result<String, FormatError> {
        let params = &self.params;
        let wire = Wire {
            format: FORMAT.to_owned(),
            version: VERSION,
            subject: self.subject.clone(),
            verity: WireVerity {
                root_hash: self.root_hash.to_string(),
                hash_type: params.hash_type().number(),
                hash_algorithm: params.algorithm().name().to_owned(),
                data_block_size: params.data_block_size(),
                hash_block_size: params.hash_block_size(),
                data_blocks: params.data_blocks(),
                salt: params.salt().to_string(),
            },
            signature: self.signature.as_deref().map(base64::encode),
            blocks: self
                .blocks
                .iter()
                .map(|(first, bytes)| WireBlocks { first: *first, bytes: base64::encode(bytes) })
                .collect(),
            left_out: self
                .left_out
                .iter()
                .map(|(first, digests)| WireDigests {
                    first: *first,
                    digests: digests.iter().map(ToString::to_string).collect(),
                })
                .collect(),
            inclusion: self.inclusion.clone(),
        };
        Ok(serde_json::to_string_pretty(&wire)?)
    }

    /// What it is about.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The root hash that it leads to. Nothing is proved by looking at it.
    #[must_use]
    pub fn root_hash(&self) -> &RootHash {
        &self.root_hash
    }

    /// Positions of a run of `count` blocks.
    pub(super) fn run(first: u64, count: usize) -> Option<Range<u64>> {
        Some(first..first.checked_add(count as u64)?)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.write_str(path),
            Self::Block(block) => write!(f, "block {block}"),
            Self::Bytes(start, end) => write!(f, "bytes {start} to {}", end.saturating_sub(1)),
        }
    }
}
