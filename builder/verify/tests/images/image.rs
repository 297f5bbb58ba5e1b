//! A small image, made with the crates themselves; every part can be changed before what hangs on it is signed.

use std::fs;
use std::sync::{Arc, OnceLock};

use graven_boot::cmdline::{self, PolicyPlacement};
use graven_boot::compression::Compression;
use graven_boot::fdt::{Node, Tree as DeviceTree};
use graven_boot::initramfs::Initramfs;
use graven_boot::sign::{Answer, FileSigner, Signer};
use graven_boot::{authenticode, keys, pe, pkcs7, uki};
use graven_handoff::{self as handoff, Enforcement, KernelLockdown, PartUuid, Plan};
use graven_image::gpt::{Spec, Table, attributes};
use graven_image::tree::{Content, Inode, Kind, Metadata, Tree, TreePath};
use graven_image::{erofs, fat};
use graven_ipe::{APPLIANCE_OPS, Action, Algorithm, Digest, Op, Policy, PolicyName, Property, Rule};
use graven_targets::{Arch, CommandLineLimit};
use graven_verify::manifest::{self, InitramfsEntry, Manifest, sha256_hex};
use graven_verify::{Disk, ESP_TYPE, Options, Role, Trust, prove, report::Report};
use graven_verity::dm::{Params, RootHash, Salt, Superblock, TreeBuilder};
use graven_verity::fec::{self, Roots};
use graven_verity::fsverity;
use graven_verity::io::{Concat, Window, WriteAt};
use graven_verity::progress::Silent;
use graven_verity::stream::Consumer;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

const BLOCK: u32 = 4096;
const MIB: u64 = 1 << 20;
pub(crate) const RELEASE: &str = "7.3.4+deb13-amd64";
pub(crate) const CONFIG: &str = include_str!("../../../../boot/tests/kernels/debian-7.3.4-amd64.config");
pub(crate) const STAGE0: &[u8] = b"\x7fELF stage0 of the tests";
/// Fills the file that the data test damages: longer than a block, so that it has one of its own.
pub(crate) const INIT: [u8; 9000] = [b'i'; 9000];

/// One set of keys for all tests of a program: `db` boots, `policy` signs policies, `fit` root hashes; `pk` is a
/// stranger.
pub(crate) struct Keys {
    dir: tempfile::TempDir,
}

impl Keys {
    pub(crate) fn get() -> &'static Self {
        static KEYS: OnceLock<Keys> = OnceLock::new();
        KEYS.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            keys::create(&dir.path().join("keys"), &keys::Options::release("acme")).unwrap();
            Self { dir }
        })
    }

    pub(crate) fn certificate(&self, role: &str) -> graven_boot::x509::Certificate {
        keys::read_certificates(&self.path().join(format!("{role}.crt"))).unwrap().remove(0)
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("keys")
    }

    fn signer(&self, role: &str) -> FileSigner {
        let file = |ending: &str| self.path().join(format!("{role}.{ending}"));
        FileSigner::load(&file("key"), &file("crt")).unwrap()
    }
}

/// What a test changes before it is signed.
pub(crate) struct Change {
    pub(crate) boot_key: &'static str,
    pub(crate) policy_key: &'static str,
    pub(crate) root_key: &'static str,
    pub(crate) tree: Box<dyn Fn(&mut Tree)>,
    pub(crate) policy: Box<dyn Fn(String) -> String>,
    pub(crate) line: Box<dyn Fn(String) -> String>,
    /// The copy of the line in the initramfs follows the line unless this says otherwise.
    pub(crate) plan: Box<dyn Fn(&mut Plan)>,
    pub(crate) initramfs: Box<dyn Fn(&mut Initramfs)>,
    pub(crate) initrd: Box<dyn Fn(Vec<u8>) -> Vec<u8>>,
    pub(crate) os_release: Box<dyn Fn(String) -> String>,
    pub(crate) stub_section: &'static str,
    pub(crate) esp: Vec<(&'static str, Vec<u8>)>,
    pub(crate) more_partitions: Vec<Spec>,
    pub(crate) limit: usize,
    pub(crate) signature_text: Box<dyn Fn(String) -> String>,
    /// Who signs the root hash of a volume, where there is one: an ext4 by its superblock, mounted on `/opt`.
    pub(crate) volume_key: Option<&'static str>,
}

impl Default for Change {
    fn default() -> Self {
        Self {
            boot_key: "db",
            policy_key: "policy",
            root_key: "fit",
            tree: Box::new(|_| {}),
            policy: Box::new(|text| text),
            line: Box::new(|line| line),
            plan: Box::new(|_| {}),
            initramfs: Box::new(|_| {}),
            initrd: Box::new(|bytes| bytes),
            os_release: Box::new(|text| text),
            stub_section: ".rodata",
            esp: Vec::new(),
            more_partitions: Vec::new(),
            limit: 4096,
            signature_text: Box::new(|text| text),
            volume_key: None,
        }
    }
}

/// An image and what there is to know of it.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) disk: Vec<u8>,
    pub(crate) table: Table,
    pub(crate) manifest: Manifest,
    /// The unchanged tree.
    pub(crate) uki: Vec<u8>,
    pub(crate) tree_start: u64,
    pub(crate) parity_start: u64,
}

impl Image {
    pub(crate) fn plain() -> &'static Self {
        static PLAIN: OnceLock<Image> = OnceLock::new();
        PLAIN.get_or_init(|| Self::build(&Change::default()))
    }

    /// Trusts each key for its role, and knows stage0.
    pub(crate) fn prove(&self, with_manifest: bool) -> Report {
        self.prove_with(with_manifest, &by_role(), &options())
    }

    pub(crate) fn prove_with(&self, with_manifest: bool, trust: &Trust, options: &Options<'_>) -> Report {
        let disk: Disk = Arc::new(self.disk.clone());
        prove(&disk, with_manifest.then_some(&self.manifest), trust, options)
    }

    /// Where the UKI's bytes lie on the disk; the file system keeps it in one piece.
    pub(crate) fn uki_offset(&self) -> usize {
        self.disk.windows(512).position(|window| window == &self.uki[..512]).unwrap()
    }

    /// Where these bytes lie.
    pub(crate) fn find(&self, bytes: &[u8]) -> usize {
        self.disk.windows(bytes.len()).position(|window| window == bytes).unwrap()
    }

    pub(crate) fn build(change: &Change) -> Self {
        let mut tree = tree();
        (change.tree)(&mut tree);
        let options = erofs::Options {
            uuid: Uuid::from_u128(7),
            build_time: 1_700_000_000,
            volume_name: "root".into(),
        };
        let planned = erofs::Image::plan(&tree, &options).unwrap();
        let shape = Shape::of(planned.len());
        let volume = change.volume_key.map(|key| (key, volume(), Shape::of(volume().len() as u64)));

        let types = Arch::X86_64.partition_types();
        let spec = |type_guid, number: u128, name: &str, len, attributes| Spec {
            type_guid,
            guid: Uuid::from_u128(number),
            name: name.into(),
            len,
            attributes,
        };
        let slot = |name: &str, attributes: u64, number: u128| {
            [
                spec(types.root, number, name, planned.len() + 8192, attributes),
                spec(types.root_verity, number + 1, name, shape.bytes() + 4096, attributes),
                spec(types.root_verity_sig, number + 2, name, 16384, attributes),
            ]
        };
        let mut specs = vec![spec(ESP_TYPE, 1, "esp", 20 * MIB, 0)];
        specs.extend(slot("root", attributes::READ_ONLY, 10));
        specs.extend(slot("_empty", attributes::NO_AUTO, 20));
        if let Some((_, bytes, shape)) = &volume {
            let quiet = attributes::READ_ONLY | attributes::NO_AUTO;
            let sizes = [bytes.len() as u64 + 8192, shape.bytes() + 4096, 16384];
            let part = |(number, size): (u128, u64)| {
                spec(Uuid::from_u128(300 + number), 30 + number, "shop", size, quiet)
            };
            specs.extend((0..).zip(sizes).map(part));
        }
        specs.extend(change.more_partitions.iter().cloned());
        let mut table = Table::plan(Uuid::from_u128(99), Vec::new(), &specs, MIB, MIB).unwrap();

        let disk = tempfile::tempfile().unwrap();
        disk.set_len(table.disk_bytes).unwrap();
        let part =
            |index: usize| Window::new(&disk, table.partitions[index].start, table.partitions[index].len);
        let keys = Keys::get();
        let signed = |answer: Answer| answer.signed().unwrap();
        let root_hash = shape.lay(&[part(1), part(2)], 55, &|place, tree| {
            erofs::write(&planned, place, &mut [tree], &Silent).unwrap();
        });
        let hash_text = root_hash.to_string();
        let root_signer = keys.signer(change.root_key);
        let (signature, json) = signature(&root_hash, &root_signer);
        part(3).write_all_at((change.signature_text)(json).as_bytes(), 0).unwrap();
        let volume = volume.map(|(key, bytes, shape)| {
            let root_hash = shape.lay(&[part(7), part(8)], 56, &|place, tree| {
                place.write_all_at(&bytes, 0).unwrap();
                tree.window(0, &bytes).unwrap();
            });
            let (signature, json) = self::signature(&root_hash, &keys.signer(key));
            part(9).write_all_at(json.as_bytes(), 0).unwrap();
            (root_hash, shape, signature)
        });

        let digest = Digest::from_hex(Algorithm::Sha256, &hash_text).unwrap();
        let policy = Policy::appliance(
            PolicyName::new("acme").unwrap(),
            "1.2.3".parse().unwrap(),
            digest,
            &APPLIANCE_OPS,
        );
        let of_volume = volume.iter().map(|(root_hash, ..)| {
            let digest = Digest::from_hex(Algorithm::Sha256, &root_hash.to_string()).unwrap();
            Rule {
                op: Op::Execute,
                properties: vec![Property::DmverityRoothash(digest)],
                action: Action::Allow,
            }
        });
        let policy = policy.preceded_by(of_volume);
        let policy = (change.policy)(String::from_utf8(policy.render()).unwrap());
        let signed_policy =
            signed(pkcs7::sign_policy(policy.as_bytes(), &keys.signer(change.policy_key)).unwrap());

        let line_hash = handoff::RootHash::new(root_hash.as_bytes()).unwrap();
        let built = cmdline::build(&cmdline::Parts {
            consoles: &["ttyS0".to_owned()],
            root_hash: &line_hash,
            signed_policy: &signed_policy,
            enforcement: Enforcement::Enforce,
            lockdown: KernelLockdown::Integrity,
            left_out: &[],
            extra: &["quiet".to_owned()],
            limit: &CommandLineLimit { limit: change.limit, reserve: 0, additions: Vec::new() },
        })
        .unwrap();
        let line = (change.line)(built.line.as_str().to_owned());

        table.partitions[1].guid = root_hash.root_partition_uuid();
        table.partitions[2].guid = root_hash.verity_partition_uuid();
        let mut plan = plan(shape.verified("erofs", 55, table.partitions[3].guid));
        if let Some((root_hash, shape, _)) = &volume {
            table.partitions[7].guid = root_hash.root_partition_uuid();
            table.partitions[8].guid = root_hash.verity_partition_uuid();
            plan.volumes.push(handoff::Volume {
                name: "shop".into(),
                target: "/opt".into(),
                programs: handoff::Programs::Exec,
                root_hash: handoff::RootHash::new(root_hash.as_bytes()).unwrap(),
                image: shape.verified("ext4", 56, table.partitions[9].guid),
            });
        }
        (change.plan)(&mut plan);
        let mut archive = Initramfs::for_stage0();
        archive.file(handoff::initramfs::INIT, 0o755, STAGE0);
        archive.file(handoff::initramfs::COMMAND_LINE, 0o444, line.as_bytes());
        archive.file(handoff::initramfs::PLAN, 0o444, plan.render().unwrap().as_bytes());
        archive.file("/graven/modules/000-dm-verity.ko.xz", 0o444, *b"a module");
        if built.policy == PolicyPlacement::Initramfs {
            archive.file(handoff::initramfs::POLICY, 0o444, signed_policy.clone());
        }
        (change.initramfs)(&mut archive);
        let initrd = (change.initrd)(archive.write_compressed(Compression::Zstd).unwrap());
        let os_release = (change.os_release)("ID=acme\nVERSION_ID=1.2.3\nVARIANT_ID=release\n".into());
        // The builder itself refuses a stub that has it.
        let device_tree = change.stub_section == ".dtb";
        let (stub, kernel) = (stub(if device_tree { ".rodata" } else { change.stub_section }), kernel());
        let board = DeviceTree::new(Node::new("")).unwrap().to_bytes().unwrap();
        let unsigned = uki::build(&uki::Parts {
            stub: &stub,
            os_release: &os_release,
            cmdline: &line,
            uname: RELEASE,
            initrd: &initrd,
            linux: &kernel,
            device_trees: if device_tree { uki::DeviceTrees::Always(&board) } else { uki::DeviceTrees::None },
        })
        .unwrap();
        let uki = signed(authenticode::sign(&unsigned, &keys.signer(change.boot_key)).unwrap());
        let mut files = vec![("EFI/BOOT/BOOTX64.EFI", uki.clone())];
        files.extend(change.esp.iter().cloned());
        let listed: Vec<fat::File<'_>> =
            files.iter().map(|(path, contents)| fat::File { path, contents }).collect();
        let format =
            fat::Format { bytes: table.partitions[0].len, volume_id: 1, label: "ESP".into(), timestamp: 0 };
        fat::write(&format, &listed, &Window::new(&disk, table.partitions[0].start, format.bytes)).unwrap();
        table.write(&disk).unwrap();

        let disk = read_all(&disk);
        let fsverity = fsverity::digest(&disk, &fsverity::Params::default()).unwrap().to_string();
        let roles = [
            manifest::Role::Esp,
            manifest::Role::Root,
            manifest::Role::RootVerity,
            manifest::Role::RootVeritySig,
            manifest::Role::EmptyRoot,
            manifest::Role::EmptyRootVerity,
            manifest::Role::EmptyRootVeritySig,
            manifest::Role::Volume,
            manifest::Role::VolumeVerity,
            manifest::Role::VolumeVeritySig,
        ];
        let partitions = table.partitions.iter().zip(roles).map(|(partition, role)| manifest::Partition {
            role,
            name: partition.name.clone(),
            type_uuid: partition.type_guid.to_string(),
            uuid: partition.guid.to_string(),
            offset: partition.start,
            size: partition.len,
        });
        let image = pe::Image::parse(&uki).unwrap();
        // As the builder would have written it, whatever a test adds later.
        let json = serde_json::json!({
            "format": manifest::FORMAT,
            "graven": { "version": "0.1.0", "stage0_sha256": sha256_hex(STAGE0) },
            "name": "acme", "version": "1.2.3", "target": "x86_64-uefi", "profile": "release",
            "source_date": 1_700_000_000,
            "disk": { "size": table.disk_bytes, "guid": table.disk_guid.to_string(), "fsverity": fsverity },
            "partitions": partitions.collect::<Vec<_>>(),
            "root": shape.listed("erofs", &root_hash, 55, &signature),
            "volumes": volume.iter().map(|(root_hash, shape, signature)| serde_json::json!({
                "name": "shop", "target": "/opt", "allow": ["EXECUTE"],
                "image": shape.listed("ext4", root_hash, 56, signature),
            })).collect::<Vec<_>>(),
            "policy": {
                "name": "acme", "version": "1.2.3", "mode": "enforce",
                "placement": if built.policy == PolicyPlacement::Inline { "command-line" } else { "initramfs" },
                "sha256": sha256_hex(policy.as_bytes()), "p7b_sha256": sha256_hex(&signed_policy),
            },
            "command_line": line,
            "boot": {
                "path": "/EFI/BOOT/BOOTX64.EFI", "sha256": sha256_hex(&uki),
                "authenticode": handoff::hex::encode(&authenticode::digest(&image)),
                "kernel_sha256": sha256_hex(&kernel), "stub_sha256": sha256_hex(&stub),
            },
            "initramfs": InitramfsEntry::list(&archive),
            "kernel": { "release": RELEASE, "config_sha256": sha256_hex(CONFIG.as_bytes()) },
            "esp": [{ "path": "/EFI/BOOT/BOOTX64.EFI", "size": uki.len(), "sha256": sha256_hex(&uki) }],
            "inputs": [], "accepted": {},
        });
        let manifest = Manifest::from_json(&json.to_string()).unwrap();
        Self { disk, table, manifest, uki, tree_start: 4096, parity_start: shape.parity_start }
    }
}

/// What a verified device of so many bytes looks like.
struct Shape {
    params: Params,
    /// Blocks that the parity covers.
    covered: u64,
    parity_start: u64,
    parity_bytes: u64,
}

type Place<'a> = Window<&'a fs::File>;

impl Shape {
    fn of(bytes: u64) -> Self {
        let salt = Salt::new(&[0x5a; 32]).unwrap();
        let sha256 = graven_verity::hash::Algorithm::Sha256;
        let params = Params::new(sha256, BLOCK, BLOCK, bytes / 4096, salt).unwrap();
        let covered = params.data_blocks() + params.tree_blocks();
        let parity_bytes = fec::parity_bytes(covered, BLOCK, Roots::new(2).unwrap()).unwrap();
        Self { parity_start: 4096 + params.tree_bytes(), covered, parity_bytes, params }
    }

    /// Bytes of superblock, tree and parity.
    fn bytes(&self) -> u64 {
        self.parity_start + self.parity_bytes
    }

    /// Writes data, superblock, tree and parity.
    fn lay(
        &self,
        [data, verity]: &[Place<'_>; 2],
        uuid: u128,
        fill: &dyn Fn(&Place<'_>, &mut dyn Consumer),
    ) -> RootHash {
        let tree = Window::new(verity, 4096, self.params.tree_bytes());
        let mut builder = TreeBuilder::new(self.params.clone(), tree.clone());
        fill(data, &mut builder);
        let root_hash = builder.finish().unwrap();
        let superblock = Superblock { uuid: Uuid::from_u128(uuid), params: self.params.clone() };
        verity.write_all_at(&superblock.to_bytes(), 0).unwrap();
        let message =
            Concat::new().then(data, self.params.data_bytes()).then(&tree, self.params.tree_bytes());
        let out = Window::new(verity, self.parity_start, self.parity_bytes);
        fec::encode(&message, self.covered, BLOCK, Roots::new(2).unwrap(), &out, &Silent).unwrap();
        root_hash
    }

    /// As stage0's plan has it.
    fn verified(&self, file_system: &str, uuid: u128, signature_partition: Uuid) -> handoff::Verified {
        use handoff::{Fec, OnCorruption, Verity};
        let start = self.parity_start / 4096;
        handoff::Verified {
            file_system: file_system.into(),
            options: String::new(),
            signature_partition: PartUuid(*signature_partition.as_bytes()),
            verity: Verity {
                algorithm: handoff::Algorithm::Sha256,
                data_block_size: BLOCK,
                hash_block_size: BLOCK,
                data_blocks: self.params.data_blocks(),
                hash_start: 1,
                salt: vec![0x5a; 32],
                superblock_uuid: PartUuid(*Uuid::from_u128(uuid).as_bytes()),
                on_corruption: OnCorruption::Error,
                fec: Some(Fec { roots: 2, blocks: self.covered, start, partition: None }),
            },
        }
    }

    /// As the manifest lists it.
    fn listed(
        &self,
        file_system: &str,
        root_hash: &RootHash,
        uuid: u128,
        signature: &[u8],
    ) -> serde_json::Value {
        serde_json::json!({
            "file_system": file_system, "root_hash": root_hash.to_string(), "algorithm": "sha256",
            "salt": "5a".repeat(32), "data_blocks": self.params.data_blocks(), "data_block_size": BLOCK,
            "hash_block_size": BLOCK, "superblock_uuid": Uuid::from_u128(uuid).to_string(), "fec_roots": 2,
            "signature_sha256": sha256_hex(signature),
        })
    }
}

/// A root hash signature, and the text of its partition.
fn signature(root_hash: &RootHash, signer: &FileSigner) -> (Vec<u8>, String) {
    let root_hash = root_hash.to_string();
    let signature = pkcs7::sign_root_hash(&root_hash, signer).unwrap().signed().unwrap();
    let json = serde_json::json!({
        "rootHash": root_hash,
        "signature": handoff::base64::encode(&signature),
        "certificateFingerprint": signer.certificate().fingerprint().to_string(),
    });
    (signature, json.to_string())
}

/// 1 MiB that begins as an ext4 of that size does, and is full of something else.
fn volume() -> Vec<u8> {
    let mut bytes = vec![b'v'; MIB as usize];
    bytes[..2048].fill(0);
    bytes[1024 + 4..1024 + 8].copy_from_slice(&256u32.to_le_bytes());
    bytes[1024 + 24..1024 + 28].copy_from_slice(&2u32.to_le_bytes());
    bytes[1024 + 56..1024 + 58].copy_from_slice(&0xef53u16.to_le_bytes());
    bytes
}

pub(crate) fn by_role() -> Trust {
    let mut trust = Trust::default();
    for (key, role) in [("db", Role::Boot), ("policy", Role::Policy), ("fit", Role::Root)] {
        trust.add(Keys::get().certificate(key), &[role]);
    }
    trust
}

pub(crate) fn options() -> Options<'static> {
    Options { stage0: vec![Sha256::digest(STAGE0).into()], ..Options::default() }
}

fn read_all(file: &fs::File) -> Vec<u8> {
    use graven_verity::io::ReadAt;
    let mut bytes = vec![0; file.size().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn tree() -> Tree {
    let metadata = |mode| Metadata { mode, mtime: 1_700_000_000, ..Metadata::default() };
    let mut tree = Tree::new(metadata(0o755));
    let path = |text: &str| TreePath::parse(text.as_bytes()).unwrap();
    for folder in ["/usr/sbin", "/run", "/opt", &format!("/usr/lib/modules/{RELEASE}")] {
        tree.make_directories(&path(folder), &metadata(0o755)).unwrap();
    }
    let config = format!("/usr/lib/modules/{RELEASE}/config");
    for (name, mode, bytes) in [
        ("/usr/sbin/init", 0o4755, INIT.to_vec()),
        ("/etc-release", 0o644, b"acme\n".to_vec()),
        (config.as_str(), 0o644, CONFIG.as_bytes().to_vec()),
    ] {
        tree.insert(&path(name), Inode::new(metadata(mode), Kind::File(Content::from_bytes(bytes)))).unwrap();
    }
    tree.insert(&path("/link"), Inode::new(metadata(0o777), Kind::Symlink(b"/etc/passwd".as_slice().into())))
        .unwrap();
    tree
}

fn plan(root: handoff::Verified) -> Plan {
    use handoff::*;
    Plan {
        image: "acme 1.2.3".into(),
        policy: PolicyIdentity { name: "acme".into(), version: PolicyVersion(1, 2, 3) },
        compiled_in_policy: None,
        successor: None,
        enforcement: Enforcement::Enforce,
        secure_boot: SecureBoot::Required,
        kernel_lockdown: KernelLockdown::Integrity,
        security_modules: ["lockdown", "yama", "ipe"].map(str::to_owned).to_vec(),
        additions: Vec::new(),
        module_parameters: vec![ModuleParameter {
            module: "dm_verity".into(),
            name: "require_signatures".into(),
            value: "1".into(),
        }],
        state: None,
        clock_not_before: 0,
        wait_seconds: 30,
        root,
        volumes: Vec::new(),
        mounts: vec![Mount {
            source: MountSource::None,
            target: "/run".into(),
            file_system: "tmpfs".into(),
            options: String::new(),
            on_damage: OnDamage::Fail,
            contents: Contents::Empty,
        }],
        relaxed: Vec::new(),
        hardening: Vec::new(),
        on_failure: OnFailure::Reboot,
        init: Init { path: "/usr/sbin/init".into(), arguments: Vec::new(), environment: Vec::new() },
    }
}

/// A PE image that says it is systemd-stub.
fn stub(extra: &str) -> Vec<u8> {
    let sections: [(&str, &[u8]); 3] =
        [(".text", b"code"), (extra, b"data"), (".sdmagic", b"#### LoaderInfo: systemd-stub 257 ####\0")];
    let (headers_size, alignment) = (0x600u32, 0x1000u32);
    let mut bytes = vec![0; headers_size as usize];
    let mut table = Vec::new();
    for (number, (name, contents)) in (1u32..).zip(sections) {
        let raw_pointer = bytes.len() as u32;
        bytes.extend_from_slice(contents);
        bytes.resize(raw_pointer as usize + 0x200, 0);
        let mut padded = [0; 8];
        padded[..name.len()].copy_from_slice(name.as_bytes());
        table.push(pe::SectionHeader {
            name: padded,
            virtual_size: U32::new(contents.len() as u32),
            virtual_address: U32::new(number * alignment),
            raw_size: U32::new(0x200),
            raw_pointer: U32::new(raw_pointer),
            relocations: [U32::ZERO; 3],
            characteristics: U32::new(0x4000_0040),
        });
    }
    headers(&mut bytes, 0x40, 3, headers_size, 4 * alignment);
    let at = 0x40 + 4 + 20 + 112 + 128;
    bytes[at..at + table.as_bytes().len()].copy_from_slice(table.as_bytes());
    bytes
}

/// The headers of a bzImage: DOS and PE header, boot header, version string.
fn kernel() -> Vec<u8> {
    let mut image = vec![0u8; 0x1000];
    headers(&mut image, 0x40, 0, 0x400, 0x2000);
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
    image[0x20e..0x210].copy_from_slice(&0x100u16.to_le_bytes());
    image[0x236] = 0x3f;
    image[0x238..0x23c].copy_from_slice(&2047u32.to_le_bytes());
    let version = format!("{RELEASE} (debian-kernel@lists.debian.org) #1 SMP\0");
    image[0x300..0x300 + version.len()].copy_from_slice(version.as_bytes());
    image
}

fn headers(image: &mut [u8], pe_at: usize, sections: u16, headers_size: u32, image_size: u32) {
    image[..2].copy_from_slice(b"MZ");
    image[0x3c] = pe_at as u8;
    image[pe_at..pe_at + 4].copy_from_slice(b"PE\0\0");
    let coff = pe::CoffHeader {
        machine: U16::new(pe::MACHINE_AMD64),
        sections: U16::new(sections),
        timestamp: U32::ZERO,
        symbols: U32::ZERO,
        symbol_count: U32::ZERO,
        optional_header_size: U16::new(112 + 128),
        characteristics: U16::new(0x22),
    };
    let optional = pe::OptionalHeader {
        magic: U16::new(0x20b),
        linker: [0; 2],
        code_size: U32::ZERO,
        initialized_data_size: U32::ZERO,
        uninitialized_data_size: U32::ZERO,
        entry_point: U32::new(0x1000),
        code_base: U32::new(0x1000),
        image_base: U64::ZERO,
        section_alignment: U32::new(0x1000),
        file_alignment: U32::new(0x200),
        versions: [U16::ZERO; 6],
        win32_version: U32::ZERO,
        image_size: U32::new(image_size),
        headers_size: U32::new(headers_size),
        checksum: U32::ZERO,
        subsystem: U16::new(10),
        dll_characteristics: U16::ZERO,
        memory: [U64::ZERO; 4],
        loader_flags: U32::ZERO,
        directories: U32::new(16),
    };
    image[pe_at + 4..pe_at + 24].copy_from_slice(coff.as_bytes());
    image[pe_at + 24..pe_at + 136].copy_from_slice(optional.as_bytes());
}
