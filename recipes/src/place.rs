//! Where in which file something was said.

use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A text that values come from: a file, or one `--set` argument.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Document {
    /// As errors call it: the path as it was given, or `--set`.
    pub(crate) name: String,
    /// Folder that relative paths in it start from; empty is the working folder.
    pub(crate) base: PathBuf,
    pub(crate) text: String,
}

/// A stretch of a recipe file (or of a `--set` argument). Shown as `FILE:LINE:COLUMN`.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    document: Arc<Document>,
    span: Range<usize>,
}

/// Line and column of a place, and the line itself.
pub(crate) struct Line<'a> {
    /// Counted from 1.
    pub(crate) number: usize,
    /// Characters before the place.
    pub(crate) before: usize,
    /// Characters of the place on this line.
    pub(crate) length: usize,
    pub(crate) text: &'a str,
}

impl Place {
    /// `span` counts bytes; what lies outside the text or inside a character is moved to where it does not.
    pub(crate) fn new(document: &Arc<Document>, span: Range<usize>) -> Self {
        let text = &document.text;
        let fit = |mut at: usize| {
            at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (fit(span.start), fit(span.end));
        Self { document: Arc::clone(document), span: start..end.max(start) }
    }

    /// The file's name as it was given, or `--set`.
    pub fn file(&self) -> &str {
        &self.document.name
    }

    /// Line, counted from 1.
    pub fn line(&self) -> usize {
        self.first_line().number
    }

    /// Column in characters, counted from 1.
    pub fn column(&self) -> usize {
        self.first_line().before + 1
    }

    /// The same stretch of another text.
    pub(crate) fn within(&self, document: &Arc<Document>) -> Self {
        Self::new(document, self.span.clone())
    }

    /// Byte at which it begins, to put places of one file in order.
    pub(crate) fn start(&self) -> usize {
        self.span.start
    }

    /// The folder that a relative path said here starts from.
    pub(crate) fn base(&self) -> &Path {
        &self.document.base
    }

    pub(crate) fn first_line(&self) -> Line<'_> {
        let text = &self.document.text;
        let (before, from) = text.split_at(self.span.start);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = from.find('\n').map_or(text.len(), |newline| self.span.start + newline);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let shown_end = self.span.end.min(line_end);
        Line {
            number: before.matches('\n').count() + 1,
            before: text[line_start..self.span.start].chars().count(),
            length: text[self.span.start..shown_end].chars().count(),
            text: line,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file(), self.line(), self.column())
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// A value, and where the recipe states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub place: Place,
}

impl<T> At<T> {
    pub(crate) fn new(value: T, place: &Place) -> Self {
        Self { value, place: place.clone() }
    }
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}
