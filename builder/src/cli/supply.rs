//! `graven lock` and `graven fetch`; and what this machine gives to whoever needs packages: mirror, keyring, clock, network.
//! Environment, home directory and clock are read here and nowhere below.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use graven::error::Error;
use graven::supply::fetch::provide;
use graven::supply::lock::{Keep, Locked};
use graven::supply::resolve::{Change, number_all, obtain};
use graven::supply::{Host, Supplies};
use graven_recipe::{Profile, Recipe, Selection};
use graven_sources::debian::apt_sources;
use graven_sources::network::{Access, Network, Patience};
use graven_sources::oci::Credentials;
use graven_sources::store::Store;

use super::progress::Downloads;
use super::{Failure, Outcome, Status, print};

/// Where packages come from, and whether the lock may change.
#[derive(Debug, Default, clap::Args)]
pub(super) struct SupplyArguments {
    /// Refuse to change graven.lock: exit with status 2 and say what differs.
    #[arg(long)]
    locked: bool,
    /// Use no network: only what graven.lock names and the store holds.
    #[arg(long)]
    offline: bool,
    /// Folder of fetched packages [default: ~/.cache/graven/store].
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// File of credentials for registries, as `podman login --authfile` writes it [default: REGISTRY_AUTH_FILE's].
    #[arg(long, value_name = "FILE")]
    registry_auth: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples: graven lock recipes/minimal\n          \
    graven lock recipes/minimal --update\n          \
    graven lock recipes/minimal --update openssl --update libssl3t64\n\n\
    GRAVEN_DEBIAN_MIRROR names the mirror of repositories that state no url.")]
pub(crate) struct LockArguments {
    /// The recipe, or the folder that holds recipe.toml.
    recipe: PathBuf,
    /// Move this package on to the newest version, and others only where it needs them to; without a name, everything.
    #[arg(long, value_name = "PACKAGE", num_args = 0..=1)]
    update: Option<Vec<String>>,
    #[command(flatten)]
    supply: SupplyArguments,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: graven fetch recipes/minimal --to store/ && graven build recipes/minimal --offline --store store/"
)]
pub(crate) struct FetchArguments {
    /// The recipe, or the folder that holds recipe.toml.
    recipe: PathBuf,
    /// The store that is to hold every locked package, of all targets and profiles.
    #[arg(long, value_name = "STORE")]
    to: PathBuf,
    /// Refuse to change graven.lock.
    #[arg(long)]
    locked: bool,
    /// File of credentials for registries, as `podman login --authfile` writes it [default: REGISTRY_AUTH_FILE's].
    #[arg(long, value_name = "FILE")]
    registry_auth: Option<PathBuf>,
}

impl SupplyArguments {
    /// Of a lock that stays as it is.
    pub(super) fn frozen(offline: bool, store: Option<PathBuf>) -> Self {
        Self { locked: true, offline, store, registry_auth: None }
    }

    /// What may become of the lock.
    fn change(&self) -> Change {
        if self.locked { Change::Nothing } else { Change::Demanded }
    }

    /// The lock that a recipe is built by.
    pub(super) fn lock(&self, path: &Path, wanted: &Recipe, keep: Keep) -> Result<Locked, Failure> {
        self.with(|supplies| obtain(path, Some(wanted), &self.change(), keep, supplies))
    }

    /// Whether the network is left alone.
    pub(super) fn offline(&self) -> bool {
        self.offline
    }

    /// The folder of fetched packages.
    pub(super) fn store(&self) -> Result<PathBuf, Failure> {
        self.store.clone().map_or_else(default_store, Ok)
    }

    /// Who asks registries; nobody where none can be asked.
    fn credentials(&self) -> Result<Credentials, Failure> {
        let named =
            || std::env::var_os("REGISTRY_AUTH_FILE").filter(|name| !name.is_empty()).map(PathBuf::from);
        let Some(path) = self.registry_auth.clone().or_else(named).filter(|_| !self.offline) else {
            return Ok(Credentials::default());
        };
        let text = std::fs::read(&path)
            .map_err(|error| Status::Environment.because()(anyhow!("{}: {error}", path.display())))?;
        Credentials::parse(&text)
            .map_err(|error| Status::Usage.because()(anyhow!("{}: {error}", path.display())))
    }

    /// Does something with what this machine gives.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Supplies<'_>) -> Result<T, Error>) -> Result<T, Failure> {
        let downloads = Downloads::new();
        let say = |line: &str| downloads.say(line);
        let network = match self.offline {
            true => None,
            false => Some(
                Network::new(&access()).map_err(|problem| Status::Environment.because()(anyhow!(problem)))?,
            ),
        };
        let supplies = Supplies {
            store: Store::new(&self.store()?),
            network,
            host: host(),
            credentials: self.credentials()?,
            now: now()?,
            watch: &downloads,
            say: &say,
        };
        Ok(work(&supplies)?)
    }
}

pub(crate) fn lock(arguments: &LockArguments) -> Outcome {
    let change = match &arguments.update {
        None if arguments.supply.locked => Change::Nothing,
        None => Change::Demanded,
        Some(_) if arguments.supply.locked => {
            return Err(Status::Usage.because()(anyhow!(
                "--update changes the lock, --locked forbids it: leave one out"
            )));
        }
        Some(names) if names.is_empty() => Change::Everything,
        Some(names) => Change::Packages(names.clone()),
    };
    arguments.supply.with(|supplies| {
        // Asked for by name, it is written whether the recipe needs one or not.
        let change = match change {
            Change::Demanded if !graven_recipe::lock::Lock::path_for(&arguments.recipe).exists() => {
                Change::Everything
            }
            change => change,
        };
        let mut locked = obtain(&arguments.recipe, None, &change, Keep::OnDisk, supplies)?;
        if change == Change::Nothing {
            return Ok(());
        }
        number_all(&arguments.recipe, &mut locked, &std::env::temp_dir(), supplies)
    })?;
    Ok(Status::Good)
}

pub(crate) fn fetch(arguments: &FetchArguments) -> Outcome {
    let supply = SupplyArguments {
        locked: arguments.locked,
        offline: false,
        store: Some(arguments.to.clone()),
        registry_auth: arguments.registry_auth.clone(),
    };
    let mut count = std::collections::BTreeSet::new();
    let mut images = std::collections::BTreeSet::new();
    supply.with(|supplies| {
        let mut locked = obtain(&arguments.recipe, None, &supply.change(), Keep::OnDisk, supplies)?;
        for target in Recipe::targets_of(&arguments.recipe)? {
            for profile in Profile::ALL {
                let selection =
                    Selection { target: Some(target.clone()), profile: *profile, sets: Vec::new() };
                let recipe = Recipe::load(&arguments.recipe, &selection)?.recipe;
                let provided = provide(&recipe, &locked, supplies)?;
                images.extend(provided.images.iter().map(|one| one.manifest.sha256));
                count.extend(
                    provided.root.iter().chain(&provided.kernel).chain(&provided.stub).map(|one| one.sha256),
                );
            }
        }
        number_all(&arguments.recipe, &mut locked, &std::env::temp_dir(), supplies)
    })?;
    let images = match images.len() {
        0 => String::new(),
        count => format!(" and {count} images"),
    };
    print(&format!("{} packages{images} are in {}\n", count.len(), arguments.to.display()))?;
    Ok(Status::Good)
}

/// Seconds since 1970, for the expiry of indexes, keys and certificates.
pub(super) fn now() -> Result<i64, Failure> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since.ok().and_then(|since| i64::try_from(since.as_secs()).ok());
    seconds.ok_or_else(|| {
        Status::Environment.because()(anyhow!("this machine's clock stands before 1970: set it"))
    })
}

/// `$XDG_CACHE_HOME/graven/store`, or `~/.cache/graven/store`.
fn default_store() -> Result<PathBuf, Failure> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    cache.map(|cache| cache.join("graven").join("store")).ok_or_else(|| {
        Status::Usage.because()(anyhow!(
            "neither XDG_CACHE_HOME nor HOME is set: say where to keep packages with --store DIR"
        ))
    })
}

/// Debian, as this machine knows it.
fn host() -> Host {
    let keyrings =
        ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];
    let mut apt = Vec::new();
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut parts: Vec<PathBuf> = parts.map(|entry| entry.path()).collect();
    parts.sort();
    files.extend(
        parts
            .into_iter()
            .filter(|path| path.extension().is_some_and(|end| end == "list" || end == "sources")),
    );
    for file in files {
        if let Ok(text) = std::fs::read_to_string(&file) {
            apt.extend(apt_sources(&file.to_string_lossy(), &text));
        }
    }
    Host {
        mirror: std::env::var("GRAVEN_DEBIAN_MIRROR").ok().filter(|url| !url.is_empty()),
        apt,
        keyring: keyrings.into_iter().map(PathBuf::from).find(|path| path.exists()),
    }
}

/// How this machine reaches others: the proxy of the environment, the authorities of the system.
fn access() -> Access {
    let word = |names: &[&str]| {
        names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    };
    let bundles =
        ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
    let bundle = word(&["SSL_CERT_FILE"]).map(PathBuf::from);
    let bundle = bundle.into_iter().chain(bundles.into_iter().map(PathBuf::from)).find(|path| path.exists());
    Access {
        authorities: bundle.and_then(|path| std::fs::read(path).ok()),
        proxy: word(&["https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"]),
        no_proxy: word(&["no_proxy", "NO_PROXY"]),
        patience: Patience::default(),
    }
}
