//! The kernel in the boot artefact: what it is, and whether it can enforce what the image promises.

use graven_boot::compression::Compression;
use graven_boot::initramfs::Initramfs;
use graven_boot::kernel::{self, Demands, InspectError, Kernel, Parts};
use graven_handoff::initramfs::MODULES;
use graven_handoff::{Plan, PolicyIdentity, SecureBoot};
use graven_image::probe::{FileSystem, Probed};
use graven_image::tree::{Tree, TreePath};

use super::profile::Signers;
use super::{explain, shown};
use crate::artefact::Artefact;
use crate::manifest::Manifest;
use crate::report::Report;

/// Bytes that a configuration or list of the root may have.
const MOST_BYTES: u64 = 16 << 20;

/// Judges the kernel by its configuration, taken from the root or from the kernel itself, and by the certificates in it.
/// Without a configuration: unproved.
pub(crate) fn kernel(
    boot: &Artefact<'_>,
    root: Option<(&Tree, &Probed)>,
    plan: Option<&Plan>,
    archive: Option<&Initramfs>,
    signers: &Signers,
    manifest: Option<&Manifest>,
    report: &mut Report,
) -> Option<()> {
    const LINK: &str = "kernel";
    let read = boot
        .kernel
        .as_deref()
        .map_err(Clone::clone)
        .and_then(|bytes| Ok((bytes, kernel::Image::parse(bytes).map_err(|error| explain(&error))?)));
    let (bytes, image) = match read {
        Ok(read) => read,
        Err(problem) => {
            report.bad(LINK, problem);
            return None;
        }
    };
    let release = shown(&image.release);
    if let Some(said) = boot.release.filter(|said| *said != image.release) {
        let named = shown(said);
        report.bad(LINK, format!("the boot artefact says that it is {named:?}, the kernel is {release}"));
        return None;
    }
    let of_root = |name: &str| {
        let path = TreePath::parse(format!("/usr/lib/modules/{}/{name}", image.release).as_bytes()).ok()?;
        root?.0.read(&path, MOST_BYTES).ok()
    };
    let config = of_root("config").and_then(|bytes| String::from_utf8(bytes).ok());
    let source =
        if config.is_some() { "by its configuration in the root" } else { "by its own configuration" };
    let builtin = of_root("modules.builtin").and_then(|bytes| String::from_utf8(bytes).ok());
    let parts = Parts {
        image: bytes,
        config: config.as_deref(),
        builtin: builtin.as_deref().unwrap_or_default(),
        builtin_modinfo: &of_root("modules.builtin.modinfo").unwrap_or_default(),
    };
    let kernel = match Kernel::inspect(&parts) {
        Ok(kernel) => kernel,
        Err(InspectError::NoConfig) => {
            report.unproved(
                LINK,
                format!("{release}: its configuration is neither in the root nor in it, so what it enforces cannot be judged"),
            );
            return None;
        }
        Err(error) => {
            report.bad(LINK, explain(&error));
            return None;
        }
    };
    let demands = Demands {
        boot_chain: boot.chain,
        secure_boot: plan.is_some_and(|plan| plan.secure_boot == SecureBoot::Required),
        fec: plan.is_some_and(|plan| plan.root.verity.fec.is_some()),
        root_file_system: root.map_or(FileSystem::Erofs, |(_, probed)| probed.file_system).symbol(),
        root_needs: root.map(|(_, probed)| probed.needs.clone()).unwrap_or_default(),
        command_line_limit: kernel.arch.command_line_size(),
        modules: archive.map_or(Compression::None, compression_of_modules),
        lsm: None,
        policy: plan.map(|plan| plan.policy.clone()),
        signers: signers
            .policy
            .clone()
            .zip(signers.root.clone())
            .map(|(policy, root_hash)| kernel::Signers { policy, root_hash, issuers: None }),
    };
    let (mut problems, mut accepted) = (Vec::new(), Vec::new());
    if let Some(plan) = plan
        && plan.compiled_in_policy != kernel.compiled_in_policy()
    {
        let named = |policy: Option<&PolicyIdentity>| {
            policy.map_or("none".to_owned(), |policy| format!("{} {}", shown(&policy.name), policy.version))
        };
        problems.push(format!(
            "stage0 has to replace the compiled-in policy {}, the kernel has {}",
            named(plan.compiled_in_policy.as_ref()),
            named(kernel.compiled_in_policy().as_ref())
        ));
    }
    for refusal in kernel::assess(&kernel, &demands) {
        // The kernel is signed: whoever signed it knew what his recipe accepts. The reason is shown, not hidden.
        match manifest.and_then(|manifest| manifest.accepted.get(&format!("kernel.{}", refusal.name))) {
            Some(reason) => accepted.push(format!("ACCEPTED {} ({})", refusal.name, shown(reason))),
            None => problems.push(refusal.to_string()),
        }
    }
    let mut details = vec![format!("{release} can enforce all that the image promises, {source}")];
    details.extend(accepted);
    report.judge(LINK, &problems, details.join(", "));
    Some(())
}

fn compression_of_modules(archive: &Initramfs) -> Compression {
    let folder = MODULES.trim_start_matches('/');
    let modules = archive.entries().filter(|(path, _)| path.starts_with(folder));
    let mut compressions = modules.map(|(path, _)| Compression::of_name(path));
    compressions.find(|compression| *compression != Compression::None).unwrap_or(Compression::None)
}
