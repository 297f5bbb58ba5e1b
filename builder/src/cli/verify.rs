//! `graven verify`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use graven::deliver::DISK;
use graven::stage0;
use graven_handoff::hex;
use graven_image::gpt;
use graven_targets::Arch;
use graven_verify::manifest::Manifest;
use graven_verify::report::{Report, State};
use graven_verify::{CertificatesError, Disk, Options, Role, Trust, prove, read_certificates};
use graven_verity::io::{ReadAt, Window};
use sha2::{Digest, Sha256};

use super::expiry::ExpiryArguments;
use super::progress::Bar;
use super::run::disk_of;
use super::{Failure, Outcome, Status, print};

/// Bytes that a manifest may have.
const MOST_MANIFEST_BYTES: u64 = 64 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: graven verify out/acme-fw-2.4.1-x86_64-uefi --trust keys/db.crt\n\n\
    Every link of the chain is reported, then one verdict. Exit status 0: all hold; 1: one is broken or cannot be judged.")]
pub(crate) struct Arguments {
    /// The disk image, or the output folder of a build.
    image: PathBuf,
    #[command(flatten)]
    proof: ProofArguments,
    #[command(flatten)]
    expiry: ExpiryArguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What an image is held against.
#[derive(Debug, clap::Args)]
pub(super) struct ProofArguments {
    /// Certificates (PEM or DER), or folders of them, that may vouch for boot artefact, policy and root hash.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    trust: Vec<PathBuf>,
    /// Certificates that may vouch for the boot artefact only.
    #[arg(long, value_name = "PATH")]
    trust_boot: Vec<PathBuf>,
    /// Certificates that may vouch for the policy only.
    #[arg(long, value_name = "PATH")]
    trust_policy: Vec<PathBuf>,
    /// Certificates that may vouch for the root hash only.
    #[arg(long, value_name = "PATH")]
    trust_root: Vec<PathBuf>,
    /// Take development images and development keys.
    #[arg(long)]
    allow_development: bool,
    /// A stage0 that may be in the image, besides those that this graven carries.
    #[arg(long, value_name = "FILE")]
    stage0: Vec<PathBuf>,
    /// The same by its SHA-256.
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    stage0_sha256: Vec<[u8; 32]>,
    /// The manifest to hold the image against; without it, the manifest.json beside disk.img.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

impl From<CertificatesError> for Failure {
    fn from(error: CertificatesError) -> Self {
        let status = match error {
            CertificatesError::Io { .. } => Status::Environment,
            _ => Status::Usage,
        };
        Self { status, error: error.into() }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let path = disk_of(&arguments.image);
    let disk = open(&path)?;
    let trust = arguments.proof.trust()?;
    if trust.is_empty() {
        let hint = "nothing is trusted, so nothing can be proved: give the certificates with --trust PATH";
        return Err(Status::Usage.because()(anyhow!(hint)));
    }
    let report = arguments.proof.prove(&path, &disk, &trust)?;
    let signers = report.vouchers.iter().map(|voucher| &voucher.certificate);
    arguments.expiry.warn(signers)?;
    print(&if arguments.json { json(&report, &arguments.expiry)? } else { format!("{report}\n") })?;
    Ok(if report.verdict() == State::Ok { Status::Good } else { Status::Bad })
}

/// Opens an image for reading. One that was written to a larger disk ends where its partition table says; of a file all
/// belongs to it.
pub(super) fn open(path: &Path) -> Result<Disk, Failure> {
    let opening = || format!("opening {}", path.display());
    let open = || -> io::Result<Disk> {
        let file = File::open(path)?;
        let end = match file.metadata()?.file_type().is_block_device() {
            true => gpt::end(&file)?.filter(|end| file.size().is_ok_and(|size| *end < size)),
            false => None,
        };
        let Some(end) = end else { return Ok(Arc::new(file)) };
        eprintln!(
            "graven: {}: the image ends at byte {end}; what lies behind is not looked at",
            path.display()
        );
        Ok(Arc::new(Window::new(file, 0, end)))
    };
    open().with_context(opening).map_err(Status::Environment.because())
}

fn json(report: &Report, expiry: &ExpiryArguments) -> Result<String, Failure> {
    let mut signers = Vec::new();
    for voucher in &report.vouchers {
        let mut signer = expiry.describe(&voucher.certificate)?;
        signer["vouches_for"] = voucher.links.iter().map(ToString::to_string).collect();
        signers.push(signer);
    }
    let value = serde_json::json!({ "verdict": report.verdict(), "links": report.links, "signers": signers });
    Ok(format!("{value:#}\n"))
}

impl ProofArguments {
    /// Proves the image of this path, by these certificates.
    pub(super) fn prove(&self, path: &Path, disk: &Disk, trust: &Trust) -> Result<Report, Failure> {
        let manifest = manifest(self.manifest.as_deref(), path)?;
        let bar = Bar::bytes("verifying");
        let options = Options {
            allow_development: self.allow_development,
            stage0: self.known_stage0()?,
            progress: &bar,
        };
        let mut report = prove(disk, manifest.as_ref().and_then(|read| read.as_ref().ok()), trust, &options);
        drop(bar);
        if let Some(Err(problem)) = manifest {
            report.bad("manifest", problem);
        }
        Ok(report)
    }

    /// The certificates, each with what it may vouch for.
    pub(super) fn trust(&self) -> Result<Trust, Failure> {
        let by_role: [(&[PathBuf], &[Role]); 4] = [
            (&self.trust, &Role::ALL),
            (&self.trust_boot, &[Role::Boot]),
            (&self.trust_policy, &[Role::Policy]),
            (&self.trust_root, &[Role::Root]),
        ];
        let mut trust = Trust::default();
        for (paths, roles) in by_role {
            for path in paths {
                for certificate in read_certificates(path)? {
                    trust.add(certificate, roles);
                }
            }
        }
        Ok(trust)
    }

    /// SHA-256 of every stage0 that this program carries, and of those given.
    fn known_stage0(&self) -> Result<Vec<[u8; 32]>, Failure> {
        let mut known: Vec<[u8; 32]> = Vec::new();
        for arch in Arch::ALL {
            known.extend(stage0::carried(arch).ok().map(|program| <[u8; 32]>::from(Sha256::digest(program))));
        }
        for path in &self.stage0 {
            let program = fs::read(path)
                .with_context(|| format!("reading the stage0 {}", path.display()))
                .map_err(Status::Environment.because())?;
            known.push(Sha256::digest(program).into());
        }
        known.extend(&self.stage0_sha256);
        Ok(known)
    }
}

/// The manifest that was named, or that lies beside `disk.img`, or why what is there is none. A manifest that is not there is
/// no fault unless it was asked for.
pub(super) fn manifest(
    named: Option<&Path>,
    disk: &Path,
) -> Result<Option<Result<Manifest, String>>, Failure> {
    let beside = disk.with_file_name("manifest.json");
    let path = match named {
        Some(path) => path,
        None if disk.file_name().is_some_and(|name| name == DISK) => &beside,
        None => return Ok(None),
    };
    let failed = |error: io::Error| {
        Status::Environment.because()(anyhow!(error).context(format!("reading {}", path.display())))
    };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
        Ok(metadata) if metadata.len() > MOST_MANIFEST_BYTES => {
            return Ok(Some(Err(format!("{} has {} bytes", path.display(), metadata.len()))));
        }
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(failed)?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{} is no text", path.display()));
    Ok(Some(text.and_then(|text| Manifest::from_json(&text).map_err(|error| error.to_string()))))
}

fn sha256(text: &str) -> Result<[u8; 32], String> {
    let bytes = hex::decode(&text.to_ascii_lowercase()).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| "expected 64 hexadecimal digits".to_owned())
}
