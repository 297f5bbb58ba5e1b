//! Images that lie here: a layout folder (image specification 1.1, "Image Layout"), or an archive of one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use graven_image::tree::TreePath;
use graven_verity::io::{ReadAt, Window};
use serde::Deserialize;

use super::blobs::Blobs;
use super::document::{Descriptor, Document, MAX_DOCUMENT};
use super::{Blob, Error};
use crate::file::OpenFile;
use crate::{Layer, Limits, Problem, Sha256, Spool, tar};

/// The annotation that names an image of a layout.
const NAME: &str = "org.opencontainers.image.ref.name";

/// A layout.
#[derive(Debug)]
pub struct Layout {
    /// For messages.
    input: String,
    place: Place,
    images: Vec<Descriptor>,
}

#[derive(Debug)]
enum Place {
    Folder(PathBuf),
    Archive(Layer),
}

/// Which image of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The only one there is.
    Only,
    /// The one of this name.
    Named(String),
    /// The index or manifest of this digest.
    Digest(Sha256),
}

impl Layout {
    /// Opens a layout folder. Nothing of it is believed but its `index.json`, which names the rest by digest.
    ///
    /// # Errors
    /// A folder that is none, or damaged.
    pub fn folder(folder: &Path) -> Result<Self, Error> {
        Self::open(folder, Place::Folder(folder.to_owned()))
    }

    /// Opens an archive of a layout, its SHA-256 first where one is expected. Where it is compressed its blobs go to the
    /// spool.
    ///
    /// # Errors
    /// An archive that is none, or damaged, or another than expected.
    pub fn archive(
        file: &Path,
        expected: Option<&Sha256>,
        spool: &Spool,
        limits: &Limits,
    ) -> Result<Self, Error> {
        Self::open(file, Place::Archive(tar::read(file, None, expected, spool, limits)?))
    }

    fn open(path: &Path, place: Place) -> Result<Self, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Marker {
            image_layout_version: String,
        }
        let mut layout = Self { input: path.display().to_string(), place, images: Vec::new() };
        let marker = layout.document("oci-layout")?;
        let marker: Marker = serde_json::from_slice(&marker).map_err(|error| {
            layout.bad("oci-layout", Problem::Damaged(format!("it is no mark of a layout: {error}")))
        })?;
        if marker.image_layout_version != "1.0.0" {
            let what = format!("version {} of the layout", marker.image_layout_version.escape_debug());
            let instead = "write it with a tool that makes version 1.0.0";
            return Err(layout.bad("oci-layout", Problem::Unsupported { what, instead }).into());
        }
        let index = layout.document("index.json")?;
        layout.images = match Document::parse(&index, None) {
            Ok(Document::Index(index)) => index.manifests,
            Ok(Document::Manifest(_)) => {
                let problem = Problem::Damaged("it is a manifest; a layout begins with an index".to_owned());
                return Err(layout.bad("index.json", problem).into());
            }
            Err(problem) => return Err(layout.bad("index.json", problem).into()),
        };
        Ok(layout)
    }

    /// The index or manifest that is meant, as `index.json` names it; a digest may also be of what that leads to.
    ///
    /// # Errors
    /// [`Error::NoImage`] for none, and for several.
    pub fn find(&self, which: &Which) -> Result<(Blob, Option<String>), Error> {
        let mut fitting = self.images.iter().filter(|image| match which {
            Which::Only => true,
            Which::Named(name) => image.annotations.get(NAME) == Some(name),
            Which::Digest(digest) => image.digest == *digest,
        });
        let problem = match (fitting.next(), fitting.next()) {
            (Some(one), None) => return Ok((one.blob(), Some(one.media_type.clone()))),
            (Some(one), Some(another)) => match which {
                // The same under two names is no question.
                _ if one.digest == another.digest && matches!(which, Which::Digest(_)) => {
                    return Ok((one.blob(), Some(one.media_type.clone())));
                }
                Which::Only => "it holds several images: say which by ref or digest".to_owned(),
                Which::Named(name) => format!("several images are named `{name}`: say which by digest"),
                Which::Digest(_) => "its index names one image in two ways".to_owned(),
            },
            (None, _) => match which {
                Which::Only => "it holds no image".to_owned(),
                Which::Named(name) => format!("no image is named `{name}`"),
                Which::Digest(digest) => match self.deeper(digest)? {
                    Some(blob) => return Ok((blob, None)),
                    None => format!("no image is sha256:{digest}"),
                },
            },
        };
        let describe = |image: &Descriptor| match image.annotations.get(NAME) {
            Some(name) => format!("{} (sha256:{})", name.escape_debug(), image.digest),
            None => format!("sha256:{}", image.digest),
        };
        Err(Error::NoImage {
            image: self.input.clone(),
            problem,
            has: self.images.iter().map(describe).collect(),
        })
    }

    /// SHA-256 of the archive; a folder has none.
    #[must_use]
    pub fn sha256(&self) -> Option<Sha256> {
        match &self.place {
            Place::Archive(layer) => layer.sha256,
            Place::Folder(_) => None,
        }
    }

    /// A document that an index of `index.json` names: whoever says its digest means it and no other.
    fn deeper(&self, digest: &Sha256) -> Result<Option<Blob>, Error> {
        let size = match self.file(&blob_name(digest))? {
            Some(source) => {
                source.size().map_err(|error| self.bad("blobs", Problem::Io { doing: "reading", error }))?
            }
            None => return Ok(None),
        };
        Ok(Some(Blob { sha256: *digest, size, is_document: true }))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>, Error> {
        let reading = |error| self.bad(name, Problem::Io { doing: "reading", error });
        let source = self.file(name)?.ok_or_else(|| {
            let message = "it is not there: this is no OCI layout (made by `skopeo copy … oci:FOLDER:NAME`)";
            self.bad(name, Problem::Damaged(message.to_owned()))
        })?;
        let size = source.size().map_err(reading)?;
        if size > MAX_DOCUMENT {
            let message = format!("a document of {size} bytes; at most {MAX_DOCUMENT} are sensible");
            return Err(self.bad(name, Problem::Damaged(message)).into());
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        source.read_exact_at(&mut bytes, 0).map_err(reading)?;
        Ok(bytes)
    }

    /// A file of the layout.
    fn file(&self, name: &str) -> Result<Option<Arc<dyn ReadAt>>, Error> {
        match &self.place {
            Place::Folder(folder) => match OpenFile::open(&folder.join(name)) {
                Ok(file) => Ok(Some(Arc::new(file))),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && folder.is_dir() => Ok(None),
                Err(error) => Err(self.bad(name, Problem::Io { doing: "opening", error }).into()),
            },
            Place::Archive(layer) => {
                let path = TreePath::parse(name.as_bytes()).map_err(|error| self.bad(name, error.into()))?;
                Ok(layer.member(&path).map(|content| {
                    let window = Window::new(Arc::clone(&content.source), content.offset, content.len);
                    let source: Arc<dyn ReadAt> = Arc::new(window);
                    source
                }))
            }
        }
    }

    fn bad(&self, member: &str, problem: Problem) -> crate::Error {
        crate::Error { input: self.input.clone(), member: Some(member.to_owned()), problem }
    }
}

impl Blobs for Layout {
    fn open(&self, blob: &Blob) -> Result<Option<Arc<dyn ReadAt>>, Error> {
        self.file(&blob_name(&blob.sha256))
    }
}

fn blob_name(digest: &Sha256) -> String {
    format!("blobs/sha256/{digest}")
}
