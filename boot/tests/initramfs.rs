//! The archive: what cpio says of it, what our reader gives back, what the reader refuses.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Stdio};

use graven_boot::compression::Compression;
use graven_boot::initramfs::{Entry, Initramfs, Kind, Limits, ReadError, members, parse};
use proptest::prelude::*;

fn sample() -> Initramfs {
    let mut initramfs = Initramfs::for_stage0();
    initramfs.file("/init", 0o755, *b"#!stage0");
    initramfs.file("/graven/cmdline", 0o444, *b"console=ttyS0");
    initramfs.file("/graven/modules/000-a.ko.xz", 0o444, vec![9; 1001]);
    initramfs.symlink("/lib/x", "../y");
    initramfs.insert("/dev/vda", Entry { mode: 0o660, kind: Kind::BlockDevice { major: 254, minor: 3 } });
    initramfs
}

/// What `program` prints when it is given `input`.
fn list(program: &str, args: &[&str], input: &[u8]) -> String {
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program} is needed by this test: {e}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn cpio_lists_exactly_what_was_written() {
    let listing = list("cpio", &["-itv", "--quiet", "--numeric-uid-gid"], &sample().write().unwrap());
    let squeezed: Vec<String> =
        listing.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "drwxr-xr-x 2 0 0 0 Jan 1 1970 dev",
        "crw------- 1 0 0 5, 1 Jan 1 1970 dev/console",
        "brw-rw---- 1 0 0 254, 3 Jan 1 1970 dev/vda",
        "drwxr-xr-x 2 0 0 0 Jan 1 1970 graven",
        "-r--r--r-- 1 0 0 13 Jan 1 1970 graven/cmdline",
        "drwxr-xr-x 2 0 0 0 Jan 1 1970 graven/modules",
        "-r--r--r-- 1 0 0 1001 Jan 1 1970 graven/modules/000-a.ko.xz",
        "-rwxr-xr-x 1 0 0 8 Jan 1 1970 init",
        "drwxr-xr-x 2 0 0 0 Jan 1 1970 lib",
        "lrwxrwxrwx 1 0 0 4 Jan 1 1970 lib/x -> ../y",
        "drwxr-xr-x 2 0 0 0 Jan 1 1970 proc",
        "drwxr-xr-x 2 0 0 0 Jan 1 1970 root",
        "drwxr-xr-x 2 0 0 0 Jan 1 1970 sys",
    ];
    assert_eq!(squeezed, expected);
}

#[test]
fn every_compression_is_deterministic_and_read_back() {
    for compression in [Compression::None, Compression::Gzip, Compression::Xz, Compression::Zstd] {
        let bytes = sample().write_compressed(compression).unwrap();
        assert_eq!(bytes, sample().write_compressed(compression).unwrap());
        assert_eq!(Compression::of(&bytes), compression);
        assert_eq!(parse(&bytes, Limits::default()).unwrap(), sample());
    }
}

#[test]
fn nothing_hides_behind_a_trailer() {
    let ours = sample().write().unwrap();
    let mut extra = Initramfs::new();
    extra.file("/evil", 0o755, *b"x");
    let extra = extra.write().unwrap();
    for hidden in [
        extra.clone(),
        [&[0u8; 12][..], &extra].concat(),
        Compression::Zstd.compress(&extra).unwrap(),
        Compression::Xz.compress(&[extra.clone(), extra.clone()].concat()).unwrap(),
    ] {
        let mut gzip = Compression::Gzip.compress(&ours).unwrap();
        // The kernel, too, takes an archive only at a multiple of 4.
        gzip.resize(gzip.len().next_multiple_of(4), 0);
        for first in [ours.clone(), gzip] {
            let found = members(&[first, hidden.clone()].concat(), Limits::default()).unwrap();
            assert!(found.iter().any(|member| member.path == "evil" && member.archive > 0));
        }
    }
    let twice = [ours.clone(), ours.clone()].concat();
    assert!(matches!(parse(&twice, Limits::default()), Err(ReadError::Twice { .. })));
    let unknown = [&ours[..], b"BZh91AY"].concat();
    assert!(matches!(members(&unknown, Limits::default()), Err(ReadError::Unknown { .. })));
}

#[test]
fn bombs_and_torn_archives_are_errors() {
    let small = Limits { bytes: 100, entries: 3 };
    assert!(matches!(members(&sample().write().unwrap(), small), Err(ReadError::TooMuch { .. })));
    let bomb = Compression::Zstd.compress(&vec![0; 1 << 20]).unwrap();
    assert!(matches!(members(&bomb, Limits { bytes: 1000, entries: 9 }), Err(ReadError::TooMuch { .. })));
    let whole = sample().write().unwrap();
    let end = whole.iter().rposition(|&b| b != 0).unwrap() + 1;
    for cut in 1..end {
        assert!(parse(&whole[..cut], Limits::default()).is_err(), "{cut}");
    }
}

proptest! {
    #[test]
    fn reading_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..1500, value: u8) {
        let _ = members(&bytes, Limits::default());
        bytes.splice(0..0, *b"070701");
        let _ = members(&bytes, Limits::default());
        let mut archive = sample().write().unwrap();
        archive[at] = value;
        let _ = members(&archive, Limits::default());
    }
}
