//! `graven inspect`, `graven diff`, `graven cat` and `graven extract`: looking into an image. Nothing is proved by it.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use graven::output::folder_of;
use graven_image::tree::Kind;
use graven_verify::diff::{self, DiffError, Section};
use graven_verify::extract::{self, ExtractError, Selected, Selection};
use graven_verify::manifest::Manifest;
use graven_verify::page::{self, Dossier, DossierError};
use graven_verify::{Contents, ContentsError, inspect};

use super::run::disk_of;
use super::verify::{ProofArguments, manifest, open};
use super::{Failure, Outcome, Status, print};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  graven inspect out/acme-fw-2.4.1-x86_64-uefi\n  \
    graven inspect out/acme-fw-2.4.1-x86_64-uefi --html report.html --trust keys/db.crt\n\n\
    Shows what the image says of itself. Whether it is true is for `graven verify` to say, and for the report that --html\n\
    writes: one page that needs no network, with the proof, the disk, what the policy decides about each file, and findings.")]
#[command(mut_group("ProofArguments", |proof| proof.requires("html")))]
pub(crate) struct InspectArguments {
    /// The disk image, or the output folder of a build.
    image: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Write a trust report there; what it says of signatures needs --trust.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
    #[command(flatten, next_help_heading = "What the report holds the image against")]
    proof: ProofArguments,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  graven diff out/acme-fw-2.4.1-x86_64-uefi out/acme-fw-2.4.2-x86_64-uefi\n  \
    graven diff old.img new.img --only packages,files --json\n\n\
    What bears on security stands first, what only follows from something else last: a changed file changes the root hash,\n\
    and with it policy, command line, partitions' UUIDs and signatures. Exit status 0: the same; 1: they differ.\n\n\
    PART is one of: security, policy, command-line, signers, boot, kernel-config, plan, partitions, esp, packages, files,\n\
    made-from, follows."
)]
pub(crate) struct DiffArguments {
    /// The older disk image, or the output folder of its build.
    old: PathBuf,
    /// The newer one.
    new: PathBuf,
    /// Tell, and judge by, these parts alone.
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Section>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Write a page there.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  graven cat out/acme-fw-2.4.1-x86_64-uefi /etc/os-release\n  \
    graven cat disk.img cmdline\n  graven cat disk.img initramfs:/graven/plan\n\n\
    WHAT is a path of the root, initramfs:/PATH, esp:/PATH, partition:NAME (raw bytes), or one of: uki, kernel, initrd, cmdline, osrel, stage0,\n\
    plan, policy, policy.p7b, root.p7s; esp, root, root-verity, root-verity-sig for raw partitions.")]
pub(crate) struct CatArguments {
    /// The disk image, or the output folder of a build.
    image: PathBuf,
    /// What to print.
    what: Selection,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  graven extract out/acme-fw-2.4.1-x86_64-uefi / --to root/\n  \
    graven extract disk.img / --tar --to root.tar\n  graven extract disk.img boot --to acme.efi\n\n\
    WHAT is as in `graven cat`. A folder is copied as an unprivileged user can have it, without owners, extended\n\
    attributes, set-uid bits and device nodes; --tar keeps them all.")]
pub(crate) struct ExtractArguments {
    /// The disk image, or the output folder of a build.
    image: PathBuf,
    /// What to copy.
    what: Selection,
    /// Where to; must not exist. With --tar, `-` is standard output.
    #[arg(long, value_name = "DEST")]
    to: PathBuf,
    /// Write a tar archive (pax).
    #[arg(long)]
    tar: bool,
}

impl From<ContentsError> for Failure {
    fn from(error: ContentsError) -> Self {
        let status = if is_broken_medium(&error) { Status::Environment } else { Status::Bad };
        Self { status, error: error.into() }
    }
}

impl From<DossierError> for Failure {
    fn from(error: DossierError) -> Self {
        match error {
            DossierError::Contents(error) => error.into(),
            error => Self { status: Status::Environment, error: error.into() },
        }
    }
}

impl From<ExtractError> for Failure {
    fn from(error: ExtractError) -> Self {
        let status = match &error {
            ExtractError::Name(..)
            | ExtractError::Partition { .. }
            | ExtractError::Path(_)
            | ExtractError::Exists(_) => Status::Usage,
            ExtractError::Io { .. } => Status::Environment,
            ExtractError::Contents(error) if is_broken_medium(error) => Status::Environment,
            _ => Status::Bad,
        };
        Self { status, error: error.into() }
    }
}

/// Whether reading itself failed, rather than what was read being wrong.
fn is_broken_medium(error: &ContentsError) -> bool {
    use graven_image::{fat, gpt};
    match error {
        ContentsError::Table(gpt::Error::Io { .. }) | ContentsError::Fat(fat::Error::Io { .. }) => true,
        ContentsError::Root(error) => error.is_io(),
        _ => false,
    }
}

pub(crate) fn inspect(arguments: &InspectArguments) -> Outcome {
    if let Some(html) = &arguments.html {
        return report(arguments, html);
    }
    let summary = inspect::inspect(&contents(&arguments.image)?)?;
    if arguments.json {
        let json = serde_json::to_string_pretty(&summary).map_err(Status::Environment.because())?;
        print(&format!("{json}\n"))?;
    } else {
        print(&format!("{summary}\n"))?;
    }
    Ok(Status::Good)
}

/// Writes the trust report.
fn report(arguments: &InspectArguments, html: &Path) -> Outcome {
    let path = disk_of(&arguments.image);
    let disk = open(&path)?;
    let contents = Contents::open(Arc::clone(&disk))?;
    let trust = arguments.proof.trust()?;
    let proof = arguments.proof.prove(&path, &disk, &trust)?;
    write_page(html, &page::render(&Dossier::gather(&contents, proof, &trust)?))?;
    Ok(Status::Good)
}

/// Writes a page, whole or not at all.
fn write_page(html: &Path, page: &str) -> Result<(), Failure> {
    let written = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder_of(html))
        .and_then(|mut file| file.write_all(page.as_bytes()).map(|()| file))
        .and_then(|file| file.persist(html).map_err(|error| error.error));
    written
        .map(drop)
        .with_context(|| format!("writing {}", html.display()))
        .map_err(Status::Environment.because())
}

impl From<DiffError> for Failure {
    fn from(error: DiffError) -> Self {
        let status = match &error {
            DiffError::Contents { source, .. } if !is_broken_medium(source) => Status::Bad,
            _ => Status::Environment,
        };
        Self { status, error: error.into() }
    }
}

pub(crate) fn diff(arguments: &DiffArguments) -> Outcome {
    let (old, old_manifest) = with_manifest(&arguments.old)?;
    let (new, new_manifest) = with_manifest(&arguments.new)?;
    let mut found = diff::diff(
        diff::Image { contents: &old, manifest: old_manifest.as_ref() },
        diff::Image { contents: &new, manifest: new_manifest.as_ref() },
    )?;
    if !arguments.only.is_empty() {
        found.retain(&arguments.only);
    }
    if let Some(html) = &arguments.html {
        write_page(html, &page::render_differences(&found))?;
    } else if arguments.json {
        let json = serde_json::to_string_pretty(&found).map_err(Status::Environment.because())?;
        print(&format!("{json}\n"))?;
    } else {
        print(&found.to_string())?;
    }
    Ok(if found.is_empty() { Status::Good } else { Status::Bad })
}

/// An image, and what its build wrote beside it.
fn with_manifest(image: &Path) -> Result<(Contents, Option<Manifest>), Failure> {
    let path = disk_of(image);
    let told =
        |failure: Failure| Failure { error: failure.error.context(path.display().to_string()), ..failure };
    let contents = Contents::open(open(&path)?).map_err(Failure::from).map_err(told)?;
    let manifest = manifest(None, &path)?.transpose();
    let manifest =
        manifest.map_err(|problem| told(Status::Bad.because()(anyhow!("manifest.json: {problem}"))))?;
    Ok((contents, manifest))
}

pub(crate) fn cat(arguments: &CatArguments) -> Outcome {
    let contents = contents(&arguments.image)?;
    let selected = extract::select(&contents, &arguments.what)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let written = extract::print(&selected, &mut out);
    let written = written.and_then(|()| out.flush().map_err(|source| io_error("standard output", source)));
    to_a_reader(written)
}

/// A reader of standard output that went away early is no error.
fn to_a_reader(written: Result<(), ExtractError>) -> Outcome {
    match written {
        Err(ExtractError::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            Ok(Status::Good)
        }
        written => Ok(written.map(|()| Status::Good)?),
    }
}

pub(crate) fn extract(arguments: &ExtractArguments) -> Outcome {
    let contents = contents(&arguments.image)?;
    let selected = extract::select(&contents, &arguments.what)?;
    match &selected {
        Selected::Tree(tree, id) if arguments.tar => {
            if arguments.to == Path::new("-") {
                return to_a_reader(extract::to_tar(tree, *id, BufWriter::new(io::stdout().lock())));
            }
            let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&arguments.to);
            let file = file.map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => ExtractError::Exists(arguments.to.clone()),
                _ => io_error(&arguments.to.display().to_string(), source),
            })?;
            extract::to_tar(tree, *id, BufWriter::new(file))?;
        }
        _ if arguments.tar => {
            let hint = "--tar makes an archive of a folder or file of a file system: give its path";
            return Err(Status::Usage.because()(anyhow!(hint)));
        }
        Selected::Tree(tree, id) if matches!(tree.inode(*id).kind, Kind::Directory(_)) => {
            let done = extract::to_folder(tree, *id, &arguments.to)?;
            let (files, directories, symlinks) = (done.files, done.directories, done.symlinks);
            print(&format!(
                "{}: {files} files, {directories} directories, {symlinks} symbolic links\n",
                arguments.to.display()
            ))?;
            if !done.skipped.is_empty() {
                eprintln!("graven: left out, --tar keeps them: {}", done.skipped.join(", "));
            }
        }
        Selected::Tree(tree, id) => {
            extract::to_folder(tree, *id, &arguments.to)?;
        }
        Selected::Bytes(_) | Selected::Partition(_) => extract::to_new_file(&selected, &arguments.to)?,
    }
    Ok(Status::Good)
}

fn contents(image: &Path) -> Result<Contents, Failure> {
    Ok(Contents::open(open(&disk_of(image))?)?)
}

fn io_error(what: &str, source: io::Error) -> ExtractError {
    ExtractError::Io { what: what.to_owned(), source }
}
