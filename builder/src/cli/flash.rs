//! `graven flash`.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use graven::flash::{FlashError, Target};
use graven_verify::manifest::Manifest;
use graven_verity::fsverity::{self, Params};
use graven_verity::hash::Digest;
use graven_verity::io::ReadAt;

use super::progress::Bar;
use super::run::disk_of;
use super::verify::manifest;
use super::{Failure, Outcome, Status, print};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: graven flash out/acme-fw-2.4.1-x86_64-uefi /dev/sdb\n\n\
    Writes what is not zero, empties the rest, and reads all of it back. Refuses what is no whole disk, what is in use, and \
    what is too small. A disk that is interrupted has no partition table.")]
pub(crate) struct Arguments {
    /// The disk image, or the output folder of a build.
    image: PathBuf,
    /// The disk to write to, such as /dev/sdb. All that lies on it is lost.
    device: PathBuf,
    /// Write to a disk that cannot be taken out, too.
    #[arg(long)]
    yes: bool,
}

impl From<FlashError> for Failure {
    fn from(error: FlashError) -> Self {
        let status = match error {
            FlashError::NoDisk { .. } | FlashError::Sectors { .. } | FlashError::TooSmall { .. } => {
                Status::Usage
            }
            FlashError::Differs { .. } => Status::Bad,
            FlashError::Busy { .. } | FlashError::Io { .. } => Status::Environment,
        };
        Self { status, error: error.into() }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let path = disk_of(&arguments.image);
    let image = File::open(&path)
        .with_context(|| format!("opening {}", path.display()))
        .map_err(Status::Environment.because())?;
    let size = image.size().with_context(|| path.display().to_string());
    let size = size.map_err(Status::Environment.because())?;
    let target = Target::open(&arguments.device)?;
    target.fits(size)?;
    if !target.removable && !arguments.yes {
        let model = target.model.as_deref().map(|model| format!(" ({model})")).unwrap_or_default();
        return Err(Status::Usage.because()(anyhow!(
            "{}{model}, {} bytes, is no removable disk: all that lies on it would be lost; if it is the right one, give --yes",
            arguments.device.display(),
            target.bytes
        )));
    }
    let digest = known_digest(&path, &image)?;
    let bar = Bar::of(size.saturating_mul(2), "flashing");
    let written = target.write(&image, digest, &bar)?;
    drop(bar);
    print(&format!(
        "{}: {size} bytes, {} of them written and the rest emptied; read back: {}\n",
        arguments.device.display(),
        written.bytes,
        written.found,
    ))?;
    Ok(Status::Good)
}

/// The image's digest, which must be the one that its manifest has, where there is one: what is written then is what was
/// built.
fn known_digest(path: &Path, image: &File) -> Result<Digest, Failure> {
    let found = fsverity::digest(image, &Params::default())
        .with_context(|| path.display().to_string())
        .map_err(Status::Environment.because())?;
    let Some(manifest) = manifest(None, path)? else { return Ok(found) };
    let Manifest { disk, .. } =
        manifest.map_err(|problem| Status::Bad.because()(anyhow!("manifest.json: {problem}")))?;
    match disk.fsverity == found.to_string() {
        true => Ok(found),
        false => Err(Status::Bad.because()(anyhow!(
            "{}: fs-verity digest {found}, the manifest beside it has {}; it is not the image as it was built, and nothing \
             was written",
            path.display(),
            disk.fsverity
        ))),
    }
}
