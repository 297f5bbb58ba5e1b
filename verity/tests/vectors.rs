//! The published test vectors, made with veritysetup 2.6.1 and fsverity 1.5.

use graven_verity::dm::{self, HashType, Params, Report, Salt};
use graven_verity::fec::{self, Roots};
use graven_verity::fsverity;
use graven_verity::hash::Algorithm;
use graven_verity::io::Concat;
use graven_verity::progress::Silent;

mod memory;
use memory::{Memory, data};

#[test]
fn the_data_generator_is_the_vectors_own() {
    let digest = Algorithm::Sha256.digest(&data(100_000)).to_string();
    assert_eq!(digest, "5cd4413e338ab1961ea09399816ac219fa8a70b9ce7d14238a126b82510eb843");
}

#[test]
fn dm_verity_roots_and_tree_sizes() {
    use Algorithm::{Sha1, Sha256, Sha384, Sha512};
    use HashType::{ChromeOs, Normal};
    let (zeros, ones) = ("00".repeat(32), "ff".repeat(256));
    #[rustfmt::skip]
    let vectors = [
        (1, 4096, 4096, Sha256, Normal, "-", "a656ad29a03c42bf4af9a0988c55ba4f864ee375223d4c087bfdaa4b6aca0295", 0),
        (2, 4096, 4096, Sha256, Normal, "aabb", "45525c558933020a111f39c9abf05bcf57e07a9da7a1cbcd1305b48161726513", 4096),
        (128, 4096, 4096, Sha256, Normal, "-", "c6a4eafe7f286118a0f2932f7627e9a3e635e2534ab1870ce0ee95c6c99e3956", 4096),
        (129, 4096, 4096, Sha256, Normal, "-", "0bb04baad7179c5d9b70e88aa0ee006641efe256e6be3fd88c2d45dc4052c60c", 12288),
        (16385, 4096, 4096, Sha256, Normal, zeros.as_str(), "0232b33a0ce41ab02e6178af3c01d562326e563d896132850351597fcd427341", 540_672),
        (300, 4096, 4096, Sha512, Normal, "0102030405", "e13fa69e43796aae59d612c0e6d7e5f25f1fc8054776b700f67432dc99043963b16b2edfe3026cfd144df599e28a2285e5291ba338a8b9b0c02ff00cc5aca1c2", 24576),
        (300, 512, 1024, Sha1, Normal, ones.as_str(), "ddfa538d29d1b8bc780344d623db0a9b34aa6984", 11264),
        (700, 512, 512, Sha384, Normal, "abcd", "3c58d052cb665cbc62faab7803f9d42d5bbec7b7a16d5392b2022aa3f3ab87b810039e2ecc96a0136f474c67b52fe183", 52224),
        (700, 512, 512, Sha384, ChromeOs, "abcd", "fd07fa7aba798fca8abd67d3cef279a22eec9c1f00a6a8118e9ae52248bff2c768164042fd4fbd045527fc17de45c3f5", 52224),
    ];
    for (blocks, data_block, hash_block, algorithm, hash_type, salt, root, tree_bytes) in vectors {
        let salt: Salt = salt.parse().unwrap();
        let params = Params::new(algorithm, data_block, hash_block, blocks, salt).unwrap();
        let params = params.with_hash_type(hash_type).unwrap();
        assert_eq!(params.tree_bytes(), tree_bytes, "{params:?}");
        // More data than the parameters cover: the rest plays no part.
        let data = data(params.data_bytes() as usize + 1000);
        let tree = Memory::default();
        let found = dm::build(&data, &params, &tree).unwrap();
        assert_eq!(found.to_string(), root, "{params:?}");
        let tree = tree.into_bytes();
        assert_eq!(tree.len() as u64, tree_bytes, "{params:?}");
        dm::verify(&data, &tree, &params, &found, &mut Report::new(1), &Silent).unwrap();
    }
}

#[test]
fn fec_parity() {
    let vectors = [
        (
            10,
            2,
            1,
            1024,
            "b83a51aeb0bf0fd9",
            "a493761808a61cdff088be3ed381aac1dc51b631d0b498559a8eea1d94172673",
        ),
        (
            300,
            24,
            22,
            24576,
            "7031e89508d3b53c",
            "fe95cd4a941b6ce07cf158ebc128ae0c3442bb49928987fd7feda56f13f87aae",
        ),
    ];
    for (blocks, roots, tree_blocks, parity_bytes, first, digest) in vectors {
        let params = Params::new(Algorithm::Sha256, 512, 512, blocks, "aabb".parse().unwrap()).unwrap();
        assert_eq!(params.tree_blocks(), tree_blocks);
        let data = data(params.data_bytes() as usize);
        let tree = Memory::default();
        dm::build(&data, &params, &tree).unwrap();
        let tree = tree.into_bytes();
        let message = Concat::new().then(&data, params.data_bytes()).then(&tree, params.tree_bytes());
        let roots = Roots::new(roots).unwrap();
        let blocks = blocks + tree_blocks;
        assert_eq!(fec::parity_bytes(blocks, 512, roots), Some(parity_bytes));
        let parity = Memory::default();
        fec::encode(&message, blocks, 512, roots, &parity, &Silent).unwrap();
        let parity = parity.into_bytes();
        assert_eq!(parity.len() as u64, parity_bytes);
        let start: String = parity[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(start, first);
        assert_eq!(Algorithm::Sha256.digest(&parity).to_string(), digest);
    }
}

#[test]
fn fsverity_digests() {
    use Algorithm::{Sha256, Sha512};
    #[rustfmt::skip]
    let vectors: [(usize, u32, Algorithm, &[u8], &str); 7] = [
        (0, 4096, Sha256, &[], "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95"),
        (1, 4096, Sha256, &[], "b803429503d95915829b29fdbc8bbad142f3abfd11b1cadf5526582e685c0551"),
        (4096, 4096, Sha256, &[], "dc1f8bf5ee9d486c0d4585878ee812d42a1ff6987b43bcf1b76198cb639fc60e"),
        (4097, 4096, Sha256, &[], "77966aa2f22bdae9c614f267b9675ca9880f44bd5c6e5a07cde4e1920716b679"),
        (1_000_000, 4096, Sha256, &[0xaa, 0xbb], "3e6dfb0ca26921224f9a745ecc6a2a9dcf4610add52510f99b06addbbc078101"),
        (1_000_000, 1024, Sha512, &[1; 32], "c329369fd067b35dff7bde77ef9181ec418b142843c37b3e7a33669fbee54d9062bfb3bb9cbfdc42f1a467bb323cd0615f21a09f83f2a01eb897e05d0c871b7d"),
        (528_384, 4096, Sha512, &[], "aa74584863e420620adf68b8d3a016176a5f7f638a1f331f72516169a35be0ccbdddb01ea4c0b697258efa3c41d3d14f65d12221510f3f783896aaafb67222b1"),
    ];
    for (size, block_size, algorithm, salt, expected) in vectors {
        let params = fsverity::Params::new(algorithm, block_size, salt).unwrap();
        let digest = fsverity::digest(&data(size), &params).unwrap();
        assert_eq!(digest.to_string(), expected, "{size} bytes, {params:?}");
    }
}
