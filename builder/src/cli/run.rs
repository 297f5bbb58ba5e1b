//! `graven run`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use graven::deliver::DISK;
use graven::error::Error;
use graven::run::{Bus, Enrolment, Machine, Platform, RunError};
use graven::signers::read_chain;
use graven_boot::enrol::certificate_list;
use graven_boot::x509::Certificate;
use graven_targets::BootChain;
use graven_verify::Contents;
use uuid::{Uuid, uuid};

use super::{Failure, Outcome, Status};

/// Who enrols, as the signature lists name it.
const OWNER: Uuid = uuid!("9d132b6c-59d5-4388-ab1c-185cfcb2eb92");

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: graven run out/minimal-1.0.0-qemu-x86_64\n\n\
    Ctrl-A X ends the machine. The image is not changed.")]
pub(crate) struct Arguments {
    /// The output folder of a build, or the disk image in it.
    image: PathBuf,
    /// Enrol nothing: Secure Boot stays off, and stage0 refuses to go on.
    #[arg(long)]
    no_enrol: bool,
    /// Enrol this certificate instead of the boot.crt beside the image; of a chain, the last.
    #[arg(long, value_name = "CERT", conflicts_with = "no_enrol")]
    enrol: Option<PathBuf>,
    /// Keep UEFI's variables in this file from one run to the next. It is made on first use, with what is enrolled then.
    #[arg(long, value_name = "FILE")]
    variables: Option<PathBuf>,
    /// How the disk is attached.
    #[arg(long, value_enum, default_value_t = BusChoice::Virtio)]
    bus: BusChoice,
    /// Memory in MiB.
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    memory: u32,
    /// Processors.
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Give the machine a network behind this one's.
    #[arg(long)]
    network: bool,
    /// Let the machine write to the image itself.
    #[arg(long)]
    writable: bool,
    /// Further arguments for QEMU.
    #[arg(last = true, value_name = "QEMU ARGUMENT")]
    qemu: Vec<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum BusChoice {
    Virtio,
    Nvme,
    Sata,
}

impl From<BusChoice> for Bus {
    fn from(choice: BusChoice) -> Self {
        match choice {
            BusChoice::Virtio => Self::Virtio,
            BusChoice::Nvme => Self::Nvme,
            BusChoice::Sata => Self::Sata,
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self { status: Status::Environment, error: error.into() }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let image = disk_of(&arguments.image);
    let (platform, chain) = firmware(&image)?;
    let mut machine = Machine::new(&image)
        .platform(platform)
        .memory_mib(arguments.memory)
        .cpus(arguments.cpus)
        .arguments(&arguments.qemu);
    machine = machine.bus(arguments.bus.into());
    if arguments.network {
        machine = machine.network();
    }
    if arguments.writable {
        machine = machine.writable();
    }
    match (chain, &arguments.variables) {
        (BootChain::Uki, Some(file)) => machine = machine.variables(file),
        (BootChain::Uki, None) => {}
        (BootChain::Fit, None) => machine = machine.u_boot(None),
        (BootChain::Fit, Some(_)) => {
            return Err(Status::Usage.because()(anyhow!(
                "--variables: a U-Boot starts this image, not UEFI"
            )));
        }
    }
    if !arguments.no_enrol {
        let beside = image.with_file_name("boot.crt");
        let path = arguments.enrol.clone().unwrap_or(beside);
        let (own, issuers) = read_chain(&path).map_err(Error::from)?;
        machine = match chain {
            BootChain::Uki => machine.enrol(enrolment(issuers.last().unwrap_or(&own))?),
            BootChain::Fit => machine.u_boot(Some(own)),
        };
    }
    Err(machine.exec().into())
}

/// The machine for an image, by the types of its partitions, and what starts it there, by the boot artefact's name.
fn firmware(image: &Path) -> Result<(Platform, BootChain), Failure> {
    let disk = File::open(image)
        .with_context(|| image.display().to_string())
        .map_err(Status::Environment.because())?;
    let read = || -> anyhow::Result<_> {
        let contents = Contents::open(Arc::new(disk))?;
        Ok((contents.layout().arch, contents.layout().boot_chain(&contents.esp()?)))
    };
    let (arch, chain) = read()
        .with_context(|| format!("{}: which machine it is for cannot be told", image.display()))
        .map_err(Status::Usage.because())?;
    Ok((Platform::of(arch)?, chain))
}

/// The certificate as PK, KEK and db: nothing else boots, nobody else can change that.
fn enrolment(certificate: &Certificate) -> Result<Enrolment, Failure> {
    let list = certificate_list(OWNER, certificate).map_err(Status::Usage.because())?;
    Ok(Enrolment { pk: list.clone(), kek: list.clone(), db: list })
}

/// The disk image, given itself or by its folder.
pub(crate) fn disk_of(given: &Path) -> PathBuf {
    if given.is_dir() { given.join(DISK) } else { given.to_owned() }
}
