//! Resolve: every input is found, hashed, opened and checked; nothing is written but the spool.

use std::path::Path;
use std::sync::Arc;

use graven_boot::uki::stub_version;
use graven_finish::{Ids, Person};
use graven_image::erofs;
use graven_image::tree::{Content, Inode, Kind, Metadata, TreePath};
use graven_recipe::{Content as FileContent, FileEntry, Loaded, Recipe, Stub};
use graven_sources::{Layer, Limits, Spool, deb, oci};
use graven_targets::{Arch, Blob, BootChain};
use graven_verify::manifest::Input;

use crate::error::{Error, Result};
use crate::inputs::{file_input, file_name, matching, package_input, read_fetched, read_one, read_packages};
use crate::kernel::KernelFiles;
use crate::packed;
use crate::people;
use crate::places;
use crate::policy;
use crate::sources::{self, Read};
use crate::state;
use crate::supply::fetch::Provided;
use crate::tools::Tools;
use crate::volume::{self, Volume};

/// All that an image is a function of, but the keys.
#[derive(Debug)]
pub struct Plan {
    /// The recipe, for one target and profile.
    pub recipe: Recipe,
    /// Overrides of the recipe, as they were given.
    pub sets: Vec<String>,
    /// Seconds since 1970 that stand for "now" everywhere in the image.
    pub source_date: i64,
    /// What the root is made of.
    pub parts: Parts,
    /// The policy, but for the root hashes.
    pub policy: policy::Draft,
    /// The volumes, in the recipe's order.
    pub volumes: Vec<Volume>,
    /// The kernel, its configuration and its modules.
    pub kernel: KernelFiles,
    /// systemd's EFI stub, for a UKI.
    pub stub: Option<Vec<u8>>,
    /// The board's device trees, for a FIT or for a UKI that has them in a section.
    pub device_trees: Vec<DeviceTree>,
    /// The board's firmware, where its disk carries it.
    pub firmware: Vec<Firmware>,
    /// The U-Boot that starts a FIT, where the recipe names it apart.
    pub u_boot: Option<Vec<u8>>,
    /// Where an earlier image had what, where its places are kept.
    pub places: erofs::Places,
    /// The state's file system before a first boot, where the recipe has a state.
    pub state: Option<Vec<u8>>,
    /// The certificate (DER) by which a seed is signed, where the state takes one.
    pub seed_certificate: Option<Vec<u8>>,
    /// Where programs of this machine are looked for.
    pub tools: Tools,
    /// Every input with its digest.
    pub inputs: Vec<Input>,
}

/// What the root is made of, but for the kernel's modules.
#[derive(Debug)]
pub struct Parts {
    /// Packages, in the recipe's order.
    pub packages: Vec<deb::Package>,
    /// The sources that go over them, in the recipe's order; later over earlier.
    pub layers: Vec<Layer>,
    /// What the container images among the sources say of themselves, by the name that the origins of their files have
    /// after `oci:`.
    pub images: Vec<(String, oci::Facts)>,
    /// The files of `[files]`, over all layers.
    pub files: Vec<(TreePath, Inode)>,
    /// The recipe's users.
    pub people: Vec<Person>,
    /// Numbers that users and groups have by the lock.
    pub ids: Ids,
}

/// A file of the recipe's for one of the board's blobs.
#[derive(Debug)]
pub struct Firmware {
    /// Its name and its place.
    pub blob: Blob,
    /// The file's bytes, no more than there is room for.
    pub bytes: Vec<u8>,
}

/// A board as its kernel is told of it.
#[derive(Debug)]
pub struct DeviceTree {
    /// Its file's name, or the kernel's for it.
    pub name: String,
    /// The flattened tree.
    pub bytes: Vec<u8>,
}

/// What the caller says, besides the recipe.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// `SOURCE_DATE_EPOCH`: overrides the recipe's `source-date`.
    pub source_date_epoch: Option<i64>,
    /// A folder on a disk with room for everything that is unpacked.
    pub spool: &'a Path,
    /// Where programs of this machine are looked for.
    pub tools: &'a Tools,
    /// What the repositories gave.
    pub provided: &'a Provided,
    /// Numbers of users and groups, by the lock.
    pub ids: &'a Ids,
}

/// Finds and opens all inputs of a recipe.
///
/// # Errors
/// Inputs that are missing, damaged, hostile or for another architecture.
pub fn resolve(loaded: Loaded, circumstances: Circumstances<'_>) -> Result<Plan> {
    let Loaded { recipe, files: recipe_files, sets } = loaded;
    refuse_unbuildable(&recipe)?;
    let spool = Spool::new(circumstances.spool).map_err(|error| Error::io(circumstances.spool, error))?;

    let provided = circumstances.provided;
    let ((packages, archives), (kernel, stub)) = rayon::join(
        || rayon::join(|| packages(&recipe, provided, &spool), || sources::read(&recipe, provided, &spool)),
        || rayon::join(|| KernelFiles::read(&recipe, provided, &spool), || stub(&recipe, provided, &spool)),
    );
    let (packages, archives, kernel) = (packages?, archives?, kernel?);
    let (stub, stub_input) = stub?.unzip();
    if let (Some(stub), Some(least)) = (&stub, recipe.target.least_stub) {
        refuse_older(stub, least, &recipe)?;
    }

    let layers = packages.iter().map(|package| &package.layer);
    let layers = layers.chain(archives.iter().flatten().map(|read| &read.layer));
    let newest = layers.filter_map(|layer| layer.newest_mtime).chain(kernel.newest_mtime).max();
    let stated = recipe.source_date.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX));
    let locked = provided.source_date;
    let source_date = circumstances.source_date_epoch.or(stated).or(locked).or(newest).ok_or_else(|| {
        Error::Limit(
            "no input has a time that could stand for the image's: give the recipe a `source-date`".into(),
        )
    })?;

    let mut inputs =
        recipe_files.iter().map(|path| file_input("recipe", path)).collect::<Result<Vec<Input>>>()?;
    let (parts, of_parts) = parts(&recipe, packages, archives, source_date, circumstances.ids)?;
    inputs.extend(of_parts);
    let (policy, of_policy) = policy::read(&recipe)?;
    inputs.extend(of_policy);
    let (volumes, of_volumes): (Vec<_>, Vec<_>) = volume::read(&recipe)?.into_iter().unzip();
    inputs.extend(of_volumes);

    let mut plan = Plan {
        sets,
        source_date,
        parts,
        policy,
        volumes,
        kernel,
        stub,
        device_trees: Vec::new(),
        firmware: Vec::new(),
        u_boot: None,
        places: erofs::Places::default(),
        state: None,
        seed_certificate: None,
        tools: circumstances.tools.clone(),
        inputs,
        recipe,
    };
    plan.inputs.extend(plan.kernel.inputs.iter().cloned());
    plan.inputs.extend(stub_input);
    let target = &plan.recipe.target;
    if target.boot_chain == BootChain::Fit || target.device_tree_section.is_some() {
        for (tree, input) in device_trees(&plan.recipe, &plan.kernel)? {
            plan.device_trees.push(tree);
            plan.inputs.extend(input);
        }
    }
    if let Some(tool) = packed::tool(&plan.recipe.root) {
        plan.inputs.push(plan.tools.input(tool)?);
    }
    if let Some(list) = &plan.recipe.places_of {
        plan.places = places::read(list)?;
        plan.inputs.push(file_input("places", &list.path)?);
    }
    if let Some(state) = &plan.recipe.state {
        let (pattern, input) =
            state::pattern(&plan.recipe, state, source_date, &plan.tools, circumstances.spool)?;
        plan.state = Some(pattern);
        plan.inputs.push(input);
        if let Some(provision) = &state.provision {
            plan.seed_certificate = Some(state::seed_certificate(&provision.certificate)?);
            plan.inputs.push(file_input("seed-certificate", &provision.certificate.path)?);
        }
    }
    for blob in &plan.recipe.target.disk.blobs {
        let (firmware, input) = firmware(&plan.recipe, blob)?;
        plan.firmware.push(firmware);
        plan.inputs.push(input);
    }
    if let Some(file) = &plan.recipe.firmware.u_boot {
        plan.u_boot = Some(std::fs::read(&file.path).map_err(|error| Error::io(&file.path, error))?);
        plan.inputs.push(file_input("u-boot", &file.path)?);
    }
    Ok(plan)
}

/// What the root of a recipe is made of, without what boots it: enough to number its users.
///
/// # Errors
/// As for [`resolve`].
pub(crate) fn root_parts(recipe: &Recipe, provided: &Provided, ids: &Ids, spool: &Path) -> Result<Parts> {
    let spool = Spool::new(spool).map_err(|error| Error::io(spool, error))?;
    let packages = packages(recipe, provided, &spool)?;
    let archives = sources::read(recipe, provided, &spool)?;
    let source_date = provided.source_date.unwrap_or_default();
    parts(recipe, packages, archives, source_date, ids).map(|(parts, _)| parts)
}

fn parts(
    recipe: &Recipe,
    packages: Vec<deb::Package>,
    archives: Vec<Option<Read>>,
    source_date: i64,
    ids: &Ids,
) -> Result<(Parts, Vec<Input>)> {
    let mut inputs: Vec<Input> = packages.iter().map(package_input).collect();
    let mut parts = Parts {
        packages,
        layers: Vec::new(),
        images: Vec::new(),
        files: Vec::new(),
        people: Vec::new(),
        ids: ids.clone(),
    };
    for (source, archive) in recipe.sources.iter().zip(archives) {
        let Read { layer, input, facts } = match archive {
            Some(read) => read,
            None => sources::folder(source, source_date)?,
        };
        parts.images.extend(facts.map(|facts| (input.name.clone(), facts)));
        parts.layers.push(layer.below(&TreePath::parse(source.at.as_bytes())?)?);
        inputs.push(input);
    }
    for (path, entry) in &recipe.files {
        let (inode, input) = file(entry, source_date)?;
        parts.files.push((TreePath::parse(path.as_bytes())?, inode));
        inputs.extend(input);
    }
    for (name, user) in &recipe.users {
        let (person, keys) = people::person(name, user)?;
        parts.people.push(person);
        inputs.extend(keys);
    }
    Ok((parts, inputs))
}

/// What a board file may say and no image can be made for yet. [`resolve`] refuses it as well; this is for who has
/// something to do before.
///
/// # Errors
/// For such a target, with its name.
pub fn refuse_unbuildable(recipe: &Recipe) -> Result<()> {
    let target = &recipe.target;
    match target.arch {
        Arch::X86_64 | Arch::Aarch64 => Ok(()),
        Arch::Arm => Err(Error::Limit(format!(
            "target {} is a 32-bit ARM: its partition types and its command line of {} bytes are known, but there is no \
             stage0 for it, so that no image can be built. 64-bit processors are aarch64",
            target.name,
            target.arch.command_line_size()
        ))),
    }
}

/// Those of the repositories first, then the recipe's own.
fn packages(recipe: &Recipe, provided: &Provided, spool: &Spool) -> Result<Vec<deb::Package>> {
    let mut read = read_fetched(&provided.root, spool)?;
    for local in read_packages(recipe, &recipe.packages.local, spool)? {
        let name = local.control.package();
        if read.iter().any(|other| {
            other.control.package() == name && other.control.architecture() == local.control.architecture()
        }) {
            return Err(Error::Limit(format!(
                "{}: the package {name} comes from a repository, too: take one of the two out",
                local.layer.input()
            )));
        }
        read.push(local);
    }
    Ok(read)
}

/// A single file of `[files]`.
fn file(entry: &FileEntry, source_date: i64) -> Result<(Inode, Option<Input>)> {
    let (kind, default_mode, input) = match &entry.content {
        FileContent::File(path) => {
            let bytes = std::fs::read(&path.path).map_err(|error| Error::io(&path.path, error))?;
            let executable = is_executable(&path.path)?;
            let input = file_input("file", &path.path)?;
            (Kind::File(Content::from_bytes(bytes)), if executable { 0o755 } else { 0o644 }, Some(input))
        }
        FileContent::Text(text) => (Kind::File(Content::from_bytes(text.as_bytes())), 0o644, None),
        FileContent::Symlink(target) => (Kind::Symlink(target.as_bytes().into()), 0o777, None),
        FileContent::Directory => (Kind::directory(), 0o755, None),
    };
    let metadata = Metadata {
        mode: entry.mode.unwrap_or(default_mode),
        uid: entry.owner.uid,
        gid: entry.owner.gid,
        mtime: source_date,
        ..Metadata::default()
    };
    Ok((Inode { origin: Some(Arc::from("recipe")), ..Inode::new(metadata, kind) }, input))
}

fn is_executable(path: &Path) -> Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(path).map_err(|error| Error::io(path, error))?;
    Ok(metadata.permissions().mode() & 0o100 != 0)
}

/// The recipe's file for a blob.
fn firmware(recipe: &Recipe, blob: &Blob) -> Result<(Firmware, Input)> {
    let file = recipe.firmware.blobs.get(&blob.name).ok_or_else(|| {
        Error::Limit(format!(
            "`firmware.blobs.{}` is missing, which target {} needs",
            blob.name, recipe.target.name
        ))
    })?;
    let failed = |error| Error::io(&file.path, error);
    let length = std::fs::metadata(&file.path).map_err(failed)?.len();
    if length == 0 || length > blob.size {
        return Err(Error::Limit(format!(
            "{}: {} is {length} bytes; target {} has room for 1 to {} at byte {} of its disk",
            file.place,
            file.path.display(),
            recipe.target.name,
            blob.size,
            blob.offset
        )));
    }
    let bytes = std::fs::read(&file.path).map_err(failed)?;
    Ok((Firmware { blob: blob.clone(), bytes }, file_input("firmware", &file.path)?))
}

/// The recipe's device trees, or those of the kernel's that the target names.
fn device_trees(recipe: &Recipe, kernel: &KernelFiles) -> Result<Vec<(DeviceTree, Option<Input>)>> {
    let mut trees = Vec::new();
    for path in matching(&recipe.boot.device_trees)? {
        let bytes = std::fs::read(&path).map_err(|error| Error::io(&path, error))?;
        let tree = DeviceTree { name: file_name(&path), bytes };
        trees.push((tree, Some(file_input("device-tree", &path)?)));
    }
    if trees.is_empty() {
        for name in &recipe.target.device_trees {
            trees.push((DeviceTree { name: name.clone(), bytes: kernel.device_tree(name)? }, None));
        }
    }
    if trees.is_empty() {
        let why = match recipe.target.boot_chain {
            BootChain::Fit => "boots a FIT, whose command line travels in a device tree",
            BootChain::Uki => "boots a UKI with a device tree in it",
        };
        return Err(Error::Limit(format!(
            "target {} {why}: [boot] device-trees = [\"board.dtb\"]",
            recipe.target.name
        )));
    }
    Ok(trees)
}

/// A stub that has the firmware load the kernel inside a UKI, where the firmware then refuses it.
fn refuse_older(stub: &[u8], least: u32, recipe: &Recipe) -> Result<()> {
    let found = stub_version(stub).map_err(|error| Error::Limit(error.to_string()))?;
    match found >= least {
        true => Ok(()),
        false => Err(Error::Limit(format!(
            "target {} needs systemd-stub {least} or newer, found {found}: its firmware refuses the kernel that an older one \
             has it load. Name a newer package: [boot] stub = \"systemd-boot-efi_….deb\"",
            recipe.target.name
        ))),
    }
}

/// systemd's stub: a file, or a member of the package that brings it. A FIT has none.
fn stub(recipe: &Recipe, provided: &Provided, spool: &Spool) -> Result<Option<(Vec<u8>, Input)>> {
    const LARGEST: u64 = 16 << 20;
    if recipe.target.boot_chain == BootChain::Fit {
        return Ok(None);
    }
    let package = match (&recipe.boot.stub, &provided.stub) {
        (Some(Stub::Package(_)), Some(fetched)) => read_one(fetched, spool)?,
        (Some(Stub::File(pattern)), _) => {
            let path = pattern.file()?;
            if path.extension().is_none_or(|ending| ending != "deb") {
                let bytes = std::fs::read(&path).map_err(|error| Error::io(&path, error))?;
                return Ok(Some((bytes, file_input("stub", &path)?)));
            }
            deb::read(&path, None, spool, &Limits::default())?
        }
        _ => {
            return Err(Error::Limit(format!(
                "target {} boots a UKI, which needs systemd's EFI stub: [boot] stub = \"systemd-boot-efi\"",
                recipe.target.name
            )));
        }
    };
    let path = Path::new(package.layer.input());
    let member = format!("/usr/lib/systemd/boot/efi/{}", recipe.target.arch.efi_stub_file());
    let content = package.layer.member(&TreePath::parse(member.as_bytes())?).ok_or_else(|| {
        Error::Limit(format!(
            "{}: holds no {member}, the stub for target {}",
            path.display(),
            recipe.target.name
        ))
    })?;
    if content.len > LARGEST {
        return Err(Error::Limit(format!(
            "{}: {member} is {} bytes, no stub is",
            path.display(),
            content.len
        )));
    }
    let mut bytes = vec![0; usize::try_from(content.len).unwrap_or_default()];
    content.read_exact_at(&mut bytes, 0).map_err(|error| Error::io(path, error))?;
    Ok(Some((bytes, Input { kind: "stub".into(), ..package_input(&package) })))
}
