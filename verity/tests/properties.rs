//! What holds for every size, block size, window and number of threads.

mod memory;

use std::io;
use std::ops::Range;
use std::sync::Mutex;

use graven_verity::dm::{self, Finding, HashType, Params, Report, RootHash, Salt, TreeBuilder, VerifyError};
use graven_verity::fec::{self, Roots};
use graven_verity::fsverity;
use graven_verity::hash::Algorithm;
use graven_verity::io::{ReadAt, WriteAt};
use graven_verity::progress::Silent;
use graven_verity::stream::Consumer;
use memory::{Memory, data};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Small parameters of every kind; trees of up to four levels.
fn params() -> impl Strategy<Value = Params> {
    let algorithm = select(&Algorithm::ALL);
    let block_size = || select(&[512u32, 1024, 4096]);
    let salt = select(&[0usize, 1, 32, 64, 100, 256]);
    (algorithm, block_size(), block_size(), 1u64..700, salt, any::<bool>()).prop_map(
        |(algorithm, data_block, hash_block, blocks, salt, normal)| {
            let salt = Salt::new(&vec![0xa5; salt]).expect("at most 256");
            let hash_type = if normal { HashType::Normal } else { HashType::ChromeOs };
            let params = Params::new(algorithm, data_block, hash_block, blocks, salt);
            params.and_then(|params| params.with_hash_type(hash_type)).expect("good parameters")
        },
    )
}

fn build(data: &[u8], params: &Params) -> (RootHash, Vec<u8>) {
    let tree = Memory::default();
    let root = dm::build(&data, params, &tree).expect("a tree");
    (root, tree.into_bytes())
}

/// Bytes in memory that can be read and written again.
struct InPlace(Mutex<Vec<u8>>);

impl ReadAt for InPlace {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.lock().expect("no holder panics").read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.lock().expect("no holder panics").size()
    }
}

impl WriteAt for InPlace {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.lock().expect("no holder panics")[offset as usize..][..buf.len()].copy_from_slice(buf);
        Ok(())
    }
}

fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads to start").install(work)
}

/// `bytes` in pieces whose lengths follow `cuts`.
fn pieces<'a>(mut bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut cuts = cuts.iter().cycle();
    std::iter::from_fn(move || {
        let cut = *cuts.next()?;
        let (piece, rest) = bytes.split_at(cut.min(bytes.len()));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn windows_of_any_size_make_the_same_tree(
        params in params(),
        cuts in prop::collection::vec(1usize..300_000, 1..6),
    ) {
        let data = data(params.data_bytes() as usize + 5000);
        let (root, expected) = build(&data, &params);
        let tree = Memory::default();
        let mut builder = TreeBuilder::new(params, &tree);
        let mut offset = 0;
        for piece in pieces(&data, &cuts) {
            builder.window(offset, piece).unwrap();
            offset += piece.len() as u64;
        }
        prop_assert_eq!(builder.finish().unwrap(), root);
        prop_assert!(tree.into_bytes() == expected);
    }

    #[test]
    fn updates_of_any_size_make_the_same_file_digest(
        size in 0usize..600_000,
        block_size in select(&[1024u32, 4096, 65536]),
        algorithm in select(&[Algorithm::Sha256, Algorithm::Sha512]),
        cuts in prop::collection::vec(1usize..200_000, 1..6),
    ) {
        let data = data(size);
        let params = fsverity::Params::new(algorithm, block_size, b"salt").unwrap();
        let mut digester = fsverity::Digester::new(&params);
        pieces(&data, &cuts).for_each(|piece| digester.update(piece));
        prop_assert_eq!(digester.finish(), fsverity::digest(&data, &params).unwrap());
    }

    #[test]
    fn the_number_of_threads_changes_nothing(params in params(), roots in 2u32..=24) {
        let data = data(params.data_bytes() as usize);
        let (block_size, blocks) = (params.data_block_size(), params.data_blocks());
        let work = || {
            let parity = Memory::default();
            fec::encode(&data, blocks, block_size, Roots::new(roots).unwrap(), &parity, &Silent).unwrap();
            let digest = fsverity::digest(&data, &fsverity::Params::default()).unwrap();
            (build(&data, &params), digest, parity.into_bytes())
        };
        prop_assert!(with_threads(1, work) == with_threads(2, work));
    }

    #[test]
    fn an_updated_tree_is_the_one_of_the_new_data(
        params in params(),
        changes in prop::collection::vec((any::<Index>(), 1u64..40), 0..16),
    ) {
        let mut data = data(params.data_bytes() as usize);
        let tree = InPlace(Mutex::new(build(&data, &params).1));
        let block = params.data_block_size() as usize;
        let changed: Vec<Range<u64>> = changes
            .iter()
            .map(|(index, len)| {
                let start = index.index(params.data_blocks() as usize) as u64;
                start..(start + len).min(params.data_blocks())
            })
            .collect();
        for range in &changed {
            for index in range.start as usize..range.end as usize {
                data[index * block + index % block] ^= 0x40;
            }
        }
        let root = dm::update(&data, &params, &tree, &changed).unwrap();
        prop_assert!((root, tree.0.into_inner().unwrap()) == build(&data, &params));
    }

    #[test]
    fn corruption_is_found_exactly_where_it_was_made(
        params in params(),
        in_data in prop::collection::vec(any::<Index>(), 0..6),
        in_tree in prop::option::of(any::<Index>()),
        limit in 1usize..8,
    ) {
        let good = data(params.data_bytes() as usize);
        let (root, mut tree) = build(&good, &params);
        let mut data = good.clone();
        let block = params.data_block_size() as usize;
        let mut bad: Vec<u64> = in_data
            .iter()
            .map(|index| {
                let at = index.index(data.len());
                data[at] = !good[at];
                (at / block) as u64
            })
            .collect();
        bad.sort_unstable();
        bad.dedup();
        let hash_block = in_tree.filter(|_| !tree.is_empty()).map(|index| {
            let at = index.index(tree.len());
            tree[at] ^= 1;
            (at - at % params.hash_block_size() as usize) as u64
        });

        let check = |limit| {
            let mut report = Report::new(limit);
            let result = dm::verify(&data, &tree, &params, &root, &mut report, &Silent);
            (result.is_ok(), report)
        };
        let (ok, report) = with_threads(2, || check(1000));
        prop_assert_eq!(ok, bad.is_empty() && hash_block.is_none());
        prop_assert_eq!(ok, report.is_clean());
        let hash_blocks: Vec<_> = report.findings().iter().filter_map(|finding| match finding {
            Finding::HashBlock { offset, data_blocks, .. } => Some((*offset, data_blocks.clone())),
            Finding::DataBlock { .. } => None,
        }).collect();
        prop_assert_eq!(hash_blocks.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), Vec::from_iter(hash_block));
        // Below a bad hash block nothing can be said.
        let hidden = hash_blocks.first().map_or(0..0, |(_, below)| below.clone());
        prop_assert_eq!(report.unproved_data_blocks(), hidden.end - hidden.start);
        bad.retain(|block| !hidden.contains(block));
        let found: Vec<_> = report.findings().iter().filter_map(|finding| match finding {
            Finding::DataBlock { index, offset, .. } => {
                assert_eq!(*offset, index * block as u64);
                Some(*index)
            }
            Finding::HashBlock { .. } => None,
        }).collect();
        prop_assert_eq!(report.bad_data_blocks(), found.len() as u64);
        prop_assert_eq!(found, bad);

        // The limit cuts the list and nothing else, the same with one thread.
        let (_, cut) = with_threads(1, || check(limit));
        prop_assert_eq!(cut.findings(), &report.findings()[..limit.min(report.findings().len())]);
        prop_assert_eq!(cut.bad_data_blocks(), report.bad_data_blocks());
    }
}

#[test]
fn a_forged_hash_block_cannot_vouch_for_changed_data() {
    let params = Params::new(Algorithm::Sha256, 512, 512, 300, Salt::default()).unwrap();
    let good = data(params.data_bytes() as usize);
    let (root, mut tree) = build(&good, &params);
    let mut bad = good;
    bad[200 * 512] ^= 1;
    let (_, forged) = build(&bad, &params);
    // The tree of the changed data in all but its top block: 300 leaves make levels of 19, 2 and 1 blocks.
    assert_eq!(params.tree_blocks(), 22);
    tree[512..].copy_from_slice(&forged[512..]);
    let mut report = Report::new(10);
    let error = dm::verify(&bad, &tree, &params, &root, &mut report, &Silent).unwrap_err();
    assert!(
        matches!(error, VerifyError::Corrupted { bad_hash_blocks: 1, bad_data_blocks: 0, .. }),
        "{error}"
    );
    assert!(matches!(report.findings(), [Finding::HashBlock { level: 1, index: 0, .. }]), "{report:?}");
    assert_eq!(report.unproved_data_blocks(), 256);
}

#[test]
fn what_is_cut_off_or_of_another_kind_is_refused() {
    let params = Params::new(Algorithm::Sha256, 4096, 4096, 10, Salt::default()).unwrap();
    let data = data(params.data_bytes() as usize);
    let (root, tree) = build(&data, &params);
    let check = |data: &[u8], tree: &[u8], root| {
        dm::verify(&data, &tree, &params, root, &mut Report::new(1), &Silent)
    };
    check(&data, &tree, &root).unwrap();
    let short = check(&data[1..], &tree, &root).unwrap_err();
    assert!(
        matches!(short, VerifyError::TooShort { which: "data", expected: 40960, found: 40959 }),
        "{short}"
    );
    let short = check(&data, &tree[1..], &root).unwrap_err();
    assert!(matches!(short, VerifyError::TooShort { which: "tree", expected: 4096, found: 4095 }), "{short}");
    let longer = RootHash::new(Algorithm::Sha512.digest(b"")).unwrap();
    let wrong = check(&data, &tree, &longer).unwrap_err();
    assert!(matches!(wrong, VerifyError::RootHashLength { expected: 32, found: 64, .. }), "{wrong}");
}

#[test]
fn a_builder_refuses_gaps_and_missing_data() {
    let params = Params::new(Algorithm::Sha256, 4096, 4096, 3, Salt::default()).unwrap();
    let tree = Memory::default();
    let mut builder = TreeBuilder::new(params, &tree);
    builder.window(0, &[1; 10_000]).unwrap();
    assert!(builder.window(10_001, &[1; 10]).is_err());
    let error = builder.finish().unwrap_err();
    assert_eq!(error.to_string(), "dm-verity tree: the data ended after 2 of 3 data blocks");
}
