//! Where an image has what, in its list of files: written for the next one, read from the one before.

use graven_image::erofs::{Place, Places, Shares};
use graven_recipe::LocalPath;
use serde::Deserialize;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, Result};

/// Bytes that a list may have.
const MOST_BYTES: u64 = 1 << 30;

/// An entry of `files.json`, as far as it tells of places.
#[derive(Deserialize)]
struct Entry {
    path: Path,
    nid: Option<u64>,
    #[serde(default)]
    block: u32,
    shares: Option<String>,
    sha256: Option<String>,
}

/// How `shares` is told.
const WORDS: [(Shares, &str); 2] = [(Shares::Some, "some"), (Shares::All, "all")];

/// The word for it.
pub(crate) fn word(shares: Shares) -> Option<&'static str> {
    WORDS.iter().find(|(known, _)| *known == shares).map(|(_, word)| *word)
}

/// JSON is text and paths are bytes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Path {
    Text(String),
    Bytes { base64: String },
}

/// Reads the list that a recipe names.
///
/// # Errors
/// A file that cannot be read, or is no such list.
pub(crate) fn read(list: &LocalPath) -> Result<Places> {
    let failed = |error| Error::io(&list.path, error);
    let wrong = |what: String| Error::Limit(format!("{}: {}: {what}", list.place, list.path.display()));
    let length = std::fs::metadata(&list.path).map_err(failed)?.len();
    if length > MOST_BYTES {
        return Err(wrong(format!("{length} bytes are more than a list of files has")));
    }
    let text = std::fs::read(&list.path).map_err(failed)?;
    let entries: Vec<Entry> = serde_json::from_slice(&text)
        .map_err(|error| wrong(format!("no list of files (the files.json of a build): {error}")))?;
    let mut places = Places::default();
    for Entry { path, nid, block, shares, sha256 } in entries {
        let path = match path {
            Path::Text(text) => text.into_bytes(),
            Path::Bytes { base64 } => STANDARD.decode(base64).map_err(|error| wrong(error.to_string()))?,
        };
        let shares =
            shares.and_then(|word| WORDS.iter().find(|(_, known)| *known == word)).map(|(shares, _)| *shares);
        let sha256 = sha256.and_then(|digits| digits.parse().ok());
        places.extend(nid.map(|nid| (path.into(), Place { nid, block, shares, sha256 })));
    }
    match places.is_empty() {
        true => Err(wrong("it tells no places: only a root of uncompressed EROFS has them".to_owned())),
        false => Ok(places),
    }
}
