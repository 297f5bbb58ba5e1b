//! Byte for byte against `veritysetup` (Debian: cryptsetup-bin) and `fsverity` (Debian: fsverity).

mod memory;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use graven_verity::dm::{self, HashType, Params, Report, RootHash, Superblock};
use graven_verity::fec::{self, Roots};
use graven_verity::fsverity;
use graven_verity::hash::Algorithm;
use graven_verity::io::{Concat, Window, Zeros};
use graven_verity::progress::Silent;
use memory::{Memory, data};
use tempfile::TempDir;

const UUID: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// A program that lives in /usr/sbin or /usr/bin, whatever the caller's path.
fn tool(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).env("LC_ALL", "C");
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error} (install the Debian packages cryptsetup-bin and fsverity)")
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// One image in a folder of its own: its data, made as large as the parameters say, with a few holes.
struct Case {
    folder: TempDir,
    params: Params,
    data: Vec<u8>,
}

impl Case {
    fn new(params: Params) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut data = data(params.data_bytes() as usize);
        let block = params.data_block_size() as usize;
        for zero in data.chunks_mut(block).skip(3).step_by(5) {
            zero.fill(0);
        }
        fs::write(folder.path().join("data"), &data).expect("room for the data");
        Self { folder, params, data }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("veritysetup wrote it")
    }

    /// `veritysetup format` of our data with our parameters, on to `hash_device`; the root hash that it prints.
    fn format(&self, hash_device: &str, options: &[String]) -> RootHash {
        let params = &self.params;
        let mut command = tool("veritysetup");
        command
            .arg("format")
            .arg(format!("--uuid={UUID}"))
            .arg(format!("--salt={}", params.salt()))
            .arg(format!("--hash={}", params.algorithm()))
            .arg(format!("--format={}", params.hash_type().number()))
            .arg(format!("--data-block-size={}", params.data_block_size()))
            .arg(format!("--hash-block-size={}", params.hash_block_size()))
            .arg(format!("--data-blocks={}", params.data_blocks()))
            .args(options)
            .arg(self.path("data"))
            .arg(self.path(hash_device));
        let stdout = String::from_utf8(run(&mut command).stdout).expect("text");
        let line = stdout.lines().find_map(|line| line.strip_prefix("Root hash:"));
        line.expect("a root hash").trim().parse().expect("a root hash")
    }

    fn superblock(&self) -> Superblock {
        Superblock { uuid: UUID.parse().expect("a UUID"), params: self.params.clone() }
    }

    /// Our root hash and tree.
    fn build(&self) -> (RootHash, Vec<u8>) {
        let tree = Memory::default();
        let root = dm::build(&self.data, &self.params, &tree).expect("a tree");
        (root, tree.into_bytes())
    }

    /// Our superblock at offset 0, zeros, and our tree, as on a hash device of its own.
    fn hash_device(&self, tree: &[u8]) -> Vec<u8> {
        let mut device = self.superblock().to_bytes().to_vec();
        device.resize(Superblock::tree_offset(0, self.params.hash_block_size()).expect("small") as usize, 0);
        device.extend(tree);
        device
    }
}

fn params(algorithm: Algorithm, data_block: u32, hash_block: u32, blocks: u64, salt: &str) -> Params {
    Params::new(algorithm, data_block, hash_block, blocks, salt.parse().expect("a salt"))
        .expect("good parameters")
}

#[test]
fn superblock_and_tree_are_veritysetups() {
    use Algorithm::{Sha1, Sha256, Sha384, Sha512};
    let long = "5a".repeat(256);
    let normal = [
        params(Sha256, 4096, 4096, 1, "-"),
        params(Sha256, 4096, 4096, 2, "aabb"),
        params(Sha256, 4096, 4096, 128, "-"),
        params(Sha256, 4096, 4096, 129, &"11".repeat(32)),
        params(Sha256, 4096, 4096, 3000, &"22".repeat(64)),
        params(Sha256, 512, 512, 257, &long),
        params(Sha256, 512, 512, 5000, "01"),
        params(Sha256, 512, 4096, 1000, "abcdef"),
        params(Sha256, 4096, 512, 300, "-"),
        params(Sha256, 1024, 2048, 777, &long),
        params(Sha256, 65536, 4096, 33, "77"),
        params(Sha256, 4096, 65536, 2100, "77"),
        params(Sha512, 4096, 4096, 65, "0102030405"),
        params(Sha512, 512, 1024, 999, &long),
        params(Sha384, 1024, 1024, 400, "-"),
        params(Sha1, 4096, 4096, 200, "99"),
    ];
    let chrome_os = [
        params(Sha256, 4096, 4096, 129, "33"),
        params(Sha1, 4096, 4096, 300, "4444"),
        params(Sha384, 512, 512, 700, "-"),
    ]
    .map(|params| params.with_hash_type(HashType::ChromeOs).expect("good parameters"));
    for params in normal.into_iter().chain(chrome_os) {
        let case = Case::new(params);
        let expected = case.format("hash", &[]);
        let (root, tree) = case.build();
        assert_eq!(root, expected, "{:?}", case.params);
        assert_eq!(tree.len() as u64, case.params.tree_bytes(), "{:?}", case.params);
        let theirs = case.read("hash");
        let mut ours = case.hash_device(&tree);
        if tree.is_empty() {
            // Without a tree veritysetup writes the superblock alone.
            ours.truncate(theirs.len());
        }
        assert_eq!(ours, theirs, "{:?}", case.params);
        assert_eq!(Superblock::from_bytes(&theirs), Ok(case.superblock()));
        dm::verify(&case.data, &tree, &case.params, &root, &mut Report::new(1), &Silent).expect("good data");
    }
}

/// Numbers that follow from a seed: a case that fails can be run again.
struct Random(u64);

impl Random {
    /// One of `0..below`.
    fn below(&mut self, below: u64) -> u64 {
        // splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % below
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// Superblock, tree, parity and root hash of random parameters: block sizes, salts, hash types, offsets, roots.
fn random_devices_are_veritysetups(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut random = Random(seed);
        let algorithm = random.one_of(&Algorithm::ALL);
        let sizes = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];
        let data_block = random.one_of(&sizes);
        let with_fec = random.below(2) == 0;
        let hash_block = if with_fec { data_block } else { random.one_of(&sizes) };
        let blocks = 1 + random.below((2 << 20) / u64::from(data_block));
        let salt: Vec<u8> =
            (0..random.one_of(&[0, 1, 31, 32, 64, 65, 255, 256])).map(|i| i as u8 ^ 0xa5).collect();
        let hash_type = random.one_of(&[HashType::Normal, HashType::Normal, HashType::ChromeOs]);
        let superblock = random.below(3) > 0;
        let roots = 2 + random.below(23) as u32;
        let params = dm::Salt::new(&salt)
            .map_err(|error| error.to_string())
            .and_then(|salt| {
                let params = dm::Params::new(algorithm, data_block, hash_block, blocks, salt);
                params.and_then(|params| params.with_hash_type(hash_type)).map_err(|error| error.to_string())
            })
            .expect("good parameters");
        let step = u64::from(hash_block);
        let offset = if superblock { 512 * random.below(40) } else { step * random.below(4) };
        // A single block has no tree, and veritysetup 2.6.1 writes no superblock past the end of a file that is empty.
        let offset = if blocks == 1 { 0 } else { offset };
        let what = format!(
            "seed {seed}: {params:?}, offset {offset}, superblock {superblock}, FEC {with_fec} {roots}"
        );

        let case = Case::new(params);
        let mut options = vec![format!("--hash-offset={offset}")];
        if !superblock {
            options.push("--no-superblock".into());
        }
        if with_fec {
            options.push(format!("--fec-device={}", case.path("fec").display()));
            options.push(format!("--fec-roots={roots}"));
        }
        let expected = case.format("hash", &options);
        let (root, tree) = case.build();
        assert_eq!(root, expected, "{what}");
        let mut ours = vec![0; offset as usize];
        if superblock {
            ours.extend(case.superblock().to_bytes());
            ours.resize(Superblock::tree_offset(offset, hash_block).expect("small") as usize, 0);
        }
        ours.extend(&tree);
        let theirs = if case.path("hash").exists() { case.read("hash") } else { Vec::new() };
        if tree.is_empty() {
            // Without a tree veritysetup writes the superblock alone, or nothing.
            ours.truncate(theirs.len());
        }
        assert!(ours == theirs, "{what}: {} and {} bytes", ours.len(), theirs.len());
        if with_fec {
            let message = Concat::new()
                .then(&case.data, case.params.data_bytes())
                .then(&tree, case.params.tree_bytes());
            let ours = parity(&message, blocks + case.params.tree_blocks(), data_block, roots);
            assert!(ours == case.read("fec"), "{what}: parity");
        }
    }
}

#[test]
fn sixty_random_devices_are_veritysetups() {
    random_devices_are_veritysetups(0..60);
}

#[test]
#[ignore = "minutes: five hundred more"]
fn five_hundred_random_devices_are_veritysetups() {
    random_devices_are_veritysetups(1000..1500);
}

/// Each row: an option that veritysetup refuses, and whether we refuse the same.
#[test]
fn what_veritysetup_refuses_is_refused() {
    let new = |algorithm: &str, data_block: u32, hash_block: u32, blocks: u64, salt: &str| {
        let params = Params::new(
            algorithm.parse().map_err(|_| "algorithm")?,
            data_block,
            hash_block,
            blocks,
            salt.parse().map_err(|_| "salt")?,
        );
        params.map_err(|_| "parameters")
    };
    let long = "00".repeat(257);
    let mut of_type_2 = Case::new(params(Algorithm::Sha256, 4096, 4096, 10, "-")).superblock().to_bytes();
    of_type_2[12] = 2;
    let refusals = [
        (vec!["--data-block-size=513"], new("sha256", 513, 4096, 10, "-").is_err()),
        (vec!["--data-block-size=256"], new("sha256", 256, 4096, 10, "-").is_err()),
        (vec!["--hash-block-size=3000"], new("sha256", 4096, 3000, 10, "-").is_err()),
        (vec!["--hash-block-size=1048576"], new("sha256", 4096, 1 << 20, 10, "-").is_err()),
        (vec!["--hash=sha257"], new("sha257", 4096, 4096, 10, "-").is_err()),
        (vec!["--salt=0"], new("sha256", 4096, 4096, 10, "0").is_err()),
        (vec!["--salt=zz"], new("sha256", 4096, 4096, 10, "zz").is_err()),
        (vec!["--salt", &long], new("sha256", 4096, 4096, 10, &long).is_err()),
        (vec!["--format=2"], Superblock::from_bytes(&of_type_2).is_err()),
        (vec!["--fec-device=fec", "--fec-roots=1"], Roots::new(1).is_err()),
        (vec!["--fec-device=fec", "--fec-roots=25"], Roots::new(25).is_err()),
    ];
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("data"), data(40960)).expect("room for the data");
    let format = |options: &[&str]| {
        let mut command = tool("veritysetup");
        command.arg("format").args(options).args(["data", "hash"]).current_dir(folder.path());
        command.output().expect("cryptsetup-bin is installed").status.success()
    };
    assert!(format(&[]), "veritysetup takes its own defaults");
    for (options, refused) in refusals {
        assert!(!format(&options), "veritysetup takes {options:?}");
        assert!(refused, "we take {options:?}");
    }
}

/// Digest, tree and descriptor of files of random sizes and parameters.
fn random_files_are_fsveritys(seeds: std::ops::Range<u64>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file");
    for seed in seeds {
        let mut random = Random(seed);
        let most = random.one_of(&[1, 5000, 100_000, 1_500_000]);
        let data = data(random.below(most) as usize);
        fs::write(&path, &data).expect("room for a file");
        let algorithm = random.one_of(&[Algorithm::Sha256, Algorithm::Sha512]);
        let block_size = random.one_of(&[1024, 2048, 4096, 8192, 16384, 32768, 65536]);
        let salt = "7e".repeat(random.below(33) as usize);
        let ours = Digests::ours(&data, algorithm, block_size, &salt);
        let theirs = Digests::theirs(&path, algorithm, block_size, &salt);
        assert_eq!(ours, theirs, "seed {seed}: {} bytes, {algorithm}, {block_size}, {salt}", data.len());
    }
}

#[test]
fn sixty_random_files_are_fsveritys() {
    random_files_are_fsveritys(0..60);
}

#[test]
#[ignore = "a minute: three hundred more"]
fn three_hundred_random_files_are_fsveritys() {
    random_files_are_fsveritys(1000..1300);
}

#[test]
fn a_tree_appended_to_its_data_is_veritysetups() {
    for (data_block, hash_block, superblock) in [(4096, 4096, true), (4096, 4096, false), (512, 1024, true)] {
        let case = Case::new(params(Algorithm::Sha256, data_block, hash_block, 1000, "1234"));
        // Not a multiple of the hash block for the last case's data area plus superblock.
        let offset = case.params.data_bytes();
        let mut options = vec![format!("--hash-offset={offset}")];
        if !superblock {
            options.push("--no-superblock".into());
        }
        let expected = case.format("data", &options);
        let (root, tree) = case.build();
        assert_eq!(root, expected);
        let mut ours = case.data.clone();
        if superblock {
            ours.extend(case.superblock().to_bytes());
            ours.resize(Superblock::tree_offset(offset, hash_block).expect("small") as usize, 0);
        }
        ours.extend(tree);
        assert!(ours == case.read("data"), "{data_block}/{hash_block}, superblock: {superblock}");
    }
}

#[test]
fn parity_in_a_file_of_its_own_is_veritysetups() {
    for (block_size, blocks) in [(512, 10), (512, 300), (4096, 1), (4096, 2000), (1024, 3333)] {
        let case = Case::new(params(Algorithm::Sha256, block_size, block_size, blocks, "aabb"));
        let (_, tree) = case.build();
        let message =
            Concat::new().then(&case.data, case.params.data_bytes()).then(&tree, case.params.tree_bytes());
        for roots in [2, 3, 24] {
            let options =
                [format!("--fec-device={}", case.path("fec").display()), format!("--fec-roots={roots}")];
            case.format("hash", &options);
            let ours = parity(&message, blocks + case.params.tree_blocks(), block_size, roots);
            assert!(ours == case.read("fec"), "{blocks} × {block_size}, {roots} roots");
            fs::remove_file(case.path("fec")).expect("a file");
            fs::remove_file(case.path("hash")).expect("a file");
        }
    }
}

#[test]
fn parity_appended_to_the_hash_device_is_veritysetups() {
    for (blocks, roots, gap) in [(500, 2, 0), (500, 3, 3), (2000, 24, 1)] {
        let block_size = 4096;
        let case = Case::new(params(Algorithm::Sha512, block_size, block_size, blocks, "-"));
        let (_, tree) = case.build();
        let ours = case.hash_device(&tree);
        let gap = gap * u64::from(block_size);
        let offset = ours.len() as u64 + gap;
        // The space between tree and parity belongs to the message and must be readable.
        let device = File::create(case.path("hash")).expect("a file");
        device.set_len(offset).expect("a sparse file");
        let options = [
            format!("--fec-device={}", case.path("hash").display()),
            format!("--fec-offset={offset}"),
            format!("--fec-roots={roots}"),
        ];
        case.format("hash", &options);

        let tree_start = u64::from(block_size);
        let message = Concat::new()
            .then(&case.data, case.params.data_bytes())
            .then(&tree, case.params.tree_bytes())
            .then(&Zeros, gap);
        let blocks = blocks + (offset - tree_start) / u64::from(block_size);
        let mut expected = ours;
        expected.resize(offset as usize, 0);
        expected.extend(parity(&message, blocks, block_size, roots));
        assert!(expected == case.read("hash"), "{blocks} blocks, {roots} roots, gap of {gap}");
    }
}

fn parity(message: &Concat<'_>, blocks: u64, block_size: u32, roots: u32) -> Vec<u8> {
    let roots = Roots::new(roots).expect("2 to 24");
    let parity = Memory::default();
    fec::encode(message, blocks, block_size, roots, &parity, &Silent).expect("parity");
    let parity = parity.into_bytes();
    assert_eq!(Some(parity.len() as u64), fec::parity_bytes(blocks, block_size, roots));
    parity
}

#[test]
fn veritysetup_accepts_our_device_and_refuses_it_where_we_do() {
    let case = Case::new(params(Algorithm::Sha256, 4096, 4096, 700, "c0ffee"));
    let (root, tree) = case.build();
    fs::write(case.path("hash"), case.hash_device(&tree)).expect("room for the tree");
    let accepted = || {
        let mut command = tool("veritysetup");
        command.arg("verify").args([case.path("data"), case.path("hash")]).arg(root.to_string());
        command.output().expect("cryptsetup-bin is installed").status.success()
    };
    let proved = || {
        let data = File::open(case.path("data")).expect("the data");
        let hash = File::open(case.path("hash")).expect("the tree");
        let tree = Window::new(&hash, 4096, case.params.tree_bytes());
        dm::verify(&data, &tree, &case.params, &root, &mut Report::new(1), &Silent).is_ok()
    };
    assert!(accepted() && proved());
    let places = [
        ("data", 0),
        ("data", 699 * 4096 + 4095),
        ("hash", 4096 + 5),
        ("hash", 4096 * 3 + 77),
        ("hash", 4096 * 7),
    ];
    for (name, offset) in places {
        let good = case.read(name);
        let mut bad = good.clone();
        bad[offset] ^= 1;
        fs::write(case.path(name), bad).expect("a file");
        assert!(!accepted() && !proved(), "byte {offset} of {name}");
        fs::write(case.path(name), good).expect("a file");
    }
    assert!(accepted() && proved());
}

#[test]
fn file_digests_are_fsveritys() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file");
    let salt = "0f".repeat(32);
    for size in [0, 1, 4095, 4096, 4097, 65536, 128 * 4096, 128 * 4096 + 1, (1 << 20) + 1] {
        let mut data = data(size);
        data.iter_mut().skip(8192).take(16384).for_each(|byte| *byte = 0);
        fs::write(&path, &data).expect("room for a file");
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for (block_size, salt) in
                [(1024, ""), (2048, "01"), (4096, ""), (4096, &salt), (16384, "aabb"), (65536, "")]
            {
                let ours = Digests::ours(&data, algorithm, block_size, salt);
                let theirs = Digests::theirs(&path, algorithm, block_size, salt);
                assert_eq!(ours, theirs, "{size} bytes, {algorithm}, blocks of {block_size}, salt {salt:?}");
            }
        }
    }
}

/// What `fsverity digest` can print and write about a file.
#[derive(Debug, PartialEq, Eq)]
struct Digests {
    digest: String,
    for_builtin_signature: String,
    descriptor: Vec<u8>,
    tree: Vec<u8>,
}

impl Digests {
    fn ours(data: &[u8], algorithm: Algorithm, block_size: u32, salt: &str) -> Self {
        let salt: dm::Salt = salt.parse().expect("hexadecimal digits");
        let params = fsverity::Params::new(algorithm, block_size, salt.as_bytes()).expect("good parameters");
        let tree = Memory::default();
        let descriptor = fsverity::build(&data, &params, &tree, &Silent).expect("a descriptor");
        let mut digester = fsverity::Digester::new(&params);
        digester.update(data);
        assert_eq!(digester.finish_descriptor(), descriptor);
        let digest = descriptor.digest();
        let tree = tree.into_bytes();
        assert_eq!(Some(tree.len() as u64), params.tree_bytes(data.len() as u64));
        let message = fsverity::formatted_digest(algorithm, &digest).expect("an fs-verity digest");
        Self {
            digest: format!("{algorithm}:{digest}"),
            for_builtin_signature: message.iter().map(|byte| format!("{byte:02x}")).collect(),
            descriptor: descriptor.to_bytes(0).to_vec(),
            tree,
        }
    }

    fn theirs(path: &Path, algorithm: Algorithm, block_size: u32, salt: &str) -> Self {
        let out = path.with_extension("descriptor");
        let tree = path.with_extension("tree");
        let print = |option: &str| {
            let mut command = tool("fsverity");
            command.args(["digest", option]).arg(format!("--out-merkle-tree={}", tree.display())).arg(path);
            command.args([format!("--hash-alg={algorithm}"), format!("--block-size={block_size}")]);
            if !salt.is_empty() {
                command.arg(format!("--salt={salt}"));
            }
            let stdout = String::from_utf8(run(&mut command).stdout).expect("text");
            stdout.split_whitespace().next().unwrap_or_default().to_owned()
        };
        Self {
            digest: print(&format!("--out-descriptor={}", out.display())),
            for_builtin_signature: print("--for-builtin-sig").trim_start_matches("0x").to_owned(),
            descriptor: fs::read(&out).expect("fsverity wrote it"),
            tree: fs::read(&tree).expect("fsverity wrote it"),
        }
    }
}
