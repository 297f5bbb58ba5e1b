//! Single packages, taken without what they need: a kernel with its modules, systemd's EFI stub.

use super::solve::{Choice, Pin, Request};
use super::universe::{Candidate, Universe};
use super::{Error, words};

/// The best package that a request means; a pinned one before all others.
///
/// # Errors
/// [`Error::Unknown`] where there is none.
pub fn pick(universe: &Universe, request: &Request, pins: &[Pin]) -> Result<Choice, Error> {
    let mut candidates = words::asked_for(universe, request)?;
    let pinned = candidates.iter().position(|candidate| is_pinned(candidate, pins)).unwrap_or_default();
    Ok(choice(candidates.swap_remove(pinned)))
}

/// A kernel, by a name in which `*` stands for anything: of those that match, the pinned one, else the newest; of several
/// flavours of one version, the one with the shortest name, which is the plain one. With it come the packages of the same
/// version that bring its configuration and its modules, where Debian has split them off (since 7.3).
///
/// # Errors
/// [`Error::Unknown`] where no package matches, or its modules are missing.
pub fn kernel(universe: &Universe, request: &Request, pins: &[Pin]) -> Result<Vec<Choice>, Error> {
    let mut names: Vec<&str> = universe.names().filter(|name| words::glob(&request.name, name)).collect();
    names.sort_unstable();
    names.dedup();
    let mut candidates = Vec::new();
    for name in names {
        let one = Request { name: name.to_owned(), ..request.clone() };
        match words::asked_for(universe, &one) {
            Ok(found) => candidates.extend(found),
            // Another version than is asked for, or another architecture.
            Err(Error::Unknown(_)) => {}
            Err(error) => return Err(error),
        }
    }
    candidates.sort_by(|a, b| {
        let order = b.record.version.cmp(&a.record.version);
        let order = is_pinned(b, pins).cmp(&is_pinned(a, pins)).then(order);
        order.then_with(|| (a.record.name.len(), &a.record.name).cmp(&(b.record.name.len(), &b.record.name)))
    });
    let Some(kernel) = candidates.into_iter().next() else {
        return Err(Error::Unknown(format!(
            "no kernel package is called {} for {}; see [kernel] package, and that a [[packages.repo]] has it",
            words::show(request),
            universe.native()
        )));
    };
    let mut all = Vec::new();
    if let Some(release) = kernel.record.name.strip_prefix("linux-binary-") {
        for part in ["linux-base-", "linux-modules-"] {
            let name = format!("{part}{release}");
            let same = universe.called(&name)?.into_iter().find(|one| {
                one.record.version == kernel.record.version && one.architecture == kernel.architecture
            });
            let Some(same) = same else {
                let (kernel, version) = (&kernel.record.name, &kernel.record.version);
                return Err(Error::Unknown(format!(
                    "{kernel} {version} is there, but no {name} of that version"
                )));
            };
            all.push(choice(same));
        }
    }
    all.push(choice(kernel));
    all.sort_by(|a, b| a.record.name.cmp(&b.record.name));
    Ok(all)
}

fn choice(candidate: Candidate) -> Choice {
    Choice { record: candidate.record, repository: candidate.origin.repository }
}

fn is_pinned(candidate: &Candidate, pins: &[Pin]) -> bool {
    let record = &candidate.record;
    pins.iter().any(|pin| {
        pin.name == record.name
            && pin.version == record.version.to_string()
            && pin.architecture
                == record.architecture.as_ref().map_or("all", |architecture| architecture.as_str())
    })
}
