//! Why an image cannot be finished.

use graven_image::tree;

/// What ends the finishing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Scripts and triggers whose effect is not known.
    #[error("{}", uncovered(.0))]
    Scripts(Vec<Uncovered>),
    /// A script is accepted that needs no acceptance.
    #[error("accept-scripts.{package}: {why}; take the line out")]
    NotNeeded {
        /// The package.
        package: String,
        /// Why not.
        why: &'static str,
    },
    /// A place in the tree.
    #[error(transparent)]
    Tree(#[from] tree::Error),
    /// A package's own files.
    #[error(transparent)]
    Package(#[from] graven_sources::Error),
    /// A line of a file that has no meaning.
    #[error("{path}: the line `{line}` is not understood")]
    Line {
        /// The file.
        path: String,
        /// The line.
        line: String,
    },
    /// A number that somebody else has.
    #[error("{what} {name}: the number {id} belongs to {other} already")]
    NumberTaken {
        /// `user` or `group`.
        what: &'static str,
        /// Who asks.
        name: String,
        /// For which number.
        id: u32,
        /// Who has it.
        other: String,
    },
    /// All numbers of a range are in use.
    #[error("{name}: no number is left for it")]
    NoNumberLeft {
        /// Who asks.
        name: String,
    },
    /// A user of the recipe.
    #[error("users.{name}: {what}")]
    User {
        /// Who.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// A unit of the recipe or of a package.
    #[error("{0}")]
    Unit(String),
    /// A certificate that is none.
    #[error("{path}: no certificate in PEM: {why}")]
    Certificate {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A PAM profile.
    #[error("{path}: {what}")]
    Pam {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
}

/// A script or trigger whose effect is not known.
#[derive(Debug, Clone)]
pub struct Uncovered {
    /// The package.
    pub package: String,
    /// `postinst`, `preinst` or `triggers`.
    pub script: String,
    /// Its line, from 1.
    pub line: usize,
    /// What of it is not known.
    pub what: String,
    /// All of it.
    pub text: String,
}

fn uncovered(all: &[Uncovered]) -> String {
    let mut text =
        String::from("maintainer scripts are never run, and what these would have done is not known:");
    for Uncovered { package, script, line, what, .. } in all {
        text.push_str(&format!("\n  {package}: {script}, line {line}: {what}"));
    }
    text.push_str("\nRead them, do in the recipe what they would have done, then accept them:\n[packages]");
    let mut named: Vec<&str> = all.iter().map(|one| one.package.as_str()).collect();
    named.dedup();
    for package in named {
        text.push_str(&format!("\naccept-scripts.{package} = \"reason\""));
    }
    for Uncovered { package, script, text: whole, .. } in all {
        text.push_str(&format!("\n--- {package}: {script}\n{}", whole.trim_end()));
    }
    text
}

/// The word most like another, for a message.
pub(crate) fn nearest(wrong: &str, words: &[&str]) -> String {
    let best = words
        .iter()
        .map(|word| (strsim::damerau_levenshtein(wrong, word), *word))
        .filter(|(distance, word)| *distance <= word.chars().count().div_ceil(3))
        .min();
    match best {
        Some((_, word)) => format!("did you mean `{word}`?"),
        None => format!("known are: {}", words.join(", ")),
    }
}
