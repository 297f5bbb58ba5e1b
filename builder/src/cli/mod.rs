//! The command line: what a user types, and what it means.

mod attach;
mod build;
mod contents;
mod expiry;
mod fit;
mod flash;
mod fsverity;
mod init;
mod keys;
mod policy;
mod progress;
mod proof;
mod provenance;
mod provision;
mod rebuild;
mod run;
mod sbom;
mod supply;
mod twice;
mod verify;
mod verity;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use graven::output::folder_of;
use graven_targets::{BootChain, Target};
use tempfile::NamedTempFile;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Done and good.
    Good,
    /// The thing checked is bad.
    Bad,
    /// Wrong usage, or an error in the recipe.
    Usage,
    /// The environment failed: I/O, a missing tool.
    Environment,
    /// The build waits for signatures.
    Pending,
    /// What another program ends with, whose place a command takes.
    Other(u8),
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Good => 0,
            Status::Bad => 1,
            Status::Usage => 2,
            Status::Environment => 3,
            Status::Pending => 4,
            Status::Other(code) => code,
        })
    }
}

/// An error with the exit status that tells its kind.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    pub(crate) error: anyhow::Error,
}

impl Status {
    /// For `map_err`: that error, ending the program with this status.
    pub(crate) fn because<E: Into<anyhow::Error>>(self) -> impl FnOnce(E) -> Failure {
        move |error| Failure { status: self, error: error.into() }
    }
}

/// What a command answers.
pub(crate) type Outcome = Result<Status, Failure>;

/// Carves immutable appliance images: a recipe in, a signed disk image out, and the proof of it for anyone.
#[derive(Debug, Parser)]
#[command(name = "graven", version, max_term_width = 110)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Writes a commented recipe to start from.
    Init(init::Arguments),
    /// Makes keys, certificates and UEFI enrolment files.
    Keys(keys::Arguments),
    /// Pins every package of a recipe to its bytes, in graven.lock beside it.
    Lock(supply::LockArguments),
    /// Brings every locked package into a store, to build from without a network.
    Fetch(supply::FetchArguments),
    /// Builds a signed disk image from a recipe.
    Build(build::Arguments),
    /// Takes signatures that were made elsewhere, checks each, and goes on with the build that waits for them.
    Attach(attach::Arguments),
    /// Builds an image again from what its manifest pins, without its keys, and compares.
    Rebuild(rebuild::Arguments),
    /// Shows what would be built; writes nothing.
    Plan(build::PlanArguments),
    /// Proves an image offline, from its bytes alone.
    Verify(verify::Arguments),
    /// Shows what is inside an image.
    Inspect(contents::InspectArguments),
    /// Tells what is not the same in two images.
    Diff(contents::DiffArguments),
    /// Prints a file or part of an image.
    Cat(contents::CatArguments),
    /// Copies a file, a folder or a partition out of an image.
    Extract(contents::ExtractArguments),
    /// Writes an image's bill of materials, or a summary of its licences.
    Sbom(sbom::Arguments),
    /// Signs, proves and shows U-Boot's FITs, and writes public keys where U-Boot looks for them.
    Fit(fit::Arguments),
    /// Proves a single file of a signed image, and checks such proofs without the image.
    Proof(proof::Arguments),
    /// States what an image was built from, signed, and checks such statements.
    Provenance(provenance::Arguments),
    /// Checks IPE policies as the kernel does.
    Policy(policy::Arguments),
    /// Signs what a machine takes into its state on its first boot.
    Provision(provision::Arguments),
    /// Makes, checks, shows and mends dm-verity devices, as veritysetup does.
    Verity(verity::Arguments),
    /// Computes, signs and shows fs-verity digests, as fsverity does.
    Fsverity(fsverity::Arguments),
    /// Writes an image to a disk and reads it back.
    Flash(flash::Arguments),
    /// Boots an image in QEMU under Secure Boot, on the serial console.
    Run(run::Arguments),
    /// Lists the boards that images can be built for.
    Targets {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prints a completion script for a shell.
    #[command(after_help = "Example: graven completions bash > /etc/bash_completion.d/graven")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Writes the manual pages.
    #[command(after_help = "Example: graven man /usr/local/share/man/man1")]
    Man {
        /// The folder to write into.
        dir: PathBuf,
    },
}

/// What the program ends with where the command line cannot be understood: 2, but for the verbs that stand in another
/// program's place.
pub(crate) fn misunderstood(error: &clap::Error) -> ExitCode {
    // Nothing better can be done where even this cannot be written.
    let _ = error.print();
    let verb = std::env::args_os().nth(1);
    match verb {
        _ if !error.use_stderr() => Status::Good.into(),
        Some(verb) if verb == "verity" => Status::Other(1).into(),
        _ => Status::Usage.into(),
    }
}

/// Does what the command line says.
pub(crate) fn run(arguments: Arguments) -> Outcome {
    match arguments.verb {
        Verb::Init(arguments) => init::run(&arguments),
        Verb::Keys(arguments) => keys::run(&arguments),
        Verb::Lock(arguments) => supply::lock(&arguments),
        Verb::Fetch(arguments) => supply::fetch(&arguments),
        Verb::Build(arguments) => build::run(&arguments),
        Verb::Attach(arguments) => attach::run(&arguments),
        Verb::Rebuild(arguments) => rebuild::run(&arguments),
        Verb::Plan(arguments) => build::plan(&arguments),
        Verb::Verify(arguments) => verify::run(&arguments),
        Verb::Inspect(arguments) => contents::inspect(&arguments),
        Verb::Diff(arguments) => contents::diff(&arguments),
        Verb::Cat(arguments) => contents::cat(&arguments),
        Verb::Extract(arguments) => contents::extract(&arguments),
        Verb::Sbom(arguments) => sbom::run(&arguments),
        Verb::Fit(arguments) => fit::run(&arguments),
        Verb::Proof(arguments) => proof::run(&arguments),
        Verb::Provenance(arguments) => provenance::run(&arguments),
        Verb::Policy(arguments) => policy::run(&arguments),
        Verb::Provision(arguments) => provision::run(&arguments),
        Verb::Verity(arguments) => verity::run(&arguments),
        Verb::Fsverity(arguments) => fsverity::run(&arguments),
        Verb::Flash(arguments) => flash::run(&arguments),
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Targets { json } => targets(json),
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "graven", &mut io::stdout());
            Ok(Status::Good)
        }
        Verb::Man { dir } => {
            std::fs::create_dir_all(&dir)
                .and_then(|()| clap_mangen::generate_to(Arguments::command(), &dir))
                .map_err(Status::Environment.because())?;
            Ok(Status::Good)
        }
    }
}

/// Prints text to standard output; a reader that went away early is no error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Status::Environment.because()(error)),
        _ => Ok(()),
    }
}

/// Writes a file that is there whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        let file = NamedTempFile::new_in(folder_of(path))?;
        std::fs::write(&file, bytes)?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| path.display().to_string()).map_err(Status::Environment.because())
}

fn targets(json: bool) -> Outcome {
    let all: Vec<Target> =
        Target::names().map(Target::named).collect::<Result<_, _>>().map_err(Status::Usage.because())?;
    if json {
        let list: Vec<_> = all
            .iter()
            .map(|target| {
                serde_json::json!({
                    "name": target.name,
                    "description": target.description,
                    "arch": target.arch.name(),
                    "boot_chain": format!("{:?}", target.boot_chain).to_lowercase(),
                    "proved": target.proved.to_string(),
                    "u_boot": u_boot_of(target),
                })
            })
            .collect();
        print(&format!("{:#}\n", serde_json::Value::Array(list)))?;
        return Ok(Status::Good);
    }
    for target in all {
        print(&format!("{:<16} {:<24} {}\n", target.name, target.proved, target.description))?;
        if let Some(link) = u_boot_of(&target) {
            print(&format!("{:<42}{link}\n", ""))?;
        }
    }
    Ok(Status::Good)
}

/// What is proved of the link between a FIT and the U-Boot that starts it.
fn u_boot_of(target: &Target) -> Option<&'static str> {
    match (target.boot_chain, target.disk.blobs.is_empty()) {
        (BootChain::Uki, _) => None,
        (BootChain::Fit, true) => {
            Some("its U-Boot is not on the disk: that link is unproved; [firmware] u-boot has it inspected")
        }
        (BootChain::Fit, false) => Some(
            "its U-Boot lies on the disk: inspected by build and verify, unproved where it does not tell",
        ),
    }
}
