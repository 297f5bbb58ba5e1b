//! Why a build stopped, and whose fault that is.

use std::io;
use std::path::{Path, PathBuf};

use graven_boot::refusal::Refusal;

/// What ends a build.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The recipe, or a value in it.
    #[error(transparent)]
    Recipe(#[from] graven_recipe::RecipeError),
    /// Something that the recipe asks for and that cannot be.
    #[error("{0}")]
    Limit(String),
    /// An archive, a folder or a package.
    #[error(transparent)]
    Source(Box<graven_sources::Error>),
    /// What maintainer scripts would have done, users, services.
    #[error(transparent)]
    Finish(Box<graven_finish::Error>),
    /// A repository, or what is asked of it.
    #[error(transparent)]
    Repository(#[from] graven_sources::debian::Error),
    /// A container image, or the registry that has it.
    #[error(transparent)]
    Oci(Box<graven_sources::oci::Error>),
    /// The same, with the target and profile that asked.
    #[error("for {whom}: {error}")]
    For {
        /// `TARGET/PROFILE`.
        whom: String,
        /// What is wrong.
        error: Box<Self>,
    },
    /// A download.
    #[error(transparent)]
    Network(#[from] graven_sources::network::NetworkError),
    /// A locked package that its mirror has no longer.
    #[error("{0}")]
    Gone(String),
    /// What would have needed the network.
    #[error("{0}")]
    Offline(String),
    /// This machine has no keyring to check signatures with.
    #[error("{0}")]
    NoKeyring(String),
    /// The lock's file.
    #[error(transparent)]
    Lock(#[from] graven_recipe::lock::LockError),
    /// A lock that would have had to change.
    #[error("{} does not fit, and --locked forbids to change it: {problem}", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
        /// What differs.
        problem: String,
    },
    /// A place in the tree.
    #[error(transparent)]
    Tree(#[from] graven_image::tree::Error),
    /// A tree that EROFS cannot hold.
    #[error("the root file system: {0}")]
    Erofs(#[from] graven_image::erofs::PlanError),
    /// The kernel's files.
    #[error("the kernel: {0}")]
    Kernel(String),
    /// A kernel that cannot enforce what the image promises.
    #[error("{}", refusals("this kernel cannot enforce what the image promises", "kernel", .0))]
    Refused(Vec<Refusal>),
    /// A U-Boot that would start something else than the image's FIT, or with another command line.
    #[error("{}", refusals("this U-Boot would not start the image's FIT alone", "firmware", .0))]
    UBootRefused(Vec<Refusal>),
    /// Interpreters that run whatever they are handed, where the recipe denies them.
    #[error("{0}")]
    Interpreters(String),
    /// The partition table.
    #[error("the partition table: {0}")]
    Gpt(#[from] graven_image::gpt::Error),
    /// The EFI system partition.
    #[error("the EFI system partition: {0}")]
    Fat(#[from] graven_image::fat::Error),
    /// Keys and signatures.
    #[error(transparent)]
    Sign(#[from] graven_boot::sign::SignError),
    /// The signed policy or root hash.
    #[error(transparent)]
    Pkcs7(#[from] graven_boot::pkcs7::Pkcs7Error),
    /// The signers.
    #[error(transparent)]
    Signers(#[from] crate::signers::SignersError),
    /// The boot artefact's signature.
    #[error(transparent)]
    Authenticode(#[from] graven_boot::authenticode::AuthenticodeError),
    /// The FIT.
    #[error("the FIT: {0}")]
    Fit(#[from] graven_boot::fit::FitError),
    /// Contents of the root that could not be read when they were wanted.
    #[error("the root file system: {0}")]
    Contents(#[source] io::Error),
    /// Initramfs, command line or boot artefact.
    #[error("{0}")]
    Link(String),
    /// The output folder.
    #[error(transparent)]
    Output(#[from] crate::output::OutputError),
    /// A program of this machine that a build needs.
    #[error("{tool}: {problem}; Debian has it in the package {package}")]
    Tool {
        /// Its name.
        tool: &'static str,
        /// The package that it comes in.
        package: &'static str,
        /// What went wrong.
        problem: String,
    },
    /// A file of an image that is built again.
    #[error("{0}")]
    Original(String),
    /// A file of this machine.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The result of a step of the build.
pub type Result<T> = std::result::Result<T, Error>;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An input is not what it should be.
    Input,
    /// The recipe, or how the program was called.
    Usage,
    /// This machine: I/O, a full disk, a missing tool.
    Environment,
}

impl From<graven_sources::Error> for Error {
    fn from(error: graven_sources::Error) -> Self {
        Self::Source(Box::new(error))
    }
}

impl From<graven_sources::oci::Error> for Error {
    fn from(error: graven_sources::oci::Error) -> Self {
        Self::Oci(Box::new(error))
    }
}

impl From<graven_finish::Error> for Error {
    fn from(error: graven_finish::Error) -> Self {
        Self::Finish(Box::new(error))
    }
}

impl Error {
    /// An I/O error with the file it is about.
    pub fn io(path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::Io { path: path.as_ref().to_owned(), source }
    }

    /// Says for which target and profile; once is enough.
    pub(crate) fn for_target(self, whom: &str) -> Self {
        Self::For { whom: whom.to_owned(), error: Box::new(self) }
    }

    /// An error of writing the root into the disk image at `disk`: a source that failed names itself.
    pub(crate) fn root(disk: &Path, source: io::Error) -> Self {
        let names_itself =
            source.get_ref().is_some_and(|inner| inner.is::<graven_image::erofs::SourceError>());
        if names_itself { Self::Contents(source) } else { Self::io(disk, source) }
    }

    /// Whose fault this is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        use graven_boot::authenticode::AuthenticodeError;
        use graven_boot::fit::FitError;
        use graven_boot::pkcs7::Pkcs7Error;
        use graven_boot::sign::SignError;
        use graven_image::{fat, gpt, tree};

        use crate::output::OutputError;
        use crate::signers::SignersError;
        match self {
            Self::Source(error) if error.problem.is_environment() => Fault::Environment,
            Self::Source(_) | Self::Original(_) => Fault::Input,
            Self::Finish(error) if matches!(**error, graven_finish::Error::Package(_)) => Fault::Input,
            Self::For { error, .. } => error.fault(),
            Self::Oci(error) if error.is_environment() => Fault::Environment,
            Self::Oci(error) if error.is_usage() => Fault::Usage,
            Self::Oci(_) => Fault::Input,
            Self::Repository(error) if error.is_environment() => Fault::Environment,
            Self::Repository(error) if error.is_usage() => Fault::Usage,
            Self::Repository(_) => Fault::Input,
            Self::Network(error) if error.problem.is_bad_content() => Fault::Input,
            Self::Network(_) | Self::Gone(_) | Self::Offline(_) | Self::NoKeyring(_) => Fault::Environment,
            Self::Lock(graven_recipe::lock::LockError::Read { .. }) => Fault::Environment,
            Self::Io { .. }
            | Self::Tool { .. }
            | Self::Contents(_)
            | Self::Output(OutputError::Io { .. } | OutputError::Busy(_))
            | Self::Fat(fat::Error::Io { .. })
            | Self::Gpt(gpt::Error::Io { .. })
            | Self::Tree(tree::Error::Read { .. })
            | Self::Recipe(graven_recipe::RecipeError::Read { .. }) => Fault::Environment,
            Self::Sign(error)
            | Self::Fit(FitError::Sign(error))
            | Self::Signers(SignersError::Sign(error))
            | Self::Pkcs7(Pkcs7Error::Sign(error))
            | Self::Authenticode(AuthenticodeError::Signature { source: Pkcs7Error::Sign(error), .. }) => {
                match error {
                    SignError::BadAnswer { .. } => Fault::Input,
                    SignError::Read { .. } | SignError::Program { .. } | SignError::Token { .. } => {
                        Fault::Environment
                    }
                    _ => Fault::Usage,
                }
            }
            _ => Fault::Usage,
        }
    }
}

/// All refusals under a heading, and the table of the recipe that can accept them.
fn refusals(heading: &str, table: &str, all: &[Refusal]) -> String {
    let mut text = format!("{heading}:");
    for refusal in all {
        text.push_str(&format!("\n  {}: {}\n      {}", refusal.name, refusal.why, refusal.remedy));
    }
    text.push_str(&format!("\nto accept one all the same: [{table}] accept.NAME = \"reason\""));
    text
}
