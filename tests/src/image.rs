//! Images for tests, made by the program that users run.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use graven::run::{Enrolment, Machine};
use graven_boot::enrol::certificate_list;
use graven_boot::x509::Certificate;

use crate::emulated::Emulated;
use crate::inputs;

/// The `graven` program of this very source in the profile of the tests, built by whichever of them is the first to want it.
pub fn graven() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let named = shared("program", |place| {
            let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
            // Beside an example, however small, its dependencies have the features that they have for tests, and are not
            // compiled once more.
            let program = program(&["--profile", profile, "--example", "stage0-codes"]);
            std::fs::write(place, program.as_os_str().as_encoded_bytes())
                .expect("the target folder takes files");
        });
        std::fs::read_to_string(named).expect("its path is text").into()
    })
}

/// The same as it is shipped, for what depends on that: memory and time.
pub fn graven_as_shipped() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program(&["--release"]))
}

fn program(words: &[&str]) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    // What a test is told of its own crate: ring's build script would take it for a change, and ring and all that stands on
    // it be built again.
    for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        if name == "OUT_DIR" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    let output = cargo
        .args(["build", "--quiet", "--locked", "--workspace", "--bin", "graven", "--message-format", "json"])
        .args(words)
        .current_dir(inputs::project())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "cargo build -p graven: {}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .find(|path| path.file_name().is_some_and(|name| name == "graven"));
    executable.expect("cargo names the program that it built")
}

/// Runs `graven` with these arguments and waits for its end.
pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    Command::new(graven()).args(arguments).output().expect("graven can be started")
}

/// A folder of its own for a test, gone when the value is.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// This process's folder below the target folder, for what its tests share. Those of processes that are gone are removed.
pub fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        let test = std::env::current_exe().expect("it runs");
        // Beside `deps`, where cargo puts tests.
        let all = test.ancestors().nth(2).expect("it lies in the target folder").join("graven-tests");
        for entry in std::fs::read_dir(&all).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            if !Path::new("/proc").join(name.split('-').next().unwrap_or_default()).exists() {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let own = all.join(std::process::id().to_string());
        std::fs::create_dir_all(&own).expect("the target folder takes folders");
        own
    })
}

/// What tests share and none changes: made by whoever is the first to want it, at the path that it is given. It is there for all
/// tests of a nextest run, which has a process for each; elsewhere for those of a process.
pub fn shared(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let folder = match std::env::var("NEXTEST_RUN_ID") {
        Ok(run) => scratch().with_file_name(format!("{}-{run}", std::os::unix::process::parent_id())),
        Err(_) => scratch().to_owned(),
    };
    std::fs::create_dir_all(&folder).expect("the target folder takes folders");
    let (place, made) = (folder.join(name), folder.join(format!("{name}.made")));
    let lock = File::create(folder.join(format!("{name}.lock"))).expect("the target folder takes files");
    lock.lock().expect("a file can be locked");
    if !made.exists() {
        // What one left that did not come to its end.
        let _ = std::fs::remove_dir_all(&place);
        let _ = std::fs::remove_file(&place);
        make(&place);
        File::create(made).expect("the target folder takes files");
    }
    place
}

/// Release keys, one set for all tests of a run.
pub fn keys() -> &'static Path {
    static KEYS: OnceLock<PathBuf> = OnceLock::new();
    KEYS.get_or_init(|| new_keys("Tests"))
}

/// A stranger's keys, likewise.
pub fn strangers_keys() -> &'static Path {
    static KEYS: OnceLock<PathBuf> = OnceLock::new();
    KEYS.get_or_init(|| new_keys("Stranger"))
}

fn new_keys(name: &str) -> PathBuf {
    shared(&format!("keys-{name}"), |keys| {
        let output = run([Path::new("keys"), Path::new("new"), keys, Path::new("--name"), Path::new(name)]);
        assert!(output.status.success(), "graven keys new: {}", String::from_utf8_lossy(&output.stderr));
    })
}

/// Builds `recipe` for `qemu-x86_64` with [`keys`] into `out`; panics with the program's words where it fails.
pub fn build(recipe: &Path, out: &Path, more: &[&str]) {
    let output = try_build(recipe, out, keys(), more);
    assert!(output.status.success(), "graven build: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs `graven build`, for `qemu-x86_64` unless `more` names another target.
pub fn try_build(recipe: &Path, out: &Path, keys: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(graven());
    command.arg("build").arg(recipe).args(more);
    if !more.contains(&"--target") {
        command.args(["--target", "qemu-x86_64"]);
    }
    command.arg("--keys").arg(keys).arg("--out").arg(out);
    command.output().expect("graven can be started")
}

/// `recipes/minimal` for `qemu-x86_64`, built once for all tests of a run: its output folder.
pub fn minimal() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| build_minimal(Emulated::X86_64))
}

/// The same for `qemu-arm64-uefi`.
pub fn minimal_arm64() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| build_minimal(Emulated::Arm64))
}

fn build_minimal(on: Emulated) -> PathBuf {
    shared(&format!("minimal-{}", on.target()), |out| {
        build(&inputs::project().join("recipes/minimal"), out, &["--target", on.target()]);
    })
}

/// A machine for x86-64 with the disk of this output folder and [`keys`]' db certificate enrolled as PK, KEK and db.
pub fn machine(out: &Path) -> Machine {
    machine_trusting(out, keys())
}

/// A machine that trusts another set of keys.
pub fn machine_trusting(out: &Path, keys: &Path) -> Machine {
    machine_with_db(out, &[certificate_of(keys)])
}

/// As [`machine`], with more certificates in db.
pub fn machine_trusting_also(out: &Path, more: &[Certificate]) -> Machine {
    let all: Vec<Certificate> = std::iter::once(certificate_of(keys())).chain(more.iter().cloned()).collect();
    machine_with_db(out, &all)
}

/// The db certificate of a folder of keys.
fn certificate_of(keys: &Path) -> Certificate {
    let pem = std::fs::read(keys.join("db.crt")).expect("the keys have a db certificate");
    Certificate::read_all(&pem).expect("it is a certificate").remove(0)
}

/// A machine with the first certificate as PK and KEK, and all in db. It has one processor: QEMU's emulation may stand still in the
/// early boot while a second one comes up.
fn machine_with_db(out: &Path, certificates: &[Certificate]) -> Machine {
    let disk = if out.is_dir() { out.join(graven::deliver::DISK) } else { out.to_owned() };
    let list =
        |certificate| certificate_list(uuid::Uuid::nil(), certificate).expect("it fits a signature list");
    let own = list(&certificates[0]);
    let db = certificates.iter().flat_map(list).collect();
    Machine::new(disk).cpus(1).enrol(Enrolment { pk: own.clone(), kek: own, db })
}

/// Every file of an output folder by its name, read whole.
pub fn outputs(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(out).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
    entries
        .map(|entry| {
            let entry = entry.expect("the folder can be read");
            let name = entry.file_name().into_string().expect("outputs have plain names");
            (name, std::fs::read(entry.path()).expect("an output can be read"))
        })
        .collect()
}

/// Two output folders hold the same files with the same bytes; else panics, naming those that differ and where.
pub fn assert_same_outputs(one: &Path, other: &Path) {
    let (ones, others) = (outputs(one), outputs(other));
    let names = |all: &BTreeMap<String, Vec<u8>>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&ones),
        names(&others),
        "the same files lie in {} and {}",
        one.display(),
        other.display()
    );
    assert!(ones.contains_key(graven::deliver::DISK), "the disk is among them: {:?}", names(&ones));
    let different: Vec<String> = ones
        .iter()
        .filter_map(|(name, bytes)| {
            let theirs = &others[name];
            let at = bytes.iter().zip(theirs).position(|(one, other)| one != other);
            let at = at.or((bytes.len() != theirs.len()).then_some(bytes.len().min(theirs.len())))?;
            Some(format!("{name} from byte {at} on"))
        })
        .collect();
    assert!(different.is_empty(), "{} and {} differ: {different:?}", one.display(), other.display());
}
