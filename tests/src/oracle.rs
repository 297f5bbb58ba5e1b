//! Independent programs that judge ours.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Command, Output};

/// What a program said, both streams together, and whether it was content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Standard output, then standard error.
    pub text: String,
    /// Exit status 0.
    pub good: bool,
}

/// Runs a program of another package, in UTC and without a locale.
pub fn ask<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = A>) -> Verdict {
    let program = program.as_ref();
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("MTOOLS_SKIP_CHECK", "1");
    let output: Output =
        command.output().unwrap_or_else(|error| panic!("{}: {error}: run tests/setup.sh", program.display()));
    let text = [output.stdout, output.stderr].concat();
    Verdict { text: String::from_utf8_lossy(&text).into_owned(), good: output.status.success() }
}

/// As [`ask`], for a program that must be content; answers what it said.
pub fn content<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
) -> String {
    let program = program.as_ref();
    let verdict = ask(program, arguments);
    assert!(verdict.good, "{} is not content: {}", program.display(), verdict.text);
    verdict.text
}

/// A program of the Python environment that the set-up script makes: `virt-fw-vars`, `python3` with `pefile` and
/// `cryptography`.
pub fn python(program: &str) -> PathBuf {
    let path = super::inputs::cache().join("venv/bin").join(program);
    assert!(path.exists(), "{}: run tests/setup.sh", path.display());
    path
}

/// A program of Debian trixie's, which the set-up script unpacked, run by the loader and with the libraries of that
/// system; without its root, so that paths mean what they mean here.
pub fn trixie<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Verdict {
    let system = super::inputs::cache().join("trixie");
    let program = system.join("usr/bin").join(program);
    assert!(program.exists(), "{}: run tests/setup.sh", program.display());
    let libraries = system.join("usr/lib/x86_64-linux-gnu");
    let libraries = format!("{0}:{0}/systemd", libraries.display());
    let mut all = vec!["--library-path".into(), OsString::from(libraries), program.into_os_string()];
    all.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
    ask(system.join("usr/lib64/ld-linux-x86-64.so.2"), all)
}
