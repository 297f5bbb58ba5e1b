#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::single_range_in_vec_init)]

use std::sync::Mutex;

use proptest::prelude::*;
use rs_merkle::algorithms::Sha256 as TheirSha256;
use rs_merkle::{Hasher as _, MerkleProof, MerkleTree as TheirTree};

use super::*;
use crate::dm::{self, HashType, Params, Salt};
use crate::hash::{Algorithm, Digest};
use crate::io::WriteAt;
use crate::progress::Silent;
use crate::stream;

#[derive(Default)]
struct Memory(Mutex<Vec<u8>>);

impl WriteAt for Memory {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> std::io::Result<()> {
        let mut bytes = self.0.lock().unwrap();
        let end = offset as usize + buf.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(buf);
        Ok(())
    }
}

/// Any parameters over at most 400 blocks, with data and tree.
fn device() -> impl Strategy<Value = (Params, Vec<u8>)> {
    let sizes = prop::sample::select(vec![512u32, 1024, 4096]);
    let algorithms = prop::sample::select(Algorithm::ALL.to_vec());
    (sizes.clone(), sizes, algorithms, 1u64..400, any::<bool>(), prop::collection::vec(any::<u8>(), 0..70))
        .prop_map(|(data_block, hash_block, algorithm, blocks, old, salt)| {
            let salt = Salt::new(&salt).unwrap();
            let params = Params::new(algorithm, data_block, hash_block, blocks, salt).unwrap();
            let hash_type = if old { HashType::ChromeOs } else { HashType::Normal };
            let params = params.with_hash_type(hash_type).unwrap();
            let data = (0..params.data_bytes()).map(|i| (i / 7 + i / 513) as u8).collect();
            (params, data)
        })
}

fn some_of(count: u64, picks: &[(u64, u64)]) -> Vec<Range<u64>> {
    picks.iter().map(|(start, len)| start % count..(start % count + 1 + len % 5).min(count)).collect()
}

fn blocks_of(params: &Params, data: &[u8], leaves: &[Range<u64>]) -> Vec<u8> {
    let size = params.data_block_size() as usize;
    leaves
        .iter()
        .flat_map(|range| &data[range.start as usize * size..range.end as usize * size])
        .copied()
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn at_arity_two_and_without_salt_everything_is_rs_merkles(
        count in 1usize..200,
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..12),
    ) {
        let leaves: Vec<Digest> = (0..count).map(|i| Algorithm::Sha256.digest(&i.to_le_bytes())).collect();
        let theirs: Vec<[u8; 32]> = (0..count).map(|i| TheirSha256::hash(&i.to_le_bytes())).collect();
        let shape = Shape::plain(Algorithm::Sha256, 2).unwrap();
        let (tree, their_tree) = (
            MerkleTree::from_leaves(&shape, &leaves).unwrap(),
            TheirTree::<TheirSha256>::from_leaves(&theirs),
        );
        let (root, their_root) = (tree.root().unwrap(), their_tree.root().unwrap());
        prop_assert_eq!(root.as_bytes(), &their_root);

        let mut indices: Vec<usize> = picks.iter().map(|pick| pick.index(count)).collect();
        indices.sort_unstable();
        indices.dedup();
        let ranges: Vec<_> = indices.iter().map(|index| *index as u64..*index as u64 + 1).collect();
        let proof = tree.proof(&ranges).unwrap();
        let their_proof = their_tree.proof(&indices);
        prop_assert_eq!(&proof.siblings, &their_proof.proof_hashes().concat());
        let chosen: Vec<Digest> = indices.iter().map(|index| leaves[*index]).collect();
        prop_assert_eq!(proof.verify(&shape, count as u64, &chosen, &root), Ok(()));
        // Each takes the other's.
        let hashes = proof.siblings.chunks(32).map(|digest| digest.try_into().unwrap()).collect();
        let theirs: Vec<[u8; 32]> = indices.iter().map(|index| theirs[*index]).collect();
        prop_assert!(MerkleProof::<TheirSha256>::new(hashes).verify(their_root, &indices, &theirs, count));
    }

    #[test]
    fn a_proof_holds_for_the_blocks_it_is_about_and_for_nothing_else(
        (params, data) in device(),
        picks in prop::collection::vec((any::<u64>(), any::<u64>()), 1..6),
        change in any::<prop::sample::Index>(),
    ) {
        let disk = Memory::default();
        let root_hash = dm::build(&data, &params, &disk).unwrap();
        let disk = disk.0.into_inner().unwrap();
        let tree = MerkleTree::of_data(&data, &params, &Silent).unwrap();
        prop_assert_eq!(tree.root_hash().unwrap(), root_hash);
        let mut builder = Builder::of_data(&params);
        stream::run(&data, data.len() as u64, &mut [&mut builder], &Silent).unwrap();
        prop_assert_eq!(builder.finish().root_hash().unwrap(), root_hash);

        let leaves = some_of(params.data_blocks(), &picks);
        let proof = tree.proof(&leaves).unwrap();
        prop_assert_eq!(&prove(&disk, &params, &leaves).unwrap(), &proof);
        let mut blocks = blocks_of(&params, &data, proof.leaves());
        prop_assert_eq!(proof.verify_blocks(&params, &root_hash, &blocks), Ok(()));
        prop_assert!(proof.verify_blocks(&params, &root_hash, &blocks[1..]).is_err());

        let place = change.index(blocks.len());
        blocks[place] ^= 1;
        prop_assert!(proof.verify_blocks(&params, &root_hash, &blocks).is_err());
        blocks[place] ^= 1;
        if !proof.siblings.is_empty() {
            let mut other = proof.clone();
            let place = change.index(other.siblings.len());
            other.siblings[place] ^= 0x80;
            prop_assert!(other.verify_blocks(&params, &root_hash, &blocks).is_err());
            other.siblings.truncate(place / other.digest_size * other.digest_size);
            prop_assert!(other.verify_blocks(&params, &root_hash, &blocks).is_err());
        }
        let mut longer = proof.clone();
        longer.siblings.extend(vec![0; longer.digest_size]);
        prop_assert!(longer.verify_blocks(&params, &root_hash, &blocks).is_err());
        // One leaf further along it is another statement, and a false one unless the blocks are the same.
        let mut moved = proof;
        moved.leaves.iter_mut().for_each(|range| *range = range.start + 1..range.end + 1);
        let there = moved.leaves.last().is_some_and(|last| last.end <= params.data_blocks());
        let same = there && blocks_of(&params, &data, &moved.leaves) == blocks;
        prop_assert!(same || moved.verify_blocks(&params, &root_hash, &blocks).is_err());
    }

    #[test]
    fn wider_trees_prove_their_leaves_too(arity in 2usize..20, count in 1usize..300, picks in prop::collection::vec((any::<u64>(), any::<u64>()), 1..4)) {
        let leaves: Vec<Digest> = (0..count).map(|i| Algorithm::Sha512.digest(&i.to_le_bytes())).collect();
        let shape = Shape::plain(Algorithm::Sha512, arity).unwrap();
        let tree = MerkleTree::from_leaves(&shape, &leaves).unwrap();
        let proof = tree.proof(&some_of(count as u64, &picks)).unwrap();
        let mut chosen: Vec<Digest> = proof.leaves().iter().flat_map(|range| &leaves[range.start as usize..range.end as usize]).copied().collect();
        let root = tree.root().unwrap();
        prop_assert_eq!(proof.verify(&shape, count as u64, &chosen, &root), Ok(()));
        chosen[0] = Algorithm::Sha512.digest(b"another");
        prop_assert!(proof.verify(&shape, count as u64, &chosen, &root).is_err());
    }

    #[test]
    fn hostile_proofs_are_refused_and_cost_nothing(
        leaves in prop::collection::vec(any::<(u64, u64)>(), 0..5),
        siblings in prop::collection::vec(any::<u8>(), 0..200),
        digest_size in prop::sample::select(vec![0usize, 1, 20, 32, 64, 4096]),
        given in 0usize..5,
        data_blocks in prop::sample::select(vec![1u64, 2, 1000, 1 << 40, (1 << 51) - 1]),
    ) {
        let leaves = leaves.into_iter().map(|(start, end)| start..end).collect();
        let proof = Proof { leaves, digest_size, siblings };
        let params = Params::new(Algorithm::Sha256, 4096, 4096, data_blocks, Salt::default()).unwrap();
        let root_hash = "11".repeat(32).parse().unwrap();
        prop_assert!(proof.verify_blocks(&params, &root_hash, &vec![0; given * 4096]).is_err());
    }
}

#[test]
fn what_no_tree_can_prove_is_an_error() {
    let shape = Shape::plain(Algorithm::Sha256, 2).unwrap();
    let none = MerkleTree::from_leaves(&shape, &[]).unwrap();
    assert_eq!(none.root(), None);
    assert!(none.proof(&[0..1]).is_err());
    let one = MerkleTree::from_leaves(&shape, &[Algorithm::Sha256.digest(b"")]).unwrap();
    assert_eq!(one.root(), Some(Algorithm::Sha256.digest(b"")));
    assert!(one.proof(&[]).is_err() && one.proof(&[0..2]).is_err() && one.proof_of_bytes(0..1).is_err());
    assert!(Shape::plain(Algorithm::Sha256, 1).is_err());
    assert!(MerkleTree::from_leaves(&shape, &[Algorithm::Sha512.digest(b"")]).is_err());
}

#[cfg(feature = "serde")]
#[test]
fn the_written_form_is_the_documented_one_and_nothing_else_is_read() {
    let leaves: Vec<Digest> = (0..5u8).map(|i| Algorithm::Sha256.digest(&[i])).collect();
    let tree = MerkleTree::from_leaves(&Shape::plain(Algorithm::Sha256, 2).unwrap(), &leaves).unwrap();
    let proof = tree.proof(&[2..4]).unwrap();
    let text = serde_json::to_string(&proof).unwrap();
    let siblings = format!(
        "{}{}",
        Algorithm::Sha256.digest(&[leaves[0].as_bytes(), leaves[1].as_bytes()].concat()),
        leaves[4]
    );
    let expected = format!(r#"{{"version":1,"digest-size":32,"leaves":[[2,4]],"siblings":"{siblings}"}}"#);
    assert_eq!(text, expected);
    assert_eq!(serde_json::from_str::<Proof>(&text).unwrap(), proof);
    for (this, that) in [
        (":1,", ":2,"),
        ("32", "31"),
        ("[[2,4]]", "[]"),
        ("[[2,4]]", "[[4,2]]"),
        ("[[2,4]]", "[[2,3],[3,4]]"),
        ("[[2,4]]", "[[2,4],[0,1]]"),
        ("[[2,4]]", "[[-1,4]]"),
        (r#""siblings":""#, r#""siblings":"0"#),
        (r#""siblings":""#, r#""siblings":"zz"#),
        (r#"{"version""#, r#"{"more":1,"version""#),
    ] {
        assert!(serde_json::from_str::<Proof>(&text.replace(this, that)).is_err(), "{this} → {that}");
    }
}
