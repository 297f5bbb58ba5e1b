//! `graven provenance`: a signed statement of what an image was built from, and by whom.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use graven::deliver::MANIFEST;
use graven::error::Error;
use graven::output::folder_of;
use graven::signers::signer;
use graven_boot::sign::Answer;
use graven_verify::manifest::Manifest;
use graven_verify::provenance::{FILE, ProvenanceError, make, open};
use graven_verify::read_certificates;

use super::build::{ask, sibling};
use super::{Failure, Outcome, Status, print, write_whole};

/// Who built, where nobody says: this program, anywhere.
const ANYWHERE: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/provenance.md#any-machine");

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// States what an image was built from, and signs that.
    Make(MakeArguments),
    /// Checks such a statement, and the files at hand against it.
    Check(CheckArguments),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: graven provenance make out/acme-fw-2.4.1-x86_64-uefi --keys keys/ \\\n    \
    --builder-id https://build.acme.example/firmware\n\n\
    SLSA provenance v1 in an in-toto statement in a DSSE envelope, over every file that the build left, the disk and its\n\
    partitions. The key is that of provenance.crt, with provenance.key, provenance.signer or answers beside it, as in a build.")]
struct MakeArguments {
    /// The output folder of a build.
    folder: PathBuf,
    /// Folder of keys.
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Whose key signs: NAME.crt and what is beside it.
    #[arg(long, value_name = "NAME", default_value = "provenance")]
    role: String,
    /// A URI that names who built.
    #[arg(long, value_name = "URI", default_value = ANYWHERE)]
    builder_id: String,
    /// Where to write it [default: provenance.intoto.json in the folder].
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Folder of answers to signing requests [default: FOLDER.provenance.pending].
    #[arg(long, value_name = "DIR")]
    answers: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: graven provenance check out/acme-fw-2.4.1-x86_64-uefi/provenance.intoto.json --trust keys/provenance.crt\n\n\
    Exit status 0: signed, and every file at hand is the stated one; 1: not."
)]
struct CheckArguments {
    /// The statement.
    statement: PathBuf,
    /// Certificates (PEM or DER), or folders of them, that may have signed it.
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    trust: Vec<PathBuf>,
    /// Folder of the files that it is about [default: the statement's own].
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print the statement as JSON.
    #[arg(long)]
    json: bool,
}

impl From<ProvenanceError> for Failure {
    fn from(error: ProvenanceError) -> Self {
        match error {
            ProvenanceError::Sign(error) => Error::from(error).into(),
            ProvenanceError::Io { .. } => Status::Environment.because()(error),
            error => Status::Bad.because()(error),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    match &arguments.verb {
        Verb::Make(arguments) => run_make(arguments),
        Verb::Check(arguments) => run_check(arguments),
    }
}

fn run_make(arguments: &MakeArguments) -> Outcome {
    let folder = &arguments.folder;
    if !arguments.builder_id.contains(':') {
        let found = &arguments.builder_id;
        return Err(Status::Usage.because()(anyhow!(
            "--builder-id {found}: expected a URI, as in https://build.acme.example"
        )));
    }
    let manifest = Manifest::from_json(&read(&folder.join(MANIFEST))?)
        .with_context(|| folder.display().to_string())
        .map_err(Status::Bad.because())?;
    // Not the build's own: it may wait there itself.
    let own = || sibling(folder, ".provenance.pending");
    let pending = arguments.answers.clone().unwrap_or_else(own);
    let signer = signer(&arguments.keys, &arguments.role, Some(&pending)).map_err(Error::from)?;
    match make(folder, &manifest, &arguments.builder_id, &*signer)? {
        Answer::Pending(request) => ask(&pending, &[request], "as ID.sig, and run this again"),
        Answer::Signed(envelope) => {
            let to = arguments.to.clone().unwrap_or_else(|| folder.join(FILE));
            write_whole(&to, envelope.to_json()?.as_bytes())?;
            print(&format!("{}: signed by {}\n", to.display(), signer.certificate().subject()))?;
            Ok(Status::Good)
        }
    }
}

fn run_check(arguments: &CheckArguments) -> Outcome {
    let mut trusted = Vec::new();
    for path in &arguments.trust {
        trusted.extend(read_certificates(path)?);
    }
    let text = read(&arguments.statement)?;
    let attested = open(&text, &trusted).map_err(Failure::from).map_err(|failure| Failure {
        error: failure.error.context(format!("{}: NOT PROVED", arguments.statement.display())),
        ..failure
    })?;
    let own = folder_of(&arguments.statement);
    let same = attested.compare(arguments.folder.as_deref().unwrap_or(own))?;
    if arguments.json {
        let text =
            serde_json::to_string_pretty(&attested.statement).map_err(Status::Environment.because())?;
        print(&format!("{text}\n"))?;
        return Ok(Status::Good);
    }
    let statement = &attested.statement;
    let asked = &statement.predicate.build_definition.external_parameters;
    print(&format!(
        "image      {} {} for {} ({})\nbuilder    {}\nsigned by  {} (sha256:{})\nfiles      {} of {} at hand, the same\nPROVED\n",
        asked.name,
        asked.version,
        asked.target,
        asked.profile,
        statement.predicate.run_details.builder.id,
        attested.signer.subject(),
        attested.signer.fingerprint(),
        same.len(),
        statement.subject.iter().filter(|subject| !subject.name.contains('/')).count(),
    ))?;
    Ok(Status::Good)
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .with_context(|| format!("reading {}", path.display()))
        .map_err(Status::Environment.because())
}
