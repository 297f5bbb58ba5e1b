//! What lies where in the machine, and what the kernel knows of it there.

use std::collections::BTreeMap;
use std::path::Path;

use graven_boot::compression;
use graven_ipe::{Algorithm, Digest, Facts, Hook};
use graven_verity::dm::{self, Params, RootHash, Salt, Table};
use graven_verity::fsverity;
use graven_verity::hash;

use crate::{bare, inputs, oracle};

/// Bytes of a block, of data as of trees.
const BLOCK: u32 = 4096;

/// A place in which the files lie; `tests/src/guest/places.c` makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: &'static str,
    /// Its folder; files in memory have none.
    pub folder: Option<&'static str>,
    known: Known,
}

/// What the kernel knows of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nothing.
    Nothing,
    /// That the initramfs brought it.
    Initramfs,
    /// The root hash of its device, which is signed.
    Signed,
    /// The root hash of its device.
    Unsigned,
    /// Its fs-verity digest.
    Digest(hash::Algorithm),
    /// Its fs-verity digest, which is signed.
    SignedDigest,
}

/// All of them, in the order of the guest.
pub const PLACES: [Place; 18] = [
    place("initramfs", "/place", Known::Initramfs),
    place("signed", "/signed", Known::Signed),
    place("unsigned", "/unsigned", Known::Unsigned),
    place("tmpfs", "/tmp", Known::Nothing),
    place("state", "/state/plain", Known::Nothing),
    place("verity-sha256", "/state/sha256", Known::Digest(hash::Algorithm::Sha256)),
    place("verity-sha512", "/state/sha512", Known::Digest(hash::Algorithm::Sha512)),
    place("verity-signed", "/state/signed", Known::SignedDigest),
    place("overlay-signed", "/overlay-signed", Known::Signed),
    place("overlay-copied", "/overlay-copied", Known::Nothing),
    place("overlay-verity", "/overlay-verity", Known::SignedDigest),
    place("overlay-initramfs", "/overlay-initramfs", Known::Nothing),
    place("bind-signed", "/bind-signed", Known::Signed),
    place("bind-initramfs", "/bind-initramfs", Known::Initramfs),
    place("loop", "/loop", Known::Nothing),
    place("linear", "/linear", Known::Nothing),
    place("image-file", "/image-file", Known::Nothing),
    Place { name: "memfd", folder: None, known: Known::Nothing },
];

const fn place(name: &'static str, folder: &'static str, known: Known) -> Place {
    Place { name, folder: Some(folder), known }
}

impl Place {
    /// A file's path as audit records tell it.
    pub(super) fn audited_path(&self, file: &str, hook: Hook) -> String {
        match self.folder {
            Some(_) if self.asks_below(hook) => format!("/{file}"),
            Some(folder) => format!("{folder}/{file}"),
            None => format!("/memfd:{file} (deleted)"),
        }
    }
}

impl Place {
    /// Whether the kernel means the file below the overlay, as it lies there: memory that is mapped through an overlay belongs
    /// to that one, and mprotect knows nothing else. (So it takes what an overlay shows of the initramfs for verified, which
    /// no other hook does.)
    fn asks_below(&self, hook: Hook) -> bool {
        hook == Hook::Mprotect && self.name.starts_with("overlay-")
    }
}

/// The files, and the devices that they lie on.
pub struct Site {
    /// Contents by name.
    pub(super) files: BTreeMap<&'static str, Vec<u8>>,
    /// The EROFS of the files with its tree behind it, twice.
    pub(super) signed: Device,
    pub(super) unsigned: Device,
}

/// A file system with its hash tree.
pub(super) struct Device {
    pub(super) bytes: Vec<u8>,
    pub(super) data_bytes: usize,
    params: Params,
    pub(super) root_hash: RootHash,
}

impl Site {
    /// Makes it, in a folder.
    pub fn new(folder: &Path) -> Self {
        let files = files();
        let tree = folder.join("tree");
        std::fs::create_dir(&tree).expect("the folder takes folders");
        for (name, contents) in &files {
            let path = tree.join(name);
            std::fs::write(&path, contents).expect("the folder takes files");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, mode).expect("modes can be set");
        }
        let image = folder.join("files.erofs");
        let uuid = "00000000-0000-4000-8000-000000000000";
        let words = ["-T0", "--all-root", "-U", uuid].map(Into::into);
        oracle::content("mkfs.erofs", words.into_iter().chain([image.clone().into_os_string(), tree.into()]));
        let data = std::fs::read(image).expect("mkfs.erofs wrote it");
        Self {
            files,
            signed: Device::new(&data, hash::Algorithm::Sha256, "aa"),
            unsigned: Device::new(&data, hash::Algorithm::Sha512, "bb"),
        }
    }

    /// What the kernel knows of a file, where this hook asks.
    pub(super) fn facts(&self, place: &Place, file: &str, hook: Hook) -> Facts {
        let initramfs_below = place.name == "overlay-initramfs" && place.asks_below(hook);
        let facts = Facts { boot_verified: initramfs_below, ..Facts::default() };
        match place.known {
            Known::Nothing => facts,
            Known::Initramfs => Facts { boot_verified: true, ..facts },
            Known::Signed => {
                Facts { dmverity_roothash: Some(self.signed.digest()), dmverity_signature: true, ..facts }
            }
            Known::Unsigned => Facts { dmverity_roothash: Some(self.unsigned.digest()), ..facts },
            Known::Digest(algorithm) => {
                Facts { fsverity_digest: Some(self.file_digest(file, algorithm)), ..facts }
            }
            Known::SignedDigest => Facts {
                fsverity_digest: Some(self.file_digest(file, hash::Algorithm::Sha256)),
                fsverity_signature: true,
                ..facts
            },
        }
    }

    /// A file's fs-verity digest, as a property names it.
    pub fn file_digest(&self, file: &str, algorithm: hash::Algorithm) -> Digest {
        let digest = self.fsverity(file, algorithm);
        Digest::from_hex(of_policies(algorithm), &digest.to_string()).expect("a digest of that length")
    }

    pub(super) fn fsverity(&self, file: &str, algorithm: hash::Algorithm) -> hash::Digest {
        let params = fsverity::Params::new(algorithm, BLOCK, &[]).expect("the kernel takes them");
        fsverity::digest(&self.files[file], &params).expect("bytes in memory can be read")
    }

    /// The root hashes of the devices as properties name them: the signed one's, the other's.
    pub fn root_hashes(&self) -> [Digest; 2] {
        [self.signed.digest(), self.unsigned.digest()]
    }
}

impl Device {
    fn new(data: &[u8], algorithm: hash::Algorithm, salt: &str) -> Self {
        let blocks = (data.len() as u64).div_ceil(BLOCK.into());
        let mut bytes = data.to_vec();
        bytes.resize((blocks * u64::from(BLOCK)) as usize, 0);
        let salt: Salt = salt.parse().expect("it is hex");
        let params = Params::new(algorithm, BLOCK, BLOCK, blocks, salt).expect("the kernel takes them");
        let tree = tempfile::tempfile().expect("a temporary file can be made");
        let root_hash = dm::build(&bytes, &params, &tree).expect("the tree can be written");
        let data_bytes = bytes.len();
        let mut hashes = vec![0; params.tree_bytes() as usize];
        std::os::unix::fs::FileExt::read_exact_at(&tree, &mut hashes, 0).expect("it was written");
        bytes.extend(hashes);
        Self { bytes, data_bytes, params, root_hash }
    }

    fn digest(&self) -> Digest {
        let algorithm = of_policies(self.params.algorithm());
        Digest::from_hex(algorithm, &self.root_hash.to_string()).expect("a digest of that length")
    }

    /// The table for a disk that holds it.
    pub(super) fn table(&self, disk: &str, signature_key: Option<&str>) -> Table {
        let start = (self.data_bytes / BLOCK as usize) as u64;
        let mut table = Table::new(self.params.clone(), self.root_hash, disk, disk, start);
        table.signature_key = signature_key.map(ToOwned::to_owned);
        table
    }
}

fn of_policies(algorithm: hash::Algorithm) -> Algorithm {
    Algorithm::from_name(algorithm.to_string().as_bytes()).expect("policies know it")
}

/// What lies in every place.
fn files() -> BTreeMap<&'static str, Vec<u8>> {
    let release = bare::release(&inputs::kernel("binary"));
    let module = format!("./usr/lib/modules/{release}/kernel/drivers/net/dummy.ko.xz");
    let packed = inputs::member(&inputs::kernel("modules"), &module);
    let program = std::fs::read(env!("GRAVEN_NOTHING")).expect("the build script compiled it");
    BTreeMap::from([
        ("program", program),
        ("script", b"#!/signed/program\n".to_vec()),
        ("module.ko", compression::decompress(&packed, 16 << 20).expect("it is compressed")),
        ("module.ko.xz", packed),
        ("firmware.bin", b"firmware\n".to_vec()),
        ("kernel", b"no kernel\n".repeat(500)),
        ("ima-policy", b"no policy\n".to_vec()),
    ])
}
