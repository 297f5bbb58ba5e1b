//! What is fuzzed: each function takes any bytes and panics where a promise is broken.

use std::io;
use std::sync::Mutex;

use graven_verity::dm::{self, HashType, Params, Report, RootHash, Salt, Superblock};
use graven_verity::fec::{self, Message, Roots};
use graven_verity::fsverity::Descriptor;
use graven_verity::hash::{Algorithm, Digest};
use graven_verity::io::{Concat, ReadAt, WriteAt};
use graven_verity::progress::Silent;

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
