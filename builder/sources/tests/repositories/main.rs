//! Repositories and the servers that they lie on: sound ones give what they promise, hostile ones nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail here")]

mod archive;
mod downloads;
mod server;
mod signatures;
mod solver;

use std::path::Path;
use std::time::Duration;

use graven_sources::debian::{Architecture, Error, Keyring, Opened, Origin, Repository, Universe};
use graven_sources::network::{Access, Network, Patience, Unwatched};
use graven_sources::store::Store;

use archive::{NOW, Signer, Suite};
use server::Server;

/// A network that loses patience soon.
fn network() -> Network {
    let patience = Patience {
        connect: Duration::from_secs(5),
        silence: Duration::from_millis(400),
        slowest: 10_000,
        tries: 2,
        pause: Duration::from_millis(10),
    };
    Network::new(&Access { patience, ..Access::default() }).unwrap()
}

/// What a store holds, by name.
fn kept(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => open.push(entry.path()),
                false => names.push(entry.file_name().into_string().unwrap()),
            }
        }
    }
    names
}

/// A server with an archive and who checks it.
struct Bench {
    server: Server,
    signer: Signer,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench =
            Self { server: Server::start(), signer: Signer::new(1), folder: tempfile::tempdir().unwrap() };
        std::fs::write(bench.folder.path().join("keyring"), bench.signer.keyring()).unwrap();
        bench
    }

    fn store(&self) -> Store {
        Store::new(&self.folder.path().join("store"))
    }

    fn open_at(&self, now: i64, seen: Option<i64>) -> Result<Opened, Error> {
        let repository = Repository {
            url: self.server.url(),
            suite: "one".to_owned(),
            components: vec!["main".to_owned()],
            keyring: Keyring::read(&self.folder.path().join("keyring")).unwrap(),
        };
        repository.open(&network(), now, seen)
    }

    /// All packages of the archive, its signature and its indexes checked.
    fn universe(&self) -> Result<Universe, Error> {
        let amd64 = Architecture::parse("amd64").unwrap();
        let opened = self.open_at(NOW, None)?;
        let mut universe = Universe::new(amd64.clone());
        let origin = Origin { repository: 0, suite: "one".to_owned(), priority: opened.release.priority };
        for index in opened.indexes(&amd64, &network(), &self.store(), &Unwatched)? {
            universe.add(origin.clone(), amd64.clone(), index);
        }
        Ok(universe)
    }
}

/// An archive with this `Packages`, published.
fn published(packages: &str) -> (Bench, Suite) {
    let bench = Bench::new();
    let suite = Suite::new(packages);
    suite.publish(&bench.server, &bench.signer);
    (bench, suite)
}
