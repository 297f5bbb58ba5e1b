//! `graven proof`: one file of an image, proved without the image.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use graven_handoff::hex;
use graven_verify::proof::{
    CheckError, Contents, ImageProof, MakeError, Statement, Subject, Thing, Trusted, check, make,
};
use graven_verify::{self as verify, Trust, read_certificates};
use graven_verity::dm::RootHash;
use graven_verity::io::ReadAt;
use graven_verity::setup::number;
use serde_json::json;

use super::run::disk_of;
use super::verify::open;
use super::{Failure, Outcome, Status, print};

/// Bytes that a proof may have.
const MOST_BYTES: u64 = 1 << 30;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Makes the proof of a file, or of bytes, of an image's signed root.
    Make(MakeArguments),
    /// Checks a proof, without the image.
    Check(CheckArguments),
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  graven proof make out/acme-fw-2.4.1-x86_64-uefi --path /usr/bin/acmed -o acmed.proof\n  \
    graven proof make disk.img --path /etc/os-release --compact\n\n\
    The proof carries the file's contents, mode, owner and extended attributes, and what ties them to the signed root hash;\n\
    with --compact not the contents, which `graven proof check --file` then takes from a file."
)]
struct MakeArguments {
    /// The disk image, or the output folder of a build.
    image: PathBuf,
    #[command(flatten)]
    subject: SubjectArguments,
    /// Leave the contents out.
    #[arg(long, conflicts_with_all = ["block", "bytes"])]
    compact: bool,
    /// Where to write the proof [default: standard output].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct SubjectArguments {
    /// A path of the root; symbolic links are followed.
    #[arg(long)]
    path: Option<String>,
    /// A block of the root file system.
    #[arg(long, value_name = "N", value_parser = number)]
    block: Option<u64>,
    /// Bytes of the root file system: the first, and the one after the last.
    #[arg(long, value_name = "A..B", value_parser = range)]
    bytes: Option<(u64, u64)>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  graven proof check acmed.proof --trust keys/db.crt\n  \
    graven proof check acmed.proof --trust keys/db.crt --file /usr/bin/acmed\n\n\
    Neither image nor network is needed. Exit status 0: proved, and it is said what; 1: not proved, and why.")]
struct CheckArguments {
    /// The proof.
    proof: PathBuf,
    /// Certificates (PEM or DER), or folders of them, that may have signed the root hash.
    #[arg(long, value_name = "PATH", num_args = 1.., required_unless_present = "root_hash")]
    trust: Vec<PathBuf>,
    /// Trust this root hash, whoever signed it.
    #[arg(long, value_name = "HEX", conflicts_with = "trust")]
    root_hash: Option<RootHash>,
    /// A file whose contents have to be the proved ones.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let ends = text.split_once("..").and_then(|(start, end)| Some((number(start).ok()?, number(end).ok()?)));
    ends.filter(|(start, end)| start < end).ok_or_else(|| "expected A..B, as in 4096..8192".into())
}

impl From<MakeError> for Failure {
    fn from(error: MakeError) -> Self {
        match error {
            MakeError::Contents(error) => error.into(),
            error => {
                let status = match &error {
                    MakeError::Io(_) => Status::Environment,
                    MakeError::FileSystem(error) if error.is_io() => Status::Environment,
                    MakeError::Lookup(error) if error.is_io() => Status::Environment,
                    MakeError::Lookup(error) if error.is_bad_image() => Status::Bad,
                    MakeError::Lookup(_)
                    | MakeError::Path(_)
                    | MakeError::Outside { .. }
                    | MakeError::TooLarge { .. } => Status::Usage,
                    _ => Status::Bad,
                };
                Self { status, error: error.into() }
            }
        }
    }
}

impl From<CheckError> for Failure {
    fn from(error: CheckError) -> Self {
        let status = match &error {
            CheckError::File(_) => Status::Environment,
            CheckError::NoContents { .. } => Status::Usage,
            _ => Status::Bad,
        };
        Self { status, error: error.into() }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    match &arguments.verb {
        Verb::Make(arguments) => run_make(arguments),
        Verb::Check(arguments) => run_check(arguments),
    }
}

fn run_make(arguments: &MakeArguments) -> Outcome {
    let subject = match &arguments.subject {
        SubjectArguments { path: Some(path), .. } => Subject::Path(path.clone()),
        SubjectArguments { block: Some(block), .. } => Subject::Block(*block),
        SubjectArguments { bytes: Some((start, end)), .. } => Subject::Bytes(*start, *end),
        _ => return Err(Status::Usage.because()(anyhow!("give --path, --block or --bytes"))),
    };
    let contents = verify::Contents::open(open(&disk_of(&arguments.image))?)?;
    let proof = make(&contents, subject, arguments.compact)?;
    let text = proof.to_json().map_err(Status::Environment.because())? + "\n";
    match &arguments.output {
        None => print(&text)?,
        Some(path) => fs::write(path, text)
            .with_context(|| format!("writing {}", path.display()))
            .map_err(Status::Environment.because())?,
    }
    Ok(Status::Good)
}

fn run_check(arguments: &CheckArguments) -> Outcome {
    let named = |failure: Failure| Failure {
        error: failure.error.context(format!("{}: NOT PROVED", arguments.proof.display())),
        ..failure
    };
    let text = read_text(&arguments.proof)?;
    let proof = ImageProof::parse(&text).map_err(|error| named(Status::Bad.because()(error)))?;
    let mut trust = Trust::default();
    for path in &arguments.trust {
        for certificate in read_certificates(path)? {
            trust.add(certificate, &[verify::Role::Root]);
        }
    }
    let trusted = match &arguments.root_hash {
        Some(root_hash) => Trusted::RootHash(root_hash),
        None => Trusted::Certificates(&trust),
    };
    let file = match &arguments.file {
        Some(path) => {
            let file = File::open(path).with_context(|| path.display().to_string());
            Some(file.map_err(Status::Environment.because())?)
        }
        None => None,
    };
    let file: Option<&dyn ReadAt> = file.as_ref().map(|file| file as &dyn ReadAt);
    let statement = check(&proof, trusted, file).map_err(|error| named(error.into()))?;
    let shown = !matches!(statement.contents, Some(Contents { sha256: None, .. }));
    if arguments.json {
        print(&format!("{:#}\n", statement_json(&statement, shown)))?;
    } else {
        print(&statement_text(&statement, proof.subject(), arguments.file.as_deref()))?;
    }
    if !shown {
        let hint = "NOT PROVED: the proof leaves the contents out: give the file with --file";
        eprintln!("graven: {}: {hint}", arguments.proof.display());
    }
    Ok(if shown { Status::Good } else { Status::Bad })
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let name = || format!("reading {}", path.display());
    let bytes = fs::metadata(path).with_context(name).map_err(Status::Environment.because())?.len();
    if bytes > MOST_BYTES {
        return Err(Status::Bad.because()(anyhow!("{} has {bytes} bytes: no proof has", path.display())));
    }
    let bytes = fs::read(path).with_context(name).map_err(Status::Environment.because())?;
    String::from_utf8(bytes)
        .map_err(|_| Status::Bad.because()(anyhow!("{}: NOT PROVED: it is no text", path.display())))
}

fn statement_text(statement: &Statement, subject: &Subject, file: Option<&Path>) -> String {
    let mut text = format!("root hash  {}\n", statement.root_hash);
    if let Some(signer) = &statement.signer {
        text.push_str(&format!("signed by  {} (sha256:{})\n", signer.subject(), signer.fingerprint()));
    }
    match &statement.thing {
        Thing::Path { path, kind, metadata } => {
            let asked = subject.to_string();
            let way = if asked == path.to_string() { String::new() } else { format!(" (by {asked})") };
            text.push_str(&format!("path       {path}{way}\nkind       {kind}\n"));
            text.push_str(&format!(
                "mode       {:04o}\nowner      {}:{}\n",
                metadata.mode, metadata.uid, metadata.gid
            ));
            for (name, value) in &metadata.xattrs {
                let name = String::from_utf8_lossy(name);
                text.push_str(&format!("attribute  {name}={}\n", hex::encode(value)));
            }
        }
        Thing::Bytes { start, end } => {
            text.push_str(&format!("bytes      {start} to {} of the root\n", end.saturating_sub(1)));
        }
    }
    if let Some(Contents { len, sha256 }) = &statement.contents {
        text.push_str(&format!("size       {len} bytes\n"));
        if let Some(sha256) = sha256 {
            text.push_str(&format!("sha256     {}\n", hex::encode(sha256)));
        }
        if let Some(file) = file {
            text.push_str(&format!("file       {} is the same\n", file.display()));
        }
    }
    if !matches!(statement.contents, Some(Contents { sha256: None, .. })) {
        text.push_str("PROVED\n");
    }
    text
}

fn statement_json(statement: &Statement, proved: bool) -> serde_json::Value {
    let thing = match &statement.thing {
        Thing::Path { path, kind, metadata } => {
            let xattrs: serde_json::Map<_, _> = metadata
                .xattrs
                .iter()
                .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), hex::encode(value).into()))
                .collect();
            json!({
                "path": path.to_string(),
                "kind": kind,
                "mode": format!("{:04o}", metadata.mode),
                "uid": metadata.uid,
                "gid": metadata.gid,
                "mtime": metadata.mtime,
                "attributes": xattrs,
            })
        }
        Thing::Bytes { start, end } => json!({ "bytes": { "start": start, "end": end } }),
    };
    json!({
        "proved": proved,
        "root-hash": statement.root_hash.to_string(),
        "signer": statement.signer.as_ref().map(|signer| json!({
            "subject": signer.subject(),
            "sha256": signer.fingerprint().to_string(),
        })),
        "thing": thing,
        "size": statement.contents.map(|contents| contents.len),
        "sha256": statement.contents.and_then(|contents| contents.sha256).map(|sha256| hex::encode(&sha256)),
    })
}
