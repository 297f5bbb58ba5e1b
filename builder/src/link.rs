//! Link: kernel, initramfs and command line become one signed boot artefact.

use graven_boot::cmdline::{self, CommandLine, PolicyPlacement};
use graven_boot::initramfs::{Initramfs, compression_for};
use graven_boot::{authenticode, pe};
use graven_handoff as handoff;
use graven_handoff::{
    Addition, Algorithm, Contents, Enforcement, Fec, Hardening, IfDamaged, Init, KernelLockdown,
    ModuleParameter, Mount, MountSource, OnCorruption, OnDamage, OnFailure, PartUuid, Plan, PolicyIdentity,
    PolicyVersion, Programs, Relaxation, Relaxed, Seed, SeedTime, State, StateSize, Verified, Verity, Volume,
};
use graven_recipe::{self as recipe, PolicyMode, PolicyOp, Profile, Recipe, SecureBoot};
use graven_targets::BootChain;
use graven_verify::manifest::sha256_hex;

use crate::assemble::Rootfs;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::hash_area::BLOCK;
use crate::packed;
use crate::plan;
use crate::root::RootImage;
use crate::seal::{BoundPolicy, SealedRoot, Station};
use crate::signers::Signers;
use crate::volume;

mod fit;
mod uki;

pub use fit::KEY_NAME;

/// Seconds that disks have to appear in.
const WAIT_SECONDS: u32 = 30;

/// A signed boot artefact: the link that the firmware checks, with all that it binds.
#[derive(Debug)]
pub struct BootArtefact {
    /// The root file system.
    pub sealed: SealedRoot,
    /// The policy.
    pub bound: BoundPolicy,
    /// The signed UKI or FIT.
    pub bytes: Vec<u8>,
    /// A UKI's Authenticode digest.
    pub authenticode: Option<[u8; 32]>,
    /// The command line inside.
    pub command_line: CommandLine,
    /// Where the signed policy travels.
    pub policy: PolicyPlacement,
    /// The initramfs inside, before compression.
    pub initramfs: Initramfs,
    /// What it starts from.
    pub stage0_sha256: String,
}

/// Makes and signs the boot artefact. What it binds, root hash and policy, is there already.
///
/// # Errors
/// A command line that does not fit, a stub that is none, and what the signer says.
pub fn link(
    inputs: &plan::Plan,
    rootfs: &Rootfs,
    sealed: SealedRoot,
    bound: BoundPolicy,
    stage0: &[u8],
    signers: &Signers,
) -> Result<Station<BootArtefact>> {
    let recipe = &inputs.recipe;
    let root_hash = handoff::RootHash::new(sealed.image.root.root_hash.as_bytes()).map_err(link_error)?;
    let extra = words_besides(recipe);
    let built = cmdline::build(&cmdline::Parts {
        consoles: &recipe.target.consoles,
        root_hash: &root_hash,
        signed_policy: &bound.signed,
        enforcement: enforcement(recipe),
        lockdown: kernel_lockdown(recipe),
        left_out: &left_out(recipe),
        extra: &extra,
        limit: &recipe.target.command_line,
    })
    .map_err(link_error)?;

    let plan = plan(inputs, rootfs, &sealed, &bound)?.render().map_err(link_error)?;
    let initramfs =
        initramfs(inputs, rootfs, stage0, built.line.as_str(), &plan, built.policy, &bound.signed);
    let compression = compression_for(&rootfs.kernel.config);
    let compressed = initramfs.write_compressed(compression).map_err(link_error)?;
    let line = built.line.as_str();
    let station = match recipe.target.boot_chain {
        BootChain::Uki => uki::make(inputs, rootfs, line, &compressed, signers)?,
        BootChain::Fit => fit::make(inputs, rootfs, line, compressed, signers)?,
    };
    Ok(match station {
        Station::Pending(requests) => Station::Pending(requests),
        Station::Done(bytes) => Station::Done(BootArtefact {
            // A FIT is no PE image.
            authenticode: pe::Image::parse(&bytes).ok().map(|image| authenticode::digest(&image)),
            bytes,
            command_line: built.line,
            policy: built.policy,
            initramfs,
            stage0_sha256: sha256_hex(stage0),
            sealed,
            bound,
        }),
    })
}

/// The recipe's words; and the kernel's leave to take the backup partition table, where a power cut can tear the primary.
fn words_besides(recipe: &Recipe) -> Vec<String> {
    const BACKUP_TABLE: &str = "gpt";
    let stated = recipe.kernel.command_line.iter().map(|word| word.value.clone());
    let grows = recipe.state.as_ref().is_some_and(|state| state.size == recipe::StateSize::Grow);
    let own = grows.then(|| BACKUP_TABLE.to_owned());
    own.into_iter().chain(stated.filter(|word| !grows || word != BACKUP_TABLE)).collect()
}

fn link_error(error: impl std::fmt::Display) -> Error {
    Error::Link(error.to_string())
}

fn enforcement(recipe: &Recipe) -> Enforcement {
    match recipe.policy.mode {
        PolicyMode::Enforce => Enforcement::Enforce,
        PolicyMode::Audit => Enforcement::Audit,
    }
}

fn kernel_lockdown(recipe: &Recipe) -> KernelLockdown {
    match recipe.lockdown.relax.contains_key(&recipe::Relaxation::KernelLockdown) {
        true => KernelLockdown::None,
        false => KernelLockdown::Integrity,
    }
}

/// Words that the recipe does without.
fn left_out(recipe: &Recipe) -> Vec<cmdline::Guard> {
    let guards = [
        (recipe::Relaxation::ProcMem, cmdline::Guard::ProcMem),
        (recipe::Relaxation::Hibernation, cmdline::Guard::Hibernation),
    ];
    let relax = &recipe.lockdown.relax;
    guards.into_iter().filter(|(part, _)| relax.contains_key(part)).map(|(_, guard)| guard).collect()
}

/// What stage0 is told, beyond the command line.
fn plan(inputs: &plan::Plan, rootfs: &Rootfs, sealed: &SealedRoot, bound: &BoundPolicy) -> Result<Plan> {
    let recipe = &inputs.recipe;
    let version = bound.policy.version();
    let development = match recipe.profile {
        Profile::Release => "",
        Profile::Development => " (development)",
    };
    Ok(Plan {
        image: format!("{} {}{development}", recipe.name, recipe.version),
        policy: PolicyIdentity {
            name: bound.policy.name().to_string(),
            version: PolicyVersion(version.major, version.minor, version.revision),
        },
        compiled_in_policy: rootfs.kernel.compiled_in_policy(),
        successor: recipe.policy.successor.as_ref().map(|path| path.value.clone()),
        enforcement: enforcement(recipe),
        secure_boot: match (recipe.target.boot_chain, recipe.boot.secure_boot) {
            (BootChain::Uki, SecureBoot::Required) => handoff::SecureBoot::Required,
            // A U-Boot has no such state.
            (BootChain::Fit, _) | (_, SecureBoot::Optional) => handoff::SecureBoot::NotRequired,
        },
        kernel_lockdown: kernel_lockdown(recipe),
        security_modules: ["lockdown", "yama", "ipe"].map(str::to_owned).to_vec(),
        additions: recipe.target.command_line.additions.iter().cloned().map(Addition::After).collect(),
        module_parameters: vec![ModuleParameter {
            module: "dm_verity".into(),
            name: "require_signatures".into(),
            value: "1".into(),
        }],
        wait_seconds: WAIT_SECONDS,
        root: verified(packed::file_system(&recipe.root).name(), &sealed.image, &sealed.image.root),
        volumes: volumes(&inputs.volumes, &sealed.image)?,
        mounts: mounts(recipe),
        state: recipe.state.as_ref().map(|state| self::state(recipe, state)),
        clock_not_before: u64::try_from(rootfs.source_date).unwrap_or_default(),
        relaxed: relaxed(recipe),
        hardening: if recipe.lockdown.exec_securebits { vec![Hardening::ExecSecurebits] } else { Vec::new() },
        on_failure: match recipe.boot.on_failure {
            recipe::OnFailure::Reboot => OnFailure::Reboot,
            recipe::OnFailure::Poweroff => OnFailure::Poweroff,
            recipe::OnFailure::Halt => OnFailure::Halt,
        },
        init: Init {
            path: recipe.init.path.value.clone(),
            arguments: recipe.init.args.clone(),
            environment: vec![
                ("PATH".into(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
                ("HOME".into(), "/".into()),
                ("TERM".into(), "linux".into()),
            ],
        },
    })
}

/// The volumes, the outer one of two before the one in it.
fn volumes(read: &[volume::Volume], image: &RootImage) -> Result<Vec<Volume>> {
    let plan = |(read, device): (&volume::Volume, &Device)| {
        let stated = &read.stated;
        let programs = match stated.allow.contains(&PolicyOp::Execute) {
            true => Programs::Exec,
            false => Programs::Noexec,
        };
        Ok(Volume {
            name: stated.name.value.clone(),
            target: stated.target.value.clone(),
            programs,
            root_hash: handoff::RootHash::new(device.root_hash.as_bytes()).map_err(link_error)?,
            image: verified(read.file_system().name(), image, device),
        })
    };
    let mut volumes = read.iter().zip(&image.volumes).map(plan).collect::<Result<Vec<_>>>()?;
    volumes.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(volumes)
}

fn verified(file_system: &str, image: &RootImage, device: &Device) -> Verified {
    Verified {
        file_system: file_system.into(),
        options: String::new(),
        signature_partition: PartUuid(*image.table.partitions[device.parts.signature].guid.as_bytes()),
        verity: verity(device),
    }
}

fn verity(device: &Device) -> Verity {
    let params = &device.superblock.params;
    Verity {
        algorithm: Algorithm::Sha256,
        data_block_size: params.data_block_size(),
        hash_block_size: params.hash_block_size(),
        data_blocks: params.data_blocks(),
        hash_start: device.hash_area.tree_start / u64::from(BLOCK),
        salt: params.salt().as_bytes().to_vec(),
        superblock_uuid: PartUuid(*device.superblock.uuid.as_bytes()),
        on_corruption: OnCorruption::Error,
        fec: device.hash_area.parity.map(|parity| Fec {
            roots: u8::try_from(parity.roots.get()).unwrap_or(u8::MAX),
            blocks: parity.blocks,
            start: parity.start / u64::from(BLOCK),
            partition: None,
        }),
    }
}

/// What outlives a boot.
fn state(recipe: &Recipe, state: &recipe::State) -> State {
    State {
        partition: PartUuid(*crate::state::partition_uuid(recipe).as_bytes()),
        size: match state.size {
            recipe::StateSize::Grow => StateSize::Grow,
            recipe::StateSize::Fixed(_) => StateSize::Fixed,
        },
        if_damaged: match state.if_damaged {
            recipe::IfDamaged::Reset => IfDamaged::Reset,
            recipe::IfDamaged::Volatile => IfDamaged::Volatile,
            recipe::IfDamaged::Fail => IfDamaged::Fail,
        },
        persist: state.persist.iter().map(|path| path.value.clone()).collect(),
        exec: state.exec.keys().cloned().collect(),
        seed: state.provision.as_ref().map(|provision| Seed {
            when: match provision.when {
                recipe::SeedTime::FirstBoot => SeedTime::FirstBoot,
                recipe::SeedTime::Always => SeedTime::Always,
            },
            wait_seconds: provision.wait_seconds,
        }),
    }
}

/// The recipe's mounts; `/run` and `/tmp` are there without being asked for, and with a state, which services then have
/// something of their own in, the image's `/var`.
fn mounts(recipe: &Recipe) -> Vec<Mount> {
    let mut usual = vec![("/run", "mode=0755", Contents::Empty), ("/tmp", "mode=1777", Contents::Empty)];
    if recipe.state.is_some() {
        usual.push(("/var", "mode=0755", Contents::Image));
    }
    let tmpfs = |target: &str, options: &str| Mount {
        source: MountSource::None,
        target: target.into(),
        file_system: "tmpfs".into(),
        options: options.into(),
        on_damage: OnDamage::Fail,
        contents: Contents::Empty,
    };
    let stated = recipe.mounts.iter().map(|mount| {
        let allowed = [(&mount.exec, "exec"), (&mount.suid, "suid"), (&mount.dev, "dev")];
        let mut options: Vec<String> = allowed
            .iter()
            .filter(|(reason, _)| reason.is_some())
            .map(|(_, word)| (*word).to_owned())
            .collect();
        options.extend(mount.size.map(|bytes| format!("size={bytes}")));
        options.extend(mount.mode.map(|mode| format!("mode={mode:04o}")));
        options.extend(mount.options.iter().cloned());
        let contents = match mount.contents {
            recipe::MountContents::Empty => Contents::Empty,
            recipe::MountContents::Image => Contents::Image,
        };
        Mount { file_system: mount.fs_type.to_string(), contents, ..tmpfs(&mount.target, &options.join(",")) }
    });
    let mut all: Vec<Mount> = usual
        .iter()
        .filter(|(target, ..)| !recipe.mounts.iter().any(|mount| mount.target.value == *target))
        .map(|(target, options, contents)| Mount { contents: *contents, ..tmpfs(target, options) })
        .collect();
    all.extend(stated);
    all
}

/// What the recipe leaves out, with its reasons: recipe and plan name the parts alike.
fn relaxed(recipe: &Recipe) -> Vec<Relaxed> {
    let parts = recipe.lockdown.relax.iter();
    parts
        .filter_map(|(part, reason)| {
            let what = Relaxation::from_word(part.as_str())?;
            Some(Relaxed { what, reason: reason.value.clone() })
        })
        .collect()
}

/// stage0, what it is told, and the modules that lie between the kernel and the root. Nothing else.
fn initramfs(
    inputs: &plan::Plan,
    rootfs: &Rootfs,
    stage0: &[u8],
    line: &str,
    plan: &str,
    placement: PolicyPlacement,
    signed_policy: &[u8],
) -> Initramfs {
    let mut archive = Initramfs::for_stage0();
    archive.file(handoff::initramfs::INIT, 0o755, stage0);
    archive.file(handoff::initramfs::COMMAND_LINE, 0o444, line.as_bytes());
    archive.file(handoff::initramfs::PLAN, 0o444, plan.as_bytes());
    if placement == PolicyPlacement::Initramfs {
        archive.file(handoff::initramfs::POLICY, 0o444, signed_policy);
    }
    if let Some(pattern) = &inputs.state {
        archive.file(handoff::initramfs::STATE, 0o444, pattern.clone());
    }
    if let Some(certificate) = &inputs.seed_certificate {
        archive.file(handoff::initramfs::SEED_CERTIFICATE, 0o444, certificate.clone());
    }
    for (index, module) in rootfs.modules.iter().enumerate() {
        let name = handoff::initramfs::module_file(index, module.file_name());
        archive.file(&format!("{}/{name}", handoff::initramfs::MODULES), 0o444, module.bytes.clone());
    }
    archive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipe_and_plan_name_the_same_relaxations() {
        let plan: Vec<_> = Relaxation::ALL.iter().map(|part| part.word()).collect();
        let recipe: Vec<_> = recipe::Relaxation::ALL.iter().map(|part| part.as_str()).collect();
        assert_eq!(plan, recipe);
    }
}
