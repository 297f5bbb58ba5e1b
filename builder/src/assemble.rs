//! Assemble: the layers become one tree, the kernel's modules are put where they belong.

use std::collections::BTreeMap;
use std::mem;

use graven_boot::kernel::Kernel;
use graven_boot::modules::{self, Index, IndexFile, Module, ModuleFiles, Wanted};
use graven_finish::{Ids, Installed, Services, Settings};
use graven_image::tree::{self, Content, Inode, Kind, Metadata, Tree, TreePath};
use graven_recipe::{At, Modules, Recipe, SecureBoot};
use graven_sources::deb;
use graven_targets::BootChain;
use graven_verify::manifest;

use crate::error::{Error, Result};
use crate::kernel::KernelFiles;
use crate::packed;
use crate::plan::{Parts, Plan};
use crate::scripts;
use crate::signers::Signers;
use crate::state;
use crate::volume::{self, Volume};

/// Folders that stage0 or every init needs; made where no input brings them.
const FOLDERS: [(&str, u16); 13] = [
    ("/dev", 0o755),
    ("/proc", 0o555),
    ("/sys", 0o555),
    ("/run", 0o755),
    ("/tmp", 0o1777),
    ("/etc", 0o755),
    ("/root", 0o700),
    ("/usr/bin", 0o755),
    ("/usr/sbin", 0o755),
    ("/usr/lib", 0o755),
    ("/var", 0o755),
    ("/mnt", 0o755),
    ("/home", 0o755),
];
/// The merged /usr.
const LINKS: [(&str, &str); 4] =
    [("/bin", "usr/bin"), ("/sbin", "usr/sbin"), ("/lib", "usr/lib"), ("/lib64", "usr/lib64")];
/// Lists of a modules folder that go into the root as they are.
const MODULE_LISTS: [&str; 4] = ["config", "modules.order", "modules.builtin", "modules.builtin.modinfo"];

/// A root file system in memory, and the kernel that will start it.
#[derive(Debug)]
pub struct Rootfs {
    /// Everything that the root will hold.
    pub tree: Tree,
    /// The kernel, inspected.
    pub kernel: Kernel,
    /// Modules for the initramfs, in the order in which they are loaded.
    pub modules: Vec<Module>,
    /// Refusals that the recipe accepts, with its reasons.
    pub accepted: BTreeMap<String, String>,
    /// The programs that run scripts.
    pub interpreters: Vec<manifest::Interpreter>,
    /// Numbers that users and groups were given.
    pub ids: Ids,
    /// Text of the lock that has them, where there is one.
    pub lock: Option<String>,
    /// Seconds since 1970 that stand for "now".
    pub source_date: i64,
}

/// Puts the root together.
///
/// # Errors
/// Maintainer scripts whose effect is not known, layers that do not go over each other, a kernel that cannot enforce what
/// the image promises, a module that is missing, an init that is not there, a policy that is none to ship, interpreters that
/// the recipe does not want.
pub fn assemble(plan: &mut Plan, signers: &Signers) -> Result<Rootfs> {
    let (kernel, accepted) = plan.kernel.inspect(&plan.recipe, Some(signers))?;
    let recipe = &plan.recipe;
    plan.policy.try_out(recipe, &kernel)?;
    plan.volumes.iter().try_for_each(|volume| volume.hold_against(&kernel))?;
    let own = |mode| Metadata { mode, mtime: plan.source_date, ..Metadata::default() };

    let (mut tree, ids) = tree(recipe, &mut plan.parts, plan.source_date)?;
    for mount in &recipe.mounts {
        let path = parse(&mount.target)?;
        tree.make_directories(&path, &own(0o755))?;
    }

    state::prepare(&mut tree, recipe, plan.source_date)?;

    let modules = modules::closure(&plan.kernel, &kernel.builtin, &for_initramfs(recipe, &plan.volumes))
        .map_err(kernel_error)?;
    carry_modules(&mut tree, recipe, &plan.kernel, &kernel, &own(0o644))?;
    volume::prepare(&mut tree, &plan.volumes, &own(0o755))?;
    packed::prepare(&mut tree, &recipe.root, plan.source_date)?;
    check_init(&tree, recipe)?;
    let interpreters = scripts::hold(recipe, &kernel, &tree)?;
    tree.clamp_mtimes(plan.source_date);
    Ok(Rootfs {
        tree,
        kernel,
        modules,
        accepted,
        interpreters,
        ids,
        lock: None,
        source_date: plan.source_date,
    })
}

/// Packages, layers and files in one tree, configured as a whole; and the numbers that its users and groups have.
pub(crate) fn tree(recipe: &Recipe, parts: &mut Parts, source_date: i64) -> Result<(Tree, Ids)> {
    let own = |mode| Metadata { mode, mtime: source_date, ..Metadata::default() };
    let mut tree = Tree::new(own(0o755));
    let packages = mem::take(&mut parts.packages);
    let installed = packages.iter().map(Installed::of).collect::<std::result::Result<Vec<_>, _>>()?;
    deb::unpack(packages, &mut tree)?;
    if !installed.is_empty() {
        merge_usr(&mut tree, &own(0o777))?;
    }
    let settings = Settings {
        accepted: recipe.packages.accept_scripts.keys().cloned().collect(),
        ids: parts.ids.clone(),
        time: source_date,
    };
    let configured = graven_finish::configure(&mut tree, installed, settings)?;
    for layer in parts.layers.drain(..) {
        layer.apply(&mut tree)?;
    }
    for (path, inode) in &parts.files {
        if let Some(parent) = path.parent() {
            tree.make_directories(&parent, &own(0o755))?;
        }
        tree.insert(path, inode.clone())?;
    }
    if let Some(hostname) = &recipe.hostname {
        put(&mut tree, "/etc/hostname", format!("{hostname}\n").into_bytes(), own(0o644))?;
    }
    for (path, mode) in FOLDERS {
        let path = parse(path)?;
        if tree.resolve(&path).is_err() {
            tree.make_directories(&path, &own(0o755))?;
            tree.insert(&path, Inode::new(own(mode), Kind::directory()))?;
        }
    }
    merge_usr(&mut tree, &own(0o777))?;
    let ids = configured.complete(&mut tree, &parts.people, &services(recipe))?;
    Ok((tree, ids))
}

/// The links of the merged /usr, where no input brings a folder of that name.
fn merge_usr(tree: &mut Tree, metadata: &Metadata) -> Result<()> {
    for (path, target) in LINKS {
        let (path, full) = (parse(path)?, parse(target)?);
        if tree.lookup(&path).is_err() && tree.resolve(&full).is_ok() {
            tree.insert(&path, Inode::new(metadata.clone(), Kind::Symlink(target.as_bytes().into())))?;
        }
    }
    Ok(())
}

fn services(recipe: &Recipe) -> Services {
    let names = |units: &[At<String>]| units.iter().map(|unit| unit.value.clone()).collect();
    let services = &recipe.services;
    Services {
        enable: names(&services.enable),
        disable: names(&services.disable),
        mask: names(&services.mask),
        default_target: services.default_target.as_ref().map(|target| target.value.clone()),
        presets: services.presets,
    }
}

fn kernel_error(error: impl std::fmt::Display) -> Error {
    Error::Kernel(error.to_string())
}

fn parse(path: &str) -> Result<TreePath> {
    Ok(TreePath::parse(path.as_bytes())?)
}

fn put(tree: &mut Tree, path: &str, bytes: Vec<u8>, metadata: Metadata) -> Result<()> {
    let path = parse(path)?;
    let folder = Metadata { mode: 0o755, ..metadata.clone() };
    if let Some(parent) = path.parent() {
        tree.make_directories(&parent, &folder)?;
    }
    tree.insert(&path, Inode::new(metadata, Kind::File(Content::from_bytes(bytes))))?;
    Ok(())
}

/// What lies between the kernel and the root: the verified device, its file system, the target's disks.
fn for_initramfs(recipe: &Recipe, volumes: &[Volume]) -> Vec<Wanted> {
    let mut wanted = vec![
        Wanted::required("dm_verity", "the verified root"),
        Wanted::required(packed::file_system(&recipe.root).name(), "the root file system"),
    ];
    if recipe.target.boot_chain == BootChain::Uki && recipe.boot.secure_boot == SecureBoot::Required {
        wanted.push(Wanted::required("efivarfs", "the check that Secure Boot is on"));
    }
    if recipe.state.is_some() {
        wanted.push(Wanted::required("ext4", "the state's file system"));
    }
    for volume in volumes {
        let by = format!("volume `{}`, {}", volume.name(), volume.stated.image.place);
        wanted.push(Wanted::required(volume.file_system().name(), &by));
    }
    wanted.extend(drivers(recipe));
    wanted
}

fn drivers(recipe: &Recipe) -> Vec<Wanted> {
    let by = format!("target {}", recipe.target.name);
    let required = recipe.target.drivers.required.iter().map(|name| Wanted::required(name.as_str(), &by));
    let optional = recipe.target.drivers.optional.iter().map(|name| Wanted::optional(name.as_str(), &by));
    required.chain(optional).collect()
}

/// The modules of the root, and depmod's index over just those.
fn carry_modules(
    tree: &mut Tree,
    recipe: &Recipe,
    files: &KernelFiles,
    kernel: &Kernel,
    metadata: &Metadata,
) -> Result<()> {
    if files.modules.is_none() {
        return Ok(());
    }
    let wanted: Vec<Wanted> = match &recipe.kernel.modules {
        Modules::All => {
            let names = files.paths().into_iter().filter_map(|path| modules::name_of_path(&path));
            names.map(|name| Wanted::required(&name, "the whole of the kernel's modules")).collect()
        }
        Modules::Listed(listed) => {
            let listed = listed.iter().map(|name| Wanted::required(name.as_str(), &name.place.to_string()));
            drivers(recipe).into_iter().chain(listed).collect()
        }
    };
    let carried = modules::closure(files, &kernel.builtin, &wanted).map_err(kernel_error)?;
    let folder = format!("/usr/lib/modules/{}", kernel.image.release);
    let mut place =
        |name: &str, bytes: Vec<u8>| put(tree, &format!("{folder}/{name}"), bytes, metadata.clone());

    let [config, order, builtin, builtin_modinfo] = MODULE_LISTS.map(|list| files.read(list).ok());
    for (name, bytes) in MODULE_LISTS.iter().zip([&config, &order, &builtin, &builtin_modinfo]) {
        if let Some(bytes) = bytes {
            place(name, bytes.clone())?;
        }
    }
    let text = |bytes: Option<Vec<u8>>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
    let index = Index {
        modules: &carried,
        order: &text(order),
        builtin: &text(builtin),
        builtin_modinfo: &builtin_modinfo.unwrap_or_default(),
    };
    for IndexFile { name, contents } in index.files() {
        place(name, contents)?;
    }
    for module in &carried {
        place(&module.path, module.bytes.clone())?;
    }
    Ok(())
}

/// stage0 starts nothing but this: better refused here than on a console.
fn check_init(tree: &Tree, recipe: &Recipe) -> Result<()> {
    let init = &recipe.init.path;
    let stop = |what: &str| Err(Error::Limit(format!("{}: init {} {what}", init.place, init.value)));
    match tree.resolve(&parse(&init.value)?) {
        Err(tree::Error::NotFound { .. }) => stop("is not in the root"),
        Err(error) => Err(error.into()),
        Ok(id) => match tree.inode(id) {
            Inode { kind: Kind::File(_), metadata, .. } if metadata.mode & 0o111 != 0 => Ok(()),
            Inode { kind: Kind::File(_), .. } => stop("is not executable"),
            other => stop(&format!("is a {}, not a program", other.kind.noun())),
        },
    }
}
