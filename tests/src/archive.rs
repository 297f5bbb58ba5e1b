//! A Debian archive of a test's own: packages by `dpkg-deb`, signed by `gpg`, served on the loopback.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::inputs;
use crate::oracle::content;

/// The suite's name.
pub const SUITE: &str = "one";
/// Where its signed list of digests lies.
pub const IN_RELEASE: &str = "/dists/one/InRelease";
/// Where its index lies.
const PACKAGES: &str = "main/binary-amd64/Packages";

/// What the server says to a path.
#[derive(Debug, Clone)]
pub enum Answer {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes with the length that they should have; then it hangs up.
    Cut(Vec<u8>, usize),
    /// Go there.
    Redirect(String),
}

type Paths = Arc<Mutex<BTreeMap<String, Answer>>>;

/// A suite with one component for amd64, and its server.
#[derive(Debug)]
pub struct Archive {
    folder: tempfile::TempDir,
    address: SocketAddr,
    paths: Paths,
    asked: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    /// Paragraphs of `Packages`.
    index: Vec<String>,
}

impl Archive {
    /// An empty archive, with keys of its own.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let (paths, asked, stop) = (Paths::default(), Arc::default(), Arc::new(AtomicBool::new(false)));
        let (ours, log, end) = (Arc::clone(&paths), Arc::clone(&asked), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let (paths, log) = (Arc::clone(&ours), Arc::clone(&log));
                // A client that goes away in the middle is none of the server's business.
                std::thread::spawn(move || drop(serve(stream, &paths, &log)));
            }
        });
        let archive = Self { folder, address, paths, asked, stop, index: Vec::new() };
        for who in ["owner", "stranger"] {
            let home = archive.folder.path().join(who);
            fs::create_dir(&home).expect("the folder takes folders");
            archive.gpg(
                who,
                &["--quick-gen-key", &format!("{who} <{who}@example.org>"), "ed25519", "sign", "never"],
                "",
            );
            fs::write(home.join("keyring"), archive.gpg(who, &["--export"], ""))
                .expect("a file can be written");
        }
        archive
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The public keys of who signs it.
    pub fn keyring(&self) -> PathBuf {
        self.folder.path().join("owner/keyring")
    }

    /// Public keys of somebody else.
    pub fn strangers_keyring(&self) -> PathBuf {
        self.folder.path().join("stranger/keyring")
    }

    /// Takes in a package with these control fields, a line each, and files; its path below the archive's address.
    pub fn package(&mut self, name: &str, version: &str, fields: &str, files: &[(&str, &str)]) -> String {
        let deb = deb(name, version, fields, files);
        self.package_of_bytes(name, version, fields, deb)
    }

    /// Takes in bytes as a package.
    pub fn package_of_bytes(&mut self, name: &str, version: &str, fields: &str, deb: Vec<u8>) -> String {
        let path = format!("pool/{name}_{version}_amd64.deb");
        let (size, sha256) = (deb.len(), self.sha256(&deb));
        self.index.push(format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{fields}Filename: {path}\nSize: {size}\nSHA256: {sha256}\n\n"
        ));
        self.put(&format!("/{path}"), Answer::Bytes(deb));
        path
    }

    /// Signs and serves what was taken in, as of `when` in `date`'s words.
    pub fn publish(&self, when: &str) {
        self.publish_signed_by(when, "", Some("owner"));
    }

    /// Serves it with further lines in its list, signed by somebody or by nobody.
    pub fn publish_signed_by(&self, when: &str, more: &str, who: Option<&str>) {
        let index = self.index.concat().into_bytes();
        let date = content("date", ["-u", "-d", when, "+%a, %d %b %Y %H:%M:%S UTC"]);
        let release = format!(
            "Suite: {SUITE}\nCodename: {SUITE}\nDate: {}\n{more}Architectures: amd64 all\nComponents: main\n\
             No-Support-for-Architecture-all: Packages\nSHA256:\n {} {} {PACKAGES}\n",
            date.trim(),
            self.sha256(&index),
            index.len()
        );
        let signed = match who {
            Some(who) => self.gpg(who, &["--digest-algo", "SHA256", "--clearsign"], &release),
            None => release.into_bytes(),
        };
        self.put(IN_RELEASE, Answer::Bytes(signed));
        self.put(&format!("/dists/{SUITE}/{PACKAGES}"), Answer::Bytes(index));
    }

    /// Serves an answer under a path.
    pub fn put(&self, path: &str, answer: Answer) {
        self.paths.lock().expect("no thread panics with it").insert(path.to_owned(), answer);
    }

    /// Drops a path.
    pub fn remove(&self, path: &str) {
        self.paths.lock().expect("no thread panics with it").remove(path);
    }

    /// What is served under a path.
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        match self.paths.lock().expect("no thread panics with it").get(path) {
            Some(Answer::Bytes(bytes)) => bytes.clone(),
            other => panic!("{path}: {other:?}"),
        }
    }

    /// The paths that were asked for since this was asked last.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("no thread panics with it"))
    }

    /// A recipe for `qemu-x86_64` that takes packages from this archive and is never booted; `packages` are lines of
    /// `[packages]`, `more` is what follows.
    pub fn recipe(&self, name: &str, packages: &str, more: &str) -> String {
        let inputs = inputs::project().join("recipes/minimal/inputs");
        let inputs = inputs.display();
        format!(
            "name = \"{name}\"\nversion = \"1.0.0\"\ntargets = [\"qemu-x86_64\"]\ninit = \"/usr/bin/sh\"\n\
             [packages]\n{packages}[[packages.repo]]\nsuite = \"{SUITE}\"\nurl = \"{}\"\nkeyring = {:?}\n\
             [files]\n\"/usr/bin/sh\" = {{ text = \"never started\", mode = 0o755 }}\n\
             [boot]\nstub = \"{inputs}/systemd-boot-efi_*_amd64.deb\"\n\
             [kernel]\nmodules = []\nlocal = [\"{inputs}/linux-base-7.3*-amd64_*.deb\", \
             \"{inputs}/linux-binary-7.3*-amd64_*.deb\", \"{inputs}/linux-modules-7.3*-amd64_*.deb\"]\n{more}",
            self.url(),
            self.keyring()
        )
    }

    /// What `sha256sum` says of bytes.
    pub fn sha256(&self, bytes: &[u8]) -> String {
        let file = self.folder.path().join("digested");
        fs::write(&file, bytes).expect("a file can be written");
        content("sha256sum", [&file]).split(' ').next().expect("it prints the digest first").to_owned()
    }

    fn gpg(&self, who: &str, arguments: &[&str], input: &str) -> Vec<u8> {
        let home = self.folder.path().join(who);
        let mut gpg = Command::new("gpg")
            .args(["--quiet", "--batch", "--no-tty", "--passphrase", "", "--pinentry-mode", "loopback"])
            .args(arguments)
            .env("GNUPGHOME", &home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("gpg can be started: run tests/setup.sh");
        gpg.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("gpg reads");
        let output = gpg.wait_with_output().expect("gpg ends");
        assert!(output.status.success(), "gpg: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

impl Default for Archive {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the server, so that it sees that.
        drop(TcpStream::connect(self.address));
        for who in ["owner", "stranger"] {
            let home = self.folder.path().join(who);
            let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", home).status();
        }
    }
}

/// A package as `dpkg-deb` makes it, the same bytes each time.
pub fn deb(name: &str, version: &str, fields: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let root = folder.path().join("root");
    let write = |path: &Path, text: &str| {
        fs::create_dir_all(path.parent().expect("it is below the root")).expect("the folder takes folders");
        fs::write(path, text).expect("a file can be written");
    };
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: Tests <tests@example.org>\n{fields}\
         Description: made for a test\n"
    );
    write(&root.join("DEBIAN/control"), &control);
    for (path, text) in files {
        write(&root.join(path), text);
    }
    content("chmod", ["-R".as_ref(), "u=rwX,go=rX".as_ref(), root.as_os_str()]);
    let deb = folder.path().join("made.deb");
    let made = Command::new("dpkg-deb")
        .args(["--root-owner-group", "--build", "-Znone"])
        .args([&root, &deb])
        .env("SOURCE_DATE_EPOCH", "1767225600")
        .output()
        .expect("dpkg-deb can be started");
    assert!(made.status.success(), "dpkg-deb: {}", String::from_utf8_lossy(&made.stderr));
    fs::read(deb).expect("it was made")
}

fn serve(mut stream: TcpStream, paths: &Paths, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut header = String::from("…");
        while !header.trim().is_empty() {
            header.clear();
            reader.read_line(&mut header)?;
        }
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        log.lock().expect("no thread panics with it").push(path.clone());
        let answer = paths.lock().expect("no thread panics with it").get(&path).cloned();
        match answer {
            Some(Answer::Bytes(bytes)) => {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
                stream.write_all(&bytes)?;
            }
            Some(Answer::Cut(bytes, keep)) => {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
                return stream.write_all(bytes.get(..keep).unwrap_or(&bytes));
            }
            Some(Answer::Redirect(to)) => {
                write!(stream, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")?;
            }
            None => write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
        }
        stream.flush()?;
    }
}
