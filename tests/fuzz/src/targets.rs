//! What is fuzzed: each function takes any bytes and panics where a promise is broken.

mod oci;
mod policy;

use std::io;
use std::sync::Mutex;

use graven_verity::dm::{self, HashType, Params, Report, RootHash, Salt, Superblock};
use graven_verity::fec::{self, Message, Roots};
use graven_verity::fsverity::Descriptor;
use graven_verity::hash::{Algorithm, Digest};
use graven_verity::io::{Concat, ReadAt, WriteAt};
use graven_verity::progress::Silent;
use graven_verity::proof::{MerkleTree, Proof};
use graven_verity::setup;

pub use oci::oci;
pub use policy::policy;

/// A superblock that is read can be written, and says the same again.
pub fn superblock(bytes: &[u8]) {
    let Ok(superblock) = Superblock::from_bytes(bytes) else { return };
    let params = &superblock.params;
    assert!(params.data_blocks() > 0 && params.data_bytes() >= params.data_blocks());
    assert!(params.tree_bytes().is_multiple_of(u64::from(params.hash_block_size())));
    assert_eq!(Superblock::from_bytes(&superblock.to_bytes()), Ok(superblock));
}

/// A descriptor that is read is written back to the byte.
pub fn descriptor(bytes: &[u8]) {
    let Ok((descriptor, signature)) = Descriptor::from_bytes(bytes) else { return };
    assert_eq!(descriptor.to_bytes(signature), bytes[..Descriptor::SIZE]);
    assert_eq!(descriptor.root_hash().is_none(), descriptor.data_size() == 0);
    let _ = descriptor.digest();
}

/// A small image, broken anywhere: repair ends, what it calls whole is the original, what it cannot mend it leaves.
pub fn fec(bytes: &[u8]) {
    let [roots, blocks, seed, breaks @ ..] = bytes else { return };
    let roots = Roots::new(2 + u32::from(*roots) % 23).expect("2 to 24");
    let blocks = 1 + u64::from(*blocks);
    let params = Params::new(Algorithm::Sha256, 512, 512, blocks, Salt::default()).expect("good parameters");
    let good: Vec<u8> = (0..params.data_bytes()).map(|i| (i * i / 97 + i * u64::from(*seed)) as u8).collect();
    let data = Bytes::new(good);
    let tree = Bytes::new(vec![0; params.tree_bytes() as usize]);
    let root = dm::build(&data, &params, &tree).expect("a tree");
    let message = Concat::new().then(&data, params.data_bytes()).then(&tree, params.tree_bytes());
    let all = params.data_blocks() + params.tree_blocks();
    let parity = Bytes::new(vec![0; fec::parity_bytes(all, 512, roots).expect("small") as usize]);
    fec::encode(&message, all, 512, roots, &parity, &Silent).expect("parity");
    let parts = [&data, &tree, &parity];
    let originals = parts.map(Bytes::get);

    for broken in breaks.chunks_exact(4).take(600) {
        let part = parts[usize::from(broken[0]) % 3];
        let place = usize::from(u16::from_le_bytes([broken[1], broken[2]])) * 7;
        part.change(place, broken[3]);
    }
    let whole = Message { data: &data, tree: &tree, gap: None, parity: &parity, roots };
    let before = parts.map(Bytes::get);
    let repaired = fec::repair(&whole, &params, &root, &Silent).expect("all of it can be read");
    if repaired.is_whole() {
        assert!(parts.map(Bytes::get) == originals, "{repaired:?}");
    } else {
        // Nothing was touched but to make it what it was.
        for ((now, before), original) in parts.map(Bytes::get).iter().zip(&before).zip(&originals) {
            assert!(
                now.iter()
                    .zip(before)
                    .zip(original)
                    .all(|((now, before), good)| now == before || now == good)
            );
        }
    }
}

/// Any bytes as data, tree and root hash: the check ends, and finds what a rebuilt tree would find.
pub fn verify(bytes: &[u8]) {
    let [kind, blocks, rest @ ..] = bytes else { return };
    let algorithm = Algorithm::ALL[usize::from(*kind) % 4];
    let (data_block, hash_block) =
        ([512, 1024][usize::from(*kind >> 2) % 2], [512, 1024, 4096][usize::from(*kind >> 3) % 3]);
    let hash_type = if kind >> 5 & 1 == 1 { HashType::Normal } else { HashType::ChromeOs };
    let salt = Salt::new(&rest[..rest.len().min(usize::from(*kind >> 6) * 40)]).expect("at most 120 bytes");
    let params = Params::new(algorithm, data_block, hash_block, 1 + u64::from(*blocks) % 40, salt);
    let Ok(params) = params.and_then(|params| params.with_hash_type(hash_type)) else { return };
    let filled = |len: u64| -> Vec<u8> {
        (0..len as usize).map(|i| rest.get(i % 997).copied().unwrap_or(0)).collect()
    };
    let (data, tree) = (filled(params.data_bytes()), filled(params.tree_bytes()));
    let right = Bytes::new(vec![0; tree.len()]);
    let root = dm::build(&data, &params, &right).expect("a tree");
    let mut report = Report::new(3);
    let good = dm::verify(&data, &tree, &params, &root, &mut report, &Silent).is_ok();
    assert_eq!(good, tree == right.get());
    assert_eq!(good, report.is_clean());
    assert!(dm::verify(&data, &right, &params, &root, &mut Report::new(3), &Silent).is_ok());
}

/// Salts, root hashes, digests and names of hash functions as they stand in command lines.
pub fn words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(salt) = text.parse::<Salt>() {
        assert!(salt.as_bytes().len() <= 256);
        assert_eq!(salt.to_string().parse(), Ok(salt));
    }
    if let Ok(root) = text.parse::<RootHash>() {
        assert_eq!(root.to_string(), text.to_ascii_lowercase());
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text.to_ascii_lowercase());
    }
    if let Ok(algorithm) = text.parse::<Algorithm>() {
        assert_eq!(algorithm.name(), text);
    }
}

/// Options of `graven verity` as typed, one a line: each is understood or refused, and what is laid out by them fits.
pub fn options(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let default = setup::Options::default();
    let fec = setup::roots(next()).ok().zip(setup::number(next()).ok());
    let options = setup::Options {
        algorithm: setup::algorithm(next()).unwrap_or(default.algorithm),
        hash_type: setup::hash_type(next()).unwrap_or(default.hash_type),
        data_block_size: setup::number32(next()).unwrap_or(default.data_block_size),
        hash_block_size: setup::number32(next()).unwrap_or(default.hash_block_size),
        data_blocks: setup::number(next()).ok(),
        hash_offset: setup::number(next()).unwrap_or(0),
        superblock: next().is_empty(),
        salt: setup::salt(next()).unwrap_or_default(),
        fec,
    };
    let devices = setup::Devices {
        data_bytes: setup::number(next()).unwrap_or(1 << 20),
        hash_bytes: setup::number(next()).unwrap_or(0),
        hash_on_data: next().is_empty(),
        fec: match next() {
            "hash" => setup::FecPlace::Hash,
            "data" => setup::FecPlace::Data,
            _ => setup::FecPlace::Own,
        },
    };
    if let Ok(uuid) = setup::uuid(next()) {
        assert_eq!(setup::uuid(&uuid.to_string()), Ok(uuid));
    }
    let Ok(layout) = setup::Layout::plan(&options, &devices) else { return };
    assert!(layout.params.data_bytes() <= devices.data_bytes);
    assert!(layout.tree_end() < 1 << 63);
    let first = layout.superblock.unwrap_or(layout.tree_start);
    assert!(first <= layout.tree_start);
    assert!(!devices.hash_on_data || layout.params.data_bytes() <= first);
    if let Some(parity) = layout.parity {
        assert!(!parity.on_hash_device || layout.tree_end() <= parity.start);
        assert!(parity.blocks >= layout.params.data_blocks() + layout.params.tree_blocks());
        assert!(parity.bytes > 0);
    }
    assert!(layout.header("device", "").to_string().starts_with("VERITY header information for device\n"));
}

/// A proof and the blocks that it is about: whatever it says, it holds for the blocks of the tree alone.
pub fn proof(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (text, blocks) = bytes.split_at(end);
    let Ok(proof) = serde_json::from_slice::<Proof>(text) else { return };
    let again: Proof = serde_json::from_str(&serde_json::to_string(&proof).expect("text")).expect("a proof");
    assert_eq!(proof, again);
    let params = Params::new(Algorithm::Sha256, 512, 512, 40, Salt::default()).expect("good parameters");
    let data: Vec<u8> = (0..params.data_bytes()).map(|i| (i / 3) as u8).collect();
    let tree = MerkleTree::of_data(&data, &params, &Silent).expect("data in memory");
    let root = tree.root_hash().expect("there are leaves");
    let blocks = blocks.get(1..).unwrap_or_default();
    if proof.verify_blocks(&params, &root, blocks).is_ok() {
        let ranges = proof.leaves().iter();
        let real: Vec<u8> = ranges
            .flat_map(|range| &data[range.start as usize * 512..range.end as usize * 512])
            .copied()
            .collect();
        assert!(blocks == real, "a proof of blocks that are not there");
    }
    // Those that are there, proved by a proof of the same leaves, unless there are no such leaves.
    if let Ok(made) = tree.proof(proof.leaves()) {
        let leaves = made.leaves().iter();
        let real: Vec<u8> = leaves
            .flat_map(|range| &data[range.start as usize * 512..range.end as usize * 512])
            .copied()
            .collect();
        assert_eq!(made.verify_blocks(&params, &root, &real), Ok(()));
        assert_eq!(proof.verify_blocks(&params, &root, &real).is_ok(), proof == made);
    }
}

/// Bytes that can be read and written in place.
struct Bytes(Mutex<Vec<u8>>);

impl Bytes {
    fn new(bytes: Vec<u8>) -> Self {
        Self(Mutex::new(bytes))
    }

    fn get(&self) -> Vec<u8> {
        self.0.lock().expect("no holder panics").clone()
    }

    fn change(&self, place: usize, by: u8) {
        let mut bytes = self.0.lock().expect("no holder panics");
        let len = bytes.len();
        if len > 0 {
            bytes[place % len] ^= by;
        }
    }
}

impl ReadAt for Bytes {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.lock().expect("no holder panics").read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.lock().expect("no holder panics").size()
    }
}

impl WriteAt for Bytes {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.lock().expect("no holder panics")[offset as usize..][..buf.len()].copy_from_slice(buf);
        Ok(())
    }
}
