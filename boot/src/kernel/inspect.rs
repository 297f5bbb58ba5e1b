//! A kernel put together from its parts.

use std::collections::BTreeSet;

use graven_handoff::{PolicyIdentity, PolicyVersion};
use graven_ipe::Policy;
use graven_targets::Arch;

use super::certificates::{self, CertificatesError};
use super::config::{Config, ConfigError};
use super::image::{Image, ImageError};
use super::release::{Release, ReleaseError};
use super::{boot_policy, ikconfig};
use crate::x509::Certificate;

/// What a kernel package brings, by content.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// `vmlinuz`, `Image` or `vmlinuz.efi`.
    pub image: &'a [u8],
    /// `config`; without it the image must hold one (`CONFIG_IKCONFIG`).
    pub config: Option<&'a str>,
    /// `modules.builtin`: one path a line. Empty where the kernel has no modules.
    pub builtin: &'a str,
    /// `modules.builtin.modinfo`: `module.key=value`, each ended by NUL. May be empty.
    pub builtin_modinfo: &'a [u8],
}

/// A kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// `uname -r`.
    pub release: Release,
    /// What it runs on.
    pub arch: Arch,
    /// What its image says.
    pub image: Image,
    /// How it was configured.
    pub config: Config,
    /// The modules compiled in.
    pub builtin: Builtin,
    /// The certificates compiled in, which it trusts for policies, root hashes and modules alike.
    pub certificates: Result<Vec<Certificate>, CertificatesError>,
    /// The IPE policy compiled in, where there is one that can be found and that the kernel can read.
    pub boot_policy: Option<Policy>,
}

/// Names of the modules compiled into a kernel, with `_` for `-`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Builtin(BTreeSet<String>);

/// Why a kernel cannot be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The image.
    #[error("kernel image: {0}")]
    Image(#[from] ImageError),
    /// The release in it.
    #[error("kernel image: {0}")]
    Release(#[from] ReleaseError),
    /// The configuration.
    #[error("kernel configuration: {0}")]
    Config(#[from] ConfigError),
    /// None beside the kernel and none inside.
    #[error(
        "no kernel configuration: none was given, and the image holds none that can be read (CONFIG_IKCONFIG with a \
         gzip, xz or zstd kernel); put the config file of its build beside it"
    )]
    NoConfig,
    /// The configuration is another kernel's.
    #[error("the configuration is not this kernel's: it is for {config}, the image for {image}")]
    ForeignConfig {
        /// What the configuration is for.
        config: &'static str,
        /// What the image is for.
        image: Arch,
    },
}

impl Kernel {
    /// Reads a kernel's parts.
    pub fn inspect(parts: &Parts<'_>) -> Result<Self, InspectError> {
        let image = Image::parse(parts.image)?;
        let release = Release::parse(&image.release)?;
        let kernel = match (image.decompressed(parts.image), parts.config) {
            (Ok(Some(kernel)), _) => Ok(kernel),
            (Ok(None), _) => Err("it is compressed by something else than gzip, xz and zstd".to_owned()),
            (Err(error), Some(_)) => Err(error.to_string()),
            (Err(error), None) => return Err(error.into()),
        };
        let inside;
        let text = match parts.config {
            Some(text) => text,
            None => {
                inside = kernel.as_deref().ok().and_then(ikconfig::extract).ok_or(InspectError::NoConfig)?;
                &inside
            }
        };
        let config = Config::parse(text)?;
        let symbols = [("X86_64", Arch::X86_64), ("ARM64", Arch::Aarch64), ("ARM", Arch::Arm)];
        let found = symbols.into_iter().find(|(symbol, _)| config.is_built_in(symbol));
        if found.is_none_or(|(_, arch)| arch != image.arch) {
            let config = found.map_or("no architecture that Graven knows", |(_, arch)| arch.name());
            return Err(InspectError::ForeignConfig { config, image: image.arch });
        }
        let builtin = Builtin::parse(parts.builtin, parts.builtin_modinfo);
        let certificates = match &kernel {
            Ok(kernel) => certificates::built_in(kernel, image.arch, &config),
            Err(problem) => Err(CertificatesError::Payload(problem.clone())),
        };
        let boot_policy = match &kernel {
            Ok(kernel) if !config.text("IPE_BOOT_POLICY").is_empty() => boot_policy::find(kernel),
            _ => None,
        };
        Ok(Self { release, arch: image.arch, image, config, builtin, certificates, boot_policy })
    }

    /// What stage0 must find in force, and take away once the image's own policy is: the policy compiled in.
    pub fn compiled_in_policy(&self) -> Option<PolicyIdentity> {
        self.boot_policy.as_ref().map(|policy| {
            let version = policy.version();
            PolicyIdentity {
                name: policy.name().to_string(),
                version: PolicyVersion(version.major, version.minor, version.revision),
            }
        })
    }

    /// The command line that the kernel puts in place of the boot loader's, where it was built to
    /// (`CONFIG_CMDLINE_OVERRIDE` on x86, `CONFIG_CMDLINE_FORCE` on ARM).
    pub fn forced_command_line(&self) -> Option<&str> {
        let x86 = self.config.is_built_in("CMDLINE_BOOL") && self.config.is_built_in("CMDLINE_OVERRIDE");
        let forced =
            (x86 || self.config.is_built_in("CMDLINE_FORCE")).then(|| self.config.text("CMDLINE"))?;
        // The kernel takes an empty string for none.
        (!forced.is_empty()).then_some(forced)
    }
}

impl Builtin {
    /// Reads `modules.builtin` (one path a line) and `modules.builtin.modinfo` (NUL-ended `module.key=value`).
    pub fn parse(list: &str, modinfo: &[u8]) -> Self {
        let from_list = list.lines().filter_map(crate::modules::name_of_path);
        let from_modinfo = modinfo.split(|&b| b == 0).filter_map(|record| {
            let record = std::str::from_utf8(record).ok()?;
            let (name, _) = record.split_once('=')?.0.split_once('.')?;
            Some(name.replace('-', "_"))
        });
        Self(from_list.chain(from_modinfo).collect())
    }

    /// Whether the module of this name (`-` and `_` alike) is compiled in.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(&name.replace('-', "_"))
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}
