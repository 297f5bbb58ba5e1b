//! The kernel's files, wherever they come from: image, configuration, modules.

use std::path::Path;

use graven_boot::compression::Compression;
use graven_boot::kernel::{self, Demands, Kernel, Parts, accept, assess};
use graven_boot::modules::ModuleFiles;
use graven_handoff::{PolicyIdentity, PolicyVersion};
use graven_image::tree::{Kind, Metadata, Tree, TreePath};
use graven_recipe::{KernelSource, LocalPath, Recipe, SecureBoot};
use graven_sources::{Spool, deb, dir};
use graven_targets::BootChain;
use graven_verify::manifest::Input;
use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::inputs::{file_input, package_input, read_fetched, read_packages};
use crate::packed;
use crate::signers::Signers;
use crate::supply::fetch::Provided;

/// Largest kernel image that is taken, in bytes.
const LARGEST_IMAGE: u64 = 256 << 20;
/// Largest text beside it, in bytes.
const LARGEST_TEXT: u64 = 16 << 20;

/// A kernel as a recipe gives it.
#[derive(Debug)]
pub struct KernelFiles {
    /// `vmlinuz`.
    pub image: Vec<u8>,
    /// Its configuration, where one lies beside it.
    pub config: Option<String>,
    /// Modules and their lists, in a tree of their own.
    pub tree: Tree,
    /// The folder `lib/modules/RELEASE` in that tree, where the kernel has modules at all.
    pub modules: Option<TreePath>,
    /// What it was read from.
    pub inputs: Vec<Input>,
    /// The newest time in its packages.
    pub newest_mtime: Option<i64>,
}

impl KernelFiles {
    /// Reads what the recipe names.
    ///
    /// # Errors
    /// Missing or damaged files, and packages that hold no kernel, or two.
    pub(crate) fn read(recipe: &Recipe, provided: &Provided, spool: &Spool) -> Result<Self> {
        match &recipe.kernel.source {
            KernelSource::Packages(patterns) => Self::from_packages(read_packages(recipe, patterns, spool)?),
            KernelSource::Package(_) => Self::from_packages(read_fetched(&provided.kernel, spool)?),
            KernelSource::Files { vmlinuz, config, modules_dir } => {
                let read = |path: &Path| std::fs::read(path).map_err(|error| Error::io(path, error));
                let config_text = String::from_utf8(read(&config.path)?)
                    .map_err(|_| Error::Kernel(format!("{}: no text", config.path.display())))?;
                let mut inputs =
                    vec![file_input("kernel", &vmlinuz.path)?, file_input("kernel-config", &config.path)?];
                let (tree, modules) = match modules_dir {
                    Some(folder) => {
                        inputs.push(Input { kind: "dir".into(), name: "modules".into(), sha256: None });
                        modules_of(folder)?
                    }
                    None => (empty_tree(), None),
                };
                let image = read(&vmlinuz.path)?;
                Ok(Self { image, config: Some(config_text), tree, modules, inputs, newest_mtime: None })
            }
        }
    }

    fn from_packages(packages: Vec<deb::Package>) -> Result<Self> {
        let mut tree = empty_tree();
        let (mut inputs, mut newest_mtime) = (Vec::new(), None);
        for package in &packages {
            inputs.push(package_input(package));
            newest_mtime = newest_mtime.max(package.layer.newest_mtime);
        }
        deb::unpack(packages, &mut tree)?;
        Self::from_tree(tree, inputs, newest_mtime)
    }

    /// Finds the kernel in unpacked packages: `usr/lib/modules/RELEASE/{vmlinuz,config}`, or `boot/vmlinuz-RELEASE`.
    fn from_tree(tree: Tree, inputs: Vec<Input>, newest_mtime: Option<i64>) -> Result<Self> {
        let mut images = Vec::new();
        for entry in tree.walk() {
            let path = String::from_utf8_lossy(&entry.path);
            let is_image = (path.contains("/lib/modules/") && path.ends_with("/vmlinuz"))
                || path.starts_with("/boot/vmlinu");
            if is_image && matches!(entry.inode.kind, Kind::File(_)) {
                images.push(path.into_owned());
            }
        }
        let [image] = images.as_slice() else {
            return Err(Error::Kernel(match images.len() {
                0 => "none of the packages of [kernel] holds one (usr/lib/modules/RELEASE/vmlinuz or boot/vmlinuz-RELEASE)".into(),
                _ => format!("the packages of [kernel] hold several: {}; name only one kernel's", images.join(", ")),
            }));
        };
        let (config, modules) = match image.strip_prefix("/boot/vmlinu") {
            Some(rest) => {
                let release = rest.trim_start_matches(['z', 'x', '-']);
                let folders = [format!("/usr/lib/modules/{release}"), format!("/lib/modules/{release}")];
                (
                    format!("/boot/config-{release}"),
                    folders.into_iter().find(|folder| is_there(&tree, folder)),
                )
            }
            None => {
                let folder = image.trim_end_matches("/vmlinuz").to_owned();
                (format!("{folder}/config"), Some(folder))
            }
        };
        let bytes = tree.read(&path(image)?, LARGEST_IMAGE)?;
        let config = match is_there(&tree, &config) {
            true => Some(text(&tree, &config)?),
            false => None,
        };
        let modules = modules.map(|folder| path(&folder)).transpose()?;
        Ok(Self { image: bytes, config, tree, modules, inputs, newest_mtime })
    }

    /// Reads the kernel and holds it against what the image promises, and against who signs it where that is settled.
    ///
    /// # Errors
    /// A kernel of another architecture, and every refusal that the recipe has not accepted with a reason.
    pub(crate) fn inspect(
        &self,
        recipe: &Recipe,
        signers: Option<&Signers>,
    ) -> Result<(Kernel, BTreeMap<String, String>)> {
        let kernel = self.parse()?;
        if kernel.arch != recipe.target.arch {
            return Err(Error::Kernel(format!(
                "it is for {}, target {} needs {}",
                kernel.arch.name(),
                recipe.target.name,
                recipe.target.arch.name()
            )));
        }
        let demands = Demands {
            boot_chain: recipe.target.boot_chain,
            secure_boot: recipe.target.boot_chain == BootChain::Uki
                && recipe.boot.secure_boot == SecureBoot::Required,
            fec: recipe.verity.fec_roots > 0,
            root_file_system: packed::file_system(&recipe.root).symbol(),
            root_needs: packed::needs(&recipe.root),
            command_line_limit: recipe.target.command_line.limit,
            modules: self.module_compression(),
            lsm: None,
            policy: Some(PolicyIdentity {
                name: recipe.name.clone(),
                version: PolicyVersion(recipe.version.major, recipe.version.minor, recipe.version.revision),
            }),
            signers: signers.map(|signers| kernel::Signers {
                policy: signers.policy.certificate().clone(),
                root_hash: signers.root.certificate().clone(),
                // One signer for both.
                issuers: signers.policy.issuers().map(<[_]>::to_vec),
            }),
        };
        let reasons =
            recipe.kernel.accept.iter().map(|(name, reason)| (name.clone(), reason.value.clone())).collect();
        let judged =
            accept(assess(&kernel, &demands), &reasons).map_err(|error| Error::Limit(error.to_string()))?;
        if let Some(name) = judged.idle.iter().find(|name| demands.settle(name)) {
            let place = recipe.kernel.accept.get(*name).map(|reason| format!("{}: ", reason.place));
            return Err(Error::Limit(format!(
                "{}kernel.accept.{name}: this kernel gives no occasion for it; take the line out",
                place.unwrap_or_default()
            )));
        }
        if !judged.remaining.is_empty() {
            return Err(Error::Refused(judged.remaining));
        }
        let accepted = judged.accepted.into_iter().map(|one| (one.refusal.name.to_owned(), one.reason));
        Ok((kernel, accepted.collect()))
    }

    /// A device tree that came with the kernel, by the name that the kernel's build gives it.
    ///
    /// # Errors
    /// Where it has none of this name.
    pub(crate) fn device_tree(&self, name: &str) -> Result<Vec<u8>> {
        let folder = self.modules.as_ref().map(ToString::to_string).unwrap_or_default();
        let place = format!("{folder}/dtb/{name}");
        match is_there(&self.tree, &place) {
            true => Ok(self.tree.read(&path(&place)?, LARGEST_TEXT)?),
            false => Err(Error::Kernel(format!(
                "it brings no device tree {place}; give one with [boot] device-trees"
            ))),
        }
    }

    fn parse(&self) -> Result<Kernel> {
        let (builtin, modinfo) = match &self.modules {
            None => (String::new(), Vec::new()),
            Some(folder) => {
                let builtin = folder.join(b"modules.builtin")?;
                let modinfo = folder.join(b"modules.builtin.modinfo")?;
                (
                    text(&self.tree, &builtin.to_string())?,
                    self.tree.read(&modinfo, LARGEST_TEXT).unwrap_or_default(),
                )
            }
        };
        let parts = Parts {
            image: &self.image,
            config: self.config.as_deref(),
            builtin: &builtin,
            builtin_modinfo: &modinfo,
        };
        Kernel::inspect(&parts).map_err(|error| Error::Kernel(error.to_string()))
    }

    /// The compression of the first module; a kernel's build uses one for all.
    fn module_compression(&self) -> Compression {
        let first = self.paths().into_iter().find(|path| path.contains(".ko"));
        first.map_or(Compression::None, |path| Compression::of_name(&path))
    }
}

impl ModuleFiles for KernelFiles {
    fn paths(&self) -> Vec<String> {
        let Some(folder) = &self.modules else { return Vec::new() };
        let prefix = format!("{folder}/");
        let all = self.tree.walk().filter(|entry| matches!(entry.inode.kind, Kind::File(_)));
        all.filter_map(|entry| Some(String::from_utf8(entry.path).ok()?.strip_prefix(&prefix)?.to_owned()))
            .collect()
    }

    fn read(&self, below: &str) -> std::io::Result<Vec<u8>> {
        let folder = self.modules.as_ref().ok_or(std::io::ErrorKind::NotFound)?;
        let path = folder.join(below.as_bytes()).map_err(std::io::Error::other)?;
        self.tree.read(&path, LARGEST_IMAGE).map_err(std::io::Error::other)
    }
}

fn empty_tree() -> Tree {
    Tree::new(Metadata { mode: 0o755, ..Metadata::default() })
}

fn path(text: &str) -> Result<TreePath> {
    Ok(TreePath::parse(text.as_bytes())?)
}

fn is_there(tree: &Tree, text: &str) -> bool {
    path(text).is_ok_and(|path| tree.resolve(&path).is_ok())
}

fn text(tree: &Tree, name: &str) -> Result<String> {
    let bytes = tree.read(&path(name)?, LARGEST_TEXT)?;
    String::from_utf8(bytes).map_err(|_| Error::Kernel(format!("{name}: no text")))
}

/// A modules folder of this machine, in a tree of its own.
fn modules_of(folder: &LocalPath) -> Result<(Tree, Option<TreePath>)> {
    let mut tree = empty_tree();
    let place = path("/usr/lib/modules/kernel")?;
    let layer = dir::scan(&folder.path, dir::Attributes::Normalised { mtime: 0 }, None)?;
    layer.below(&place)?.apply(&mut tree)?;
    Ok((tree, Some(place)))
}

/// A kernel as `graven plan` shows it.
#[derive(Debug)]
pub struct Summary {
    /// `uname -r`.
    pub release: String,
    /// Refusals that the recipe accepts, with its reasons.
    pub accepted: BTreeMap<String, String>,
    /// Refusals that would stop the build.
    pub refused: Vec<String>,
}

/// Inspects a kernel without stopping at what the build would refuse.
///
/// # Errors
/// Files that are no kernel, or another architecture's.
pub fn summary(kernel: &KernelFiles, recipe: &Recipe) -> Result<Summary> {
    let release = kernel.parse()?.image.release;
    match kernel.inspect(recipe, None) {
        Ok((_, accepted)) => Ok(Summary { release, accepted, refused: Vec::new() }),
        Err(Error::Refused(all)) => Ok(Summary {
            release,
            accepted: BTreeMap::new(),
            refused: all.iter().map(ToString::to_string).collect(),
        }),
        Err(other) => Err(other),
    }
}
