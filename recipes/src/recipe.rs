//! The recipe, decoded: every value in it is possible by itself.

use crate::paths::{FilePattern, LocalPath};
use crate::place::{At, Place};
use crate::words::{
    Compressor, IfDamaged, Metadata, MountContents, MountType, OnFailure, PolicyAction, PolicyMode, PolicyOp,
    Profile, Relaxation, SecureBoot, SeedTime, StateFs, Unenlightened,
};
use graven_targets::{ModuleName, Target};
use std::collections::BTreeMap;

/// A recipe for one target and one profile.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Name of the appliance, and of its IPE policy: 1 to 64 of `A-Z a-z 0-9 . _ -`, and not `.` or `..`.
    pub name: String,
    /// Version of the appliance, and of its IPE policy.
    pub version: Version,
    /// Names of all targets that the recipe is for, each once, in the recipe's order.
    pub targets: Vec<String>,
    /// The one it was read for.
    pub target: Target,
    /// The profile it was read for.
    pub profile: Profile,
    /// The program that stage0 starts.
    pub init: Init,
    /// Seconds since 1970-01-01 00:00:00 UTC for all times in the image, where the recipe says so.
    pub source_date: Option<u64>,
    /// Content of `/etc/hostname`, where the recipe says so.
    pub hostname: Option<String>,
    /// Debian packages of the root.
    pub packages: Packages,
    /// Archives and folders of the root, later over earlier.
    pub sources: Vec<Source>,
    /// Single files of the root, over all else, by absolute path.
    pub files: BTreeMap<String, FileEntry>,
    /// People who log in, by name.
    pub users: BTreeMap<String, User>,
    /// What starts at boot.
    pub services: Services,
    /// Kernel, its modules and its command line.
    pub kernel: Kernel,
    /// What the firmware starts.
    pub boot: Boot,
    /// The firmware itself, where the target's disk carries it.
    pub firmware: Firmware,
    /// The root's file system.
    pub root: Root,
    /// `[root] places-of`: the `files.json` of an earlier image, whose places in the root are kept.
    pub places_of: Option<LocalPath>,
    /// dm-verity.
    pub verity: Verity,
    /// The IPE policy.
    pub policy: Policy,
    /// Finished file systems beside the root, each verified by itself.
    pub volumes: Vec<Volume>,
    /// What stage0 mounts below the root.
    pub mounts: Vec<Mount>,
    /// The one place that outlives a boot.
    pub state: Option<State>,
    /// Who may run scripts.
    pub scripts: Scripts,
    /// What stage0 locks before it starts init.
    pub lockdown: Lockdown,
    /// Layout of the disk.
    pub disk: Disk,
}

/// `MAJOR.MINOR.REVISION`, as IPE's `policy_version` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// First number.
    pub major: u16,
    /// Second number.
    pub minor: u16,
    /// Third number.
    pub revision: u16,
}

/// The program that stage0 starts as process 1.
#[derive(Clone, Debug)]
pub struct Init {
    /// Absolute path in the root.
    pub path: At<String>,
    /// Its arguments after `argv[0]`.
    pub args: Vec<String>,
}

/// Why something is allowed that is not allowed by default. Never empty.
pub type Reason = At<String>;

/// `[packages]`
#[derive(Clone, Debug, Default)]
pub struct Packages {
    /// Packages from the repositories, with all that they need; none of them is in `remove`.
    pub install: Vec<At<PackageRequest>>,
    /// Packages that must not come in, neither by `install` of another layer nor since another needs them.
    pub remove: Vec<At<String>>,
    /// Whether every package that is marked `Essential` comes in.
    pub essential: bool,
    /// Where packages come from, in order.
    pub repositories: Vec<Repository>,
    /// Files of packages; each pattern must match at least one.
    pub local: Vec<FilePattern>,
    /// Packages whose maintainer scripts are passed over, though not all of what they do is known, by package name.
    pub accept_scripts: BTreeMap<String, Reason>,
}

/// A package that is asked for: `name`, `name:architecture`, `name=1.1*`, `name/suite`, and these together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageRequest {
    /// Its name; in [`Kernel`] it may hold `*`.
    pub name: String,
    /// Its architecture, where that is not the target's.
    pub architecture: Option<String>,
    /// What its version must look like; `*` stands for anything.
    pub version: Option<String>,
    /// The suite it must come from.
    pub suite: Option<String>,
}

/// One `[[packages.repo]]`.
#[derive(Clone, Debug)]
pub struct Repository {
    /// Where the recipe states it.
    pub place: Place,
    /// The suite: the folder below `dists/`.
    pub suite: String,
    /// Its address, without a slash at the end; without, it is Debian's and whoever builds names a mirror.
    pub url: Option<String>,
    /// Its components; never empty.
    pub components: Vec<String>,
    /// Who signs it; without, it is Debian.
    pub keyring: Option<LocalPath>,
    /// Its packages' priority in apt's numbers; without, what the suite says of itself.
    pub priority: Option<i32>,
    /// The architectures it is asked for; empty stands for the target's, whichever that is.
    pub architectures: Vec<String>,
}

/// One `[[source]]`.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where the recipe states it.
    pub place: Place,
    /// Archive, folder or container image.
    pub kind: SourceKind,
    /// Folder of the image into which it goes: absolute, without a slash at the end save `/` itself.
    pub at: String,
    /// Where owners, modes and times come from. For a folder `Normalised` unless said, for all else `Keep`.
    pub metadata: Metadata,
}

/// What a [`Source`] is.
#[derive(Clone, Debug)]
pub enum SourceKind {
    /// An archive: tar, plain or compressed with gzip, xz or zstd.
    Tar {
        /// The archive.
        path: LocalPath,
        /// What its bytes must hash to.
        sha256: Option<At<[u8; 32]>>,
    },
    /// A folder of this machine.
    Dir {
        /// The folder.
        path: LocalPath,
    },
    /// A container image of a registry.
    Oci {
        /// Which.
        image: At<ImageReference>,
        /// Whether the registry is spoken to without TLS, where the recipe says so; unsaid, only on this machine.
        plain_http: Option<bool>,
    },
    /// A container image in a layout folder of this machine.
    OciLayout {
        /// The folder.
        path: LocalPath,
        /// Which image of it.
        image: ImageChoice,
    },
    /// A container image in an archive of such a folder.
    OciArchive {
        /// The archive.
        path: LocalPath,
        /// What its bytes must hash to.
        sha256: Option<At<[u8; 32]>>,
        /// Which image of it.
        image: ImageChoice,
    },
}

/// An image of a registry: `registry/repository:tag`, `registry/repository@sha256:…`, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReference {
    /// As written, which is what locks, manifests and errors call it.
    pub text: String,
    /// Host, and port where one is said.
    pub registry: String,
    /// All between the registry and the tag.
    pub repository: String,
    /// The tag; one is there where no digest is.
    pub tag: Option<String>,
    /// SHA-256 of its index or manifest, which goes before the tag.
    pub digest: Option<[u8; 32]>,
}

/// Which image of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageChoice {
    /// The only one there is.
    Only,
    /// The one of this name (`org.opencontainers.image.ref.name`).
    Named(String),
    /// The index or manifest of this SHA-256.
    Digest([u8; 32]),
}

/// One entry of `[files]`.
#[derive(Clone, Debug)]
pub struct FileEntry {
    /// Where the recipe states it.
    pub place: Place,
    /// What it is.
    pub content: Content,
    /// Permission bits. Without: 0755 for a folder; for a file 0755 where the source is executable by its owner,
    /// else 0644. Never present on a symbolic link.
    pub mode: Option<u16>,
    /// Numbers of owner and group, 0:0 unless said.
    pub owner: Owner,
}

/// Owner and group, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What a [`FileEntry`] is.
#[derive(Clone, Debug)]
pub enum Content {
    /// A regular file with the bytes of this one.
    File(LocalPath),
    /// A regular file with these bytes.
    Text(String),
    /// A symbolic link to here.
    Symlink(String),
    /// A folder.
    Directory,
}

/// One entry of `[users]`: nobody has a password.
#[derive(Clone, Debug)]
pub struct User {
    /// Where the recipe states it.
    pub place: Place,
    /// Number; a free one from 1000 on unless said.
    pub uid: Option<u32>,
    /// Number of the group of the same name; the user's own number or a free one unless said.
    pub gid: Option<u32>,
    /// Further groups, by name.
    pub groups: Vec<String>,
    /// Absolute path of the home folder, `/home/NAME` unless said.
    pub home: Option<String>,
    /// Absolute path of the shell, `/bin/bash` or else `/bin/sh` unless said.
    pub shell: Option<String>,
    /// Full name.
    pub comment: Option<String>,
    /// Files of public SSH keys, one key a line as in `authorized_keys`.
    pub ssh_keys: Vec<LocalPath>,
}

/// `[services]`: units of systemd.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// Units that start at boot, besides those that packages enable; `ssh` stands for `ssh.service`.
    pub enable: Vec<At<String>>,
    /// Units that packages enable and that do not start at boot.
    pub disable: Vec<At<String>>,
    /// Units that nothing starts.
    pub mask: Vec<At<String>>,
    /// What the system boots into; what the packages say unless said.
    pub default_target: Option<At<String>>,
    /// Whether every unit is first enabled or disabled as presets say.
    pub presets: bool,
}

/// `[kernel]`
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Where kernel, config and modules come from.
    pub source: KernelSource,
    /// Which modules the root carries, besides what the target's drivers are.
    pub modules: Modules,
    /// Words for the command line, besides those that the builder writes. None of them is one that it writes itself.
    pub command_line: Vec<At<String>>,
    /// The builder's objections to this kernel that the user accepts, by the objection's name.
    pub accept: BTreeMap<String, Reason>,
}

/// Where a kernel comes from.
#[derive(Clone, Debug)]
pub enum KernelSource {
    /// Debian packages that together hold `vmlinuz`, `config` and modules. Never empty.
    Packages(Vec<FilePattern>),
    /// A Debian package of the repositories, with those that bring its modules and configuration.
    Package(At<PackageRequest>),
    /// Single files.
    Files {
        /// The kernel, a PE image or a compressed one.
        vmlinuz: LocalPath,
        /// Its configuration.
        config: LocalPath,
        /// The folder `lib/modules/VERSION`, where it has modules at all.
        modules_dir: Option<LocalPath>,
    },
}

/// Which kernel modules the root carries.
#[derive(Clone, Debug)]
pub enum Modules {
    /// Those of the target and these, with all they depend on.
    Listed(Vec<At<ModuleName>>),
    /// All that the kernel has.
    All,
}

/// `[boot]`
#[derive(Clone, Debug)]
pub struct Boot {
    /// systemd's EFI stub. UKI targets need it; there the repositories' own is taken unless said.
    pub stub: Option<Stub>,
    /// The board's device trees (`.dtb`), for FIT targets: those of the kernel's own that the target names, unless given.
    pub device_trees: Vec<FilePattern>,
    /// Whether stage0 demands Secure Boot.
    pub secure_boot: SecureBoot,
    /// What stage0 does once it has refused to go on.
    pub on_failure: OnFailure,
}

/// Where systemd's EFI stub comes from.
#[derive(Clone, Debug)]
pub enum Stub {
    /// The stub itself, or a Debian package (`.deb`) that holds it.
    File(FilePattern),
    /// A package of the repositories.
    Package(At<PackageRequest>),
}

/// `[firmware]`
#[derive(Clone, Debug, Default)]
pub struct Firmware {
    /// The files of the target's blobs: one for each, by its name, and no others.
    pub blobs: BTreeMap<String, LocalPath>,
    /// The U-Boot that starts a FIT, where it does not lie on the disk or is not to be found in the blobs: inspected only.
    pub u_boot: Option<LocalPath>,
    /// The builder's objections to the U-Boot of a FIT target that the user accepts, by the objection's name.
    pub accept: BTreeMap<String, Reason>,
}

/// `[root]`: the root's file system, and who writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// EROFS, uncompressed, written here.
    Plain {
        /// Whether files share the blocks that they have in common.
        dedupe: bool,
    },
    /// EROFS, compressed, by `mkfs.erofs`.
    Erofs(Packed),
    /// squashfs, by `sqfstar`.
    Squashfs(Packed),
    /// ext4, by `mke2fs`.
    Ext4,
}

impl Default for Root {
    fn default() -> Self {
        Self::Plain { dedupe: false }
    }
}

/// How a root is compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// With what: something that the file system has.
    pub compress: Compressor,
    /// How hard, within what the compressor takes; its writer's choice unless said.
    pub level: Option<u8>,
    /// Bytes that are compressed together, a power of two from 4 KiB to 1 MiB: of EROFS what a cluster takes in the image, of
    /// squashfs what a block has unpacked.
    pub cluster: u32,
    /// Whether clusters are shared wherever files have the same bytes; EROFS only.
    pub dedupe: bool,
}

/// `[verity]`
#[derive(Clone, Debug, Default)]
pub struct Verity {
    /// Reed–Solomon parity bytes a code word, 2 to 24; 0 for no error correction.
    pub fec_roots: u8,
    /// Salt, at most 256 bytes. Without, the builder derives one.
    pub salt: Option<Vec<u8>>,
}

/// `[policy]`
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Enforce or audit; audit never in a release image.
    pub mode: PolicyMode,
    /// The whole text, in which `{{roothash}}` stands for the root hash. Never together with rules.
    pub text: Option<LocalPath>,
    /// Where, on a path of the state, a signed policy may lie that takes this one's place at the next boot.
    pub successor: Option<At<String>>,
    /// Rules that go before the root's.
    pub rules: Vec<PolicyRule>,
    /// What the check finds and that is meant, by its name.
    pub accept: BTreeMap<String, Reason>,
}

/// One `[[policy.rule]]`: it is about what fulfils all its conditions.
#[derive(Clone, Debug)]
pub struct PolicyRule {
    /// Where the recipe states it.
    pub place: Place,
    /// The operations, a rule of the policy for each; never empty.
    pub ops: Vec<PolicyOp>,
    /// `boot_verified=`
    pub boot_verified: Option<bool>,
    /// `dmverity_signature=`
    pub dmverity_signature: Option<bool>,
    /// `dmverity_roothash=`: `sha256:HEX` and the like.
    pub dmverity_roothash: Option<At<String>>,
    /// `fsverity_signature=`
    pub fsverity_signature: Option<bool>,
    /// `fsverity_digest=`: `sha256:HEX` and the like.
    pub fsverity_digest: Option<At<String>>,
    /// Files of this machine: a rule for each, with its fs-verity digest. Never together with a digest.
    pub files: Vec<FilePattern>,
    /// What it decides.
    pub action: PolicyAction,
}

/// One `[[volume]]`: a finished, read-only file system on a verified device of its own.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its name, and its partitions': 1 to 24 of `a-z 0-9 -`, no two alike.
    pub name: At<String>,
    /// The file system: EROFS, squashfs or ext4.
    pub image: FilePattern,
    /// Absolute path of the folder that it is mounted on, none of a mount or of the state.
    pub target: At<String>,
    /// What the policy allows of it, and nothing else; without EXECUTE it is mounted noexec.
    pub allow: Vec<PolicyOp>,
    /// Bytes of its partition, a multiple of 4096; without, as many as it has. Always there with two slots.
    pub size: Option<At<u64>>,
}

/// One `[[mount]]`: what stage0 mounts below the root.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Absolute path of the mount point.
    pub target: At<String>,
    /// File system.
    pub fs_type: MountType,
    /// Bytes it may hold; `tmpfs` only.
    pub size: Option<u64>,
    /// Permission bits of its top folder; `tmpfs` only.
    pub mode: Option<u16>,
    /// What it holds at first; always empty but for `tmpfs`.
    pub contents: MountContents,
    /// Further mount options, in order. None of `exec`, `suid`, `dev` or their opposites.
    pub options: Vec<String>,
    /// Why programs on it may be started.
    pub exec: Option<Reason>,
    /// Why set-user-ID bits on it count.
    pub suid: Option<Reason>,
    /// Why device nodes on it count.
    pub dev: Option<Reason>,
}

/// `[state]`
#[derive(Clone, Debug)]
pub struct State {
    /// Its file system.
    pub fs: StateFs,
    /// How large it is.
    pub size: StateSize,
    /// What happens when it is damaged.
    pub if_damaged: IfDamaged,
    /// Absolute paths that are bound from it: none lies in another, none is a way in.
    pub persist: Vec<At<String>>,
    /// Paths among them from which programs may be started, where the policy lets them, and why.
    pub exec: BTreeMap<String, Reason>,
    /// Paths among them that are ways in, and why they are persisted all the same.
    pub accept: BTreeMap<String, Reason>,
    /// Who may fill it, if anyone.
    pub provision: Option<Provision>,
}

/// `[state.provision]`: a seed that a factory signed.
#[derive(Clone, Debug)]
pub struct Provision {
    /// The certificate whose key signs seeds: PEM or DER.
    pub certificate: LocalPath,
    /// On which boots a seed is taken.
    pub when: SeedTime,
    /// How long a first boot waits for one, in seconds.
    pub wait_seconds: u32,
}

/// The size of a [`State`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateSize {
    /// What the disk has left, whatever disk it is.
    Grow,
    /// These bytes, a multiple of 1 MiB.
    Fixed(u64),
}

/// `[scripts]`
#[derive(Clone, Debug, Default)]
pub struct Scripts {
    /// Absolute paths of programs that ask the kernel before they run a script, and obey: what their code cannot prove, the
    /// recipe vouches for.
    pub interpreters: Vec<At<String>>,
    /// What happens where there are others.
    pub unenlightened: Unenlightened,
    /// Others that may be there, by their absolute path, and why.
    pub accept: BTreeMap<String, Reason>,
}

/// `[lockdown]`
#[derive(Clone, Debug, Default)]
pub struct Lockdown {
    /// The parts left out, and why.
    pub relax: BTreeMap<Relaxation, Reason>,
    /// Whether `SECBIT_EXEC_RESTRICT_FILE` and `SECBIT_EXEC_DENY_INTERACTIVE` are set: every interpreter in the image
    /// must honour them.
    pub exec_securebits: bool,
}

/// `[disk]`
#[derive(Clone, Debug)]
pub struct Disk {
    /// Root slots: 1, or 2 for A/B updates.
    pub slots: u8,
    /// Bytes of a root partition, a multiple of 4096; without, as many as the root needs. Always there with two slots.
    pub root_size: Option<At<u64>>,
    /// Bytes of the EFI system partition, a multiple of 4096; without, the builder chooses.
    pub esp_size: Option<At<u64>>,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.revision)
    }
}

impl std::fmt::Display for PackageRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        for (mark, part) in [(':', &self.architecture), ('=', &self.version), ('/', &self.suite)] {
            if let Some(part) = part {
                write!(f, "{mark}{part}")?;
            }
        }
        Ok(())
    }
}

impl Recipe {
    /// Whether anything comes from repositories, so that there is something to lock.
    #[must_use]
    pub fn needs_repositories(&self) -> bool {
        !self.packages.install.is_empty()
            || self.packages.essential
            || matches!(self.kernel.source, KernelSource::Package(_))
            || matches!(self.boot.stub, Some(Stub::Package(_)))
    }
}

impl Mount {
    /// The options as mount(2) and mount(8) take them, `noexec,nosuid,nodev` first unless the recipe says otherwise.
    pub fn option_line(&self) -> String {
        let guards = [(&self.exec, "noexec"), (&self.suid, "nosuid"), (&self.dev, "nodev")];
        let mut words: Vec<String> = guards
            .iter()
            .filter(|(reason, _)| reason.is_none())
            .map(|(_, word)| (*word).to_owned())
            .collect();
        words.extend(self.size.map(|bytes| format!("size={bytes}")));
        words.extend(self.mode.map(|bits| format!("mode={bits:04o}")));
        words.extend(self.options.iter().cloned());
        words.join(",")
    }
}
