//! `graven provision`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use graven::error::Error;
use graven::signers::file_signer;
use graven_boot::sign::{Algorithm, Purpose, Request, Signer};
use graven_handoff::seed::{self, Entry, Header};

use super::{Failure, Outcome, Status, print, write_whole};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Signs a seed: files that a machine takes into its state on its first boot.
    Sign(SignArguments),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:\n    \
    tar --format=ustar --owner=0 --group=0 --numeric-owner -C unit-0815 -cf seed.tar .\n    \
    graven provision sign seed.tar seed.img --key keys/policy.key --cert keys/policy.crt\n\n\
Paths in the archive are paths in the root, each of them persisted by the recipe's [state]. The recipe names the\n\
certificate as [state.provision] certificate. Write seed.img to the start of a partition named graven-seed.")]
struct SignArguments {
    /// The files: a tar archive of the POSIX form (ustar), files and folders alone.
    archive: PathBuf,
    /// The seed, as it is to lie at the start of its partition.
    seed: PathBuf,
    /// The private key: RSA, PEM.
    #[arg(long)]
    key: PathBuf,
    /// Its certificate; issuers behind it are of no use here, since stage0 is told of the certificate itself.
    #[arg(long)]
    cert: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let Verb::Sign(arguments) = &arguments.verb;
    sign(arguments)
}

fn sign(arguments: &SignArguments) -> Outcome {
    let named = |path: &Path| path.display().to_string();
    let archive = fs::read(&arguments.archive)
        .with_context(|| named(&arguments.archive))
        .map_err(Status::Environment.because())?;
    let entries = entries(&arguments.archive, &archive)?;
    let signer = file_signer(&arguments.key, &arguments.cert).map_err(Error::from)?;
    let bytes = signed(&archive, &*signer)?;

    write_whole(&arguments.seed, &bytes)?;
    for Entry { path, mode, uid, gid, .. } in &entries {
        print(&format!("{mode:04o} {uid}:{gid} {path}\n"))?;
    }
    print(&format!(
        "{}: {} bytes, signed by {}\n",
        named(&arguments.seed),
        bytes.len(),
        signer.certificate().subject()
    ))?;
    Ok(Status::Good)
}

/// What the device will find in the archive, read as the device reads it.
fn entries<'a>(path: &Path, archive: &'a [u8]) -> Result<Vec<Entry<'a>>, Failure> {
    let refused = |why: String| {
        Status::Bad.because()(anyhow!(
            "{}: {why}; make it with tar --format=ustar --owner=0 --group=0 --numeric-owner, of files and folders alone",
            path.display()
        ))
    };
    if archive.len() > seed::MOST {
        return Err(refused(format!("it has {} bytes; a seed has {} at most", archive.len(), seed::MOST)));
    }
    seed::entries(archive).map_err(refused)
}

/// Header, archive, signature.
fn signed(archive: &[u8], signer: &dyn Signer) -> Result<Vec<u8>, Failure> {
    let failed = |error| Status::Environment.because()(anyhow::Error::from(error));
    let request = |message: &[u8]| {
        Request::with_algorithm(Purpose::Seed, signer.certificate(), Algorithm::RsaPkcs1Sha256, message)
    };
    let sign = |message: &[u8]| -> Result<Vec<u8>, Failure> {
        let answer = request(message).and_then(|request| signer.sign(&request)).map_err(failed)?;
        answer.signed().ok_or_else(|| Status::Environment.because()(anyhow!("the key did not sign")))
    };
    // The header says how long the signature is, and is signed: an RSA signature is as long as its key.
    let length = sign(archive)?.len();
    let mut bytes = Header { archive: archive.len(), signature: length }.bytes().to_vec();
    bytes.extend_from_slice(archive);
    let signature = sign(&bytes)?;
    bytes.extend(signature);
    Ok(bytes)
}
