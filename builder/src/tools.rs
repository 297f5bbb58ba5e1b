//! Programs of this machine that a build needs: found, run with an environment of their own, known by their version.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use graven_verify::manifest::Input;

use crate::error::{Error, Result};

/// A program, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    /// Debian's package.
    pub(crate) package: &'static str,
    /// The argument by which it tells its version.
    asked: &'static str,
    /// The oldest that does what is wanted, and what that is.
    least: Option<(&'static [u64], &'static str)>,
}

/// Formats a state: any version does.
pub(crate) const MKE2FS: Tool = Tool { name: "mke2fs", package: "e2fsprogs", asked: "-V", least: None };
/// Writes a root of ext4.
pub(crate) const MKE2FS_FROM_TAR: Tool =
    Tool { least: Some((&[1, 47, 1], "take a tar archive (and libarchive beside it)")), ..MKE2FS };
/// Writes a root of compressed EROFS.
pub(crate) const MKFS_EROFS: Tool = Tool {
    name: "mkfs.erofs",
    package: "erofs-utils",
    asked: "--version",
    least: Some((&[1, 8], "compress a tar archive in every way that a recipe can ask for")),
};
/// Writes a root of squashfs.
pub(crate) const SQFSTAR: Tool = Tool {
    name: "sqfstar",
    package: "squashfs-tools",
    asked: "-version",
    least: Some((&[4, 6], "be told the root folder's owner and time")),
};

/// Where programs are looked for.
#[derive(Debug, Clone, Default)]
pub struct Tools(Option<PathBuf>);

impl Tools {
    /// In this folder first, where one is given.
    #[must_use]
    pub fn first_in(folder: Option<PathBuf>) -> Self {
        Self(folder)
    }

    /// The program, with nothing of the environment but where programs lie; administrators' tools are not on everybody's path.
    pub(crate) fn command(&self, tool: Tool) -> Command {
        const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let mut path = OsString::new();
        if let Some(first) = &self.0 {
            path.push(std::path::absolute(first).unwrap_or_else(|_| first.clone()));
            path.push(":");
        }
        path.push(PATH);
        let mut command = Command::new(tool.name);
        command.env_clear().env("PATH", path).env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null());
        command
    }

    /// The program as an input of the image, with its version.
    ///
    /// # Errors
    /// Where it is missing, or too old.
    pub(crate) fn input(&self, tool: Tool) -> Result<Input> {
        let output = self.command(tool).arg(tool.asked).output().map_err(|error| tool.failed(&error))?;
        // Each says it in another place: the first word that begins with a digit.
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let version =
            said.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
        let Some(version) = version else {
            let line = said.lines().next().unwrap_or("nothing").trim();
            return Err(tool.failed(&format!("{} tells no version ({line}){}", tool.name, tool.wanted())));
        };
        let found: Vec<u64> = version.split('.').map_while(|part| part.parse().ok()).collect();
        if tool.least.is_some_and(|(least, _)| found.as_slice() < least) {
            return Err(tool.failed(&format!("found version {version}{}", tool.wanted())));
        }
        Ok(Input { kind: "tool".into(), name: format!("{}={version}", tool.name), sha256: None })
    }
}

impl Tool {
    fn wanted(self) -> String {
        let Some((least, what)) = self.least else { return String::new() };
        let least: Vec<String> = least.iter().map(u64::to_string).collect();
        let newer = "name the folder of a newer one with --tools";
        format!(": it takes {} or newer to {what}; {newer}", least.join("."))
    }

    /// It is not there, or did not do what it was to.
    pub(crate) fn failed(self, problem: &dyn std::fmt::Display) -> Error {
        Error::Tool { tool: self.name, package: self.package, problem: problem.to_string() }
    }

    /// It ended badly: what it said last.
    pub(crate) fn said(self, output: &std::process::Output) -> Error {
        let said = [&output.stdout[..], &output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let last: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = last.split_at(last.len().saturating_sub(3)).1.join("; ");
        self.failed(&format!("{}: {last}", output.status))
    }
}

/// The configuration file of `mke2fs` that has nothing of the machine's own: what is made is what is written here.
pub(crate) fn mke2fs_configuration(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("mke2fs.conf");
    let text =
        "[defaults]\n base_features = none\n[fs_types]\n ext4 = {\n }\n small = {\n }\n floppy = {\n }\n";
    std::fs::write(&path, text).map_err(|error| Error::io(&path, error))?;
    Ok(path)
}
