//! What is wrong with a recipe, as its author reads it.

use crate::place::Place;
use std::path::PathBuf;

/// Why there is no [`Recipe`](crate::Recipe).
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// A file or folder could not be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Mistakes in the recipe, in the order of the files and lines. Never empty.
    #[error("{}", shown(.0))]
    Problems(Vec<Problem>),
}

/// One mistake: what is wrong, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong: one line.
    pub message: String,
    /// Where.
    pub place: Place,
    /// What would be right: one line.
    pub help: Option<String>,
}

impl RecipeError {
    /// A mistake that shows only once the recipe meets other files.
    pub fn at(place: &Place, message: impl Into<String>) -> Self {
        Problem::new(place, message).into()
    }
}

impl From<Problem> for RecipeError {
    fn from(problem: Problem) -> Self {
        Self::Problems(vec![problem])
    }
}

impl Problem {
    /// A mistake at a place.
    pub fn new(place: &Place, message: impl Into<String>) -> Self {
        Self { message: message.into(), place: place.clone(), help: None }
    }

    /// With a line that says what would be right.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Widest part of a source line that is shown, in characters.
const WIDTH: usize = 100;

impl std::fmt::Display for Problem {
    /// In the manner of rustc: message, `file:line:column`, the line with the place underlined, help.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = self.place.first_line();
        let snippet = Snippet {
            place: self.place.to_string(),
            line: line.number,
            text: line.text.to_owned(),
            before: line.before,
            length: line.length,
            help: self.help.clone(),
        };
        write!(f, "{}\n{snippet}", self.message)
    }
}

/// A line of a text with a place in it underlined, as it stands below a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// `FILE:LINE:COLUMN`.
    pub place: String,
    /// The line's number, counted from 1.
    pub line: usize,
    /// The line.
    pub text: String,
    /// Characters before the place.
    pub before: usize,
    /// Characters of the place on this line.
    pub length: usize,
    /// What would be right: one line.
    pub help: Option<String>,
}

impl std::fmt::Display for Snippet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A long line is shown from a little before the place on.
        let skipped = if self.before + self.length < WIDTH { 0 } else { self.before.saturating_sub(20) };
        let shown: String = self
            .text
            .chars()
            .skip(skipped)
            .take(WIDTH)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let before = self.before - skipped;
        let marks = self.length.min(WIDTH.saturating_sub(before)).max(1);
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());

        writeln!(f, "{gutter}--> {}", self.place)?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {}", shown.trim_end())?;
        write!(f, "{gutter} | {}{}", " ".repeat(before), "^".repeat(marks))?;
        if let Some(help) = &self.help {
            write!(f, "\n{gutter} = help: {help}")?;
        }
        Ok(())
    }
}

fn shown(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")
}
