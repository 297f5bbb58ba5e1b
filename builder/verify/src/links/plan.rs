//! stage0's plan: it parses, agrees with the line, and asks for what makes the rest hold.

use graven_boot::cmdline::Guard;
use graven_boot::initramfs::{Entry, Initramfs, Kind};
use graven_handoff::initramfs::{MODULES, PLAN, parse_module_file};
use graven_handoff::{Addition, KernelLockdown, ModuleParameter, Plan, Relaxation, SecureBoot};

use graven_image::probe::FileSystem;
use graven_targets::BootChain;

use super::command_line::Line;
use super::profile::Profile;
use super::shown;
use crate::artefact::Artefact;
use crate::prove::Options;
use crate::report::Report;

/// The security modules without which stage0's lockdown is not one.
const SECURITY_MODULES: [&str; 3] = ["ipe", "lockdown", "yama"];

pub(crate) fn plan(
    archive: &Initramfs,
    line: Option<&Line>,
    boot: Option<&Artefact<'_>>,
    options: &Options<'_>,
    report: &mut Report,
) -> Option<Plan> {
    const LINK: &str = "plan";
    let Some(Entry { kind: Kind::File(bytes), .. }) = archive.get(PLAN) else {
        report.bad(LINK, format!("{PLAN} is no file in the initramfs"));
        return None;
    };
    let parsed = std::str::from_utf8(bytes)
        .map_err(|_| format!("{PLAN} is no text"))
        .and_then(|text| Plan::parse(text).map_err(|error| error.to_string()));
    let plan = match parsed {
        Ok(plan) => plan,
        Err(problem) => {
            report.bad(LINK, problem);
            return None;
        }
    };
    let mut problems = Vec::new();
    if let Some(line) = line {
        let pairs = [
            ("enforcement", plan.enforcement.to_string(), line.enforcement.to_string()),
            ("kernel lockdown", plan.kernel_lockdown.to_string(), line.lockdown.to_string()),
        ];
        for (what, plan, line) in pairs.into_iter().filter(|(_, plan, line)| plan != line) {
            problems.push(format!("{what} is {plan}, the command line says {line}"));
        }
        let on_the_line = [
            (Relaxation::KernelLockdown, "lockdown=", line.lockdown == KernelLockdown::None),
            (Relaxation::ProcMem, Guard::ProcMem.word(), line.left_out.contains(&Guard::ProcMem)),
            (Relaxation::Hibernation, Guard::Hibernation.word(), line.left_out.contains(&Guard::Hibernation)),
        ];
        for (part, word, left_out) in on_the_line {
            if left_out && !plan.relaxes(part) {
                problems.push(format!("the command line has no {word}, and it does not relax {part}"));
            } else if !left_out && plan.relaxes(part) {
                problems.push(format!("it relaxes {part}, and the command line has {word}"));
            }
        }
    }
    for module in SECURITY_MODULES.iter().filter(|name| !plan.security_modules.iter().any(|m| m == *name)) {
        problems.push(format!("it does not ask for the security module {module}"));
    }
    if carries_module(archive, "dm_verity") && !plan.module_parameters.iter().any(requires_signatures) {
        problems.push(
            "dm_verity is loaded without require_signatures=1: unsigned root hashes would pass".to_owned(),
        );
    }
    let known = [FileSystem::Erofs, FileSystem::Squashfs, FileSystem::Ext4];
    let root = std::iter::once(("the root file system".to_owned(), &plan.root));
    let volumes = plan.volumes.iter().map(|volume| (format!("the volume {}", volume.name), &volume.image));
    for (what, image) in root.chain(volumes) {
        if !known.iter().any(|known| known.name() == image.file_system) {
            problems
                .push(format!("{what} is {}, expected erofs, squashfs or ext4", shown(&image.file_system)));
        }
    }

    let mut details = vec![format!("init {}", shown(&plan.init.path))];
    details.extend(
        plan.volumes.iter().map(|volume| format!("volume {} on {}", volume.name, shown(&volume.target))),
    );
    details.extend(
        plan.relaxed.iter().map(|relaxed| format!("RELAXED {} ({})", relaxed.what, shown(&relaxed.reason))),
    );
    details.extend(plan.hardening.iter().map(|hardening| format!("hardened {hardening}")));
    let exec = plan.state.iter().flat_map(|state| &state.exec);
    details.extend(
        exec.map(|path| format!("what the policy lets may be started from the state at {}", shown(path))),
    );
    details.extend(
        plan.successor.iter().map(|path| format!("a newer signed policy may lie at {}", shown(path))),
    );
    details.extend(plan.additions.iter().map(|addition| match addition {
        Addition::Before(text) => format!("firmware may add {:?} before the line", shown(text)),
        Addition::After(text) => format!("firmware may add {:?} after the line", shown(text)),
    }));
    let development =
        options.allow_development && boot.is_some_and(|boot| Profile::of(boot) == Profile::Development);
    let demanded = plan.secure_boot == SecureBoot::Required;
    if demanded {
        details.push("Secure Boot demanded".to_owned());
    }
    let details = details.join(", ");
    // What a U-Boot checks is the link u-boot's to say.
    let uefi = boot.is_some_and(|boot| boot.chain == BootChain::Uki);
    if problems.is_empty() && uefi && !demanded && !development {
        report.unproved(
            LINK,
            format!(
                "it does not demand Secure Boot: a machine without it checks no boot artefact; {details}"
            ),
        );
    } else {
        report.judge(LINK, &problems, details);
    }
    Some(plan)
}

fn requires_signatures(parameter: &ModuleParameter) -> bool {
    (parameter.module.as_str(), parameter.name.as_str()) == ("dm_verity", "require_signatures")
        && matches!(parameter.value.as_str(), "1" | "y" | "Y")
}

fn carries_module(archive: &Initramfs, module: &str) -> bool {
    archive.entries().any(|(path, _)| {
        let name = path.strip_prefix(MODULES.trim_start_matches('/')).and_then(|rest| rest.strip_prefix('/'));
        name.and_then(parse_module_file).is_some_and(|file| file.module == module)
    })
}
