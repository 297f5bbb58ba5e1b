//! Maintainer scripts, read and not run.
//!
//! A script is taken apart as a POSIX shell would, and followed as `dpkg` would start it on a first installation:
//! `preinst install` and `postinst configure` without an earlier version, on a system that is not running. What it says
//! is done to the tree in memory, by a closed set of commands whose effect is known ([`commands`]); tests look at the
//! tree. No program is ever started, nothing of the building machine is looked at.
//!
//! Whatever is outside of that set (a pipeline, a loop that waits, an unknown command) ends the reading with
//! [`Unknown`], which names the line: but only where the script would reach it.

mod commands;
mod conditions;
mod expand;
mod files;
mod lex;
mod parse;
mod run;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test reports")]
mod tests;

pub(crate) use run::run;

/// What in a script is not known to have which effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unknown {
    /// Its line, from 1.
    pub(crate) line: usize,
    /// What it is.
    pub(crate) what: String,
}
