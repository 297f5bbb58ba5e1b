//! `graven policy sign`.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use graven::error::Error;
use graven::signers::file_signer;
use graven_boot::pkcs7::{LONGEST_POLICY, sign_policy};
use graven_ipe::Policy;
use graven_ipe::lint::{Against, Severity};

use super::super::{Outcome, Status, print, write_whole};
use super::judged::judge;
use super::read;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    graven policy sign successor.pol successor.p7b --replaces out/acme-fw-2.4.1-x86_64-uefi/policy.p7b \\\n    \
    --key keys/db.key --cert keys/db.crt\n\n\
    Signs nothing that the kernel would refuse. A successor of an image's policy has its name, a higher version and a rule\n\
    for its root hash; it goes where the recipe says with [policy] successor.")]
pub(super) struct Arguments {
    /// The policy's text.
    text: PathBuf,
    /// The signed policy: PKCS#7, DER.
    signed: PathBuf,
    /// The policy in whose place it is to be put.
    #[arg(long, value_name = "POLICY")]
    replaces: Option<PathBuf>,
    /// The private key (PEM).
    #[arg(long)]
    key: PathBuf,
    /// Its certificate (PEM or DER); where an issuer of it is trusted, with the issuers behind it, in order.
    #[arg(long)]
    cert: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let text = read(&arguments.text)?;
    let named = |path: &Path| path.display().to_string();
    let older = match &arguments.replaces {
        Some(path) => Some(judge(&read(path)?, &Against::default(), &[]).verdict.map_err(|errno| {
            Status::Bad.because()(anyhow!("{}: the kernel refuses it with {errno}", named(path)))
        })?),
        None => None,
    };
    let judged = judge(&text, &Against { older: older.as_ref(), ..Against::default() }, &[]);
    if let Some(finding) = judged.findings.iter().find(|finding| finding.severity == Severity::Error) {
        let problem = anyhow!("{}:{finding}; graven policy check tells more", named(&arguments.text));
        return Err(Status::Bad.because()(problem));
    }
    let policy = Policy::load(&text).map_err(|error| Status::Bad.because()(anyhow!("{error}")))?;
    let signer = file_signer(&arguments.key, &arguments.cert).map_err(Error::from)?;
    let answer = sign_policy(&text, &*signer).map_err(Status::Environment.because())?;
    let signed =
        answer.signed().ok_or_else(|| Status::Environment.because()(anyhow!("the key did not sign")))?;
    if signed.len() > LONGEST_POLICY {
        let length = signed.len();
        let problem = anyhow!(
            "{}: {length} bytes with its signature; the kernel takes {LONGEST_POLICY}",
            named(&arguments.text)
        );
        return Err(Status::Bad.because()(problem));
    }
    write_whole(&arguments.signed, &signed)?;
    print(&format!(
        "{}: {} {}, {} bytes, signed by {}\n",
        named(&arguments.signed),
        policy.name(),
        policy.version(),
        signed.len(),
        signer.certificate().subject()
    ))?;
    Ok(Status::Good)
}
