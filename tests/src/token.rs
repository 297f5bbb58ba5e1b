//! A token of SoftHSM's, with keys in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The PIN of every token.
pub const PIN: &str = "4711";
/// The module that speaks for it.
pub const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A token named `acme`.
pub struct Token {
    configuration: PathBuf,
}

impl Token {
    /// A token in this folder, which takes the keys from these files, each with its label.
    pub fn new(folder: &Path, keys: &[(&str, &Path)]) -> Self {
        let (tokens, configuration) = (folder.join("tokens"), folder.join("softhsm2.conf"));
        fs::create_dir(&tokens).expect("a folder");
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        fs::write(&configuration, text).expect("a file");
        let token = Self { configuration };
        token.util(&["--init-token", "--free", "--label", "acme", "--pin", PIN, "--so-pin", "0815"]);
        for (number, (label, key)) in keys.iter().enumerate() {
            let (key, id) = (key.display().to_string(), format!("{:02}", number + 1));
            token.util(&["--import", &key, "--token", "acme", "--label", label, "--id", &id, "--pin", PIN]);
        }
        token
    }

    fn util(&self, arguments: &[&str]) {
        let mut command = Command::new("softhsm2-util");
        let output = self.known_to(command.args(arguments)).output();
        let output = output.expect("softhsm2-util is there; tests/setup.sh installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Tells a program of it, and of its PIN in `ACME_PIN`.
    pub fn known_to<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("SOFTHSM2_CONF", &self.configuration).env("ACME_PIN", PIN)
    }

    /// What names a key in it, with the PIN from `ACME_PIN`.
    pub fn uri(label: &str) -> String {
        format!("pkcs11:token=acme;object={label}?module-path={MODULE}&pin-source=env:ACME_PIN")
    }
}
