//! Supply: what a recipe asks of repositories and registries is resolved, written down in the lock, and fetched into the store.
//!
//! [`resolve::obtain`] comes before the plan, [`fetch::provide`] hands it the files. Everything that depends on the machine —
//! its mirror, its keyring, its clock, its network — is in [`Supplies`], which the command line fills.

mod asked;
pub mod fetch;
pub mod images;
mod local;
pub mod lock;
mod mirror;
mod repositories;
pub mod resolve;

use std::path::{Path, PathBuf};

use graven_sources::debian::AptSource;
use graven_sources::network::{Network, Watch};
use graven_sources::oci::Credentials;
use graven_sources::store::Store;

use crate::error::{Error, Result};

/// What this machine gives.
pub struct Supplies<'a> {
    /// Where fetched files lie.
    pub store: Store,
    /// The way to others; none, and only what the lock and the store have can be used.
    pub network: Option<Network>,
    /// Where Debian's packages come from here, and whose signature is on them.
    pub host: Host,
    /// Who asks registries.
    pub credentials: Credentials,
    /// Seconds since 1970, for the expiry of indexes and keys; no image depends on it.
    pub now: i64,
    /// Who sees downloads.
    pub watch: &'a dyn Watch,
    /// Who hears which mirror is used, and what the lock changed.
    pub say: &'a (dyn Fn(&str) + Sync),
}

/// Debian, as this machine knows it.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// `GRAVEN_DEBIAN_MIRROR`.
    pub mirror: Option<String>,
    /// What apt reads from, where this machine is a Debian one.
    pub apt: Vec<AptSource>,
    /// Debian's keyring, where it is installed.
    pub keyring: Option<PathBuf>,
}

impl Supplies<'_> {
    fn network(&self, for_what: &str) -> Result<&Network> {
        self.network.as_ref().ok_or_else(|| {
            Error::Offline(format!("{for_what}, and --offline forbids the network: run it once without"))
        })
    }
}

/// A recipe's path as errors and commands name it.
fn shown(recipe: &Path) -> String {
    recipe.display().to_string()
}
