//! The parts of an image, read but not proved: for looking at them and copying them out.

use std::io;

use graven_boot::fit::{Fit, FitError};
use graven_boot::initramfs::{Entry, Initramfs, Kind};
use graven_boot::kernel::{self, ImageError};
use graven_boot::pkcs7::{Pkcs7Error, SignedData};
use graven_boot::uki::{Uki, UkiError};
use graven_handoff::{self as handoff, Binding, CommandLineError, Plan, PlanError, PolicySource, Volume};
use graven_image::any;
use graven_image::fat;
use graven_image::gpt::{self, Partition, Table};
use graven_image::tree::Tree;
use graven_targets::BootChain;
use graven_verity::io::Window;

use crate::artefact::{Artefact, chain_of};
use crate::device::Device;
use crate::layout::{Layout, LayoutError, window};
use crate::links::esp::MOST_BOOT_BYTES;
use crate::links::initramfs::unpack;
use crate::links::root_hash::read_signature;
use crate::prove::Disk;
use crate::signature_partition::RootHashSignature;

/// An image whose partitions have been found.
#[derive(Clone)]
pub struct Contents {
    disk: Disk,
    layout: Layout,
}

/// The boot artefact, taken apart. Nothing of it is proved.
#[derive(Debug, Clone)]
pub struct Boot {
    /// The file.
    pub bytes: Vec<u8>,
    /// What starts it.
    pub chain: BootChain,
    /// Name and length in bytes of each PE section, or of each image of a FIT.
    pub sections: Vec<(String, usize)>,
    /// Text of os-release; of a FIT, its description.
    pub os_release: String,
    /// `uname -r` of the kernel.
    pub uname: String,
    /// The kernel.
    pub kernel: Vec<u8>,
    /// The command line.
    pub command_line: String,
    /// What it binds.
    pub binding: Binding,
    /// The initramfs as it stands in the section, compressed.
    pub initrd: Vec<u8>,
    /// The initramfs, unpacked.
    pub initramfs: Initramfs,
    /// stage0's plan.
    pub plan: Plan,
    /// The policy as the kernel gets it, PKCS#7 with the text inside.
    pub signed_policy: Vec<u8>,
    /// The policy's text.
    pub policy: Vec<u8>,
}

/// A part of the boot chain that has a name of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `boot`: the boot artefact, a UKI or a FIT.
    Boot,
    /// `kernel`
    Kernel,
    /// `initrd`: the initramfs, compressed as it is.
    Initrd,
    /// `cmdline`: the kernel command line, without newline.
    CommandLine,
    /// `osrel`: text of os-release.
    OsRelease,
    /// `stage0`: the initramfs' `/init`.
    Stage0,
    /// `plan`: stage0's plan.
    Plan,
    /// `policy`: the policy's text.
    Policy,
    /// `policy.p7b`: the signed policy.
    SignedPolicy,
    /// `root.p7s`: the root hash's signature.
    RootSignature,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Boot,
        Self::Kernel,
        Self::Initrd,
        Self::CommandLine,
        Self::OsRelease,
        Self::Stage0,
        Self::Plan,
        Self::Policy,
        Self::SignedPolicy,
        Self::RootSignature,
    ];

    /// The name that a user types.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::CommandLine => "cmdline",
            Self::OsRelease => "osrel",
            Self::Stage0 => "stage0",
            Self::Plan => "plan",
            Self::Policy => "policy",
            Self::SignedPolicy => "policy.p7b",
            Self::RootSignature => "root.p7s",
        }
    }

    /// The part of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }
}

/// Why a part of an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// No partition table.
    #[error(transparent)]
    Table(#[from] gpt::Error),
    /// A table that is none of an image.
    #[error("no Graven image: {0}")]
    Layout(#[from] LayoutError),
    /// The EFI system partition.
    #[error(transparent)]
    Fat(#[from] fat::Error),
    /// No boot artefact, or one that is too large.
    #[error("{path} on the EFI system partition: {problem}")]
    BootFile {
        /// Where it should be.
        path: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The boot artefact is no UKI.
    #[error(transparent)]
    Uki(#[from] UkiError),
    /// The boot artefact is no FIT.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// A part of the boot artefact.
    #[error("boot artefact: {0}")]
    Boot(String),
    /// The kernel.
    #[error("kernel: {0}")]
    Kernel(#[from] ImageError),
    /// The command line.
    #[error("{0}")]
    CommandLine(CommandLineError),
    /// The initramfs.
    #[error("initramfs: {0}")]
    Initramfs(String),
    /// stage0's plan.
    #[error("{0}")]
    Plan(PlanError),
    /// The policy.
    #[error("policy: {0}")]
    Policy(#[from] Pkcs7Error),
    /// The root hash signature.
    #[error("verity-sig partition: {0}")]
    Signature(String),
    /// A volume.
    #[error("volume {name}: {problem}")]
    Volume {
        /// Its name.
        name: String,
        /// What is missing.
        problem: String,
    },
    /// The root file system.
    #[error("root file system: {0}")]
    Root(#[from] any::ReadError),
}

impl Contents {
    /// Reads the partition table.
    ///
    /// # Errors
    /// No GPT, or none of an image.
    pub fn open(disk: Disk) -> Result<Self, ContentsError> {
        let layout = Layout::of(&Table::read(&disk)?)?;
        Ok(Self { disk, layout })
    }

    /// Which partition is what.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The whole disk.
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Length of the disk in bytes.
    ///
    /// # Errors
    /// Whatever the operating system says of it.
    pub fn disk_bytes(&self) -> io::Result<u64> {
        self.disk.size()
    }

    /// The bytes of a partition.
    #[must_use]
    pub fn partition(&self, partition: &Partition) -> Window<Disk> {
        window(&self.disk, partition)
    }

    /// The EFI system partition's files.
    ///
    /// # Errors
    /// A file system that is not beyond doubt.
    pub fn esp(&self) -> Result<fat::Reader<Window<Disk>>, ContentsError> {
        Ok(fat::Reader::open(self.partition(&self.layout.esp))?)
    }

    /// The root's file system, whichever it is.
    ///
    /// # Errors
    /// None that is read here, or a damaged superblock.
    pub fn root(&self) -> Result<any::Reader<Window<Disk>>, ContentsError> {
        Ok(any::Reader::open(self.partition(&self.layout.root))?)
    }

    /// The root's files, contents by reference.
    ///
    /// # Errors
    /// The first thing in the file system that cannot be read.
    pub fn tree(&self) -> Result<Tree, ContentsError> {
        Ok(self.root()?.tree()?)
    }

    /// The boot artefact.
    ///
    /// # Errors
    /// The first of its parts that cannot be read.
    pub fn boot(&self) -> Result<Boot, ContentsError> {
        Boot::parse(self.boot_file()?)
    }

    /// The boot artefact's bytes.
    ///
    /// # Errors
    /// Where there is none, or it has more than 1 GiB.
    pub fn boot_file(&self) -> Result<Vec<u8>, ContentsError> {
        let esp = self.esp()?;
        let path = self.layout.boot_path(self.layout.boot_chain(&esp));
        match esp.find(&path).filter(|entry| entry.kind == fat::EntryKind::File) {
            None => Err(ContentsError::BootFile { path, problem: "there is no such file" }),
            Some(entry) if entry.size > MOST_BOOT_BYTES => {
                Err(ContentsError::BootFile { path, problem: "it has more than 1 GiB" })
            }
            Some(entry) => Ok(esp.read(entry)?),
        }
    }

    /// The root's verity-sig partition, read.
    ///
    /// # Errors
    /// Anything but what stage0 reads.
    pub fn root_signature(&self) -> Result<RootHashSignature, ContentsError> {
        self.signature_in(&self.layout.signature)
    }

    /// A verity-sig partition, read.
    pub(crate) fn signature_in(&self, partition: &Partition) -> Result<RootHashSignature, ContentsError> {
        read_signature(&self.disk, partition).map_err(ContentsError::Signature)
    }

    /// A volume's partitions.
    pub(crate) fn volume<'a>(&'a self, volume: &'a Volume) -> Result<Device<'a>, ContentsError> {
        let name = || volume.name.clone();
        Device::volume(&self.layout, volume)
            .map_err(|problem| ContentsError::Volume { name: name(), problem })
    }

    /// The bytes of a part.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn part(&self, part: Part) -> Result<Vec<u8>, ContentsError> {
        match part {
            Part::Boot => return self.boot_file(),
            Part::RootSignature => return Ok(self.root_signature()?.message),
            _ => {}
        }
        let boot = self.boot()?;
        Ok(match part {
            Part::Boot | Part::RootSignature => Vec::new(),
            Part::Kernel => boot.kernel,
            Part::Initrd => boot.initrd,
            Part::CommandLine => boot.command_line.into_bytes(),
            Part::OsRelease => boot.os_release.into_bytes(),
            Part::Stage0 => file(&boot.initramfs, handoff::initramfs::INIT)?,
            Part::Plan => file(&boot.initramfs, handoff::initramfs::PLAN)?,
            Part::Policy => boot.policy,
            Part::SignedPolicy => boot.signed_policy,
        })
    }
}

impl Boot {
    /// Takes a boot artefact apart.
    ///
    /// # Errors
    /// The first part that cannot be read.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, ContentsError> {
        let (artefact, sections, os_release) = match chain_of(&bytes) {
            BootChain::Uki => {
                let uki = Uki::parse(&bytes)?;
                let sections = uki.sections().iter();
                let sections = sections.map(|section| (section.name.clone(), section.raw.len())).collect();
                (Artefact::from(&uki), sections, uki.os_release()?.to_owned())
            }
            BootChain::Fit => {
                let fit = Fit::parse(&bytes)?;
                let images =
                    fit.images().iter().map(|image| (image.name.clone(), image.data.len())).collect();
                (Artefact::from(&fit), images, fit.description().unwrap_or_default().to_owned())
            }
        };
        let Artefact { chain, command_line, initrd, kernel, .. } = artefact;
        let command_line = command_line.map_err(ContentsError::Boot)?.into_owned();
        let binding = Binding::parse(&command_line).map_err(ContentsError::CommandLine)?;
        let initrd = initrd.map_err(ContentsError::Boot)?.to_vec();
        let (initramfs, _) = unpack(&initrd).map_err(ContentsError::Initramfs)?;
        let plan = file(&initramfs, handoff::initramfs::PLAN)?;
        let plan = Plan::parse(&String::from_utf8_lossy(&plan)).map_err(ContentsError::Plan)?;
        let signed_policy = match &binding.policy {
            PolicySource::Inline(message) => message.clone(),
            PolicySource::Sha256(_) => file(&initramfs, handoff::initramfs::POLICY)?,
        };
        let policy = SignedData::parse(&signed_policy)?.content().ok_or(Pkcs7Error::Detached)?.to_vec();
        let kernel = kernel.map_err(ContentsError::Boot)?.into_owned();
        let uname = kernel::Image::parse(&kernel)?.release;
        Ok(Self {
            chain,
            sections,
            os_release,
            uname,
            kernel,
            command_line,
            binding,
            initrd,
            initramfs,
            plan,
            signed_policy,
            policy,
            bytes,
        })
    }
}

fn file(initramfs: &Initramfs, path: &str) -> Result<Vec<u8>, ContentsError> {
    match initramfs.get(path) {
        Some(Entry { kind: Kind::File(contents), .. }) => Ok(contents.clone()),
        _ => Err(ContentsError::Initramfs(format!("{path} is no file in it"))),
    }
}
