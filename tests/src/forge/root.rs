//! The root, its tree, and what is signed about it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_boot::pkcs7;
use graven_boot::sign::Signer;
use graven_image::erofs::Reader;
use graven_image::tree::TreePath;
use graven_verity::dm::{self, RootHash, Superblock};
use graven_verity::io::Window;
use object::{Object as _, ObjectSegment as _};

use super::{Forgery, Part, signed};

/// Bytes of a block, of the file system as of the tree.
const BLOCK: u64 = 4096;
/// Words of `recipes/minimal`'s init, a script.
pub const INIT: &[u8] = b"echo \"minimal: up\"";
/// SHA-256 digests in a hash block.
const DIGESTS: u64 = 128;

impl Forgery {
    /// Where a file's first block of data lies in the root: a file that is longer than a block.
    pub fn first_block_of(&self, path: &str) -> u64 {
        self.find(Part::Root, &self.contents_of(path)[..BLOCK as usize])
    }

    /// Where, in the root, the block of a program lies that its first instruction is in.
    pub fn entry_block_of(&self, path: &str) -> u64 {
        let contents = self.contents_of(path);
        let program = object::File::parse(&*contents).expect("the file is a program");
        let entry = program.entry();
        let holds = |segment: &object::Segment<'_, '_>| {
            (segment.address()..segment.address() + segment.size()).contains(&entry)
        };
        let segment = program.segments().find(holds).expect("a segment holds the entry point");
        let offset = segment.file_range().0 + entry - segment.address();
        self.first_block_of(path) + offset / BLOCK * BLOCK
    }

    fn contents_of(&self, path: &str) -> Vec<u8> {
        let path = TreePath::parse(path.as_bytes()).expect("an absolute path");
        let tree = Reader::open(self.partition(Part::Root)).and_then(|reader| reader.tree());
        tree.expect("the root can be read").read(&path, 1 << 30).expect("the file is there")
    }

    /// The tree's superblock.
    pub fn superblock(&self) -> Superblock {
        let bytes = self.read(Part::Verity, 0, Superblock::SIZE);
        Superblock::from_bytes(&bytes).expect("the verity partition has a superblock")
    }

    /// Where the hash block lies, in the verity partition, that holds the digest of the data block at this offset.
    pub fn leaf_above(&self, offset: u64) -> u64 {
        let params = self.superblock().params;
        // The tree is written from its top down: the leaves come last.
        let leaves = params.data_blocks().div_ceil(DIGESTS) * BLOCK;
        tree_start() + params.tree_bytes() - leaves + offset / BLOCK / DIGESTS * BLOCK
    }

    /// Makes the tree again over what the root partition holds now; answers the root hash that it leads to.
    pub fn hash_again(&self) -> RootHash {
        let params = self.superblock().params;
        let verity = self.place(Part::Verity);
        let tree = Window::new(&*self.disk, verity.start + tree_start(), params.tree_bytes());
        dm::build(&self.partition(Part::Root), &params, &tree).expect("the tree can be written")
    }

    /// Gives root and verity partition the GUIDs that follow from a root hash.
    pub fn name_after(&mut self, root_hash: &RootHash) {
        let names = [
            (Part::Root, root_hash.root_partition_uuid()),
            (Part::Verity, root_hash.verity_partition_uuid()),
        ];
        self.rename(&names);
    }

    /// Changes the init of `recipes/minimal`, makes the tree again over it and names the partitions after the new root hash.
    pub fn change_init(&mut self) -> RootHash {
        self.change_root(INIT)
    }

    /// Likewise, a byte of the root where these words stand.
    pub fn change_root(&mut self, words: &[u8]) -> RootHash {
        self.flip(Part::Root, self.find(Part::Root, words));
        let root_hash = self.hash_again();
        self.name_after(&root_hash);
        root_hash
    }

    /// Fills the verity-sig partition: `named` is the root hash that it says it is for.
    pub fn put_signature(&self, named: &str, signature: &[u8], signer: &dyn Signer) {
        self.put_signature_in(Part::Signature, named, signature, signer);
    }

    fn put_signature_in(&self, part: Part, named: &str, signature: &[u8], signer: &dyn Signer) {
        let json = serde_json::json!({
            "rootHash": named,
            "signature": STANDARD.encode(signature),
            "certificateFingerprint": signer.certificate().fingerprint().to_string(),
        });
        let mut bytes = json.to_string().into_bytes();
        bytes.resize(usize::try_from(self.place(part).len).expect("it is small"), 0);
        self.write(part, 0, &bytes);
    }

    /// Signs the first volume's root hash again, by somebody else.
    pub fn sign_volume(&self, signer: &dyn Signer) {
        let json = self.signature_in(Part::VolumeSignature);
        let root_hash = json["rootHash"].as_str().expect("a root hash");
        let signature = signed(pkcs7::sign_root_hash(root_hash, signer));
        self.put_signature_in(Part::VolumeSignature, root_hash, &signature, signer);
    }

    /// Signs a root hash and fills the verity-sig partition with it.
    pub fn sign_root_hash(&self, root_hash: &str, signer: &dyn Signer) {
        let signature = signed(pkcs7::sign_root_hash(root_hash, signer));
        self.put_signature(root_hash, &signature, signer);
    }

    /// The root hash signature that is there now.
    pub fn signature(&self) -> Vec<u8> {
        let json = self.signature_in(Part::Signature);
        STANDARD.decode(json["signature"].as_str().expect("a signature")).expect("in base64")
    }

    fn signature_in(&self, part: Part) -> serde_json::Value {
        let length = usize::try_from(self.place(part).len).expect("it is small");
        let bytes = self.read(part, 0, length);
        let text = bytes.split(|byte| *byte == 0).next().expect("text before the NUL bytes");
        serde_json::from_slice(text).expect("JSON")
    }
}

/// Where the tree begins in its partition: behind the superblock's block.
fn tree_start() -> u64 {
    Superblock::tree_offset(0, BLOCK as u32).expect("a small number")
}
