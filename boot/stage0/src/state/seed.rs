//! A seed: signed files that a factory gives a machine, from a partition of their name.
//!
//! The kernel checks the signature with the certificate from the signed initramfs, as it checks everything else of the
//! chain. Then every path is held against the plan. A seed that is refused stops the boot before anything is made: the
//! right one is still taken afterwards.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use graven_handoff::seed::{self, Entry, HEADER, Header, Kind};
use graven_handoff::{Code, SeedTime, State, initramfs};
use sha2::{Digest, Sha256};

use super::entries;
use super::identity::{MACHINE_ID, is_machine_id};
use crate::failure::{Failure, OrFail};
use crate::log;
use crate::partitions;
use crate::sys::{self, THREAD_KEYRING};

/// Between two looks for the partition.
const PAUSE: Duration = Duration::from_millis(50);

/// An archive whose signature is good.
pub(super) struct Seed {
    archive: Vec<u8>,
}

/// Looks for a seed, where this boot takes one: a first boot waits for it.
pub(super) fn find(state: &State, first_boot: bool) -> Result<Option<Seed>, Failure> {
    let Some(plan) = state.seed.filter(|seed| first_boot || seed.when == SeedTime::Always) else {
        return Ok(None);
    };
    let wait = if first_boot { plan.wait_seconds } else { 0 };
    let deadline = Instant::now().checked_add(Duration::from_secs(wait.into()));
    loop {
        match partitions::named(seed::PARTITION).or_fail(Code::Seed, "looking for it")?.as_slice() {
            [] if deadline.is_some_and(|deadline| Instant::now() < deadline) => std::thread::sleep(PAUSE),
            [] => return Ok(None),
            [one] => {
                let seed = read(one).and_then(|seed| seed.check(state).map(|()| seed));
                return seed
                    .map(Some)
                    .map_err(|problem| Failure::new(Code::Seed, format!("{one}: {problem}")));
            }
            several => {
                let detail = format!("{} are named {}", several.join(" and "), seed::PARTITION);
                return Err(Failure::new(Code::Seed, detail));
            }
        }
    }
}

fn read(device: &str) -> Result<Seed, String> {
    let failed = |error: std::io::Error| error.to_string();
    let file = File::open(format!("/dev/{device}")).map_err(failed)?;
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0).map_err(failed)?;
    let Header { archive, signature } = Header::parse(&header).ok_or("it does not begin as a seed does")?;
    let (mut archive, mut signature) = (vec![0; archive], vec![0; signature]);
    let behind = HEADER.saturating_add(archive.len()) as u64;
    file.read_exact_at(&mut archive, HEADER as u64).map_err(failed)?;
    file.read_exact_at(&mut signature, behind).map_err(failed)?;

    let digest = Sha256::new_with_prefix(header).chain_update(&archive).finalize();
    let certificate = std::fs::read(initramfs::SEED_CERTIFICATE).map_err(failed)?;
    let key = sys::add_certificate(&certificate, THREAD_KEYRING)
        .map_err(|error| format!("the kernel does not take its certificate: {error}"))?;
    sys::verify(key, &digest, &signature)
        .map_err(|error| format!("its signature is not by the image's certificate: {error}"))?;
    Ok(Seed { archive })
}

impl Seed {
    /// Everything in it is, or lies in, or leads to a persisted path.
    fn check(&self, state: &State) -> Result<(), String> {
        for entry in seed::entries(&self.archive)? {
            let persisted = persisted(state, &entry.path).is_some();
            let above = entry.kind == Kind::Folder
                && state.persist.iter().any(|path| within(path, entry.path.trim_end_matches('/')));
            if !persisted && !above {
                return Err(format!("{} is not persisted", entry.path));
            }
            if let (MACHINE_ID, Kind::File(contents)) = (entry.path.as_str(), entry.kind) {
                if !is_machine_id(contents) {
                    return Err(format!("{MACHINE_ID}: expected 32 hexadecimal digits"));
                }
            }
        }
        Ok(())
    }

    /// Moves its files into the mounted state, whose entries are there.
    pub(super) fn apply(&self, state: &State) -> Result<(), Failure> {
        let entries = seed::entries(&self.archive).or_fail(Code::Seed, "its archive")?;
        let mut count = 0usize;
        for Entry { path, kind, mode, uid, gid } in &entries {
            let Some(persisted) = persisted(state, path) else { continue };
            let below = path.strip_prefix(persisted).unwrap_or_default().trim_start_matches('/');
            entries::put(persisted, below, *kind, *mode, (*uid, *gid)).or_fail(Code::Seed, path)?;
            count = count.saturating_add(1);
        }
        log::note(&format!("state: {count} files and folders of a seed"));
        Ok(())
    }
}

/// The persisted path that a path is, or lies in.
fn persisted<'s>(state: &'s State, path: &str) -> Option<&'s str> {
    state.persist.iter().map(String::as_str).find(|persisted| within(path, persisted))
}

fn within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
