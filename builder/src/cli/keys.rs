//! `graven keys`.

use std::path::PathBuf;

use anyhow::Context;
use graven_boot::keys::{self, Options};

use super::{Outcome, Status, print};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Makes a set of keys, certificates and enrolment files; refuses to overwrite anything.
    #[command(after_help = "Example: graven keys new keys/ --name \"Acme Firewalls\"\n\n\
        The .key files are private: whoever has db.key can sign an image that your machines boot.")]
    New {
        /// The folder to make.
        dir: PathBuf,
        /// Whose keys they are; goes into the certificates' subjects.
        #[arg(long, default_value = "Graven")]
        name: String,
        /// Mark them as development keys, which `verify` reports and release processes can tell.
        #[arg(long)]
        development: bool,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let Verb::New { dir, name, development } = &arguments.verb;
    let options = if *development { Options::development(name) } else { Options::release(name) };
    keys::create(dir, &options)
        .with_context(|| format!("making keys in {}", dir.display()))
        .map_err(Status::Environment.because())?;
    print(&format!(
        "{0}: PK, KEK and db with their enrolment files; fit and policy keys for U-Boot boards\n\
         enrol PK.auth, KEK.auth and db.auth in the machine's firmware, with nothing else in db\n",
        dir.display()
    ))?;
    Ok(Status::Good)
}
