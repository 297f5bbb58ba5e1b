//! `graven verity` beside veritysetup: what it prints, writes, finds and refuses; and the repair that veritysetup has not.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::path::Path;

use graven_tests::program::{Said, run_in};
use graven_tests::random::Random;
use graven_tests::{image, program};
use serde_json::Value;
use tempfile::TempDir;

const UUID: &str = "01234567-89AB-cdef-0123-456789abcdef";

/// Random sets of parameters; the long tests take more.
const SETS: u64 = if cfg!(feature = "full") { 500 } else { 40 };

/// A folder with a data device `data`, in which both programs work.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new(data: &[u8]) -> Self {
        let folder = image::folder();
        fs::write(folder.path().join("data"), data).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path().join(name)).ok()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path().join(name), bytes).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn ours(&self, arguments: &[&str]) -> Said {
        run_in(self.path(), image::graven(), ["verity"].iter().chain(arguments))
    }

    fn theirs(&self, arguments: &[&str]) -> Said {
        program::run_in(self.path(), "veritysetup", arguments)
    }

    /// A formatted bench: `data`, `hash`, `fec` with two roots; and its root hash.
    fn formatted(blocks: usize, random: &mut Random) -> (Self, String) {
        let bench = Self::new(&random.bytes(blocks * 4096));
        let said = bench.ours(&["format", "data", "hash", "--salt=-", "--fec-device=fec"]);
        assert_eq!(said.status, 0, "{said:?}");
        let line = said.out.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap();
        let root_hash = line.trim().to_owned();
        (bench, root_hash)
    }

    fn flip(&self, name: &str, offsets: impl IntoIterator<Item = usize>) {
        let mut bytes = self.read(name).unwrap();
        for offset in offsets {
            bytes[offset] ^= 0x10;
        }
        self.write(name, &bytes);
    }
}

/// A set of parameters: options of `format`, names of hash and FEC device, and the data.
struct Set {
    data: Vec<u8>,
    hash: &'static str,
    fec: Option<&'static str>,
    /// What `dump` and `verify` need too.
    places: Vec<String>,
    /// What `verify` needs where there is no superblock.
    parameters: Vec<String>,
    /// The rest.
    others: Vec<String>,
    superblock: bool,
}

impl Set {
    fn random(random: &mut Random) -> Self {
        let data_block = random.one_of(&[512u64, 1024, 4096, 4096, 4096, 16384, 65536]);
        let with_fec = random.once_in(2);
        let hash_block =
            if with_fec { data_block } else { random.one_of(&[512u64, 4096, 4096, 8192, 65536]) };
        // Of parity over a single block, which has no tree, veritysetup loses count.
        let least = if with_fec { 2 } else { 1 };
        let blocks = least + random.below(600_000 / data_block).min(1 << (1 + random.below(11)));
        let mut data = random.bytes((blocks * data_block) as usize);
        for zero in data.chunks_mut(data_block as usize).skip(2).step_by(4) {
            zero.fill(0);
        }
        let superblock = !random.once_in(4);
        let mut parameters = vec![
            format!("--data-block-size={data_block}"),
            format!("--hash-block-size={hash_block}"),
            format!("--hash={}", random.one_of(&["sha256", "sha256", "SHA256", "sha512", "sha384", "sha1"])),
            format!("--format={}", random.one_of(&[1, 1, 1, 0])),
        ];
        let salt = random.one_of(&[0usize, 1, 31, 32, 64, 255, 256]);
        let salt: String = random.bytes(salt).iter().map(|byte| format!("{byte:02X}")).collect();
        parameters.push(format!("--salt={}", if salt.is_empty() { "-" } else { &salt }));
        let mut places = Vec::new();
        if !superblock {
            places.push("--no-superblock".to_owned());
        }
        let on_data = random.once_in(3);
        if on_data || random.once_in(3) {
            parameters.push(format!("--data-blocks={blocks}"));
        } else {
            // A rest that is no whole block does not count.
            data.extend(random.bytes(random.clone().below(data_block) as usize));
        }
        let align = |offset: u64| offset.next_multiple_of(hash_block.max(data_block));
        if on_data {
            places.push(format!("--hash-offset={}", align(data.len() as u64)));
        } else if random.once_in(3) {
            let unit = if superblock { 512 } else { hash_block };
            places.push(format!("--hash-offset={}", unit * random.below(20)));
        }
        let hash = if on_data { "data" } else { "hash" };
        let fec = with_fec.then(|| {
            places.push("--fec-device=fec".to_owned());
            parameters.push(format!("--fec-roots={}", 2 + random.below(23)));
            if random.once_in(3) {
                places.push(format!("--fec-offset={}", 512 * random.below(30)));
            }
            "fec"
        });
        let others = vec![format!("--uuid={UUID}")];
        Self { data, hash, fec, places, parameters, others, superblock }
    }

    fn options(&self) -> Vec<&str> {
        [&self.places, &self.parameters, &self.others].into_iter().flatten().map(String::as_str).collect()
    }
}

#[test]
fn random_devices_are_veritysetups_to_the_byte_and_each_verifies_the_others() {
    for seed in 0..SETS {
        let mut random = Random::new(seed);
        let set = Set::random(&mut random);
        let (ours, theirs) = (Bench::new(&set.data), Bench::new(&set.data));
        // A device that was used before keeps what is not written, and all of it counts for the parity.
        if set.hash == "hash" && random.once_in(4) {
            let used = random.bytes(random.clone().below(100_000) as usize);
            ours.write("hash", &used);
            theirs.write("hash", &used);
        }
        let command: Vec<&str> = ["format", "data", set.hash].into_iter().chain(set.options()).collect();
        let (said, expected) = (ours.ours(&command), theirs.theirs(&command));
        assert_eq!(expected.status, 0, "{seed}: {command:?}: {expected:?}");
        assert_eq!(said, expected, "{seed}: {command:?}");
        for name in ["data", "hash", "fec"] {
            assert!(ours.read(name) == theirs.read(name), "{seed}: {command:?}: {name} differs");
        }

        let root_hash = said.out.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim();
        let mut verify: Vec<&str> = vec!["verify", "data", set.hash, root_hash];
        verify.extend(set.places.iter().filter(|_| set.fec.is_none()).map(String::as_str));
        if set.fec.is_some() {
            verify.extend(set.places.iter().chain(&set.parameters).map(String::as_str));
        } else if !set.superblock {
            verify.extend(set.parameters.iter().map(String::as_str));
        }
        let good = Said { status: 0, out: String::new(), err: String::new() };
        assert_eq!(ours.ours(&verify), good, "{seed}: {verify:?}");
        assert_eq!(theirs.theirs(&verify).status, 0, "{seed}: {verify:?}");
        if set.superblock {
            let mut dump: Vec<&str> = vec!["dump", set.hash];
            dump.extend(set.places.iter().map(String::as_str));
            assert_eq!(ours.ours(&dump), theirs.theirs(&dump), "{seed}: {dump:?}");
        }
    }
}

#[test]
fn parity_behind_the_tree_on_one_device_is_veritysetups() {
    let mut random = Random::new(7);
    let mut whole = random.bytes(100 * 4096);
    whole.resize(120 * 4096, 0xee);
    let (behind_data, behind_tree) = (100 * 4096, 104 * 4096);
    for (hash, fec, hash_offset, fec_offset) in [
        // All on one device, with and without a gap between tree and parity, and one that is no whole block.
        ("data", "data", behind_data, behind_tree),
        ("data", "data", behind_data, behind_tree + 5 * 4096),
        ("data", "data", behind_data, behind_tree + 512),
        // Tree and parity on a device of their own.
        ("hash", "hash", 0, 3 * 4096),
        ("hash", "hash", 512, 9 * 4096),
        // Parity behind the data, the tree elsewhere.
        ("hash", "data", 0, behind_data),
    ] {
        let (ours, theirs) = (Bench::new(&whole), Bench::new(&whole));
        for bench in [&ours, &theirs] {
            bench.write("hash", &[0x77; 12 * 4096]);
        }
        let (fec_device, hash_offset, fec_offset) = (
            format!("--fec-device={fec}"),
            format!("--hash-offset={hash_offset}"),
            format!("--fec-offset={fec_offset}"),
        );
        let uuid = format!("--uuid={UUID}");
        let options =
            [fec_device.as_str(), &hash_offset, &fec_offset, "--data-blocks=100", "--salt=01", &uuid];
        let command: Vec<&str> = ["format", "data", hash].into_iter().chain(options).collect();
        assert_eq!(ours.ours(&command), theirs.theirs(&command), "{command:?}");
        for name in ["data", "hash"] {
            assert!(ours.read(name) == theirs.read(name), "{command:?}: {name} differs");
        }
        let dump: Vec<&str> = ["dump", hash].into_iter().chain(options[..3].iter().copied()).collect();
        assert_eq!(ours.ours(&dump), theirs.theirs(&dump), "{dump:?}");
    }
}

#[test]
fn what_veritysetup_refuses_is_refused_with_its_status_and_leaves_nothing_behind() {
    let mut random = Random::new(3);
    let bench = Bench::new(&random.bytes(100 * 4096));
    bench.write("tiny", &[1; 100]);
    let long_salt = format!("--salt={}", "ab".repeat(257));
    let cases: &[(&[&str], i32)] = &[
        (&["format", "data", "hash", "--data-block-size=1000"], 1),
        (&["format", "data", "hash", "--data-block-size=256"], 1),
        (&["format", "data", "hash", "--hash-block-size=1048576"], 1),
        (&["format", "data", "hash", "--hash-block-size=x"], 1),
        (&["format", "data", "hash", "--data-blocks=101"], 1),
        (&["format", "data", "hash", "--data-blocks=0x10"], 1),
        (&["format", "data", "hash", "--data-blocks=18446744073709551615"], 1),
        (&["format", "data", "hash", "--data-blocks=18446744073709551616"], 1),
        (&["format", "data", "hash", "--hash-offset=100"], 1),
        (&["format", "data", "hash", "--salt=xx"], 1),
        (&["format", "data", "hash", "--salt=a"], 1),
        (&["format", "data", "hash", &long_salt], 1),
        (&["format", "data", "hash", "--uuid=1234"], 1),
        (&["format", "data", "hash", "--uuid=01234567-89ab-cdef-0123-456789abcdeg"], 1),
        (&["format", "data", "hash", "--hash=md6"], 1),
        (&["format", "data", "hash", "--format=2"], 1),
        (&["format", "data", "hash", "--fec-device=fec", "--fec-roots=1"], 1),
        (&["format", "data", "hash", "--fec-device=fec", "--fec-roots=25"], 1),
        (&["format", "data", "hash", "--fec-device=fec", "--fec-offset=100"], 1),
        (&["format", "data", "hash", "--fec-device=fec", "--hash-block-size=512"], 1),
        (&["format", "data", "hash", "--fec-device=no/fec"], 1),
        (&["format", "data", "no/hash"], 1),
        (&["format", "data", "data"], 1),
        (&["format", "data", "data", "--hash-offset=4096"], 1),
        (&["format", "tiny", "hash"], 1),
        (&["format", "missing", "hash"], 4),
        (&["format", "data"], 1),
        (&["format"], 1),
        (&["format", "data", "hash", "--bogus"], 1),
        (&["format", "data", "hash", "--root-hash-signature=sig"], 1),
        (&["verify", "data", "tiny", "00"], 1),
        (&["verify", "data", "missing", "00"], 4),
        (&["verify", "missing", "tiny", "00"], 4),
        (&["dump", "tiny"], 1),
        (&["dump", "data"], 1),
        (&["dump", "missing"], 4),
        (&["dump", "data", "--root-hash-file=x"], 1),
        (&["bogus"], 1),
        (&[], 1),
    ];
    let before = bench.names();
    for (command, status) in cases {
        let said = bench.ours(command);
        assert_eq!(said.status, *status, "{command:?}: {said:?}");
        assert!(said.out.is_empty() && !said.err.is_empty(), "{command:?}: {said:?}");
        assert_eq!(bench.names(), before, "{command:?} left something behind");

        let theirs = Bench::new(&bench.read("data").unwrap());
        theirs.write("tiny", &[1; 100]);
        assert_eq!(theirs.theirs(command).status, *status, "{command:?}");
    }

    let said = bench.ours(&["format", "data", "hash"]);
    assert_eq!(said.status, 0);
    for root_hash in ["00", "zz", ""] {
        let (ours, theirs) = (["verify", "data", "hash", root_hash], ["verify", "data", "hash", root_hash]);
        assert_eq!((bench.ours(&ours).status, bench.theirs(&theirs).status), (1, 1), "{root_hash:?}");
    }
    bench.write("short", b"abc");
    for file in ["--root-hash-file=short", "--root-hash-file=tiny"] {
        let command = ["verify", "data", "hash", file];
        assert_eq!((bench.ours(&command).status, bench.theirs(&command).status), (1, 1), "{file}");
    }
    assert_eq!(bench.ours(&["verify", "data", "hash"]).status, 1);
}

#[test]
fn a_changed_byte_is_found_and_named_and_the_status_is_veritysetups() {
    let mut random = Random::new(11);
    let (bench, root_hash) = Bench::formatted(300, &mut random);
    let (data, hash) = (bench.read("data").unwrap(), bench.read("hash").unwrap());
    let verify = ["verify", "data", "hash", &root_hash];
    let with_fec = ["verify", "data", "hash", &root_hash, "--fec-device=fec"];
    for _ in 0..if cfg!(feature = "full") { 200 } else { 12 } {
        // The superblock holds the parameters: a change there is another matter.
        let (name, offset) = match random.once_in(2) {
            true => ("data", random.below(data.len() as u64) as usize),
            false => ("hash", 4096 + random.below(hash.len() as u64 - 4096) as usize),
        };
        bench.flip(name, [offset]);
        let said = bench.ours(&verify);
        assert_eq!(said.status, bench.theirs(&verify).status, "{name} {offset}: {said:?}");
        let start = offset / 4096 * 4096;
        let named = format!("{name} device: bytes {start} to {} ", start + 4095);
        assert!(said.err.starts_with(&named), "{name} {offset}: {said:?}");

        let (said, theirs) = (bench.ours(&with_fec), bench.theirs(&with_fec));
        assert_eq!((said.status, theirs.status), (0, 0), "{name} {offset}: {said:?} {theirs:?}");
        let line = "Found 1 repairable errors with FEC device.";
        assert!(said.err.contains(line) && theirs.err.contains(line), "{name} {offset}: {said:?} {theirs:?}");
        bench.write("data", &data);
        bench.write("hash", &hash);
    }
}

#[test]
fn every_bad_block_is_named_as_ranges() {
    let (bench, root_hash) = Bench::formatted(300, &mut Random::new(12));
    bench.flip("data", [5, 6, 7, 19, 299].map(|block| block * 4096 + block));
    let said = bench.ours(&["verify", "data", "hash", &root_hash]);
    assert_eq!(said.status, 2);
    let expected = "data device: bytes 20480 to 32767 (blocks 5 to 7) corrupted\n\
                    data device: bytes 77824 to 81919 (block 19) corrupted\n\
                    data device: bytes 1224704 to 1228799 (block 299) corrupted\n\
                    Verification of data area failed.\n";
    assert_eq!(said.err, expected);
    let said = bench.ours(&["verify", "data", "hash", &root_hash, "--json"]);
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.status, &told["good"], &said.err), (2, &Value::Bool(false), &String::new()));
    assert_eq!(told["corrupted"]["data"][0], serde_json::json!({ "start": 20480, "end": 32768 }));
    assert_eq!(told["corrupted"]["data"].as_array().unwrap().len(), 3);

    // The middle hash block of the lower level: what is below it can be neither good nor bad.
    let bench_of_tree = Bench::formatted(300, &mut Random::new(12)).0;
    bench_of_tree.flip("hash", [4096 + 2 * 4096 + 1]);
    let said = bench_of_tree.ours(&["verify", "data", "hash", &root_hash]);
    assert!(said.err.contains("hash device: bytes 12288 to 16383 (block 3) corrupted"), "{said:?}");
    assert!(said.err.contains("bytes 524288 to 1048575 (blocks 128 to 255) cannot be judged"), "{said:?}");
}

#[test]
fn a_wrong_root_hash_alone_is_told_apart_and_never_excused_by_parity() {
    let (bench, root_hash) = Bench::formatted(300, &mut Random::new(13));
    let wrong = if root_hash.starts_with('0') { "1" } else { "0" }.to_owned() + &root_hash[1..];
    let verify = ["verify", "data", "hash", &wrong];
    let (said, theirs) = (bench.ours(&verify), bench.theirs(&verify));
    assert_eq!((said.status, theirs.status), (1, 1));
    assert_eq!(said.err.lines().next(), theirs.err.lines().next());
    assert!(said.err.contains(&root_hash), "{said:?}");
    // veritysetup 2.6.1 answers 0 to this: bad data that parity would mend hides the wrong root hash from it.
    bench.flip("data", [5000]);
    let with_fec = ["verify", "data", "hash", &wrong, "--fec-device=fec"];
    assert_eq!(bench.theirs(&with_fec).status, 0, "veritysetup has changed: docs/verity.md says otherwise");
    assert_eq!(bench.ours(&with_fec).status, 2);
    // And to this: a root hash file that is not there.
    let missing = ["verify", "data", "hash", "--root-hash-file=missing"];
    assert_eq!(bench.theirs(&missing).status, 0, "veritysetup has changed: docs/verity.md says otherwise");
    assert_eq!(bench.ours(&missing).status, 1);
}

#[test]
fn options_may_stand_before_the_verb_and_root_hash_files_are_veritysetups() {
    let (bench, theirs) = (Bench::new(&[7; 8192]), Bench::new(&[7; 8192]));
    let uuid = format!("--uuid={UUID}");
    let command = [
        "-v",
        "--data-blocks=2",
        "-s",
        "aabb",
        &uuid,
        "format",
        "-h",
        "sha512",
        "data",
        "hash",
        "--root-hash-file=root",
    ];
    assert_eq!(bench.ours(&command), theirs.theirs(&command));
    assert_eq!(bench.read("root"), theirs.read("root"));
    let verify = ["verify", "--root-hash-file", "root", "data", "hash", "--verbose"];
    assert_eq!(bench.ours(&verify), theirs.theirs(&verify));
    // Salt and UUID that are not given are random.
    let [first, second] = [0, 1].map(|_| bench.ours(&["format", "data", "hash"]).out);
    let line = |text: &str, name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    for name in ["UUID:", "Salt:", "Root hash:"] {
        assert_ne!(line(&first, name), line(&second, name));
    }
    assert_eq!(line(&first, "Salt:").trim_start_matches("Salt:").trim().len(), 64);
}

#[test]
fn a_root_hash_signature_is_checked_with_the_certificates_given() {
    let (bench, root_hash) = Bench::formatted(3, &mut Random::new(14));
    bench.write("text", root_hash.as_bytes());
    let keys = image::keys();
    let (key, certificate) = (keys.join("db.key"), keys.join("db.crt"));
    let (key, certificate) = (key.to_str().unwrap(), certificate.to_str().unwrap());
    let sign = ["smime", "-sign", "-nocerts", "-noattr", "-binary", "-in", "text", "-outform", "der"];
    let sign = sign.into_iter().chain(["-inkey", key, "-signer", certificate, "-out", "root.p7s"]);
    assert_eq!(run_in(bench.path(), "openssl", sign).status, 0);
    let verify = ["verify", "data", "hash", &root_hash, "--root-hash-signature=root.p7s", "--trust"];
    let with = |certificate: &str| {
        let arguments: Vec<&str> = verify.into_iter().chain([certificate]).collect();
        bench.ours(&arguments).status
    };
    assert_eq!(with(certificate), 0);
    assert_eq!(with(image::strangers_keys().join("db.crt").to_str().unwrap()), 2);
    assert_eq!(bench.ours(&verify[..5]).status, 1, "a signature without certificates proves nothing");
}

#[test]
fn repair_mends_what_parity_can_and_says_what_it_cannot() {
    let mut random = Random::new(15);
    let (bench, root_hash) = Bench::formatted(600, &mut random);
    let names = ["data", "hash", "fec"];
    let good = names.map(|name| bench.read(name).unwrap());
    let repair = |more: &[&str]| {
        let start = ["repair", "data", "hash", &root_hash, "--fec-device=fec"];
        let arguments: Vec<&str> = start.into_iter().chain(more.iter().copied()).collect();
        bench.ours(&arguments)
    };
    let said = repair(&[]);
    assert!(said.status == 0 && said.out.starts_with("Nothing to repair"), "{said:?}");

    for _ in 0..if cfg!(feature = "full") { 40 } else { 4 } {
        // With two roots, two bad blocks a code word can be mended: blocks that lie apart by less than the regions are of
        // different ones. The first hash blocks count too.
        let block = random.below(599) as usize;
        bench.flip("data", [block * 4096 + random.below(4096) as usize, (block + 1) * 4096 + 17]);
        bench.flip("hash", [4096 + random.below(4096) as usize]);
        bench.flip("fec", [random.below(good[2].len() as u64) as usize]);
        let damaged = names.map(|name| bench.read(name).unwrap());

        let said = repair(&["--dry-run"]);
        assert!(said.status == 0 && said.out.contains("can be mended"), "{block}: {said:?}");
        assert!(names.map(|name| bench.read(name).unwrap()) == damaged, "a dry run wrote");

        let said = repair(&["--output", "mended"]);
        assert_eq!(said.status, 0, "{block}: {said:?}");
        assert!(names.map(|name| bench.read(name).unwrap()) == damaged, "--output wrote elsewhere");
        assert!(bench.read("mended").unwrap() == good[0], "{block}");
        assert_eq!(repair(&["--output", "mended"]).status, 1, "nothing is overwritten");
        fs::remove_file(bench.path().join("mended")).unwrap();

        let said = repair(&[]);
        assert_eq!(said.status, 0, "{block}: {said:?}");
        assert!(said.out.contains(&format!("data: bytes {} to", block * 4096)), "{said:?}");
        assert!(names.map(|name| bench.read(name).unwrap()) == good, "{block}");
    }

    // Three blocks of one code word are one too many; a fourth elsewhere is mended all the same.
    let regions = (600 + 6usize).div_ceil(253);
    let lost = [0, regions, 2 * regions];
    bench.flip("data", lost.map(|block| block * 4096 + 9));
    bench.flip("data", [100 * regions * 4096 + 4096 + 9]);
    let said = repair(&["--json"]);
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.status, &told["good"]), (2, &Value::Bool(false)), "{said:?}");
    let starts = |list: &Value| -> Vec<u64> {
        list.as_array().unwrap().iter().map(|range| range["start"].as_u64().unwrap()).collect()
    };
    assert_eq!(starts(&told["lost"]["data"]), lost.map(|block| block as u64 * 4096));
    assert_eq!(starts(&told["mended"]["data"]), [(100 * regions as u64 + 1) * 4096]);
    let mut expected = good[0].clone();
    lost.iter().for_each(|block| expected[block * 4096 + 9] ^= 0x10);
    assert!(bench.read("data").unwrap() == expected, "what is lost is left as it was");
    assert_eq!(bench.ours(&["repair", "data", "hash", &root_hash]).status, 1, "without parity");
}
