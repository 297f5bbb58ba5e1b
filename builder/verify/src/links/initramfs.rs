//! The initramfs: one archive, every entry explained; and stage0 in it.

use graven_boot::compression::Compression;
use graven_boot::initramfs::{Entry, Initramfs, Kind, Limits, parse};
use graven_handoff::initramfs::{
    COMMAND_LINE, INIT, MODULES, PLAN, POLICY, SEED_CERTIFICATE, STATE, parse_module_file,
};
use graven_handoff::{Binding, Plan, PolicySource, hex};
use sha2::{Digest, Sha256};

use super::{explain, shown};
use crate::artefact::Artefact;
use crate::prove::Options;
use crate::report::Report;

/// What an initramfs of ours is made of, read but not judged: the archive, and what stands beside it.
pub(crate) fn unpack(section: &[u8]) -> Result<(Initramfs, Option<String>), String> {
    let limits = Limits::default();
    let compression = Compression::of(section);
    let (archive, taken) =
        compression.decompress_prefix(section, limits.bytes).map_err(|error| explain(&error))?;
    // What the kernel would unpack in all, whoever wrote it.
    let initramfs = parse(section, limits).map_err(|error| explain(&error))?;
    let beside = if taken != section.len() {
        let rest = section.len().saturating_sub(taken);
        Some(format!("{rest} bytes follow the compressed archive"))
    } else {
        match initramfs.write() {
            Ok(ours) if ours == archive => None,
            Ok(ours) => {
                let same = ours.iter().zip(&archive).take_while(|(a, b)| a == b).count();
                Some(format!(
                    "the archive is not written as the builder writes it, from byte {same} of {} on: a second archive, \
                     bytes behind the trailer, or another order",
                    archive.len()
                ))
            }
            Err(error) => Some(explain(&error)),
        }
    };
    Ok((initramfs, beside))
}

/// One archive, strictly read; every entry is one that the builder puts there.
pub(crate) fn initramfs(boot: &Artefact<'_>, report: &mut Report) -> Option<Initramfs> {
    const LINK: &str = "initramfs";
    let (initramfs, beside) = match boot.initrd.clone().and_then(unpack) {
        Ok(unpacked) => unpacked,
        Err(problem) => {
            report.bad(LINK, problem);
            return None;
        }
    };
    let mut problems: Vec<String> = beside.into_iter().collect();
    let base = Initramfs::for_stage0();
    for (path, entry) in base.entries().filter(|(path, _)| initramfs.get(path).is_none()) {
        problems.push(format!("/{path} ({:o}) is missing", entry.mode));
    }
    let policy_here = boot
        .command_line
        .as_ref()
        .ok()
        .and_then(|line| Binding::parse(line).ok())
        .is_some_and(|binding| matches!(binding.policy, PolicySource::Sha256(_)));
    let state = match initramfs.get(PLAN).map(|entry| &entry.kind) {
        Some(Kind::File(plan)) => {
            Plan::parse(&String::from_utf8_lossy(plan)).ok().and_then(|plan| plan.state)
        }
        _ => None,
    };
    let seed_here = state.as_ref().is_some_and(|state| state.seed.is_some());
    let mut modules = 0usize;
    for (path, entry) in initramfs.entries() {
        let absolute = format!("/{path}");
        let file_of_mode = |mode| matches!(entry.kind, Kind::File(_)) && entry.mode == mode;
        let module = absolute
            .strip_prefix(MODULES)
            .and_then(|rest| rest.strip_prefix('/'))
            .filter(|name| !name.contains('/'));
        let explained = match absolute.as_str() {
            INIT => file_of_mode(0o755),
            COMMAND_LINE | PLAN => file_of_mode(0o444),
            POLICY => policy_here && file_of_mode(0o444),
            STATE => state.is_some() && file_of_mode(0o444),
            SEED_CERTIFICATE => seed_here && file_of_mode(0o444),
            _ if base.get(path) == Some(entry) => true,
            _ => match module {
                Some(name) => {
                    let numbered =
                        name.starts_with(&format!("{modules:03}-")) && parse_module_file(name).is_some();
                    modules = modules.saturating_add(1);
                    numbered && file_of_mode(0o444)
                }
                None => false,
            },
        };
        if !explained {
            let what = match &entry.kind {
                Kind::File(contents) => format!("a file of {} bytes", contents.len()),
                Kind::Directory => "a directory".to_owned(),
                Kind::Symlink(target) => format!("a symbolic link to {}", shown(target)),
                _ => "a special file".to_owned(),
            };
            problems.push(format!(
                "{}: {what}, mode {:o}: nothing explains it",
                shown(&absolute),
                entry.mode
            ));
        }
    }
    let needed = [INIT, COMMAND_LINE, PLAN].into_iter();
    let needed = needed.chain(state.is_some().then_some(STATE)).chain(seed_here.then_some(SEED_CERTIFICATE));
    for path in needed {
        if initramfs.get(path).is_none() {
            problems.push(format!("{path} is missing"));
        }
    }
    let count = initramfs.entries().count();
    report.judge(LINK, &problems, format!("{count} entries, {modules} of them modules, every one explained"));
    Some(initramfs)
}

/// `/init` is a stage0 that the caller knows.
pub(crate) fn stage0(archive: &Initramfs, options: &Options<'_>, report: &mut Report) -> Option<()> {
    const LINK: &str = "stage0";
    let Some(Entry { kind: Kind::File(program), .. }) = archive.get(INIT) else {
        report.bad(LINK, format!("{INIT} is no file in the initramfs"));
        return None;
    };
    let sha256: [u8; 32] = Sha256::digest(program).into();
    let found = hex::encode(&sha256);
    let known: Vec<String> = options.stage0.iter().map(|known| hex::encode(known)).collect();
    if options.stage0.contains(&sha256) {
        report.ok(LINK, format!("{INIT} is a known stage0, SHA-256 {found}"));
    } else if known.is_empty() {
        report.unproved(LINK, format!("no stage0 is known to compare with; {INIT} has the SHA-256 {found}"));
    } else {
        let known = known.join(" or ");
        report.bad(LINK, format!("{INIT}: expected a stage0 with the SHA-256 {known}, found {found}"));
    }
    Some(())
}
