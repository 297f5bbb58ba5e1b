//! One suite on one mirror, from its signature down to its indexes.

use std::io::Read;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::Stream;
use rayon::prelude::*;

use super::release::Listed;
use super::{Architecture, Error, Index, Keyring, Release};
use crate::Sha256;
use crate::network::{Meter, Network, NetworkProblem, Watch, digest};
use crate::store::Store;

/// Largest `InRelease` that is read: Debian's have 60 to 250 kilobytes.
const LARGEST_RELEASE: u64 = 16 << 20;
/// Largest index, unpacked.
const LARGEST_UNPACKED: u64 = 1 << 30;
/// Memory for xz: its largest preset needs 65 MiB.
const XZ_MEMORY: u64 = 128 << 20;
/// Clocks differ.
const TOLERANCE: i64 = 24 * 3600;

/// Where a suite is, and who signs it.
#[derive(Debug)]
pub struct Repository {
    /// The mirror's address, without a slash at the end.
    pub url: String,
    /// The suite: the folder below `dists/`.
    pub suite: String,
    /// Its components that are wanted.
    pub components: Vec<String>,
    /// Who may sign it.
    pub keyring: Keyring,
}

/// A suite whose signature was seen to be good.
#[derive(Debug)]
pub struct Opened {
    repository: Repository,
    /// What was signed.
    pub release: Release,
    /// What `InRelease` hashes to.
    pub in_release: Sha256,
    /// Fingerprint of the key that signed it.
    pub signed_by: String,
}

impl Repository {
    /// Fetches `InRelease` and checks it. `now` is in seconds since 1970, `seen` the date of the one that was seen last.
    ///
    /// # Errors
    /// A server that does not answer, a signature that is missing or bad, an index that is expired or older than the last.
    pub fn open(self, network: &Network, now: i64, seen: Option<i64>) -> Result<Opened, Error> {
        let url = format!("{}/dists/{}/InRelease", self.url, self.suite);
        let message = network.document(&url, LARGEST_RELEASE).map_err(|error| match error.problem {
            NetworkProblem::Missing => {
                Error::NoSuite { url: url.clone(), mirror: self.url.clone(), suite: self.suite.clone() }
            }
            _ => error.into(),
        })?;
        let untrusted = |problem| Error::Signature { url: url.clone(), problem };
        let signed = self.keyring.open(&message, now).map_err(untrusted)?;
        let damaged = |problem| Error::Damaged { url: url.clone(), problem };
        let release = Release::parse(&signed.text).map_err(damaged)?;
        if !release.is(&self.suite) {
            let names: Vec<&str> =
                release.suite.iter().chain(&release.codename).map(String::as_str).collect();
            return Err(damaged(format!(
                "it is the suite {}, `{}` was asked for",
                names.join(" or "),
                self.suite
            )));
        }
        if release.date > now.saturating_add(TOLERANCE) {
            return Err(Error::NotYet { url, date: release.date, now });
        }
        if let Some(until) = release.valid_until.filter(|until| *until < now) {
            return Err(Error::Expired { url, until, now });
        }
        if let Some(seen) = seen.filter(|seen| release.date < *seen) {
            return Err(Error::RolledBack { url, date: release.date, seen });
        }
        for component in &self.components {
            if !release.components.is_empty() && !release.components.contains(component) {
                let has = release.components.join(", ");
                return Err(Error::Unknown(format!("{url} has no component `{component}`; it has {has}")));
            }
        }
        Ok(Opened { repository: self, release, in_release: digest(&message), signed_by: signed.by })
    }
}

impl Opened {
    /// SHA-256 of the keyring that its signature was held against.
    #[must_use]
    pub fn keyring(&self) -> Sha256 {
        self.repository.keyring.sha256()
    }

    /// Fetches the indexes of an architecture, those of `all` with it where the suite keeps them apart. None where the
    /// suite is not for this architecture.
    ///
    /// # Errors
    /// Indexes that do not come, or not as the suite says.
    pub fn indexes(
        &self,
        architecture: &Architecture,
        network: &Network,
        store: &Store,
        watch: &dyn Watch,
    ) -> Result<Vec<Index>, Error> {
        let architectures = match self.release.all_is_everywhere {
            true => vec![architecture.as_str()],
            false => vec![architecture.as_str(), "all"],
        };
        let components = self.repository.components.iter();
        let wanted: Vec<(String, Listed)> = components
            .flat_map(|component| architectures.iter().filter_map(|name| self.release.index(component, name)))
            .collect();
        wanted
            .into_par_iter()
            .map(|(path, listed)| self.index(&path, listed, network, store, watch))
            .collect()
    }

    fn index(
        &self,
        path: &str,
        listed: Listed,
        network: &Network,
        store: &Store,
        watch: &dyn Watch,
    ) -> Result<Index, Error> {
        let suite = format!("{}/dists/{}", self.repository.url, self.repository.suite);
        let plain = format!("{suite}/{path}");
        let damaged = |problem| Error::Damaged { url: plain.clone(), problem };
        // Unpacked once: xz takes ten times as long as all the rest.
        let unpacked = self.release.unpacked(path).map(|listed| listed.sha256);
        if let Some(sha256) = &unpacked {
            let kept = store.read(sha256);
            let kept = kept.map_err(|source| Error::Io { path: store.path(sha256), source })?;
            if let Some(bytes) = kept {
                return Index::parse(bytes).map_err(damaged);
            }
        }
        // By its digest it stays there while the mirror is updated.
        let url = match (self.release.by_hash, path.rsplit_once('/')) {
            (true, Some((folder, _))) => format!("{suite}/{folder}/by-hash/SHA256/{}", listed.sha256),
            _ => plain.clone(),
        };
        let meter = watch.begin(&format!("{} {path}", self.repository.suite), listed.size);
        let fetch = |url: &str| store.fetch(network, url, &listed.sha256, listed.size, &*meter as &dyn Meter);
        let file = match fetch(&url) {
            Err(error) if matches!(error.problem, NetworkProblem::Missing) && url != plain => fetch(&plain),
            answer => answer,
        }?;
        drop(meter);
        let packed = std::fs::read(&file).map_err(|source| Error::Io { path: file.clone(), source })?;
        if digest(&packed) != listed.sha256 {
            return Err(Error::Changed { url, path: PathBuf::from(&file), expected: listed.sha256 });
        }
        let bytes = unpack(path, packed).map_err(damaged)?;
        if let Some(sha256) = &unpacked {
            if digest(&bytes) != *sha256 {
                return Err(damaged(format!("unpacked, its SHA-256 is not {sha256}, as the suite says")));
            }
            store.keep(sha256, &bytes).map_err(|source| Error::Io { path: store.path(sha256), source })?;
        }
        Index::parse(bytes).map_err(damaged)
    }
}

/// Unpacks by the name's ending, up to a limit.
fn unpack(path: &str, packed: Vec<u8>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let limit = LARGEST_UNPACKED.saturating_add(1);
    let read = match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("xz") => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, 0).map_err(|error| error.to_string())?;
            XzDecoder::new_stream(&*packed, stream).take(limit).read_to_end(&mut bytes)
        }
        Some("gz") => GzDecoder::new(&*packed).take(limit).read_to_end(&mut bytes),
        _ => return Ok(packed),
    };
    read.map_err(|error| format!("it cannot be unpacked: {error}"))?;
    if bytes.len() as u64 > LARGEST_UNPACKED {
        return Err(format!("it unpacks to more than {LARGEST_UNPACKED} bytes"));
    }
    Ok(bytes)
}
