//! What fuzzing found worth keeping, run again without a fuzzer: `tests/fuzz/corpus`.

#[path = "../fuzz/src/targets.rs"]
#[allow(unreachable_pub, reason = "they are another crate's too")]
mod targets;

use std::fs;
use std::path::Path;

/// Runs a target over its corpus.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    assert!(!files.is_empty(), "{} has no files", folder.display());
    for file in files {
        let bytes = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        eprintln!("{}", file.display());
        target(&bytes);
    }
}

#[test]
fn superblocks() {
    replay("superblock", targets::superblock);
}

#[test]
fn descriptors() {
    replay("descriptor", targets::descriptor);
}

#[test]
fn parity() {
    replay("fec", targets::fec);
}

#[test]
fn trees() {
    replay("verify", targets::verify);
}

#[test]
fn words() {
    replay("words", targets::words);
}

#[test]
fn options() {
    replay("options", targets::options);
}

#[test]
fn proofs() {
    replay("proof", targets::proof);
}

#[test]
fn policies() {
    replay("policy", targets::policy);
}

#[test]
fn images() {
    replay("oci", targets::oci);
}
