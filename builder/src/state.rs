//! The state: its file system as it is before a first boot, and what the root needs to live with it.

use std::path::Path;

use graven_boot::x509::PublicKey;
use graven_handoff::sparse;
use graven_image::gpt;
use graven_image::tree::{Content, Inode, Kind, Metadata, Tree, TreePath};
use graven_recipe::{LocalPath, Recipe, State, StateSize};
use graven_verify::manifest::Input;
use uuid::{Uuid, uuid};

use crate::error::{Error, Result};
use crate::identity;
use crate::signers::read_chain;
use crate::tools::{MKE2FS, Tools, mke2fs_configuration};

/// GPT type of the partition: of the Discoverable Partitions the one that nothing mounts by itself.
pub(crate) const PARTITION_TYPE: Uuid = uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");
/// What is written to the partition as it is shipped.
pub(crate) use graven_handoff::sparse::blank;

/// Bytes of a state that grows, in the image; and of the file system that is grown to whatever the partition has.
const SMALLEST_GROWN: u64 = 64 << 20;
/// Bytes that the file system can be grown to before its block group descriptors have to be moved: 2 TiB.
const GROWS_TO: u64 = 2 << 40;
const MIB: u64 = 1 << 20;
const BLOCK: u64 = sparse::BLOCK as u64;

/// Where it is made by stage0 on the first boot.
const MACHINE_ID: &str = "/etc/machine-id";
/// Where SSH's host keys lie, so that `/etc/ssh` itself need not be writable.
const HOST_KEYS: &str = "/etc/ssh/hostkeys";

/// Bytes of the state's partition in the image.
pub(crate) fn partition_bytes(state: &State) -> u64 {
    match state.size {
        StateSize::Grow => SMALLEST_GROWN,
        StateSize::Fixed(bytes) => bytes,
    }
}

/// The partition's name for good: not the version's, since updates keep it.
pub(crate) fn partition_uuid(recipe: &Recipe) -> Uuid {
    identity::uuid("state", &[&recipe.name, &recipe.target.name])
}

/// The file system that stage0 writes on a first boot, and the tool that made it.
///
/// # Errors
/// Where `mke2fs` is missing or fails.
pub(crate) fn pattern(
    recipe: &Recipe,
    state: &State,
    source_date: i64,
    tools: &Tools,
    spool: &Path,
) -> Result<(Vec<u8>, Input)> {
    let failed = |error| Error::io(spool, error);
    let folder = tempfile::tempdir_in(spool).map_err(failed)?;
    let image = folder.path().join("state.ext4");
    let bytes = partition_bytes(state).min(SMALLEST_GROWN);
    let file = std::fs::File::create(&image).map_err(failed)?;
    file.set_len(bytes).map_err(failed)?;

    let named = [recipe.name.as_str(), &recipe.target.name];
    let (id, hash_seed) = (identity::uuid("state-ext4", &named), identity::uuid("state-hash-seed", &named));
    let journal = if bytes < SMALLEST_GROWN { 4 } else { 16 };
    let extended = format!(
        "hash_seed={hash_seed},resize={},lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0",
        GROWS_TO / BLOCK
    );
    // metadata_csum_seed: stage0 gives each machine's a UUID of its own without touching any other checksum.
    let mut features = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,\
                    huge_file,dir_nlink,extra_isize,metadata_csum,metadata_csum_seed"
        .to_owned();
    if !state.exec.is_empty() {
        // fs-verity, by which a policy knows the programs on it.
        features += ",verity";
    }
    let mut command = tools.command(MKE2FS);
    command.env("MKE2FS_CONFIG", mke2fs_configuration(folder.path())?);
    command.env("E2FSPROGS_FAKE_TIME", source_date.max(1).to_string());
    command.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "16384", "-m", "0"]);
    command.args(["-e", "remount-ro", "-L", "state", "-U", &id.to_string(), "-O", &features]);
    command.args(["-J", &format!("size={journal}"), "-E", &extended]).arg(&image);
    command.arg((bytes / BLOCK).to_string());
    let output = command.output().map_err(|error| MKE2FS.failed(&error))?;
    if !output.status.success() {
        return Err(MKE2FS.said(&output));
    }
    let mut made = std::fs::read(&image).map_err(failed)?;
    take_out_own_machine(&mut made);

    Ok((sparse::encode(&made), tools.input(MKE2FS)?))
}

/// `mke2fs` notes whether letters have a sign on the machine that it runs on, which differs between architectures and is
/// all that differs: one note for all. The superblock's checksum is left to stage0, which gives the file system its UUID.
fn take_out_own_machine(image: &mut [u8]) {
    const SUPERBLOCK: usize = 1024;
    let mut put = |offset: usize, value: u32| {
        let field = image.get_mut(SUPERBLOCK + offset..).and_then(<[u8]>::first_chunk_mut);
        if let Some(field) = field {
            *field = value.to_le_bytes();
        }
    };
    const FLAGS: usize = 0x160;
    const SIGNED_DIRECTORY_HASH: u32 = 1;
    put(FLAGS, SIGNED_DIRECTORY_HASH);
    const CHECKSUM: usize = 0x3fc;
    put(CHECKSUM, 0);
}

/// The certificate that the recipe names, the only one that a seed is held against.
pub(crate) fn seed_certificate(file: &LocalPath) -> Result<Vec<u8>> {
    let (certificate, _) = read_chain(&file.path)?;
    match certificate.public_key() {
        PublicKey::Rsa { .. } => Ok(certificate.der().to_vec()),
        other => Err(Error::Limit(format!(
            "{}: {}: seeds are signed with RSA, this certificate's key is {other}",
            file.place,
            file.path.display()
        ))),
    }
}

/// Makes every persisted path in the root, and the root fit for it.
///
/// # Errors
/// A path that leads through a symbolic link, is neither file nor folder, or holds what stage0 does not copy.
pub(crate) fn prepare(tree: &mut Tree, recipe: &Recipe, source_date: i64) -> Result<()> {
    let Some(state) = &recipe.state else { return Ok(()) };
    let own = |mode| Metadata { mode, mtime: source_date, ..Metadata::default() };
    let (mut room, limit) = (0, partition_bytes(state).min(SMALLEST_GROWN) / 4);
    for persisted in &state.persist {
        let stop = |what: String| {
            let (place, path) = (&persisted.place, &persisted.value);
            Err(Error::Limit(format!("{place}: `{path}` cannot be persisted: {what}")))
        };
        let path = TreePath::parse(persisted.value.as_bytes())?;
        let mut above = TreePath::root();
        for component in path.components() {
            above = above.join(component)?;
            if let Ok(id) = tree.lookup(&above)
                && let Kind::Symlink(target) = &tree.inode(id).kind
            {
                let target = String::from_utf8_lossy(target);
                return stop(format!("`{above}` is a symbolic link to {target}; name the path behind it"));
            }
        }
        if tree.lookup(&path).is_err() {
            if let Some(parent) = path.parent() {
                tree.make_directories(&parent, &own(0o755))?;
            }
            let inode = match persisted.value.as_str() {
                MACHINE_ID => Inode::new(own(0o444), Kind::File(Content::from_bytes(Vec::new()))),
                HOST_KEYS => Inode::new(own(0o700), Kind::directory()),
                _ => Inode::new(own(0o755), Kind::directory()),
            };
            tree.insert(&path, inode)?;
        }
        let id = tree.lookup(&path)?;
        match &tree.inode(id).kind {
            Kind::File(_) => {}
            Kind::Directory(_) if persisted.value != MACHINE_ID => {}
            other => return stop(format!("in the image it is a {}", other.noun())),
        }
        if let Err(what) = copied(tree, &path, &mut room) {
            return stop(what);
        }
        if room > limit {
            return stop(format!(
                "with it, the image has more than {limit} bytes to fill the state with at first"
            ));
        }
    }
    systemd(tree, state, source_date)
}

/// Adds up what stage0 copies from `path`, each inode a block at least.
fn copied(tree: &Tree, path: &TreePath, room: &mut u64) -> std::result::Result<(), String> {
    let failed = |error: graven_image::tree::Error| error.to_string();
    let inode = tree.inode(tree.lookup(path).map_err(failed)?);
    if !inode.metadata.xattrs.is_empty() {
        return Err(format!("`{path}` has extended attributes, which are not copied"));
    }
    let blocks = |bytes: u64| bytes.div_ceil(BLOCK).max(1) * BLOCK;
    match &inode.kind {
        Kind::File(content) => *room += blocks(content.len),
        Kind::Symlink(_) => *room += BLOCK,
        Kind::Directory(children) => {
            *room += BLOCK;
            for name in children.keys() {
                copied(tree, &path.join(name).map_err(failed)?, room)?;
            }
        }
        other => return Err(format!("`{path}` in it is a {}, which is not copied", other.noun())),
    }
    Ok(())
}

/// What systemd has to know: where its journal goes, the earliest time, that nothing is mounted but by stage0, and who makes
/// SSH's host keys.
fn systemd(tree: &mut Tree, state: &State, source_date: i64) -> Result<()> {
    if !has(tree, "/usr/lib/systemd/systemd")? {
        return Ok(());
    }
    put(tree, "/usr/lib/clock-epoch", String::new(), source_date)?;
    link(tree, "/etc/systemd/system-generators/systemd-gpt-auto-generator", "/dev/null", source_date)?;
    let persisted = |path: &str| state.persist.iter().any(|persisted| persisted.value == path);
    if has(tree, "/usr/lib/systemd/systemd-journald")? {
        let journal = match (persisted("/var/log") || persisted("/var/log/journal"), state.size) {
            (false, _) => "Storage=volatile\nRuntimeMaxUse=16M\n".to_owned(),
            // Its own limit is a tenth of the file system.
            (true, StateSize::Grow) => "Storage=persistent\nRuntimeMaxUse=16M\n".to_owned(),
            (true, StateSize::Fixed(bytes)) => {
                format!("Storage=persistent\nSystemMaxUse={}M\nRuntimeMaxUse=16M\n", (bytes / 8 / MIB).max(4))
            }
        };
        let path = "/usr/lib/systemd/journald.conf.d/10-graven.conf";
        put(tree, path, format!("[Journal]\n{journal}"), source_date)?;
        if journal.starts_with("Storage=persistent") {
            // systemd stops what needs a mount only where a unit file makes it; stage0 made this one. journald has to leave
            // the disk before it is unmounted.
            let path = "/usr/lib/systemd/system/systemd-journal-flush.service.d/10-graven.conf";
            let stopped = "[Unit]\nConflicts=shutdown.target\nBefore=shutdown.target\n";
            put(tree, path, stopped.to_owned(), source_date)?;
        }
    }
    if persisted(HOST_KEYS) && has(tree, "/usr/sbin/sshd")? {
        host_keys(tree, source_date)?;
    }
    Ok(())
}

/// A key for this machine, made before the server starts; whole or not there, wherever the power is cut.
fn host_keys(tree: &mut Tree, source_date: i64) -> Result<()> {
    const KEY: &str = "/etc/ssh/hostkeys/ssh_host_ed25519_key";
    for program in ["/usr/bin/ssh-keygen", "/usr/bin/mv", "/usr/bin/rm", "/usr/bin/sync"] {
        if !has(tree, program)? {
            return Err(Error::Limit(format!(
                "{HOST_KEYS} is persisted and the image has an SSH server, but no {program} to make its host key with"
            )));
        }
    }
    let config = read(tree, "/etc/ssh/sshd_config")?;
    let includes = config.lines().map(str::trim).any(|line| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| word.eq_ignore_ascii_case("include"))
            && words.any(|path| path.starts_with("/etc/ssh/sshd_config.d/"))
    });
    if !includes {
        return Err(Error::Limit(
            "/etc/ssh/sshd_config does not include /etc/ssh/sshd_config.d/*.conf: write `Include \
             /etc/ssh/sshd_config.d/*.conf` into it, so that the server finds the host key in the state"
                .into(),
        ));
    }
    put(tree, "/etc/ssh/sshd_config.d/00-graven-hostkeys.conf", format!("HostKey {KEY}\n"), source_date)?;
    let unit = format!(
        "[Unit]\n\
         Description=SSH host key of this machine\n\
         ConditionFileNotEmpty=!{KEY}\n\
         Before=ssh.service sshd.service ssh.socket\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart=/usr/bin/rm -f {HOST_KEYS}/new {HOST_KEYS}/new.pub\n\
         ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N '' -C '' -f {HOST_KEYS}/new\n\
         ExecStart=/usr/bin/mv -f {HOST_KEYS}/new.pub {KEY}.pub\n\
         ExecStart=/usr/bin/sync {HOST_KEYS}/new {KEY}.pub\n\
         ExecStart=/usr/bin/mv -f {HOST_KEYS}/new {KEY}\n\
         ExecStart=/usr/bin/sync {HOST_KEYS}\n"
    );
    const UNIT: &str = "graven-ssh-host-keys.service";
    put(tree, &format!("/usr/lib/systemd/system/{UNIT}"), unit, source_date)?;
    for wanted_by in ["ssh.service", "ssh.socket"] {
        let path = format!("/usr/lib/systemd/system/{wanted_by}.wants/{UNIT}");
        link(tree, &path, &format!("../{UNIT}"), source_date)?;
    }
    Ok(())
}

fn has(tree: &Tree, path: &str) -> Result<bool> {
    Ok(tree.resolve(&TreePath::parse(path.as_bytes())?).is_ok())
}

fn read(tree: &Tree, path: &str) -> Result<String> {
    const MOST: u64 = 1 << 20;
    let path = TreePath::parse(path.as_bytes())?;
    Ok(String::from_utf8_lossy(&tree.read(&path, MOST)?).into_owned())
}

/// A file of ours, unless the recipe has put one there.
fn put(tree: &mut Tree, path: &str, text: String, mtime: i64) -> Result<()> {
    let path = TreePath::parse(path.as_bytes())?;
    if tree.lookup(&path).is_err() {
        let metadata = Metadata { mode: 0o644, mtime, ..Metadata::default() };
        tree.write_file(&path, text, metadata, Some("state".into()))?;
    }
    Ok(())
}

fn link(tree: &mut Tree, path: &str, target: &str, mtime: i64) -> Result<()> {
    let path = TreePath::parse(path.as_bytes())?;
    if tree.lookup(&path).is_ok() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        tree.make_directories(&parent, &Metadata { mode: 0o755, mtime, ..Metadata::default() })?;
    }
    let metadata = Metadata { mode: 0o777, mtime, ..Metadata::default() };
    let kind = Kind::Symlink(target.as_bytes().into());
    tree.insert(&path, Inode { origin: Some("state".into()), ..Inode::new(metadata, kind) })?;
    Ok(())
}

const _: () = assert!(SMALLEST_GROWN.is_multiple_of(gpt::ALIGNMENT));
