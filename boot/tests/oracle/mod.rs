//! What the tests here share: running other people's tools, keys made once, files out of Debian packages.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use graven_boot::keys;
use graven_boot::sign::FileSigner;
use graven_boot::x509::Certificate;
use tempfile::TempDir;

/// Runs a tool, whatever it answers. Fails where the tool is not installed.
pub(crate) fn try_run(tool: &str, arguments: &[&str]) -> Output {
    Command::new(tool)
        .args(arguments)
        .env("PATH", with_python())
        .output()
        .unwrap_or_else(|error| panic!("this test needs the tool {tool}: {error}"))
}

/// The folders of programs, before all others that of `tests/setup.sh`'s Python environment: `virt-fw-vars`, and a `python3`
/// that knows `pefile`, whatever Python this machine has.
fn with_python() -> std::ffi::OsString {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).unwrap();
    let others = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(cache.join("graven/venv/bin")).chain(std::env::split_paths(&others));
    std::env::join_paths(folders).unwrap()
}

/// Runs a tool that must succeed and returns its standard output.
pub(crate) fn run(tool: &str, arguments: &[&str]) -> Vec<u8> {
    let output = try_run(tool, arguments);
    assert!(
        output.status.success(),
        "{tool} {arguments:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A folder of keys, made once a process.
pub(crate) struct Keys {
    parent: TempDir,
}

/// The keys of this process.
pub(crate) fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let parent = tempfile::tempdir().unwrap();
        keys::create(&parent.path().join("keys"), &keys::Options::development("test")).unwrap();
        Keys { parent }
    })
}

impl Keys {
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.parent.path().join("keys").join(file)
    }

    pub(crate) fn text(&self, file: &str) -> String {
        text(&self.path(file))
    }

    pub(crate) fn signer(&self, role: &str) -> FileSigner {
        FileSigner::load(&self.path(&format!("{role}.key")), &self.path(&format!("{role}.crt"))).unwrap()
    }

    pub(crate) fn certificates(&self, role: &str) -> Vec<Certificate> {
        keys::read_certificates(&self.path(&format!("{role}.crt"))).unwrap()
    }
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A file out of a Debian package in `GRAVEN_TEST_DEBS` (default: `~/.cache/graven/debs`). The package's file name begins
/// like this; `*` may stand in it once for anything, and a folder (`arm64/`) before it.
pub(crate) fn debian_file(package: &str, file: &str) -> Vec<u8> {
    let folder = match std::env::var_os("GRAVEN_TEST_DEBS") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/graven/debs"),
    };
    let (below, package) = package.split_once('/').unwrap_or((".", package));
    let folder = folder.join(below);
    let entries = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("this test needs Debian packages in {}: {error}", folder.display()));
    let (begins, goes_on) = package.split_once('*').unwrap_or((package, ""));
    let is_it = |name: &str| {
        name.ends_with(".deb") && name.strip_prefix(begins).is_some_and(|rest| rest.contains(goes_on))
    };
    let deb = entries
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_it))
        .unwrap_or_else(|| panic!("this test needs a package {package}*.deb in {}", folder.display()));
    let script = format!("dpkg-deb --fsys-tarfile '{}' | tar -xO --wildcards '{file}'", deb.display());
    run("sh", &["-c", &script])
}

/// systemd-stub for x86-64.
pub(crate) fn stub() -> &'static [u8] {
    static STUB: OnceLock<Vec<u8>> = OnceLock::new();
    STUB.get_or_init(|| {
        debian_file("systemd-boot-efi_*_amd64", "./usr/lib/systemd/boot/efi/linuxx64.efi.stub")
    })
}

/// Debian's x86-64 kernel.
pub(crate) fn kernel() -> &'static [u8] {
    static KERNEL: OnceLock<Vec<u8>> = OnceLock::new();
    KERNEL.get_or_init(|| debian_file("linux-binary-*-amd64_", "./usr/lib/modules/*/vmlinuz"))
}
