//! The recipe's JSON Schema, for editors. What is stricter than a schema can say, the decoder checks; a test holds the
//! keys of both together.

// The fields exist to be described, never to be read.
#![allow(dead_code)]

use crate::words::{
    Compressor, IfDamaged, Metadata, MountContents, MountType, OnFailure, PolicyAction, PolicyMode, PolicyOp,
    Relaxation, RootFs, SecureBoot, SeedTime, StateFs, Unenlightened,
};
use schemars::{JsonSchema, SchemaGenerator};
use std::collections::BTreeMap;

/// JSON Schema (draft 2020-12) of `recipe.toml`.
pub fn schema() -> serde_json::Value {
    SchemaGenerator::default().into_root_schema_for::<RecipeFile>().to_value()
}

/// The keys that a recipe has at its top and in its sections, each section a type of its own (a `flatten` would lose
/// `additionalProperties`).
macro_rules! recipe_types {
    ($($(#[$meta:meta])* $name:ident { $($extra:tt)* })+) => { $(
        #[derive(JsonSchema)]
        $(#[$meta])*
        #[schemars(rename_all = "kebab-case", deny_unknown_fields)]
        struct $name {
            $($extra)*
            /// Name of the appliance and of its IPE policy: 1 to 64 of `A-Z a-z 0-9 . _ -`.
            #[schemars(regex(pattern = r"^[A-Za-z0-9._-]{1,64}$"))]
            name: Option<String>,
            /// Version of the appliance and of its IPE policy: three numbers from 0 to 65535.
            #[schemars(regex(pattern = r"^[0-9]{1,5}\.[0-9]{1,5}\.[0-9]{1,5}$"))]
            version: Option<String>,
            /// Absolute path, in the image, of the program that stage0 starts.
            init: Option<String>,
            /// Its arguments.
            init_args: Option<Vec<String>>,
            /// The time of everything in the image: seconds since 1970, or a date with time and zone.
            source_date: Option<Moment>,
            /// Content of `/etc/hostname`.
            hostname: Option<String>,
            /// Debian packages of the root.
            packages: Option<PackagesTable>,
            /// Archives, folders and container images of the root, in order, later over earlier.
            source: Option<Vec<SourceTable>>,
            /// Single files of the root, by absolute path, over all else.
            files: Option<BTreeMap<String, FileValue>>,
            /// People who log in, by name; nobody has a password.
            users: Option<BTreeMap<String, UserTable>>,
            /// What starts at boot.
            services: Option<ServicesTable>,
            /// The kernel.
            kernel: Option<KernelTable>,
            /// What the firmware starts.
            boot: Option<BootTable>,
            /// The firmware itself, where the target's disk carries it.
            firmware: Option<FirmwareTable>,
            /// The root's file system.
            root: Option<RootTable>,
            /// dm-verity.
            verity: Option<VerityTable>,
            /// The IPE policy.
            policy: Option<PolicyTable>,
            /// Finished file systems beside the root, each verified by itself.
            volume: Option<Vec<VolumeTable>>,
            /// What stage0 mounts below the root.
            mount: Option<Vec<MountTable>>,
            /// The one place that outlives a boot.
            state: Option<StateTable>,
            /// Who may run scripts.
            scripts: Option<ScriptsTable>,
            /// What stage0 locks before it starts init.
            lockdown: Option<LockdownTable>,
            /// Layout of the disk.
            disk: Option<DiskTable>,
        }
    )+ };
}

recipe_types! {
    /// A Graven recipe.
    #[schemars(title = "Graven recipe")]
    RecipeFile {
        /// Targets by name, or by the path of a board file.
        targets: Option<Vec<String>>,
        /// Recipe files below this one: tables merge, arrays append, everything else is replaced.
        inherit: Option<Vec<String>>,
        /// Overrides for single targets, by name.
        target: Option<BTreeMap<String, Section>>,
        /// Overrides for profiles.
        profile: Option<Profiles>,
    }
    /// Overrides for one target or profile.
    Section {}
}

/// Overrides for profiles.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Profiles {
    /// For release images.
    release: Option<Section>,
    /// For development images.
    development: Option<Section>,
}

/// Seconds since 1970, or a TOML date with time and zone (which JSON knows as a string).
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Moment {
    Seconds(u64),
    Date(String),
}

/// Bytes, or a number with `K`, `M`, `G` or `T`; a multiple of 4096.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Size {
    Bytes(u64),
    Text(#[schemars(regex(pattern = r"^[0-9]+ *([KMGT](iB)?)?$"))] String),
}

/// Permission bits: `0o644` or `"0644"`.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Mode {
    Bits(#[schemars(range(max = 4095))] u16),
    Text(#[schemars(regex(pattern = r"^[0-7]{1,5}$"))] String),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct PackagesTable {
    /// Packages from the repositories, with all that they need: `name`, `name=1.1*`, `name:arch`, `name/suite`.
    install: Option<Vec<String>>,
    /// Packages that must not come in.
    remove: Option<Vec<String>>,
    /// Whether every package that is marked `Essential` comes in; they do not unless said.
    essential: Option<bool>,
    /// Where packages come from.
    repo: Option<Vec<RepositoryTable>>,
    /// Patterns of `.deb` files; `{arch}` is Debian's name of the architecture.
    local: Option<Vec<String>>,
    /// Packages whose maintainer scripts are passed over, though not all of what they do is known; each with the reason.
    accept_scripts: Option<BTreeMap<String, String>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct RepositoryTable {
    /// The suite: the folder below `dists/`, such as `trixie`.
    suite: String,
    /// The mirror's address; without, GRAVEN_DEBIAN_MIRROR or the building machine's own Debian mirror.
    url: Option<String>,
    /// Its components; `main` unless said.
    components: Option<Vec<String>>,
    /// File with the public keys of whoever signs it; Debian's keyring of the building machine unless said.
    keyring: Option<String>,
    /// Its packages' priority in apt's numbers: 500, or what the suite says of itself.
    #[schemars(range(min = 1, max = 10000))]
    priority: Option<u16>,
    /// The architectures that it is asked for; all that are wanted unless said.
    architectures: Option<Vec<String>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct SourceTable {
    /// An archive: tar, plain or compressed with gzip, xz or zstd.
    tar: Option<String>,
    /// A folder.
    dir: Option<String>,
    /// A container image of a registry: `registry.example/ns/name:tag` or `registry.example/ns/name@sha256:…`. The lock has
    /// what the tag means.
    oci: Option<String>,
    /// A folder with container images (OCI image layout), as `skopeo copy … oci:FOLDER:NAME` writes it.
    oci_layout: Option<String>,
    /// An archive of such a folder, as `skopeo copy … oci-archive:FILE` or `docker save` writes it.
    oci_archive: Option<String>,
    /// Which image of a layout, by the name that it has there; needed where there are several.
    r#ref: Option<String>,
    /// Which image of a layout, by the digest of its index or manifest: `sha256:…`.
    #[schemars(regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    digest: Option<String>,
    /// Whether the registry is spoken to without TLS; unless said, only one on this machine itself is.
    plain_http: Option<bool>,
    /// What the archive's bytes must hash to.
    #[schemars(regex(pattern = r"^[0-9A-Fa-f]{64}$"))]
    sha256: Option<String>,
    /// Folder of the image into which it goes; `/` unless said.
    at: Option<String>,
    /// Where owners, modes and times come from: a folder's are normalised, all others' own are kept, unless said.
    metadata: Option<Metadata>,
}

/// A file of this machine, or what else the entry is.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum FileValue {
    Source(String),
    Table(FileTable),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct FileTable {
    /// A regular file with the bytes of this one.
    source: Option<String>,
    /// A regular file with these bytes.
    text: Option<String>,
    /// A symbolic link to here.
    symlink: Option<String>,
    /// A folder.
    directory: Option<bool>,
    /// Permission bits.
    mode: Option<Mode>,
    /// Numbers of user and group; `0:0` unless said.
    #[schemars(regex(pattern = r"^[0-9]+:[0-9]+$"))]
    owner: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct UserTable {
    /// Number; a free one from 1000 on unless said.
    uid: Option<u32>,
    /// Number of the group of the same name.
    gid: Option<u32>,
    /// Further groups.
    groups: Option<Vec<String>>,
    /// Home folder; `/home/NAME` unless said.
    home: Option<String>,
    /// Shell; `/bin/bash` or else `/bin/sh` unless said.
    shell: Option<String>,
    /// Full name.
    comment: Option<String>,
    /// Files of public SSH keys, one key a line.
    ssh_keys: Option<Vec<String>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct ServicesTable {
    /// Units that start at boot; `ssh` stands for `ssh.service`.
    enable: Option<Vec<String>>,
    /// Units that packages enable and that do not start at boot.
    disable: Option<Vec<String>>,
    /// Units that nothing starts.
    mask: Option<Vec<String>>,
    /// What the system boots into.
    default_target: Option<String>,
    /// Whether every unit is first enabled or disabled as presets say.
    presets: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct KernelTable {
    /// A package of the repositories, with those that bring its modules; `*` stands for anything, the newest is taken.
    package: Option<String>,
    /// Patterns of the `.deb` files that together hold vmlinuz, config and modules.
    local: Option<Vec<String>>,
    /// The kernel, where it comes as files.
    vmlinuz: Option<String>,
    /// Its configuration.
    config: Option<String>,
    /// Its folder `lib/modules/VERSION`.
    modules_dir: Option<String>,
    /// Modules that the root carries besides the target's drivers, or `"all"`.
    modules: Option<ModulesValue>,
    /// Words for the command line besides the builder's own.
    command_line: Option<Vec<String>>,
    /// The builder's objections to this kernel that are accepted, each with the reason.
    accept: Option<BTreeMap<String, String>>,
}

/// `"all"`, or an array of module names.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum ModulesValue {
    All(AllModules),
    Listed(Vec<String>),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum AllModules {
    All,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct BootTable {
    /// systemd's EFI stub, the Debian package that holds it, or such a package's name; found by itself where there are repositories.
    stub: Option<String>,
    /// The board's device trees (`.dtb`), for FIT targets; those of the kernel's own that the target names unless said.
    device_trees: Option<Vec<String>>,
    /// Whether stage0 demands Secure Boot; `required` unless said.
    secure_boot: Option<SecureBoot>,
    /// What stage0 does once it has refused to go on; `reboot` unless said.
    on_failure: Option<OnFailure>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct FirmwareTable {
    /// A file for each of the target's blobs, by the blob's name.
    blobs: Option<BTreeMap<String, String>>,
    /// The U-Boot that starts a FIT, where it is not among the blobs: it is inspected, and goes nowhere.
    u_boot: Option<String>,
    /// The builder's objections to the U-Boot of a FIT target that are accepted, each with the reason.
    accept: Option<BTreeMap<String, String>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct RootTable {
    /// `erofs` unless said.
    fs: Option<RootFs>,
    /// What it is compressed with: EROFS with `lz4`, `lz4hc`, `deflate`, `zstd` or `lzma`, and not at all unless said; squashfs
    /// with `gzip`, `lz4`, `xz` or `zstd`, and with `zstd` unless said. Everything but uncompressed EROFS is written by a
    /// program of the building machine: `mkfs.erofs`, `sqfstar`, `mke2fs`.
    compress: Option<Compressor>,
    /// How hard: `lz4hc` 1 to 12, `deflate` and `gzip` 1 to 9, `zstd` 1 to 22, `lzma` 0 to 9; that program's choice unless said.
    #[schemars(range(max = 22))]
    level: Option<u8>,
    /// What is compressed together, a power of two from `4K` to `1M`: of EROFS what a cluster takes in the image (`64K`), of
    /// squashfs what a block has unpacked (`128K`). The larger, the smaller the image and the slower what reads a little.
    cluster: Option<Size>,
    /// Whether files share what they have in common: EROFS, block by block where it is uncompressed, else cluster by cluster.
    /// squashfs shares whole files always.
    dedupe: Option<bool>,
    /// The `files.json` of an earlier release: what did not change keeps its place in the image, so that the two differ in few
    /// blocks. Uncompressed EROFS.
    places_of: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct VerityTable {
    /// Parity bytes a Reed–Solomon code word: 2 to 24, or 0 for no error correction.
    #[schemars(range(max = 24))]
    fec_roots: Option<u8>,
    /// Salt in hexadecimal; the builder derives one unless said.
    #[schemars(regex(pattern = r"^([0-9A-Fa-f]{2}){0,256}$"))]
    salt: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct PolicyTable {
    /// `enforce` unless said; `audit` in development images only.
    mode: Option<PolicyMode>,
    /// The whole text of the policy, in a file; `{{name}}`, `{{version}}` and `{{roothash}}` stand for the recipe's name and
    /// version and the root hash in hexadecimal, `{{roothash.NAME}}` for the root hash of the volume NAME. The builder's own
    /// unless said.
    text: Option<String>,
    /// Where, on a path of the state, a signed policy may lie: stage0 puts it into this one's place, where its name is the
    /// same, its version higher and the root its own.
    successor: Option<String>,
    /// Rules that go before the root's, in order; the first that matches decides.
    rule: Option<Vec<PolicyRuleTable>>,
    /// What the builder finds in the policy and that is meant, each by its name with the reason.
    accept: Option<BTreeMap<String, String>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct PolicyRuleTable {
    /// The operations that it is about.
    op: Vec<PolicyOp>,
    /// Whether the file lies on the initramfs' file system.
    boot_verified: Option<bool>,
    /// Whether its dm-verity device has a root hash signature that the kernel checked.
    dmverity_signature: Option<bool>,
    /// The root hash of its dm-verity device: `sha256:HEX`.
    #[schemars(regex(pattern = r"^sha(256|384|512):[0-9A-Fa-f]+$"))]
    dmverity_roothash: Option<String>,
    /// Whether the file has an fs-verity signature that the kernel checked.
    fsverity_signature: Option<bool>,
    /// The file's fs-verity digest: `sha256:HEX`.
    #[schemars(regex(pattern = r"^sha(256|384|512):[0-9A-Fa-f]+$"))]
    fsverity_digest: Option<String>,
    /// Patterns of files of the building machine: a rule for each of them, with its fs-verity digest (SHA-256, blocks of 4096
    /// bytes, no salt, as `fsverity enable` does).
    files: Option<Vec<String>>,
    /// What it decides; `ALLOW` unless said.
    action: Option<PolicyAction>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct VolumeTable {
    /// Its name, its device's and its partitions': 1 to 24 of `a-z 0-9 -`.
    #[schemars(regex(pattern = r"^[a-z0-9-]{1,24}$"))]
    name: String,
    /// The file system, finished and read-only: EROFS, squashfs or ext4. `{arch}` is Debian's name of the architecture.
    image: String,
    /// Where it is mounted, read-only, nosuid and nodev: an absolute path in the image. The folder is made in the root.
    target: String,
    /// What the policy allows of it; `["EXECUTE"]` unless said. Without EXECUTE it is mounted noexec.
    allow: Option<Vec<PolicyOp>>,
    /// Size of its partition; needed with two slots, else as large as the file system.
    size: Option<Size>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct MountTable {
    /// The mount point: an absolute path in the image.
    target: String,
    /// File system.
    #[schemars(rename = "type")]
    fs_type: MountType,
    /// Bytes it may hold; tmpfs only.
    size: Option<Size>,
    /// Permission bits of its top folder; tmpfs only.
    mode: Option<Mode>,
    /// What it holds when it is mounted, `empty` unless said; tmpfs only.
    contents: Option<MountContents>,
    /// Further mount options.
    options: Option<Vec<String>>,
    /// What of `noexec,nosuid,nodev` is lifted, each with the reason.
    allow: Option<AllowTable>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct AllowTable {
    /// Why programs on it may be started.
    exec: Option<String>,
    /// Why set-user-ID bits on it count.
    suid: Option<String>,
    /// Why device nodes on it count.
    dev: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct StateTable {
    /// Its file system; `ext4` unless said.
    fs: Option<StateFs>,
    /// `"grow"` for what the disk has left, which it is unless said, or a size of at least 16M.
    size: Option<StateSizeValue>,
    /// What happens when it is damaged; `reset` unless said.
    if_damaged: Option<IfDamaged>,
    /// Exact paths that are bound from it, `noexec,nosuid,nodev`. Made on the first boot as the image has them; what it has
    /// not becomes a folder.
    persist: Option<Vec<String>>,
    /// Paths among them from which programs may be started, each with the reason. The policy decides which: the file system
    /// has fs-verity for it.
    exec: Option<BTreeMap<String, String>>,
    /// Paths among them that decide who gets in, each with the reason.
    accept: Option<BTreeMap<String, String>>,
    /// A seed that a factory signed may fill it.
    provision: Option<ProvisionTable>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct ProvisionTable {
    /// The certificate of the key that signs seeds: PEM or DER.
    certificate: Option<String>,
    /// On which boots a seed is taken; only the first unless said.
    when: Option<SeedTime>,
    /// Seconds that a first boot waits for a seed; 5 unless said.
    #[schemars(range(max = 300))]
    wait: Option<u32>,
}

/// `"grow"`, or bytes.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum StateSizeValue {
    Grow(GrowWord),
    Fixed(Size),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum GrowWord {
    Grow,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct ScriptsTable {
    /// Absolute paths of programs that ask the kernel before they run a script, and obey: you vouch for it, since no code
    /// proves it. One whose code cannot ask at all is refused.
    interpreters: Option<Vec<String>>,
    /// What the build does where another interpreter is in the image; `warn` unless said.
    unenlightened: Option<Unenlightened>,
    /// Others that may be there, by their absolute path, each with the reason.
    accept: Option<BTreeMap<String, String>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct LockdownTable {
    /// Parts of the lockdown left out, each with the reason.
    relax: Option<BTreeMap<Relaxation, String>>,
    /// Whether interpreters must ask the kernel before they run a script, and take none from a terminal, a pipe or an
    /// argument: the exec securebits, locked. Every interpreter in the image must be vouched for, or accepted, in `scripts`.
    exec_securebits: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct DiskTable {
    /// Root slots: 1, or 2 for A/B updates.
    #[schemars(range(min = 1, max = 2))]
    slots: Option<u8>,
    /// Size of a root partition; needed with two slots, else as large as the root needs.
    root_size: Option<Size>,
    /// Size of the EFI system partition.
    esp_size: Option<Size>,
}

#[cfg(test)]
mod tests {
    use super::schema;
    use crate::decode::known_keys;
    use crate::place::Document;
    use crate::value::Value;
    use serde_json::Value as Json;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::PathBuf;
    use std::sync::Arc;

    type Keys = BTreeMap<String, BTreeSet<String>>;

    /// Keys of every table below `node`, by path in the decoder's notation.
    fn keys_of(schema: &Json, node: &Json, path: &str, found: &mut Keys) {
        if let Some(name) = node["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
            return keys_of(schema, &schema["$defs"][name], path, found);
        }
        for choice in node["anyOf"].as_array().into_iter().flatten() {
            keys_of(schema, choice, path, found);
        }
        if node["items"].is_object() {
            keys_of(schema, &node["items"], &format!("{path}[]"), found);
        }
        if node["additionalProperties"].is_object() {
            keys_of(schema, &node["additionalProperties"], &format!("{path}.*"), found);
        }
        let Some(properties) = node["properties"].as_object() else { return };
        assert_eq!(node["additionalProperties"], false, "`{path}` would let unknown keys pass");
        for (key, value) in properties {
            assert!(value.is_object(), "{path}.{key}");
            found.entry(path.to_owned()).or_default().insert(key.clone());
            let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            keys_of(schema, value, &below, found);
        }
    }

    #[test]
    fn schema_and_decoder_know_the_same_keys() {
        let schema = schema();
        let mut described = Keys::new();
        keys_of(&schema, &schema, "", &mut described);
        let top = described.get_mut("").unwrap();
        // Taken out of a file before it is decoded.
        for key in ["inherit", "target", "profile"] {
            assert!(top.remove(key), "{key}");
        }
        let mut section = top.clone();
        section.remove("targets");

        // One of each of what a recipe may have several of.
        let text =
            "source = [{}]\nvolume = [{}]\nmount = [{}]\npolicy.rule = [{}]\npackages.repo = [{}]\nfiles.\"/a\" = {}\nusers.a = {}\n".to_owned();
        let document = Document { name: "example".into(), base: PathBuf::new(), text };
        let tree = Value::parse(&Arc::new(document)).unwrap();
        let known = known_keys(&tree);
        let sections: BTreeMap<_, _> = described
            .iter()
            .filter(|(path, _)| !path.starts_with("target") && !path.starts_with("profile"))
            .map(|(path, keys)| (path.clone(), keys.clone()))
            .collect();
        let known: Keys = known
            .into_iter()
            .map(|(path, keys)| (path, keys.into_iter().map(str::to_owned).collect()))
            .collect();
        assert_eq!(sections, known);
        for path in ["target.*", "profile.release", "profile.development"] {
            assert_eq!(described[path], section, "{path}");
        }
    }

    #[test]
    fn the_schema_does_not_change_by_accident() {
        insta::assert_json_snapshot!(schema());
    }
}
