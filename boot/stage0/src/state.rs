//! Step 6: the state, the one place that outlives a boot.
//!
//! Its partition is written by whoever has the disk in hand, so nothing on it is believed: the superblock must be one
//! that stage0 makes, each entry a file or a folder as the root has it, and no name on it is ever followed.

use std::fs::File;
use std::io;
use std::path::Path;

use graven_handoff::{Binding, Code, IfDamaged, PartUuid, Plan, State, StateSize};
use rustix::fs::syncfs;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::failure::{Failure, OrFail};
use crate::log;
use crate::partitions::{Found, Partition};

mod bind;
mod crc;
mod disk;
mod entries;
mod ext4;
mod gpt;
mod identity;
mod seed;
mod volume;

pub(crate) use bind::bind;

/// Where the state is mounted until its entries are bound. It is never mounted in the root.
const STATE: &str = "/state";
/// Where entries lie that the state has no room for.
const SUBSTITUTE: &str = "/state-substitute";
/// Written when everything else of a first boot is on the disk. Without it, that boot was cut short.
const READY: &str = "/state/ready";

/// All mounts of the state are closed; nothing can open them again for the mounts bound from them.
const CLOSED: MountFlags =
    MountFlags::NOEXEC.union(MountFlags::NOSUID).union(MountFlags::NODEV).union(MountFlags::NOATIME);

/// Mounts the state and sees that every entry is there: from the partition, or a tmpfs in its place.
pub(crate) fn open(plan: &Plan, binding: &Binding, found: &Found) -> Result<(), Failure> {
    let Some(state) = &plan.state else { return Ok(()) };
    make_folder(STATE)?;
    let hash = &binding.root_hash;
    let root = [hash.data_partition(), hash.hash_partition(), plan.root.signature_partition];
    match from_partition(state, &root, found) {
        Ok(()) => Ok(()),
        Err(failure) if state.if_damaged == IfDamaged::Fail || failure.is(Code::Seed) => Err(failure),
        Err(failure) => {
            failure.warn("a tmpfs takes its place: what is written is gone at the next boot");
            rustix::mount::mount("tmpfs", STATE, "tmpfs", CLOSED, c"mode=0755")
                .or_fail(Code::Mount, format_args!("tmpfs on {STATE}"))?;
            entries::make_all(state)
        }
    }
}

/// `root` are the root's partitions: the state's lies on their disk.
fn from_partition(state: &State, root: &[PartUuid], found: &Found) -> Result<(), Failure> {
    let mut partition = found.get(state.partition, "state")?.clone();
    if state.size == StateSize::Grow {
        match disk::grow(&partition, root) {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                log::note(&format!("state: its partition takes the rest of the disk, {bytes} bytes"));
                partition.bytes = bytes;
            }
            Err(problem) => Failure::new(Code::StateGrow, problem).warn("it stays as large as it is"),
        }
    }
    match as_left(&partition, state) {
        Ok(()) => Ok(()),
        Err(Unusable::Blank) => {
            log::note("state: not made yet");
            make(&partition, state)
        }
        Err(Unusable::Stop(failure)) => Err(failure),
        Err(Unusable::Damaged(problem)) => {
            close(STATE);
            let failure = Failure::new(Code::StateDamaged, problem);
            if state.if_damaged != IfDamaged::Reset {
                return Err(failure);
            }
            failure.warn("it is made anew");
            make(&partition, state)
        }
    }
}

/// Why a partition cannot be used as it is.
enum Unusable {
    /// It was never made, or not to the end.
    Blank,
    /// It is not what stage0 left there.
    Damaged(String),
    /// Nothing is wrong with it, but the boot must stop.
    Stop(Failure),
}

impl From<String> for Unusable {
    fn from(problem: String) -> Self {
        Unusable::Damaged(problem)
    }
}

/// Mounts what an earlier boot made.
fn as_left(partition: &Partition, state: &State) -> Result<(), Unusable> {
    let looks = |when: &str| match ext4::look(&partition.head(ext4::HEAD).map_err(shown)?, partition.bytes) {
        ext4::Looks::Good { .. } => Ok(()),
        ext4::Looks::Blank => Err(Unusable::Blank),
        ext4::Looks::Damaged(problem) => Err(Unusable::Damaged(format!("{when}{problem}"))),
    };
    looks("")?;
    volume::mount(partition).map_err(shown)?;
    // The kernel notes in the superblock what it found wrong while it replayed the journal.
    looks("after the journal was replayed: ")?;
    if !Path::new(READY).symlink_metadata().is_ok_and(|ready| ready.is_file()) {
        close(STATE);
        return Err(Unusable::Blank);
    }
    grow_file_system(partition);
    identity::stir(STATE);
    entries::check_all(state)?;
    entries::make_missing(state)?;
    if let Some(seed) = seed::find(state, false).map_err(Unusable::Stop)? {
        seed.apply(state).map_err(Unusable::Stop)?;
    }
    Ok(())
}

/// Makes the file system and everything in it. Until [`READY`] is written, a power cut only has it made again.
fn make(partition: &Partition, state: &State) -> Result<(), Failure> {
    let seed = seed::find(state, true)?;
    volume::write(partition).or_fail(Code::StateFormat, partition.node())?;
    volume::mount(partition).or_fail(Code::StateFormat, partition.node())?;
    grow_file_system(partition);
    let made = entries::make_all(state).and_then(|()| {
        if let Some(seed) = &seed {
            seed.apply(state)?;
        }
        identity::stir(STATE);
        finish().or_fail(Code::StateFormat, READY)
    });
    if made.is_err() {
        close(STATE);
    }
    made
}

/// Everything is on the disk before the file that says so, and that file before anything else happens.
fn finish() -> io::Result<()> {
    let state = File::open(STATE)?;
    syncfs(&state)?;
    File::create_new(READY)?;
    syncfs(&state)?;
    Ok(())
}

/// A file system that cannot be grown is as good as before, and the next boot tries again.
fn grow_file_system(partition: &Partition) {
    if let Err(error) = volume::grow(partition) {
        Failure::new(Code::StateGrow, error).warn("it stays as large as it is");
    }
}

fn make_folder(path: &str) -> Result<(), Failure> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Failure::new(Code::Mount, format!("{path}: {error}")))
        }
        _ => Ok(()),
    }
}

/// Takes a mount of this step away, where it is one.
fn close(path: &str) {
    let _ = rustix::mount::unmount(path, UnmountFlags::DETACH);
}

fn shown(error: impl std::fmt::Display) -> String {
    error.to_string()
}
