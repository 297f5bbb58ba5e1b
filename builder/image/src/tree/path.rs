//! Paths that are checked once and cannot be wrong afterwards.

use std::fmt;

use super::Error;

/// Longest path in bytes, the leading `/` included (Linux `PATH_MAX`).
pub const MAX_PATH: usize = 4096;
/// Longest component in bytes (`EROFS_NAME_LEN`, `NAME_MAX`).
pub const MAX_COMPONENT: usize = 255;

/// A path inside a tree: absolute, no `.`, `..`, doubled or trailing `/`, components of 1 to 255 bytes without
/// NUL, at most 4,096 bytes. The root is `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Box<[u8]>);

/// Why bytes are no [`TreePath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// `..` as a component.
    #[error("it has a `..` component")]
    Parent,
    /// A NUL byte.
    #[error("it has a NUL byte")]
    Nul,
    /// A component over 255 bytes.
    #[error("a component is longer than 255 bytes")]
    LongComponent,
    /// More than 4,096 bytes, symbolic links resolved.
    #[error("it is longer than 4096 bytes")]
    TooLong,
}

impl TreePath {
    /// Reads a path from the root on, with or without a leading `/`; `.` components and doubled or trailing
    /// slashes are dropped (`./usr//bin/` is `/usr/bin`).
    ///
    /// # Errors
    /// [`Error::Path`], which says what is wrong.
    pub fn parse(path: &[u8]) -> Result<Self, Error> {
        Self::normalise(path).map_err(|problem| Error::Path { path: show(path), problem })
    }

    fn normalise(path: &[u8]) -> Result<Self, PathProblem> {
        if path.is_empty() {
            return Err(PathProblem::Empty);
        }
        if path.contains(&0) {
            return Err(PathProblem::Nul);
        }
        let mut clean = Vec::with_capacity(path.len().min(MAX_PATH).saturating_add(1));
        for component in path.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err(PathProblem::Parent),
                _ if component.len() > MAX_COMPONENT => return Err(PathProblem::LongComponent),
                _ => {}
            }
            clean.push(b'/');
            clean.extend_from_slice(component);
            if clean.len() > MAX_PATH {
                return Err(PathProblem::TooLong);
            }
        }
        if clean.is_empty() {
            clean.push(b'/');
        }
        Ok(Self(clean.into()))
    }

    /// `/`.
    pub fn root() -> Self {
        Self(b"/".as_slice().into())
    }

    /// From the leading `/` on.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The components from the root on; none for `/`.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|component| !component.is_empty())
    }

    /// The last component; `None` for `/`.
    pub fn name(&self) -> Option<&[u8]> {
        self.components().next_back()
    }

    /// The path without its last component; `None` for `/`.
    pub fn parent(&self) -> Option<Self> {
        let name = self.name()?;
        let without = self.0.len().saturating_sub(name.len()).saturating_sub(1);
        Some(
            self.0
                .get(..without)
                .filter(|rest| !rest.is_empty())
                .map_or_else(Self::root, |rest| Self(rest.into())),
        )
    }

    /// This path and `below` (itself without leading `/` or with) after it.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), of the whole.
    pub fn join(&self, below: &[u8]) -> Result<Self, Error> {
        Self::parse(&[&self.0, b"/".as_slice(), below].concat())
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A path for a message: text as it is, control characters and bytes that are not UTF-8 escaped, the middle of
/// an overlong one left out.
pub fn show(path: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in path.get(..512).unwrap_or(path).utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        shown.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    if path.len() > 512 {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &[u8]) -> Result<String, String> {
        TreePath::parse(path).map(|path| path.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn spellings_of_one_path_are_one() {
        for spelling in ["/usr/bin", "usr/bin", "./usr/bin/", "//usr/./bin//"] {
            assert_eq!(parsed(spelling.as_bytes()).unwrap(), "/usr/bin");
        }
        for spelling in ["/", ".", "./", "//"] {
            assert_eq!(parsed(spelling.as_bytes()).unwrap(), "/");
        }
    }

    #[test]
    fn impossible_paths_are_refused_with_the_reason() {
        let long = vec![b'a'; 256];
        let far = b"abcdefg/".repeat(513);
        for (path, reason) in [
            (b"".as_slice(), "`` is no path inside the tree: it is empty"),
            (b"/a/../b", "`/a/../b` is no path inside the tree: it has a `..` component"),
            (b"/a\0b", "`/a\\u{0}b` is no path inside the tree: it has a NUL byte"),
        ] {
            assert_eq!(parsed(path).unwrap_err(), reason);
        }
        assert!(parsed(&long).unwrap_err().ends_with("a component is longer than 255 bytes"));
        assert!(parsed(&far).unwrap_err().ends_with("it is longer than 4096 bytes"));
        assert!(parsed(&b"abcdefg/".repeat(512)).is_ok());
    }

    #[test]
    fn parents_and_names() {
        let path = TreePath::parse(b"/usr/bin/sh").unwrap();
        assert_eq!(path.name(), Some(b"sh".as_slice()));
        assert_eq!(path.parent().unwrap().to_string(), "/usr/bin");
        assert_eq!(TreePath::parse(b"/usr").unwrap().parent(), Some(TreePath::root()));
        assert_eq!((TreePath::root().parent(), TreePath::root().name()), (None, None));
        assert_eq!(path.join(b"x/y").unwrap().to_string(), "/usr/bin/sh/x/y");
    }
}
