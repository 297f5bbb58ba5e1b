//! Which mirror: the recipe's word, then the environment's, then apt's on a Debian machine.

use graven_recipe::Repository;

use super::Host;
use crate::error::{Error, Result};

/// The mirror of a repository, and who said so.
pub(super) fn of(repository: &Repository, host: &Host) -> Result<(String, &'static str)> {
    if let Some(url) = &repository.url {
        return Ok((url.clone(), "the recipe"));
    }
    let security = repository.suite.ends_with("-security");
    if let Some(mirror) = &host.mirror {
        let mirror = mirror.trim_end_matches('/');
        let beside = mirror.strip_suffix("/debian").filter(|_| security);
        let url = beside.map_or_else(|| mirror.to_owned(), |top| format!("{top}/debian-security"));
        return Ok((url, "GRAVEN_DEBIAN_MIRROR"));
    }
    let fits = |url: &&String, suites: &[String]| {
        let is_security =
            url.ends_with("/debian-security") || suites.iter().any(|suite| suite.ends_with("-security"));
        (url.ends_with("/debian") || url.ends_with("/debian-security")) && is_security == security
    };
    let apts = host.apt.iter().find_map(|source| source.urls.iter().find(|url| fits(url, &source.suites)));
    apts.map(|url| (url.clone(), "this machine's apt")).ok_or_else(|| {
        Error::Limit(format!(
            "{}: no mirror for the suite `{}`: say url = \"https://MIRROR/debian\" there, or set \
             GRAVEN_DEBIAN_MIRROR to one",
            repository.place, repository.suite
        ))
    })
}

/// A repository's name in the lock: its suite, and its address where the recipe states one.
pub(super) fn name(repository: &Repository) -> String {
    match &repository.url {
        None => repository.suite.clone(),
        Some(url) => format!("{} {url}", repository.suite),
    }
}

/// All that a recipe says of a repository, in one line.
pub(super) fn describe(repository: &Repository) -> String {
    let mut text = format!("{} {}", name(repository), repository.components.join(" "));
    if let Some(priority) = repository.priority {
        text.push_str(&format!(" priority={priority}"));
    }
    if !repository.architectures.is_empty() {
        text.push_str(&format!(" architectures={}", repository.architectures.join(",")));
    }
    text
}
