//! Why an image cannot be had.

use super::Platform;
use crate::network::NetworkError;

/// What is wrong with an image, or with the way to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image itself: a document, a layer, a digest.
    #[error(transparent)]
    Image(#[from] Box<crate::Error>),
    /// The registry.
    #[error(transparent)]
    Network(#[from] Box<NetworkError>),
    /// An image for other machines.
    #[error("{image}: there is none for {wanted}; it has {}", list(has))]
    NoPlatform {
        /// As the recipe names it.
        image: String,
        /// For which it was looked.
        wanted: Platform,
        /// What the index offers, or what the configuration says.
        has: Vec<String>,
    },
    /// A layout that has not the image that was asked for, or several where none was.
    #[error("{image}: {problem}; it has {}", list(has))]
    NoImage {
        /// The layout's folder or archive.
        image: String,
        /// What was looked for.
        problem: String,
        /// What is there, by name and digest.
        has: Vec<String>,
    },
    /// No such tag or digest in the registry.
    #[error("{0}: the registry has no such image; correct its name, tag or digest")]
    Missing(String),
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Self::Image(Box::new(error))
    }
}

impl From<NetworkError> for Error {
    fn from(error: NetworkError) -> Self {
        Self::Network(Box::new(error))
    }
}

impl Error {
    /// Whether the recipe asks for what there is not (exit status 2 of the program).
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoPlatform { .. } | Self::NoImage { .. } | Self::Missing(_))
    }

    /// Whether the environment failed (exit status 3) rather than what was read.
    #[must_use]
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Image(error) => error.problem.is_environment(),
            Self::Network(error) => !error.problem.is_bad_content(),
            _ => false,
        }
    }
}

fn list(words: &[String]) -> String {
    match words {
        [] => "nothing".to_owned(),
        words => words.join(", "),
    }
}
