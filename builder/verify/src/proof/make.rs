//! Making a proof: what is read on the way to a file is what a checker will have to read.

use std::io;
use std::sync::Arc;

use graven_image::any::{LookupError, ReadError, Reader};
use graven_image::tree::{self, Kind, TreePath};
use graven_verity::dm::{Params, RootHash, RootHashError, Superblock, SuperblockError};
use graven_verity::hash::Digest;
use graven_verity::io::{ReadAt, Window, read_through};
use graven_verity::proof::{leaf_digests, prove};

use super::blocks::{FileBlocks, Recorder, runs};
use super::check::{CheckError, Trusted, check};
use super::format::{ImageProof, Subject};
use crate::contents::{Contents, ContentsError};

/// Bytes of contents that a proof may carry.
const MOST_BYTES: u64 = 256 << 20;

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// A part of the image.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// The superblock of the tree.
    #[error("root-verity partition: {0}")]
    Superblock(#[from] SuperblockError),
    /// The root hash.
    #[error("verity-sig partition: {0}")]
    RootHash(#[from] RootHashError),
    /// The file system.
    #[error("the root file system: {0}")]
    FileSystem(#[from] ReadError),
    /// The path leads nowhere.
    #[error("{0}")]
    Lookup(#[from] LookupError),
    /// Not a path.
    #[error(transparent)]
    Path(#[from] tree::Error),
    /// Bytes that the root does not have.
    #[error("{subject}: the root file system has {bytes} bytes, blocks of {block_size}")]
    Outside {
        /// What was asked for.
        subject: Subject,
        /// Length of the root file system.
        bytes: u64,
        /// Bytes of a block.
        block_size: u32,
    },
    /// Too much to carry.
    #[error(
        "{bytes} bytes are more than a proof carries ({MOST_BYTES}); a compact one leaves out what lies in the image as it is in \
         the file"
    )]
    TooLarge {
        /// Bytes to carry.
        bytes: u64,
    },
    /// The image cannot be read.
    #[error("reading the image: {0}")]
    Io(#[from] io::Error),
    /// The proof would not hold.
    #[error("the image does not prove it: {0}")]
    Check(#[from] CheckError),
}

/// The proof of `subject` from an image. With `compact` the contents of a file are left out, but for the digests of their
/// blocks: whoever checks the proof needs the file then.
///
/// Nothing of the image is believed: a proof that would not hold is not made.
///
/// # Errors
/// [`MakeError`]: what is wrong with the image, or with what was asked for.
pub fn make(contents: &Contents, subject: Subject, compact: bool) -> Result<ImageProof, MakeError> {
    let signature = contents.root_signature()?;
    let root_hash: RootHash = signature.root_hash.parse()?;
    let layout = contents.layout();
    let verity = contents.partition(&layout.verity);
    let mut superblock = [0; Superblock::SIZE];
    verity.read_exact_at(&mut superblock, 0)?;
    let params = Superblock::from_bytes(&superblock)?.params;
    let start = Superblock::tree_offset(0, params.hash_block_size()).unwrap_or(u64::MAX);
    let tree = Window::new(verity, start, params.tree_bytes());

    let whole = contents.partition(&layout.root);
    let recorder = Arc::new(Recorder::new(whole, params.data_block_size()));
    let reader = Reader::open(recorder.clone())?;
    let size = u64::from(params.data_block_size());
    let leaf = |block: u64| -> io::Result<Digest> {
        let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        recorder.read_exact_at(&mut bytes, block.saturating_mul(size))?;
        leaf_digests(&params, &bytes).pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    };
    let mut left_out = Vec::new();
    let mut carried = match &subject {
        Subject::Path(path) => {
            let found = reader.lookup(&TreePath::parse(path.as_bytes())?)?;
            let mut carried = recorder.take();
            if let Kind::File(content) = &found.inode.kind {
                if content.len > MOST_BYTES && !compact {
                    return Err(MakeError::TooLarge { bytes: content.len });
                }
                let source = content.window();
                if compact {
                    let theirs = FileBlocks::read(&params, &source)?;
                    for block in recorder.take() {
                        if !carried.contains(&block) && theirs.holds(&leaf(block)?) {
                            left_out.push(block);
                        } else {
                            carried.insert(block);
                        }
                    }
                } else {
                    // Read to its end, so that its blocks are noted.
                    read_through(&source, |_| Ok(()))?;
                    carried.extend(recorder.take());
                }
            }
            let bytes = size.saturating_mul(carried.len() as u64);
            if bytes > MOST_BYTES {
                return Err(MakeError::TooLarge { bytes });
            }
            carried
        }
        Subject::Block(_) | Subject::Bytes(..) => {
            let mut carried = recorder.take();
            carried.extend(positions(&subject, &params)?);
            carried
        }
    };
    // What was read once more, to be compared with the file.
    recorder.take();
    carried.retain(|block| *block < params.data_blocks());

    let (carried, left_out) = (runs(carried), runs(left_out));
    let all: Vec<_> = carried.iter().chain(&left_out).cloned().collect();
    let read = |run: &std::ops::Range<u64>| -> io::Result<(u64, Vec<u8>)> {
        let len = run.end.saturating_sub(run.start).saturating_mul(size);
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        recorder.read_exact_at(&mut bytes, run.start.saturating_mul(size))?;
        Ok((run.start, bytes))
    };
    let digests = |run: &std::ops::Range<u64>| -> io::Result<_> {
        let (first, bytes) = read(run)?;
        Ok((first, leaf_digests(&params, &bytes)))
    };
    let proof = ImageProof {
        subject,
        root_hash,
        signature: Some(signature.message),
        blocks: carried.iter().map(read).collect::<io::Result<_>>()?,
        left_out: left_out.iter().map(digests).collect::<io::Result<_>>()?,
        inclusion: prove(&tree, &params, &all)?,
        params: params.clone(),
    };
    check(&proof, Trusted::RootHash(&root_hash), None)?;
    Ok(proof)
}

/// The blocks of bytes of the root.
fn positions(subject: &Subject, params: &Params) -> Result<std::ops::Range<u64>, MakeError> {
    let (block_size, bytes) = (params.data_block_size(), params.data_bytes());
    let size = u64::from(block_size);
    let (start, end) = match subject {
        Subject::Block(block) => (*block, block.saturating_add(1)),
        Subject::Bytes(start, end) if start < end && *end <= bytes => {
            (start.checked_div(size).unwrap_or(0), end.div_ceil(size))
        }
        _ => (u64::MAX, u64::MAX),
    };
    if end > params.data_blocks() {
        return Err(MakeError::Outside { subject: subject.clone(), bytes, block_size });
    }
    Ok(start..end)
}
