//! `graven fit`: U-Boot's FITs, also those made elsewhere.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use graven::error::Error;
use graven::output::folder_of;
use graven::signers::signer;
use graven_boot::fit::control::{self, Required};
use graven_boot::fit::{
    self, ConfigurationReport, Fit, FitError, Hash, Image, Padding, Placement, Report, SignOptions,
    SignatureAlgorithm, Signed, TrustedKey,
};
use graven_boot::keys::read_certificates as read_one;
use graven_boot::sign::SignError;
use graven_handoff::hex;
use graven_verify::read_certificates;
use serde_json::json;

use super::build::{ask, sibling, source_date_epoch};
use super::{Failure, Outcome, Status, print};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Signs every configuration of a FIT.
    Sign(SignArguments),
    /// Proves a FIT by U-Boot's rules, old and new.
    Verify(VerifyArguments),
    /// Shows what is inside a FIT.
    Dump(DumpArguments),
    /// Writes a public key as U-Boot's control device tree has it.
    Key(KeyArguments),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: graven fit sign unsigned.itb --keys keys/ --to acme.itb\n\n\
    Covered are all images that a configuration names. SOURCE_DATE_EPOCH gives the signatures' time; without it the\n\
    FIT's own timestamp does. Exit status 4: signatures are missing, what is to be signed lies in TO.pending.")]
struct SignArguments {
    /// The FIT.
    fit: PathBuf,
    /// Folder of private keys, or of certificates alone to sign elsewhere.
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// The key: NAME.key and NAME.crt in the folder; and the signature's key-name-hint.
    #[arg(long, value_name = "NAME", default_value = "fit")]
    name: String,
    /// Digest, where the FIT names none.
    #[arg(long, default_value = "sha256", value_parser = hash)]
    hash: Hash,
    /// Padding, where the FIT names none: pkcs-1.5 or pss.
    #[arg(long, default_value = "pkcs-1.5", value_parser = padding)]
    padding: Padding,
    /// Folder of answers to signing requests [default: TO.pending].
    #[arg(long, value_name = "DIR")]
    answers: Option<PathBuf>,
    /// The signed FIT; must not exist.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: graven fit verify acme.itb --trust keys/fit.crt\n\n\
    Every image and configuration is reported, then one verdict. Exit status 0: all hold; 1: one does not.")]
struct VerifyArguments {
    /// The FIT.
    fit: PathBuf,
    /// Certificates (PEM or DER), or folders of them, whose keys may have signed.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    trust: Vec<PathBuf>,
    /// A control device tree of U-Boot: the keys that it requires for configurations may have signed.
    #[arg(long, value_name = "DTB")]
    trust_dtb: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: graven fit dump acme.itb\n\n\
    Shows what the FIT says of itself. Whether it is true is for `graven fit verify` to say.")]
struct DumpArguments {
    /// The FIT.
    fit: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  graven fit key keys/fit.crt --into u-boot.dtb --to u-boot-with-key.dtb\n  \
    graven fit key keys/fit.crt --to key.dtb\n\n\
    Without --into the file holds nothing but /signature/key-NAME, to be merged by U-Boot's build."
)]
struct KeyArguments {
    /// The certificate.
    certificate: PathBuf,
    /// The key's name: that of the signatures' key-name-hint.
    #[arg(long, default_value = "fit")]
    name: String,
    /// Digest of the signatures.
    #[arg(long, default_value = "sha256", value_parser = hash)]
    hash: Hash,
    /// What U-Boot asks to be signed with it: conf, image or no.
    #[arg(long, default_value = "conf", value_parser = required)]
    required: Required,
    /// The control device tree to put it into, which is left as it is.
    #[arg(long, value_name = "DTB")]
    into: Option<PathBuf>,
    /// The device tree with the key; must not exist.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

fn hash(word: &str) -> Result<Hash, String> {
    Hash::named(word).ok_or_else(|| "expected sha256, sha384 or sha512".into())
}

fn padding(word: &str) -> Result<Padding, String> {
    Padding::named(word).ok_or_else(|| "expected pkcs-1.5 or pss".into())
}

fn required(word: &str) -> Result<Required, String> {
    match word {
        "conf" => Ok(Required::Configuration),
        "image" => Ok(Required::Image),
        "no" => Ok(Required::No),
        _ => Err("expected conf, image or no".into()),
    }
}

impl From<FitError> for Failure {
    fn from(error: FitError) -> Self {
        let status = match &error {
            FitError::Sign(SignError::Read { .. }) => Status::Environment,
            FitError::Sign(SignError::BadAnswer { .. }) => Status::Bad,
            FitError::Sign(_)
            | FitError::Key { .. }
            | FitError::KeyName { .. }
            | FitError::OtherKey { .. }
            | FitError::Parts(_) => Status::Usage,
            _ => Status::Bad,
        };
        Self { status, error: error.into() }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    match &arguments.verb {
        Verb::Sign(arguments) => sign(arguments),
        Verb::Verify(arguments) => verify(arguments),
        Verb::Dump(arguments) => dump(arguments),
        Verb::Key(arguments) => key(arguments),
    }
}

fn sign(arguments: &SignArguments) -> Outcome {
    refuse_existing(&arguments.to)?;
    let bytes = read(&arguments.fit)?;
    let pending = arguments.answers.clone().unwrap_or_else(|| sibling(&arguments.to, ".pending"));
    let signer = signer(&arguments.keys, &arguments.name, Some(&pending)).map_err(Error::from)?;
    let options = SignOptions {
        hint: &arguments.name,
        hash: arguments.hash,
        padding: arguments.padding,
        timestamp: timestamp(&bytes)?,
    };
    match fit::sign(&bytes, &options, &*signer).map_err(|error| named(error, &arguments.fit))? {
        Signed::Pending(requests) => ask(&pending, &requests, "as ID.sig, and run this again"),
        Signed::Whole(signed) => {
            write_new(&arguments.to, &signed)?;
            if signer.certificate().is_development() {
                eprintln!("graven: signed with a development key: do not ship this FIT");
            }
            Ok(Status::Good)
        }
    }
}

/// The signatures' time: the environment's word, or the FIT's own.
fn timestamp(fit: &[u8]) -> Result<u32, Failure> {
    let seconds = match source_date_epoch()? {
        Some(seconds) => u32::try_from(seconds).ok(),
        None => Fit::parse(fit)?.timestamp(),
    };
    let hint = "the FIT has no timestamp, and SOURCE_DATE_EPOCH gives none that fits 32 bits: set it";
    seconds.ok_or_else(|| Status::Usage.because()(anyhow!(hint)))
}

fn verify(arguments: &VerifyArguments) -> Outcome {
    let bytes = read(&arguments.fit)?;
    let mut trusted = Vec::new();
    for path in &arguments.trust {
        trusted.extend(read_certificates(path)?.iter().map(TrustedKey::of));
    }
    for path in &arguments.trust_dtb {
        trusted.extend(control::required_keys(&read(path)?).map_err(|error| named(error, path))?);
    }
    if trusted.is_empty() {
        let hint = "nothing is trusted, so nothing can be proved: give certificates with --trust PATH";
        return Err(Status::Usage.because()(anyhow!(hint)));
    }
    let report = fit::verify(&bytes, &trusted).map_err(|error| named(error, &arguments.fit))?;
    if arguments.json {
        print(&format!("{:#}\n", report_json(&report)))?;
    } else {
        let verdict = match report.holds() {
            true => "PROVED: every image and configuration holds",
            false => "BAD: U-Boot would refuse it, or start what nobody signed",
        };
        print(&format!("{report}\n{verdict}\n"))?;
    }
    Ok(if report.holds() { Status::Good } else { Status::Bad })
}

fn report_json(report: &Report) -> serde_json::Value {
    let images = report
        .images
        .iter()
        .map(|image| json!({ "name": image.name, "hashes": image.hashes, "problems": image.problems }));
    let configurations = report.configurations.iter().map(|configuration| {
        json!({
            "name": configuration.name,
            "holds": configuration.holds(),
            "signed_by": configuration.signer(),
            "signatures": signatures_json(configuration),
            "problems": configuration.problems,
        })
    });
    json!({
        "verdict": if report.holds() { "ok" } else { "bad" },
        "default": report.default,
        "images": images.collect::<Vec<_>>(),
        "configurations": configurations.collect::<Vec<_>>(),
        "problems": report.problems,
    })
}

fn signatures_json(configuration: &ConfigurationReport) -> Vec<serde_json::Value> {
    let signatures = configuration.signatures.iter().map(|signature| {
        json!({
            "node": signature.node,
            "algorithm": signature.algorithm,
            "key_name_hint": signature.hint,
            "signed_by": signature.result.as_ref().ok(),
            "problem": signature.result.as_ref().err(),
        })
    });
    signatures.collect()
}

fn dump(arguments: &DumpArguments) -> Outcome {
    let bytes = read(&arguments.fit)?;
    let fit = Fit::parse(&bytes).map_err(|error| named(error, &arguments.fit))?;
    if arguments.json {
        let images: Vec<_> = fit.images().iter().map(image_json).collect();
        let configurations = fit.configurations().iter().map(|configuration| {
            let references = configuration.references.iter();
            let references = references.map(|one| json!({ "property": one.property, "image": one.image }));
            let signatures = configuration.signatures.iter().map(|node| {
                json!({
                    "node": node.name,
                    "algorithm": node.algorithm,
                    "key_name_hint": node.hint,
                    "signed": node.signed,
                })
            });
            json!({
                "name": configuration.name,
                "description": configuration.description,
                "compatible": fit.compatible_with(configuration),
                "references": references.collect::<Vec<_>>(),
                "signatures": signatures.collect::<Vec<_>>(),
            })
        });
        let value = json!({
            "description": fit.description(),
            "timestamp": fit.timestamp(),
            "default": fit.default(),
            "images": images,
            "configurations": configurations.collect::<Vec<_>>(),
        });
        print(&format!("{value:#}\n"))?;
        return Ok(Status::Good);
    }
    let mut text = fit.description().unwrap_or_default().to_owned();
    if let Some(timestamp) = fit.timestamp() {
        text.push_str(&format!("\n  timestamp      {timestamp}"));
    }
    for image in fit.images() {
        let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let address = image.load.map(|load| format!("  at {load:#x}")).unwrap_or_default();
        text.push_str(&format!(
            "\n  image          {:<16} {} {} {}, {} bytes{address}",
            image.name,
            word(&image.kind),
            word(&image.arch),
            word(&image.compression),
            image.data.len()
        ));
    }
    for configuration in fit.configurations() {
        let default = if fit.default() == Some(&configuration.name) { " (default)" } else { "" };
        let references = configuration.references.iter();
        let references: Vec<_> = references.map(|one| format!("{} {}", one.property, one.image)).collect();
        text.push_str(&format!(
            "\n  configuration  {:<16} {}{default}",
            configuration.name,
            references.join(", ")
        ));
        let compatible = fit.compatible_with(configuration);
        if !compatible.is_empty() {
            text.push_str(&format!("\n{:34}for {}", "", compatible.join(", ")));
        }
        for node in &configuration.signatures {
            let hint = node.hint.as_deref().unwrap_or("-");
            let signed = if node.signed { "" } else { ", not signed yet" };
            text.push_str(&format!("\n{:34}{} {} by key {hint}{signed}", "", node.name, node.algorithm));
        }
    }
    print(&format!("{text}\n"))?;
    Ok(Status::Good)
}

fn image_json(image: &Image<'_>) -> serde_json::Value {
    json!({
        "name": image.name,
        "description": image.description,
        "type": image.kind,
        "arch": image.arch,
        "os": image.os,
        "compression": image.compression,
        "load": image.load,
        "entry": image.entry,
        "size": image.data.len(),
        "sha256": hex::encode(&Hash::Sha256.digest(image.data)),
        "external": image.placement != Placement::Embedded,
    })
}

fn key(arguments: &KeyArguments) -> Outcome {
    refuse_existing(&arguments.to)?;
    let path = &arguments.certificate;
    let all = read_one(path).map_err(Status::Usage.because())?;
    let [certificate] = all.as_slice() else {
        let problem = anyhow!("{}: expected one certificate, found {}", path.display(), all.len());
        return Err(Status::Usage.because()(problem));
    };
    // The padding is the signature's affair; a key node says nothing of it.
    let algorithm = SignatureAlgorithm::of(certificate.public_key(), arguments.hash, Padding::Pkcs1);
    let algorithm = algorithm.ok_or_else(|| FitError::Key {
        subject: certificate.subject(),
        found: certificate.public_key().to_string(),
    })?;
    let (name, required) = (&arguments.name, arguments.required);
    let written = match &arguments.into {
        Some(path) => control::add_key(&read(path)?, certificate, name, algorithm, required)
            .map_err(|error| named(error, path))?,
        None => control::fragment(certificate, name, algorithm, required)?,
    };
    write_new(&arguments.to, &written)?;
    Ok(Status::Good)
}

/// An error of a FIT with the file's name before it.
fn named(error: FitError, path: &Path) -> Failure {
    let failure = Failure::from(error);
    Failure { error: failure.error.context(path.display().to_string()), ..failure }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path)
        .with_context(|| format!("reading {}", path.display()))
        .map_err(Status::Environment.because())
}

fn refuse_existing(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(Status::Usage.because()(anyhow!("{} exists: nothing is overwritten", path.display()))),
        Err(_) => Ok(()),
    }
}

/// Writes a file that appears whole, by rename, and never over another.
fn write_new(path: &Path, contents: &[u8]) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        let mut draft = tempfile::Builder::new().prefix(".graven-").tempfile_in(folder_of(path))?;
        draft.write_all(contents)?;
        draft.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        draft.as_file().sync_all()?;
        draft.persist_noclobber(path).map_err(|error| error.error)?;
        Ok(())
    };
    match write() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => refuse_existing(path),
        written => written
            .with_context(|| format!("writing {}", path.display()))
            .map_err(Status::Environment.because()),
    }
}
