//! `graven policy`: IPE policies, as the kernel takes them.

mod check;
mod eval;
mod findings;
mod judged;
mod sarif;
mod scripts;
mod sign;

use std::path::PathBuf;
use std::{fs, io};

use anyhow::{Context, anyhow};
use graven_boot::kernel::Config;
use graven_ipe::{Kernel, Providers, Release};

use super::{Failure, Outcome, Status};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Says what the kernel would say to a policy, and what it would not say.
    Check(check::Arguments),
    /// Says of each file of a root what a policy decides, and by which rule.
    Eval(eval::Arguments),
    /// Signs a policy's text, as the kernel takes it.
    Sign(sign::Arguments),
    /// Lists the interpreters of a root, what each shows of asking the kernel, and the scripts behind it.
    Scripts(scripts::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    match &arguments.verb {
        Verb::Check(arguments) => check::run(arguments),
        Verb::Eval(arguments) => eval::run(arguments),
        Verb::Sign(arguments) => sign::run(arguments),
        Verb::Scripts(arguments) => scripts::run(arguments),
    }
}

/// The kernel that a policy is for.
#[derive(Debug, clap::Args)]
struct KernelArguments {
    /// The kernel's release, 6.12 or newer.
    #[arg(long, value_name = "RELEASE", default_value_t = Release::READ)]
    kernel: Release,
    /// The kernel's configuration, which says what it was built with; without it, with all that IPE can have.
    #[arg(long, value_name = "FILE")]
    kernel_config: Option<PathBuf>,
}

impl KernelArguments {
    fn config(&self) -> Result<Option<Config>, Failure> {
        let Some(path) = &self.kernel_config else { return Ok(None) };
        let text = fs::read_to_string(path)
            .with_context(|| format!("reading {}", path.display()))
            .map_err(Status::Environment.because())?;
        let config = Config::parse(&text).with_context(|| path.display().to_string());
        let config = config.map_err(Status::Usage.because())?;
        match config.is_built_in("SECURITY_IPE") {
            true => Ok(Some(config)),
            false => {
                let problem =
                    anyhow!("{}: this kernel has no IPE; set CONFIG_SECURITY_IPE=y", path.display());
                Err(Status::Bad.because()(problem))
            }
        }
    }

    fn kernel(&self, config: Option<&Config>) -> Kernel {
        let providers = config.map_or_else(Providers::default, |config| Providers {
            dm_verity: config.is_built_in("IPE_PROP_DM_VERITY"),
            dm_verity_signature: config.is_built_in("IPE_PROP_DM_VERITY_SIGNATURE"),
            fs_verity: config.is_built_in("IPE_PROP_FS_VERITY"),
            fs_verity_builtin_sig: config.is_built_in("IPE_PROP_FS_VERITY_BUILTIN_SIG"),
        });
        Kernel { release: self.kernel, providers }
    }
}

/// A policy's file; `-` is standard input.
fn read(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    let bytes = match path.as_os_str() == "-" {
        true => {
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut io::stdin().lock(), &mut bytes).map(|_| bytes)
        }
        false => fs::read(path),
    };
    bytes.with_context(|| format!("reading {}", path.display())).map_err(Status::Environment.because())
}
