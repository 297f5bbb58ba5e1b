//! `graven sbom`: what is in an image, for whoever has to account for it. Nothing is proved by it.

use std::path::PathBuf;

use anyhow::anyhow;
use graven_verify::Contents;
use graven_verify::sbom::{SbomError, of_image};

use super::run::disk_of;
use super::verify::{manifest, open};
use super::{Failure, Outcome, Status, print, write_whole};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  graven sbom out/acme-fw-2.4.1-x86_64-uefi --to acme.cdx.json\n  \
    graven sbom disk.img --licences\n\n\
    CycloneDX 1.6: the Debian packages with their files, files of no package, kernel, stage0, stub and initramfs, each file\n\
    with its SHA-256 and, where it is ELF, its build id. A build leaves the same beside its disk, as sbom.cdx.json.")]
pub(crate) struct Arguments {
    /// The disk image, or the output folder of a build.
    image: PathBuf,
    /// In place of the bill, tell which package has which licence, by the copyright files in the image.
    #[arg(long)]
    licences: bool,
    /// Where to write it [default: standard output].
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// The manifest, which knows of firmware and container images; without it, the manifest.json beside disk.img.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

impl From<SbomError> for Failure {
    fn from(error: SbomError) -> Self {
        match error {
            SbomError::Contents(error) => error.into(),
            SbomError::Read { .. } => Status::Environment.because()(error),
            SbomError::Date(_) => Status::Bad.because()(error),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let path = disk_of(&arguments.image);
    let contents = Contents::open(open(&path)?)?;
    let manifest = manifest(arguments.manifest.as_deref(), &path)?.transpose();
    let manifest = manifest.map_err(|problem| Status::Bad.because()(anyhow!(problem)))?;
    let bill = of_image(&contents, manifest.as_ref())?;
    let text = if arguments.licences { bill.licences() } else { bill.to_json() };
    match &arguments.to {
        None => print(&text)?,
        Some(file) => write_whole(file, text.as_bytes())?,
    }
    Ok(Status::Good)
}
