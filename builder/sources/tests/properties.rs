//! No bytes at all make a reader panic.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use graven_sources::{Limits, Spool, deb, tar};
use proptest::prelude::*;

fn read(bytes: &[u8]) {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("x");
    std::fs::write(&path, bytes).unwrap();
    let limits = Limits { unpacked_bytes: 1 << 20, members: 100, ratio: 1000, decoder_memory: 1 << 24 };
    let spool = Spool::new(work.path()).unwrap();
    if let Err(error) = tar::read(&path, None, None, &spool, &limits) {
        assert!(error.to_string().starts_with(path.to_str().unwrap()));
    }
    if let Err(error) = deb::read(&path, None, &spool, &limits) {
        assert!(error.to_string().starts_with(path.to_str().unwrap()));
    }
}

/// Members of a sound archive that our own reader did not write.
fn sound() -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    builder.append_pax_extensions([("path", b"pax-name".as_slice()), ("mtime", b"-1.5")]).unwrap();
    builder.append_data(&mut header, "a", &b"abc"[..]).unwrap();
    builder.append_data(&mut header, "n".repeat(200), &b"abc"[..]).unwrap();
    header.set_size(0);
    header.set_entry_type(::tar::EntryType::Link);
    builder.append_link(&mut header, "hard", "pax-name").unwrap();
    builder.into_inner().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2000), magic in 0..6usize) {
        let magics = [b"".as_slice(), b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"!<arch>\n", b"BZh"];
        read(&[magics[magic], &bytes].concat());
    }

    /// A header's fields at random, with a sum that lets them through.
    #[test]
    fn arbitrary_fields(at in 0..3500usize, with in proptest::collection::vec(any::<u8>(), 1..12)) {
        let mut bytes = sound();
        for (place, byte) in bytes.iter_mut().skip(at).zip(with) {
            *place = byte;
        }
        for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
            block[148..156].copy_from_slice(b"        ");
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        read(&bytes);
    }

    #[test]
    fn arbitrary_control_files(text in "(\\PC{0,20}: ?\\PC{0,20}\n| \\PC{0,9}\n|\n|Package: ab\n){0,8}") {
        let _ = deb::Control::parse(text.as_bytes());
    }
}
