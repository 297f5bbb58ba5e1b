//! The parts of an image, by digest, wherever they lie.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use graven_verity::io::ReadAt;

use super::Error;
use super::document::MAX_DOCUMENT;
use crate::file::OpenFile;
use crate::{Problem, Sha256};

/// A part of an image: its bytes are these or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blob {
    /// What it hashes to.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is an index or a manifest, which registries keep apart from what those name.
    pub is_document: bool,
}

/// Where an image's parts lie.
pub trait Blobs: Sync {
    /// What is there under this digest, unseen: nobody has held it against anything. None where there is nothing.
    ///
    /// # Errors
    /// Whatever keeps it from being had.
    fn open(&self, blob: &Blob) -> Result<Option<Arc<dyn ReadAt>>, Error>;
}

/// Blobs in files, most likely of a [store](crate::store::Store).
#[derive(Debug, Clone, Default)]
pub struct Stored(pub BTreeMap<Sha256, PathBuf>);

impl Blobs for Stored {
    fn open(&self, blob: &Blob) -> Result<Option<Arc<dyn ReadAt>>, Error> {
        let Some(path) = self.0.get(&blob.sha256) else { return Ok(None) };
        let failed = |error| crate::Error::new(path, Problem::Io { doing: "opening", error });
        Ok(Some(Arc::new(OpenFile::open(path).map_err(failed)?)))
    }
}

/// A blob that has its size and its digest; `image` is for messages.
pub(crate) fn checked(blobs: &dyn Blobs, blob: &Blob, image: &str) -> Result<Arc<dyn ReadAt>, Error> {
    let bad = |problem| of(image, blob, problem);
    let reading = |error: io::Error| bad(Problem::Io { doing: "reading", error });
    let source = blobs
        .open(blob)?
        .ok_or_else(|| bad(Problem::Damaged("the image names it, but it is not there".to_owned())))?;
    let size = source.size().map_err(reading)?;
    if size != blob.size {
        return Err(bad(Problem::Size { expected: blob.size, found: size }).into());
    }
    let found = Sha256::of(&*source).map_err(reading)?;
    if found != blob.sha256 {
        return Err(bad(Problem::Digest { expected: blob.sha256, found }).into());
    }
    Ok(source)
}

/// The whole of an index, a manifest or a configuration.
pub(crate) fn document(blobs: &dyn Blobs, blob: &Blob, image: &str) -> Result<Vec<u8>, Error> {
    if blob.size > MAX_DOCUMENT {
        let message = format!("a document of {} bytes; at most {MAX_DOCUMENT} are sensible", blob.size);
        return Err(of(image, blob, Problem::Damaged(message)).into());
    }
    let source = checked(blobs, blob, image)?;
    let mut bytes = vec![0; usize::try_from(blob.size).unwrap_or_default()];
    source
        .read_exact_at(&mut bytes, 0)
        .map_err(|error| of(image, blob, Problem::Io { doing: "reading", error }))?;
    Ok(bytes)
}

/// A problem with one part of an image.
pub(crate) fn of(image: &str, blob: &Blob, problem: Problem) -> crate::Error {
    crate::Error { input: image.to_owned(), member: Some(format!("sha256:{}", blob.sha256)), problem }
}
